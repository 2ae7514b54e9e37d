"""Notices that a source has stopped delivering: silence then has a clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

# Above what a page in the background (a second at a time) or an uplink's hiccup needs; a final comes within 2 s of it.
STALL_S: Final = 1.2
# What stopped in the middle of a word may be on its way: a sender leaves a dead line after 5 s and comes back over
# another one, TCP sends again after as long. Nothing is waited for any longer.
HELD_UP_S: Final = 8.0
MARGIN_S: Final = 0.4  # beyond the usual time between two deliveries
_LATE_S: Final = 0.1  # a timer that is this late says that the event loop was held up, not the source


class StallWatch:
    """Calls `stalled` whenever nothing has come for STALL_S, or for longer from a source that delivers seldom, and once
    more when nothing has come for HELD_UP_S either.

    One timer a track, however many pieces come. `fed` needs no event loop; `arm` does.
    """

    def __init__(self, stalled: Callable[[], None], monotonic: Callable[[], float]) -> None:
        self.usual_s = 0.0
        """How far apart deliveries are known to be, although nothing is missing between them."""
        self._stalled = stalled
        self._monotonic = monotonic
        self._fed_at: float | None = None  # None: nothing yet, or nothing since it was told for the last time
        self._is_told = False  # once
        self._piece_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def fed(self, now: float, seconds: float = 0.0) -> None:
        """So many seconds of audio have come at once; about as much later the next are due."""
        self._fed_at, self._piece_s, self._is_told = now, seconds, False

    def arm(self) -> None:
        """Watch from now on. Cheap while it does already."""
        if self._timer is None and self._fed_at is not None:
            self._later(self._left(self._fed_at))

    def disarm(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _left(self, fed_at: float) -> float:
        at_least_s = HELD_UP_S if self._is_told else STALL_S
        return fed_at + max(at_least_s, self.usual_s + MARGIN_S, self._piece_s + MARGIN_S) - self._monotonic()

    def _later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        self._timer = loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._fed_at is None:
            return
        left = self._left(self._fed_at)
        if left <= 0 and asyncio.get_running_loop().time() > self._due + _LATE_S:
            left = _LATE_S  # what came meanwhile is about to be read
        if left > 0:
            self._later(left)
        else:
            if self._is_told:
                self._fed_at = None
            self._is_told = True
            self._stalled()
