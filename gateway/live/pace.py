"""So many a second, and no more: what a crowd asks for at once is spread out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Pace:
    """`rate` turns a second; as many as that may come at once after a quiet second."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._every_s = 1 / rate
        self._clock = clock
        self._next = -math.inf

    async def turn(self) -> None:
        """Wait for one's turn: first come, first served. A caller that is cancelled has used its turn up."""
        now = self._clock()
        at = self._next = max(self._next, now - 1.0) + self._every_s
        if at > now:
            await asyncio.sleep(at - now)
