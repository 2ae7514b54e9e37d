"""A LiveKit room, heard by a hidden participant for as long as it is wanted: one connection after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from random import random
from typing import Final

from livekit import rtc

from ingest.errors import RoomTrouble
from ingest.livekit_join import JoinTimedOut, Spawn, join
from ingest.livekit_track import LivekitTrack
from ingest.livekit_visit import Visit, VisitOptions

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.02
_Reason = rtc.DisconnectReason


class RoomEnd(Enum):
    """Why a room is not joined again."""

    EMPTY = "nobody was in the room any more"
    OVER = "the room was closed"
    REMOVED = "the gateway was removed from the room"
    REPLACED = (
        "another participant joined the room with this gateway's identity; let only one gateway transcribe a room"
    )
    FAILED = "the LiveKit room failed; the log says how"


# Reasons that say "go away". After any other one the room is joined again.
ENDS: Final = {
    _Reason.DUPLICATE_IDENTITY: RoomEnd.REPLACED,
    _Reason.PARTICIPANT_REMOVED: RoomEnd.REMOVED,
    _Reason.USER_REJECTED: RoomEnd.REMOVED,
    _Reason.ROOM_DELETED: RoomEnd.OVER,
    _Reason.ROOM_CLOSED: RoomEnd.OVER,
}


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """Times in seconds. `empty_s`: a room in which no person has been for this long is left; 0 = never.

    `retry_first_s` doubles with every failed try up to `retry_ceiling_s`.
    `look_s`: how often a room that does not exist is looked for. `identity`: under which it is joined, nobody else's
    there; None: `transcriber-` and its name.
    """

    url: str
    visit: VisitOptions = field(default_factory=VisitOptions)
    empty_s: float = 60.0
    join_s: float = 20.0
    retry_first_s: float = 0.5
    retry_ceiling_s: float = 15.0
    look_s: float = 2.0
    identity: str | None = None


class LivekitRoom:
    """One room by name. `run` is its only task; it ends after `close`, or when the room is not to be joined again."""

    def __init__(
        self,
        name: str,
        options: RoomOptions,
        *,
        token: Callable[[str], str],
        exists: Callable[[], Awaitable[bool]],
        spawn: Spawn,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        """`token`: an access token for an identity. `exists`: whether the server has the room; raises RoomTrouble.

        `spawn` keeps a task until it ends; joins that came too late are undone there.
        """
        self.name = name
        self.joins = 0
        self._options = options
        self._token = token
        self._exists = exists
        self._spawn = spawn
        self._monotonic = monotonic
        self._wall = wall
        self._coming: asyncio.Queue[LivekitTrack | None] = asyncio.Queue()  # bounded by the room's participants
        self._closing = asyncio.Event()
        self.ended: RoomEnd | None = None
        self._trouble: str | None = "joining the LiveKit room"
        self._is_unreached = False
        self._visit: Visit | None = None
        self._lonely_since: float | None = None
        self._timed_out_joins = 0
        self._interrupt: Callable[[], None] = lambda: None

    # --- from outside -------------------------------------------------------------------------------------

    async def next_track(self) -> LivekitTrack | None:
        """The next track that is published and heard; None when there will be no more. Call it from one task."""
        return await self._coming.get()

    async def joined(self, within_s: float) -> None:
        """Until everybody in the room is heard who is not muted, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (self._closing.is_set() or (self._visit is not None and self._visit.hears_all)):
                    await asyncio.sleep(_LOOK_S)

    def trouble(self) -> str | None:
        """Why participants are not heard, or why the room was left; None while all is well."""
        if self.ended is not None:
            return self.ended.value
        return self._trouble or (self._visit.trouble() if self._visit is not None else None)

    @property
    def is_cut_off(self) -> bool:
        """The server does not answer, or the connection was lost and is being restored."""
        if self.ended is not None or self._closing.is_set():
            return False
        if self._visit is None:
            return self._is_unreached
        return self._visit.room.connection_state == rtc.ConnectionState.CONN_RECONNECTING

    def close(self) -> None:
        """Leave. The tracks end; what they hold can still be taken."""
        self._closing.set()
        self._interrupt()

    # --- its task -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Join, listen, and join again after what can be mended. Never raises but on cancellation."""
        try:
            await self._stay()
        except Exception:
            log.exception("LiveKit room failed", extra={"session": self.name})
            self.ended = RoomEnd.FAILED
        finally:
            self._coming.put_nowait(None)

    async def _stay(self) -> None:
        failures = 0
        while not self._closing.is_set() and self.ended is None:
            try:
                exists = await self._exists()
                self._is_unreached = False
                if not exists:
                    self._note("the LiveKit room does not exist yet; it begins when somebody joins")
                    self._count_people(0)
                    await self._pause(self._options.look_s if self.ended is None else 0.0)
                    continue
                joined = self._monotonic()
                await self._attend()
                failures = 0 if self._monotonic() - joined > self._options.retry_ceiling_s else failures + 1
            except RoomTrouble as trouble:
                failures += 1
                self._is_unreached = True
                self._lonely_since = None  # it is unknown who is there
                self._note(str(trouble))
            if failures:
                longest = min(self._options.retry_ceiling_s, self._options.retry_first_s * 2 ** min(failures - 1, 16))
                await self._pause(longest * (0.5 + random() / 2))  # noqa: S311  # jitter

    async def _attend(self) -> None:
        """One connection, from joining to its end. Raises: RoomTrouble."""
        visit = Visit(self._coming.put_nowait, self._options.visit, monotonic=self._monotonic, wall=self._wall)
        identity = self._options.identity or f"transcriber-{self.name}"
        identity += f"-{self._timed_out_joins}" if self._timed_out_joins else ""
        try:
            await join(visit.room, self._options.url, self._token(identity), self._options.join_s, self._spawn)
        except JoinTimedOut:
            self._timed_out_joins += 1
            raise
        self.joins += 1
        self._visit = visit
        self._note(None)
        try:
            async with visit.listening():
                reason = await self._until_over(visit)
        finally:
            self._visit = None
        if reason is None:
            return
        name = _Reason.Name(reason)
        log.warning("LiveKit disconnected us: %s", name, extra={"session": self.name})
        self.ended = ENDS.get(reason)
        if self.ended is None:
            self._note(f"LiveKit disconnected us ({name.lower()}); joining again")

    async def _until_over(self, visit: Visit) -> _Reason.ValueType | None:
        """Until the server ends the connection (then its reason), or we are to leave (then None)."""
        visit.gone.add_done_callback(lambda _: visit.changed.set())
        self._interrupt = visit.changed.set
        try:
            while not visit.gone.done() and not self._closing.is_set() and self.ended is None:
                visit.changed.clear()
                left_s = self._count_people(visit.people())
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await visit.changed.wait()
        finally:
            self._interrupt = lambda: None
        return visit.gone.result() if visit.gone.done() else None

    def _count_people(self, people: int) -> float | None:
        """Seconds until the room is to be left with this many people in it, None: not at all. At 0 its end is set."""
        if people or not self._options.empty_s:
            self._lonely_since = None
            return None
        now = self._monotonic()
        if self._lonely_since is None:
            self._lonely_since = now
        left_s = self._lonely_since + self._options.empty_s - now
        if left_s <= 0:
            self.ended = RoomEnd.EMPTY
        return max(left_s, 0.0)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            log.warning("%s", trouble, extra={"session": self.name})
        self._trouble = trouble

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
