"""Transcriptions leave a replica that has lost its line to the provider or to LiveKit, for one that has it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from random import random
from typing import Final

from gateway.clock import Clock
from gateway.transcription.domain.lines import CAN_BE_DOWN, Line, needed
from gateway.transcription.usecases.handover import Handover
from gateway.transcription.usecases.lines import Lines
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.transcriptions import Transcriptions

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
SETTLED_S: Final = 180.0
"""What another replica has just given away stays so long, whatever its lines do: it must not go from hand to hand."""
FIRST_AGAIN_S: Final = 1.0
LAST_AGAIN_S: Final = 15.0
"""How often others are asked while none is better off; doubled from the first to the last."""


class CutOff:
    """`after_s`: so long a line may be down; 0: nothing ever leaves for that."""

    def __init__(self, here: Transcriptions, handover: Handover, lines: Lines, clock: Clock, after_s: float) -> None:
        self.moved: Counter[Line] = Counter()
        """Transcriptions that have left, by the line that was down."""
        self.alone: Counter[Line] = Counter()
        """Times that a line was found down and no replica with room was better off."""
        self._here = here
        self._handover = handover
        self._lines = lines
        self._clock = clock
        self._after_s = after_s
        self._since: dict[tuple[Run, Line], float] = {}
        self._again_at: dict[Line, float] = {}
        self._pause_s: dict[Line, float] = {}

    async def run(self) -> None:
        """Look for ever, until cancelled."""
        while self._after_s:
            await asyncio.sleep(LOOK_S * (0.8 + 0.4 * random()))  # noqa: S311  # jitter
            try:
                await self.look()
            except Exception:
                log.exception("it could not be seen which lines are down")
        await asyncio.Event().wait()

    async def look(self) -> None:
        """Once. A move takes a few seconds."""
        now = self._clock.monotonic()
        runs = [run for run in self._here.runs if not run.state.is_ending]
        down = [(run, line) for run in runs for line in run.cut_from]
        self._since = {one: self._since.get(one, now) for one in down}
        for line in CAN_BE_DOWN:
            late = [run for run, what in down if what is line and now - self._since[run, line] >= self._after_s]
            free = [run for run in late if now - run.came_at >= SETTLED_S]
            if not late:
                self._pause_s.pop(line, None)
                self._again_at.pop(line, None)
            elif free and now >= self._again_at.get(line, now) and not self._here.draining:
                await self._leave(line, free)

    async def _leave(self, line: Line, runs: Sequence[Run]) -> None:
        """Others are asked first. So where the provider comes back for all, or goes, it is seen here last."""
        moved = 0
        for source in {run.claimed.source for run in runs}:
            better = await self._handover.who_reaches(needed(source))
            if better and not await self._lines.works(line):
                moved += await self._handover.move([run for run in runs if run.claimed.source == source], better)
        if moved:
            log.warning("%d transcriptions have gone to replicas that reach %s", moved, line)
            self.moved[line] += moved
        elif line not in self._pause_s:
            log.warning("the line to %s is down, and no other replica is better off: nothing is handed over", line)
            self.alone[line] += 1
        self._pause_s[line] = min(LAST_AGAIN_S, 2 * self._pause_s.get(line, FIRST_AGAIN_S / 2))
        self._again_at[line] = self._clock.monotonic() + self._pause_s[line] * (0.5 + random() / 2)  # noqa: S311  # jitter
