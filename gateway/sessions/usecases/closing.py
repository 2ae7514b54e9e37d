"""The end of a session and what follows it: transcription stopped, document written, analysis scheduled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from gateway.clock import Clock
from gateway.errors import SessionError, SessionNotFound, SessionOver
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.errors import SessionNotLive
from gateway.sessions.domain.video_session import SessionStatus, VideoSession, may_move
from gateway.sessions.usecases.ports import Ending, Endings, SessionRepository

if TYPE_CHECKING:
    from gateway.sessions.usecases.server_transcription import ServerTranscription

log = logging.getLogger(__name__)

FollowUp = Callable[[str], Awaitable[object]]
"""One of the things that follow an end: given the session's id. Repeating it does no harm."""
Erase = Callable[[str, str], Awaitable[object]]
"""Deletes everything of a session, given its id and slug."""

# The replica that ends a session does at once what follows; another one does after this time, if that one has died.
FOLLOW_UP_S: Final = 120.0
RETRY_S: Final = 60.0
RETRY_MOST_S: Final = 3_600.0


class Closing:
    """`follow_ups`: by name, done in this order once the transcription has stopped. `erase`: see `Erase`. `over`: told
    the slug of each session that is ended here, before anything follows."""

    def __init__(
        self,
        sessions: SessionRepository,
        endings: Endings,
        transcription: ServerTranscription,
        clock: Clock,
        follow_ups: dict[str, FollowUp],
        erase: Erase,
        over: Callable[[str], object] = lambda slug: None,
    ) -> None:
        self.failed = 0
        """Attempts at what follows an end that failed, and are repeated."""
        self._sessions = sessions
        self._endings = endings
        self._transcription = transcription
        self._clock = clock
        self._follow_ups = follow_ups
        self._erase = erase
        self._over = over
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def end(self, session: VideoSession, why: str) -> None:
        """Idempotent. On return the session is ENDED; what follows is done, or noted to be repeated.

        Raises: SessionNotFound, SessionNotLive, SessionOver, RecordsUnavailable.
        """
        if await self._sessions.end(session.id, self._clock.now() + timedelta(seconds=FOLLOW_UP_S)):
            log.info("session ended: %s", why, extra={"session": session.slug})
            self._over(session.slug)
        else:
            now = await self._sessions.by_id(session.id)
            if now is None:
                raise SessionNotFound(session.slug)
            if now.status == SessionStatus.EXPIRED:
                raise SessionOver(session.slug, now.status)
            if now.status != SessionStatus.ENDED:
                raise SessionNotLive(session.slug, now.status)
        await self.follow_up(session)

    async def end_inactive(self, session: VideoSession, since: datetime) -> bool:
        """LIVE → ENDED unless there was activity after `since`. What follows is noted, due at once, and not awaited.

        Returns: whether this call ended it. Raises: RecordsUnavailable.
        """
        ended = await self._sessions.end(session.id, self._clock.now(), since)
        if ended:
            log.info("session ended: nothing has happened in it for long", extra={"session": session.slug})
            self._over(session.slug)
        return ended

    async def follow_up(self, session: VideoSession) -> bool:
        """Do what follows the end, if it is not done; one call a session at a time in this process.

        Returns: whether all is done; else it is due again, after a pause that doubles. Raises: RecordsUnavailable.
        """
        async with self._lock(session.id):
            ending = await self._endings.pending(session.id)
            try:
                stopped = await self._transcription.stop(session.slug, "the session has ended")
            except SessionError as error:
                log.warning("transcription error: not stopped: %s", error, extra={"session": session.slug})
                stopped = False
            if ending is None:  # done already, or the app ended the session itself and sees to the rest
                return stopped
            done = stopped and await self._all_done(session)
            if done:
                await self._endings.done(session.id)
            else:
                self.failed += 1
                wait_s = min(RETRY_S * 2**ending.attempts, RETRY_MOST_S)
                await self._endings.later(session.id, self._clock.now() + timedelta(seconds=wait_s))
            return done

    async def _all_done(self, session: VideoSession) -> bool:
        for name, follow_up in self._follow_ups.items():
            try:
                await follow_up(session.id)
            except RecordsUnavailable:
                raise
            except Exception:  # whatever a store or a queue may raise: the others are tried, and this one again
                log.exception("after the session's end: %s failed", name, extra={"session": session.slug})
                return False
        return True

    async def repeat(self, ending: Ending) -> bool:
        """Do what is noted in `ending`, once more. Returns: as `follow_up`."""
        session = await self._sessions.by_id(ending.session_id)
        if session is None:
            await self._endings.done(ending.session_id)
            return True
        return await self.follow_up(session)

    async def delete(self, session: VideoSession) -> None:
        """Delete the session and all of it but its usage rows, which are billing records.

        Raises: SessionNotFound, RecordsUnavailable; DeletingRefused, then the session has ended and is still there.
        """
        if may_move(session.status, SessionStatus.ENDED):
            await self._sessions.end(session.id, None)
        elif may_move(session.status, SessionStatus.EXPIRED):
            await self._sessions.expire(session.id)
        async with self._lock(session.id):
            try:
                if not await self._transcription.stop(session.slug, "the session is deleted"):
                    log.warning("deleted while another replica transcribes it", extra={"session": session.slug})
            except SessionNotFound:
                raise
            except SessionError as error:  # its lease goes with the session, so it can write nothing any more
                log.warning("transcription error: not stopped: %s", error, extra={"session": session.slug})
            await self._erase(session.id, session.slug)

    def _lock(self, session_id: str) -> asyncio.Lock:
        return self._locks.setdefault(session_id, asyncio.Lock())
