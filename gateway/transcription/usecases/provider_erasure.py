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
class SessionToErase:
    """A provider session of a deleted session. `attempts` counts the one that is being made."""

    id: str
    attempts: int


class SessionEraser(Protocol):
    """The provider, which can delete a session and all that it has of it."""

    async def erase(self, session_id: str) -> None:
        """Returns once it is gone there, also when it was gone before. May be repeated. Raises: AccountUnavailable."""


class ErasureQueue(Protocol):
    """Provider sessions of deleted sessions, in the database. Every method may raise RecordsUnavailable and may be
    repeated."""

    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[SessionToErase]:
        """At most `limit` that are due, closed and billed; they are the caller's until `again_at`."""

    async def postpone_erasure(self, session_id: str, at: datetime) -> None:
        """The next attempt is due then."""

    async def erased(self, session_id: str, at: datetime | None) -> None:
        """No further attempt is made. `at`: when it was deleted; None: it was given up."""


@dataclass(slots=True)
class ErasureCounts:
    """Since the process began."""

    erased: int = 0
    failed: int = 0
    """Attempts that are repeated."""
    given_up: int = 0


class ProviderErasure:
    """Deletes at the provider, in the background, trying for about a week."""

    def __init__(self, eraser: SessionEraser, queue: ErasureQueue, clock: Clock) -> None:
        self.counts = ErasureCounts()
        self._eraser = eraser
        self._queue = queue
        self._clock = clock
        self._is_refused = False

    async def run(self) -> None:
        """Delete what is due every SWEEP_EVERY_S until cancelled. An outage is logged once, and waited out."""
        outage = Outage("what is to be deleted at the provider waits")
        while True:
            try:
                await self.work()
                outage.over()
            except RecordsUnavailable as error:
                outage.noticed(error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def work(self) -> None:
        """Delete what is due now. Raises: RecordsUnavailable."""
        now = self._clock.now()
        due = await self._queue.to_erase(now, now + timedelta(seconds=TAKEN_S), BATCH)
        await few_at_once([self._erase(one) for one in due])

    async def _erase(self, one: SessionToErase) -> None:
        try:
            await self._eraser.erase(one.id)
        except AccountUnavailable as error:
            await self._later(one, str(error))
        else:
            self.counts.erased += 1
            self._is_refused = False
            await self._queue.erased(one.id, self._clock.now())

    async def _later(self, one: SessionToErase, why: str) -> None:
        if one.attempts >= MOST_ATTEMPTS:
            self.counts.given_up += 1
            log.error(
                "what the provider keeps of a deleted session could not be deleted: %s; delete it there by hand",
                why,
                extra={"providerSession": one.id},
            )
            await self._queue.erased(one.id, None)
            return
        self.counts.failed += 1
        if not self._is_refused:
            self._is_refused = True
            log.warning("what the provider keeps of deleted sessions cannot be deleted now: %s", why)
        pause = min(FIRST_AGAIN_S * 2 ** (one.attempts - 1), LAST_AGAIN_S)
        await self._queue.postpone_erasure(one.id, self._clock.now() + timedelta(seconds=pause))
