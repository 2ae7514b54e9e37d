"""One LiveKit server: which rooms it has, what its webhooks say, and the tasks that stay in its rooms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import jwt
from google.protobuf.json_format import ParseError
from livekit import api
from livekit.protocol.models import ParticipantInfo

from gateway import names
from gateway.clock import Clock
from gateway.tasks import Tasks
from gateway.transcription.domain import passes
from gateway.transcription.infra import livekit_tokens
from gateway.transcription.infra.livekit_source import LivekitSource
from gateway.transcription.infra.livekit_tokens import Keys
from gateway.transcription.usecases.attend import RoomEvent, RoomsUnavailable, WebhookRefused
from ingest.errors import RoomTrouble
from ingest.livekit_join import LEAVE_S
from ingest.livekit_room import LivekitRoom, RoomOptions
from ingest.livekit_visit import VisitOptions

log = logging.getLogger(__name__)

_ANSWER_S: Final = 5.0
_NO_ROOM: Final = "is-livekit-there"  # a question for one room costs the server less than one for all
_LAST_MS: Final = 253_402_300_799_999  # of the year 9999
_MACHINES: Final = frozenset({ParticipantInfo.Kind.AGENT, ParticipantInfo.Kind.EGRESS})


@dataclass(frozen=True, slots=True)
class LivekitOptions:
    """`keys`: those in force, asked for at each use: the first signs, all are accepted. `hang_over_s`: silence that is
    still sent to the provider after speech, seconds.
    """

    url: str
    keys: Callable[[], Sequence[Keys]]
    screen_share: bool = False
    captions: bool = True
    empty_room_s: float = 60.0
    hang_over_s: float = 0.8
    unsubscribe_muted_s: float = 0.0


class LivekitServer:
    """Use inside `async with open_livekit()`."""

    def __init__(self, options: LivekitOptions, http: aiohttp.ClientSession, tasks: Tasks) -> None:
        self._options = options
        self._http = http
        self._tasks = tasks

    # --- rooms --------------------------------------------------------------------------------------------

    def listen(self, name: str, fence: int, clock: Clock) -> LivekitSource:
        """The source of a room's participants; its task runs from now on.

        `fence`: of the transcription: owners that follow one another are not in each other's way.
        """
        options = self._options
        room = LivekitRoom(
            name,
            RoomOptions(
                options.url.replace("http", "ws", 1) if options.url.startswith("http") else options.url,
                VisitOptions(options.screen_share, options.captions, options.hang_over_s, options.unsubscribe_muted_s),
                empty_s=options.empty_room_s,
                identity=f"transcriber-{name}-{fence}" if fence > 1 else None,
            ),
            token=lambda identity: livekit_tokens.transcriber(
                options.keys()[0], name, identity, captions=options.captions
            ),
            exists=lambda: self._exists(name),
            spawn=lambda job: self._tasks.start(job, f"room {name}"),
            monotonic=clock.monotonic,
            wall=clock.now,
        )
        self._tasks.start(room.run(), f"room {name}")
        return LivekitSource(room)

    async def _exists(self, name: str) -> bool:
        try:
            return name in await self.rooms(name)
        except RoomsUnavailable as error:
            raise RoomTrouble(str(error)) from error

    async def reaches(self, within_s: float) -> bool:
        """Whether the server answers our key now."""
        try:
            async with asyncio.timeout(within_s):
                await self.rooms(_NO_ROOM)
        except (RoomsUnavailable, TimeoutError):
            return False
        return True

    async def rooms(self, *names: str) -> dict[str, int]:
        """Rooms (of these names, or all) and how many people are in each. Raises: RoomsUnavailable."""
        url = self._options.url
        keys = self._options.keys()[0]
        service = api.LiveKitAPI(url, keys.key, keys.secret, session=self._http, failover=False)
        try:
            listed = await service.room.list_rooms(api.ListRoomsRequest(names=names))
        except api.ServerError as error:
            if error.status in (401, 403):
                raise RoomsUnavailable(
                    f"LiveKit at {url} refuses our key; check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
                ) from error
            raise RoomsUnavailable(
                f"LiveKit at {url} answers: {error.message or error.code}; check LIVEKIT_URL"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RoomsUnavailable(f"LiveKit at {url} cannot be reached; check LIVEKIT_URL") from error
        return {room.name: room.num_participants for room in listed.rooms}

    # --- webhooks -----------------------------------------------------------------------------------------

    def webhook(self, body: bytes, authorization: str) -> RoomEvent:
        """What a webhook says, once its signature and its body's hash are checked. Raises: WebhookRefused."""
        event = _received(self._options.keys(), body, authorization)
        machine = event.participant.kind in _MACHINES or event.participant.permission.hidden
        person = event.participant
        identity = names.cleaned(person.identity)
        return RoomEvent(
            event.id,
            event.event,
            event.room.name,
            identity,
            not machine,
            names.cleaned(person.name) or None,
            is_exact=identity == person.identity,
            bearer=passes.read(dict(person.attributes)),
            sid=person.sid or (f"event {event.id}" if event.event == "participant_joined" else ""),
            joined_ms=min(max(person.joined_at_ms or (person.joined_at or event.created_at) * 1000, 0), _LAST_MS),
        )


def _received(accepted: Sequence[Keys], body: bytes, authorization: str) -> Any:
    """Raises: WebhookRefused."""
    for keys in accepted:
        try:
            receiver = api.WebhookReceiver(api.TokenVerifier(keys.key, keys.secret))
            return receiver.receive(body.decode(), authorization)
        except (jwt.InvalidSignatureError, jwt.InvalidIssuerError):
            continue  # signed with another one
        except (jwt.PyJWTError, UnicodeDecodeError, ParseError) as error:
            raise WebhookRefused("the webhook cannot be read, or is too old") from error
        except Exception as error:  # the SDK raises bare exceptions for a missing or wrong hash
            raise WebhookRefused(f"the webhook was not accepted: {error}") from error
    raise WebhookRefused("the webhook is not signed with our LiveKit key")


@asynccontextmanager
async def open_livekit(options: LivekitOptions) -> AsyncIterator[LivekitServer]:
    """On leaving, rooms have to be closed already; joins that came too late get a moment to be undone."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        asyncio.TaskGroup() as group,
    ):
        tasks = Tasks(group)
        try:
            yield LivekitServer(options, http, tasks)
        finally:
            await tasks.close(LEAVE_S + 1)
