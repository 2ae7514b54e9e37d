"""How far this machine's clock is from the database's, by which replicas tell each other when something was said. Pure.

Two of them place the same word by when it came to each, and one goes on where the other has stopped. Their machines'
clocks may be seconds apart; that of the database is one for all, and comes with every beat.
"""

from __future__ import annotations

import math
from typing import Final

STEADY_S: Final = 0.05
"""Less is not corrected: a hand-over allows for more, and times do not jump to and fro."""
STEP_S: Final = 0.02
"""Larger differences go away by this much at a time."""
SET_S: Final = 1.0
"""Still larger ones at once: a clock has been set, or the database is another server now."""
SLOW_S: Final = 0.5
"""An answer that took longer tells too little."""


class Skew:
    """`seconds`: to be added to this machine's clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_known = False

    def learn(self, ahead_s: float, took_s: float) -> None:
        """`ahead_s`: of the database's clock, half of what its answer took allowed for; `took_s`: all of that."""
        if took_s > SLOW_S:
            return
        off = ahead_s - self.seconds
        at_once = not self._is_known or abs(off) >= SET_S
        self._is_known = True
        if abs(off) > STEADY_S + took_s / 2:
            self.seconds += off if at_once else math.copysign(STEP_S, off)
