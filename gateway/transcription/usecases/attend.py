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
from gateway.transcription.domain.transcription import ROOM_OVER, StartRequest, begins_by_itself
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.transcriptions import Transcriptions, again

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 15.0
_REMEMBERED: Final = 10_000  # ids of webhooks; the server repeats one within a minute


class RoomsUnavailable(Exception):
    """The media server cannot be asked now. The text says what to do."""


class WebhookRefused(Exception):
    """Not signed by our media server, or changed on the way."""


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """What a webhook tells. `of_person`: about somebody who can speak, neither a recorder nor an agent."""

    id: str
    kind: str
    room: str
    identity: str
    of_person: bool
    name: str | None = None


class Rooms(Protocol):
    async def rooms(self, *names: str) -> dict[str, int]:
        """People in each existing room (of these names, or in all). Raises: RoomsUnavailable."""


class Attendance:
    """Starts a session's transcription when people are in its room, unless somebody has stopped it.

    Webhooks make it quick, looking makes it certain: they get lost when the gateway is down.
    """

    def __init__(
        self, transcriptions: Transcriptions, records: Records, rooms: Rooms, *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._transcriptions = transcriptions
        self._records = records
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
        """What webhooks did not tell. A room that has ended is noticed by whoever listens in it."""
        while True:
            try:
                for room, people in (await self._rooms.rooms()).items():
                    if people:
                        await self._begin(room)
            except (RoomsUnavailable, RecordsUnavailable) as error:
                log.warning("rooms were not looked at: %s", error)
            await asyncio.sleep(self._look_every_s)

    async def _begin(self, room: str) -> None:
        if self._transcriptions.run_of(room) is not None:
            return
        session = await self._records.session(room)
        if session is None or session.status in ("ENDED", "EXPIRED"):
            return  # a room of something else, or a session that is over
        last = await self._records.transcription(room)
        if not begins_by_itself(None if last is None else (last.state, last.stop_reason)):
            return
        try:
            await self._transcriptions.start(StartRequest(room) if last is None else again(last))
            log.info("people are in the room: transcription begins", extra={"session": room})
        except TranscriptionOff:
            return  # as somebody wants it: nothing to be told again and again
        except SessionError as error:
            log.warning("transcription cannot begin: %s", error, extra={"session": room})

    async def _end(self, room: str) -> None:
        run = self._transcriptions.run_of(room)
        # The webhook may be of an earlier call in a room of the same name.
        if run is not None and run.claimed.source == "livekit" and room not in await self._rooms.rooms(room):
            run.stop(ROOM_OVER)
