"""Transcripts are kept for so many days and no longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.archive.finalise import Finaliser
from gateway.clock import Clock
from gateway.outage import RecordsUnavailable

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 600.0


class RetentionRefused(Exception):
    """The database does not let us delete. The text says what to do."""


class Keepsakes(Protocol):
    """Both in small transactions, by one replica at a time. Raise RecordsUnavailable or RetentionRefused."""

    async def clear(self, before: datetime, now: datetime) -> int:
        """Remove what was said in sessions over since before a moment. Returns: how many sessions."""

    async def sweep_up(self, now: datetime) -> int:
        """Remove what is ours of sessions that the app has deleted by itself."""


class Retention:
    """`days`: how long what was said is kept after its session was over; 0 = for ever."""

    def __init__(self, keepsakes: Keepsakes, finaliser: Finaliser, clock: Clock, days: int) -> None:
        self._keepsakes = keepsakes
        self._finaliser = finaliser
        self._clock = clock
        self._days = days
        self.cleared = 0

    async def sweep(self) -> int:
        """Remove all that is due. Returns: of how many sessions. Raises: RecordsUnavailable, RetentionRefused."""
        now = self._clock.now()
        count = await _all(lambda: self._keepsakes.sweep_up(now))
        if self._days:
            before = now - timedelta(days=self._days)
            count += await _all(lambda: self._keepsakes.clear(before, now))
        if count:
            log.info("transcripts of %d sessions were removed", count)
            self.cleared += count
            await self._finaliser.work()
        return count

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.sweep()
            except RecordsUnavailable as error:
                log.warning("database: %s", error)
            except RetentionRefused as error:
                log.error("%s", error)
            await asyncio.sleep(every_s)


async def _all(some: Callable[[], Awaitable[int]]) -> int:
    """In portions, until nothing is left."""
    total = 0
    while count := await some():
        total += count
    return total
