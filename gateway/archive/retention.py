"""Transcripts are kept for so many days and no longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable

if TYPE_CHECKING:
    from gateway.archive.finalise import Finaliser

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 600.0
ORPHANED: Final = timedelta(hours=1)


class RetentionRefused(Exception):
    """The database does not let us delete. The text says what to do."""


class TranscriptDeletion(Protocol):
    """Each call is one transaction over a limited number of sessions, so it is repeated until it returns 0.

    One replica at a time deletes; the others' calls return 0. Raise RecordsUnavailable or RetentionRefused, with
    nothing deleted by that call.
    """

    async def clear(self, before: datetime, now: datetime) -> int:
        """Delete the transcripts, analyses and documents of sessions that were over before a moment.

        The sessions, their participants and usage stay. Returns: of how many sessions.
        """

    async def sweep_up(self, now: datetime) -> int:
        """Delete the gateway's own rows of sessions that the app has deleted by itself. Returns: of how many."""

    async def drop_translations(self, before: datetime) -> int:
        """Delete translations stored before a moment whose final never came. Returns: how many."""


class Retention:
    """`days`: how long a transcript is kept after its session was over; 0 = for ever."""

    def __init__(self, deletion: TranscriptDeletion, finaliser: Finaliser, clock: Clock, days: int) -> None:
        self._deletion = deletion
        self._finaliser = finaliser
        self._clock = clock
        self._days = days
        self.cleared = 0
        self.dropped_translations = 0
        """Their finals never came."""

    async def sweep(self) -> int:
        """Delete all that is due; idempotent. Returns: of how many sessions.

        Raises: RecordsUnavailable, RetentionRefused.
        """
        now = self._clock.now()
        count = await _all(lambda: self._deletion.sweep_up(now))
        if dropped := await self._deletion.drop_translations(now - ORPHANED):
            log.warning("%d translations were dropped: their finals never came", dropped)
            self.dropped_translations += dropped
        if self._days:
            before = now - timedelta(days=self._days)
            count += await _all(lambda: self._deletion.clear(before, now))
        if count:
            log.info("transcripts of %d sessions were removed", count)
            self.cleared += count
            await self._finaliser.work()
        return count

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Sweep every `every_s` seconds until cancelled; an error of one sweep is logged and ends none."""
        while True:
            try:
                await self.sweep()
            except RecordsUnavailable as error:
                log.warning("database: %s", error)
            except RetentionRefused as error:
                log.error("%s", error)
            await asyncio.sleep(every_s)


async def _all(some: Callable[[], Awaitable[int]]) -> int:
    """Repeat until nothing is left. Returns: how many in all."""
    total = 0
    while count := await some():
        total += count
    return total
