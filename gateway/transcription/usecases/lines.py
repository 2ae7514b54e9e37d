"""Whether this replica reaches the speech provider and LiveKit: tried when somebody asks, once for all who do."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.transcription.domain.lines import Line

TRY_S: Final = 1.5
TRUST_S: Final = 2.0
"""How long an answer is believed."""

Try = Callable[[float], Awaitable[bool]]
"""Whether the other end answers within so many seconds. Costs nothing there, and raises nothing."""


class Lines:
    """`tries`: of the lines that this replica is configured to have."""

    def __init__(self, tries: Mapping[Line, Try], clock: Clock) -> None:
        self._tries = tries
        self._clock = clock
        self._known: dict[Line, tuple[float, bool]] = {}
        self._turns: defaultdict[Line, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def reached(self, lines: Collection[Line]) -> frozenset[Line]:
        """Those of them that work, as of TRUST_S ago at most."""
        answers = await asyncio.gather(*(self.has(line) for line in lines))
        return frozenset(line for line, works in zip(lines, answers, strict=True) if works)

    async def works(self, line: Line) -> bool:
        """Tried now. False also for a line that is not configured."""
        attempt = self._tries.get(line)
        works = attempt is not None and await attempt(TRY_S)
        self._known[line] = self._clock.monotonic(), works
        return works

    async def has(self, line: Line) -> bool:
        """As `reached`, of one."""
        async with self._turns[line]:
            at, works = self._known.get(line, (0.0, False))
            if line in self._known and self._clock.monotonic() - at <= TRUST_S:
                return works
            return await self.works(line)
