"""Is the other side still there, and how long until the next attempt to reach it? Pure: decisions, no clock.

A frozen server raises nothing: its kernel takes what is written and accepts connections for it. Only an answer tells.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

LOOK_S: Final = 0.15
"""Between two looks at a connection."""
PING_S: Final = 0.3
AWAY_S: Final = 0.9
"""A server that was pinged and silent for this many seconds is away."""
_FIRST_S: Final = 0.05
_LONGEST_S: Final = 1.0


class Verdict(Enum):
    WAIT = auto()
    PING = auto()
    CUT = auto()


class Watchdog:
    """Judges one connection. Begins as if something had just been heard."""

    def __init__(self, now: float) -> None:
        self._looked = now
        self._silent_s = 0.0
        self._since_ping_s = 0.0

    def look(self, now: float, *, heard: bool) -> Verdict:
        """`heard`: anything has come since the last look. To be asked about every LOOK_S.

        Time without a look counts as two looks at most: a process that was frozen or busy itself has answers lying
        in its socket that it has not read, and must not blame the other side.
        """
        passed = min(now - self._looked, 2 * LOOK_S)
        self._looked = now
        self._silent_s = 0.0 if heard else self._silent_s + passed
        self._since_ping_s += passed
        if self._silent_s >= AWAY_S - LOOK_S / 2:  # the look that is nearest to it
            return Verdict.CUT
        if self._since_ping_s >= PING_S - LOOK_S / 2:
            self._since_ping_s = 0.0
            return Verdict.PING
        return Verdict.WAIT


def pause_s(attempt: int, random: float) -> float:
    """Seconds before attempt number `attempt` (from 1) to connect again: doubled each time up to a second, half of it
    drawn by `random` in [0, 1), so that the replicas do not all come at once.
    """
    whole = min(_LONGEST_S, _FIRST_S * 2.0 ** min(attempt - 1, 16))
    return whole / 2 + whole / 2 * random
