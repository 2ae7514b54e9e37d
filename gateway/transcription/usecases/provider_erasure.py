"""What the provider keeps of sessions that were deleted here is deleted there, too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.outage import Outage, RecordsUnavailable
from gateway.transcription.usecases.sweep import BATCH, SWEEP_EVERY_S, TAKEN_S, AccountUnavailable, few_at_once

log = logging.getLogger(__name__)

FIRST_AGAIN_S: Final = 5.0
LAST_AGAIN_S: Final = 6 * 3600.0
MOST_ATTEMPTS: Final = 40  # about a week


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A provider session of a deleted session. `attempts` counts the one that is being made."""

    id: str
    attempts: int


class Keeper(Protocol):
    async def erase(self, session_id: str) -> None:
        """Returns once it is gone there. Raises: AccountUnavailable."""


class ErasureBooks(Protocol):
    """The queue, in the database. May raise RecordsUnavailable."""

    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[Unwanted]:
        """Those that are due, closed and billed. They are this caller's until `again_at`."""

    async def erase_again(self, session_id: str, at: datetime) -> None: ...
    async def erased(self, session_id: str, at: datetime | None) -> None:
        """Nothing more is tried. `at` None: in vain."""


@dataclass(slots=True)
class ErasureCounts:
    erased: int = 0
    failed: int = 0
    """Attempts that are repeated."""
    given_up: int = 0


class ProviderErasure:
    def __init__(self, keeper: Keeper, books: ErasureBooks, clock: Clock) -> None:
        self.counts = ErasureCounts()
        self._keeper = keeper
        self._books = books
        self._clock = clock
        self._is_refused = False

    async def run(self) -> None:
        """For ever. Trouble with the database or the provider is said once, and waited out."""
        outage = Outage("what is to be deleted at the provider waits")
        while True:
            try:
                await self.work()
                outage.over()
            except RecordsUnavailable as error:
                outage.noticed(error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def work(self) -> None:
        """Delete what is due. Raises: RecordsUnavailable."""
        now = self._clock.now()
        due = await self._books.to_erase(now, now + timedelta(seconds=TAKEN_S), BATCH)
        await few_at_once([self._erase(one) for one in due])

    async def _erase(self, one: Unwanted) -> None:
        try:
            await self._keeper.erase(one.id)
        except AccountUnavailable as error:
            await self._later(one, str(error))
        else:
            self.counts.erased += 1
            self._is_refused = False
            await self._books.erased(one.id, self._clock.now())

    async def _later(self, one: Unwanted, why: str) -> None:
        if one.attempts >= MOST_ATTEMPTS:
            self.counts.given_up += 1
            log.error(
                "what the provider keeps of a deleted session could not be deleted: %s; delete it there by hand",
                why,
                extra={"providerSession": one.id},
            )
            await self._books.erased(one.id, None)
            return
        self.counts.failed += 1
        if not self._is_refused:
            self._is_refused = True
            log.warning("what the provider keeps of deleted sessions cannot be deleted now: %s", why)
        pause = min(FIRST_AGAIN_S * 2 ** (one.attempts - 1), LAST_AGAIN_S)
        await self._books.erase_again(one.id, self._clock.now() + timedelta(seconds=pause))
