"""Transcriptions begin and end with the calls they belong to: from the media server's webhooks, and by looking."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.errors import TranscriptionOff
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import ROOM_OVER, StartRequest, begins_by_itself
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.transcriptions import STOPPED_BY_REQUEST, Started, Stopped, Transcriptions, again

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 15.0
_REMEMBERED: Final = 10_000  # ids of webhooks; the server repeats one within a minute


class RoomsUnavailable(Exception):
    """The media server cannot be asked now. The text says what to do."""


class WebhookRefused(Exception):
    """Not signed with our media server's key, or changed on the way."""


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """What a webhook tells. `of_person`: about a participant who is neither hidden, nor a recorder, nor an agent.

    `identity` and `name` are clean; `is_exact`: the identity was. `bearer`: for whom we have made the participant's
    token. `sid`: of this connection, or what stands for it; `joined_ms`: when it began, of the server's clock.
    """

    id: str
    kind: str
    room: str
    identity: str
    of_person: bool
    name: str | None = None
    is_exact: bool = True
    bearer: MintedFor | None = None
    sid: str = ""
    joined_ms: int = 0


class Rooms(Protocol):
    """The media server's rooms."""

    async def rooms(self, *names: str) -> dict[str, int]:
        """Number of participants by room, for those rooms that exist: of these names, or all without names.

        Raises: RoomsUnavailable.
        """


class Steer(Protocol):
    """Starts and stops transcriptions; as `Transcriptions` on this replica, as `Steering` on any."""

    async def start(self, request: StartRequest) -> Started:
        """Raises: SessionError, RecordsUnavailable."""

    async def stop(self, slug: str, *, wait: bool = True, reason: str = STOPPED_BY_REQUEST) -> Stopped | None:
        """Raises: SessionError, RecordsUnavailable."""


class Attendance:
    """Starts a session's transcription when participants are in its room, unless a person or a limit has stopped it.

    Webhooks make it quick; polling makes it certain, since they are lost while the gateway is down.
    """

    def __init__(
        self,
        transcriptions: Transcriptions,
        records: Records,
        rooms: Rooms,
        steer: Steer | None = None,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`steer`: None when there is no other replica."""
        self._transcriptions = transcriptions
        self._steer = steer or transcriptions
        self._sessions = records.sessions
        self._records = records.transcriptions
        self._rooms = rooms
        self._look_every_s = look_every_s
        self._known: OrderedDict[str, None] = OrderedDict()

    async def told(self, event: RoomEvent) -> None:
        """Act on a webhook; a repeated one changes nothing. Raises: RecordsUnavailable, RoomsUnavailable."""
        if event.id in self._known:
            return
        if event.kind == "participant_joined" and event.of_person:
            await self._begin(event.room)
        elif event.kind == "room_finished":
            await self._end(event.room)
        self._known[event.id] = None  # only now: a failed one is sent again
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def look_for_ever(self) -> None:
        """Poll for what webhooks did not tell. That a room has ended is noticed by the source that listens in it."""
        while True:
            try:
                for room, people in (await self._rooms.rooms()).items():
                    if people:
                        await self._look_at(room)
            except (RoomsUnavailable, RecordsUnavailable) as error:
                log.warning("rooms were not looked at: %s", error)
            await asyncio.sleep(self._look_every_s)

    async def _look_at(self, room: str) -> None:
        try:
            await self._begin(room)
        except RecordsUnavailable:
            raise
        except Exception:  # of one room: the others are looked at all the same
            log.exception("transcription cannot begin", extra={"session": room})

    async def _begin(self, room: str) -> None:
        if self._transcriptions.run_of(room) is not None:
            return
        session = await self._sessions.by_slug(room)
        if session is None or session.is_over:
            return  # a room of something else, or a session that is over
        last = await self._records.newest(room)
        if not begins_by_itself(None if last is None else (last.state, last.stop_reason)):
            return
        try:
            started = await self._steer.start(StartRequest(room) if last is None else again(last))
            if started.created:
                log.info("people are in the room: transcription begins", extra={"session": room})
        except SessionError as error:
            if error.title == TranscriptionOff.title:
                return  # as configured, here or where it was to begin: not worth a line at every look
            log.warning("transcription cannot begin: %s", error, extra={"session": room})

    async def _end(self, room: str) -> None:
        last = await self._records.newest(room)
        if last is None or last.is_stopped or last.source != "livekit" or room in await self._rooms.rooms(room):
            return  # the webhook may be of an earlier call in a room of the same name
        try:
            await self._steer.stop(room, wait=False, reason=ROOM_OVER)
        except SessionError as error:
            log.warning("transcription was not stopped with its room: %s", error, extra={"session": room})
