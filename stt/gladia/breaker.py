"""The circuit breaker of a provider account: when requests get no answer, one at a time tries for all.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from stt.backoff import Backoff


class Breaker:
    """Counts attempts that got no usable answer, in a row, over all tracks of an account.

    From `threshold` of them on the circuit is open: of all callers one at a time may try, after a pause that grows
    with every failure. Any answer closes it, a refusal too. Times are monotonic seconds.
    """

    def __init__(self, random: Callable[[], float], threshold: int = 5, backoff: Backoff | None = None) -> None:
        self.failures = 0
        self.opened = 0  # how often it has opened
        self._random = random
        self._threshold = threshold
        self._backoff = backoff or Backoff(1.0, 2.0, 30.0)
        self._try_at = 0.0
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether attempts are held back."""
        return self.failures >= self._threshold

    def ask(self, now: float) -> float:
        """Seconds until asking again makes sense; 0: try now, and report by `answered` or `failed`."""
        if not self.is_open:
            return 0.0
        if self._is_probing:
            return inf
        if now < self._try_at:
            return self._try_at - now
        self._is_probing = True
        return 0.0

    def answered(self) -> None:
        """The provider has answered a request, whatever it said: the circuit closes."""
        self.failures, self._is_probing = 0, False

    def failed(self, now: float) -> None:
        """An attempt got no usable answer. One that began before the circuit opened is not counted."""
        was_open = self.is_open
        if was_open and not self._is_probing:
            return  # it set out before the circuit opened
        self.failures += 1
        self._is_probing = False
        if self.is_open:
            self.opened += not was_open
            self._try_at = now + self._backoff.delay(self.failures - self._threshold + 1, self._random())
