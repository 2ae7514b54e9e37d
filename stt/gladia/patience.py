"""How long a provider session waits for what, and when it tries again. Pure: no I/O, no clock.

All times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from stt.gladia.options import LinkOptions

_LONGEST: Final = 4
"""Times the deadline: a session whose connections take audio and always end before a final is replaced all the same."""


class Patience:
    """The deadlines of one session. `flush_by`: when everything should be over; None while the track goes on."""

    def __init__(self, options: LinkOptions, now: float, random: Callable[[], float]) -> None:
        self.born = now
        self.not_before = now
        """The next request is not due before."""
        self.flush_by: float | None = None
        self.fetch_from = 0.0
        """From here until `flush_by` the result is read over REST, should the socket have told no end."""
        self.fetch_by = 0.0
        self.down_since: float | None = None
        """Since when the session has made no progress; None while it does."""
        self._taken_at = now
        self._has_stalled = False  # since there was progress
        self.stalls = 0
        """Connections in a row that were given up because nothing was received on them."""
        self._attempts = 0
        self._options = options
        self._random = random

    def finish(self, now: float, flush_by: float) -> None:
        """Everything should be over by `flush_by`, or by an earlier deadline that was set before."""
        self.flush_by = flush_by if self.flush_by is None else min(self.flush_by, flush_by)
        self.fetch_from = self.flush_by - min(1.0, max(self.flush_by - now, 0.0) / 4)

    def is_overdue(self, now: float) -> bool:
        """Whether the time to flush is up."""
        return self.flush_by is not None and now >= self.flush_by

    def is_down_for_long(self, now: float) -> bool:
        """Whether resuming has had its time."""
        return now >= self._down_until

    @property
    def _down_until(self) -> float:
        """From then on the session is lost: later while its connections, short as they are, take audio."""
        if self.down_since is None:
            return inf
        deadline_s = self._options.resume_deadline_s
        taken_s = 0.0 if self._has_stalled else max(self._taken_at - self.down_since, 0.0)
        return self.down_since + min(taken_s + deadline_s, _LONGEST * deadline_s)

    def left(self, now: float, at_most: float) -> float:
        """Seconds that a request may take."""
        return at_most if self.flush_by is None else min(at_most, self.flush_by - now)

    def wait_until(self, *, stop_was_sent: bool) -> float:
        """When there is something to do outside a connection."""
        times = [self.not_before, self._down_until]
        if self.flush_by is not None:
            times.append(self.fetch_from if stop_was_sent else self.flush_by)
        return min(times)

    def created(self, now: float) -> None:
        """The session exists: its age and its attempts count from here."""
        self._attempts, self.not_before, self.down_since = 0, now, now
        self.born = now

    def stalled(self) -> None:
        """A connection was given up because nothing was received on it: that is not the line."""
        self.stalls += 1
        self._has_stalled = True

    def taken(self, now: float) -> None:
        """A second of audio was acknowledged on this connection, and there is more: no progress, but a sign of life."""
        self._taken_at = now

    def progress(self) -> None:
        """The connection is good for something: after its next drop all patience begins anew."""
        self.down_since = None
        self._attempts = 0
        self.stalls = 0
        self._has_stalled = False

    def retry_later(self, now: float, at_least: float = 0.0, *, at_once: bool = False) -> None:
        """Put the next request off, by `at_least` seconds and longer after each failure; not longer for `at_once`."""
        self._attempts = 1 if at_once else self._attempts + 1
        self.not_before = now + max(at_least, self._options.backoff.delay(self._attempts, self._random()))

    def fetch(self, now: float) -> None:
        """From now on the result is asked for."""
        self._attempts, self.not_before = 0, now
        self.fetch_by = now + self._options.fetch_patience_s
        if self.flush_by is not None:
            self.fetch_by = min(self.fetch_by, self.flush_by)
