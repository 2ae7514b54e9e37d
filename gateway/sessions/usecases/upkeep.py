"""Periodic upkeep: quiet sessions end, stale ones expire, endings are completed. By one replica at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from gateway.clock import Clock
from gateway.errors import SessionError
from gateway.outage import Outage, RecordsUnavailable
from gateway.sessions.usecases.ports import Duties, Ending, Endings, SessionRepository

if TYPE_CHECKING:
    from gateway.sessions.usecases.closing import Closing

log = logging.getLogger(__name__)

DUTY: Final = "sessions"
EVERY_S: Final = 30.0
WATCH_S: Final = 2.0
_BATCH: Final = 100
_AT_ONCE: Final = 4

Chore = Callable[[], Awaitable[int]]
"""Something else to be done each round. Returns: how many things it did."""


@dataclass(frozen=True, slots=True)
class UpkeepOptions:
    """0 switches a rule off. `owner`: the replica's name."""

    owner: str
    inactive_minutes: float = 30.0
    expire_hours: float = 24.0
    every_s: float = EVERY_S


class Upkeep:
    """Each step may be repeated, by several replicas at once too: the moves are conditional statements."""

    def __init__(
        self,
        sessions: SessionRepository,
        endings: Endings,
        closing: Closing,
        duties: Duties,
        clock: Clock,
        options: UpkeepOptions,
        chores: Mapping[str, Chore] | None = None,
    ) -> None:
        self._sessions = sessions
        self._endings = endings
        self._closing = closing
        self._duties = duties
        self._clock = clock
        self._options = options
        self._chores = dict(chores or {})

    async def auto_end(self) -> int:
        """autoEndInactiveSessions. Speech counts as activity: a run notes it. Returns: how many were ended."""
        if not self._options.inactive_minutes:
            return 0
        since = self._clock.now() - timedelta(minutes=self._options.inactive_minutes)
        ended = 0
        while quiet := await self._sessions.inactive(since, _BATCH):
            now_ended = [await self._closing.end_inactive(session, since) for session in quiet]
            ended += sum(now_ended)
            if len(quiet) < _BATCH or not any(now_ended):
                break
        return ended

    async def expire(self) -> int:
        """expireOldCreatedSessions. Returns: how many."""
        if not self._options.expire_hours:
            return 0
        expired = await self._sessions.expire_created(self._clock.now() - timedelta(hours=self._options.expire_hours))
        for session in expired:
            log.info("session expired: nobody ever came", extra={"session": session.slug})
        return len(expired)

    async def complete_endings(self) -> int:
        """Do what should have followed an end: it failed, or its replica died. Returns: how many are complete now."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(ending: Ending) -> bool:
            async with places:
                try:
                    return await self._closing.repeat(ending)
                except SessionError as error:
                    log.warning("an ending is not complete: %s", error)
                    return False

        return sum(await asyncio.gather(*(one(ending) for ending in await self._endings.due(_BATCH))))

    async def round(self) -> dict[str, int]:
        """Everything once. Returns: how much of each was done. Raises: RecordsUnavailable."""
        done = {
            "ended": await self.auto_end(),
            "expired": await self.expire(),
            "completed": await self.complete_endings(),
        }
        for name, chore in self._chores.items():
            done[name] = await chore()
        return done

    async def run(self) -> None:
        """A round every now and then, while this replica has the duty. Runs until cancelled."""
        options, outage = self._options, Outage("upkeep waits")
        try:
            while True:
                try:
                    if await self._duties.take(DUTY, options.owner, 3 * options.every_s):
                        await self.round()
                    outage.over()
                except RecordsUnavailable as error:
                    outage.noticed(error)
                except Exception:
                    log.exception("upkeep failed; the next round is in %g s", options.every_s)
                await asyncio.sleep(options.every_s)
        finally:
            try:
                async with asyncio.timeout(2):
                    await self._duties.leave(DUTY, options.owner)  # without this it is free after three rounds
            except (RecordsUnavailable, TimeoutError):
                log.info("the duty %s was not handed over", DUTY)


class Ongoing(Protocol):
    """A transcription of this replica."""

    def stop(self, reason: str) -> None:
        """Begin to drain, and return at once; repeating it changes nothing. `reason` is shown."""


async def stop_what_is_over(
    sessions: SessionRepository, ongoing: Callable[[], Mapping[str, Ongoing]], every_s: float = WATCH_S
) -> None:
    """Stop this replica's transcriptions of sessions that were ended elsewhere: by another replica, or by the app.

    `ongoing`: by session id. Runs until cancelled.
    """
    while True:
        await asyncio.sleep(every_s)
        if runs := ongoing():
            try:
                for session_id in await sessions.over(list(runs)):
                    runs[session_id].stop("the session has ended")
            except RecordsUnavailable as error:
                log.warning("whether sessions are over was not looked at: %s", error)
