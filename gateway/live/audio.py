"""Audio in over WebSockets: the life of one sender's connection, from the door to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

import aiohttp
from aiohttp import web

from gateway import names
from gateway.live import audio_protocol, credentials, websocket
from gateway.live.audio_protocol import SUBPROTOCOL, Gap, Pause, Resume, Stop, WrongMessage
from gateway.live.carried import OwnerGone, Owners, OwnerSilent, carry
from gateway.live.door import Door, DoorPolicy, refused_as
from gateway.live.lines import CLOSE_S, Metered, abort_unsent, transport_of
from gateway.live.protocol import CloseCode
from gateway.live.slots import Limits
from gateway.names import NameRefused
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.usecases.feed import (
    Ending,
    Feed,
    Feeding,
    FeedStart,
    IdentityRefused,
    NotTaken,
    TakenElsewhere,
)
from gateway.transcription.usecases.watch import Watched

log = logging.getLogger(__name__)

# 0.7 s of 48 kHz stereo, 8 s of 8 kHz mono.
MESSAGE_BYTES: Final = 128 * 1024
ACK_S: Final = 1.0
# Between two changes of one sender's pause: each is stored and told to all watchers. The next one waits.
PAUSE_EVERY_S: Final = 1.0
# Senders wait 5 s for an answer; whoever is overdue has lost its lease in less, and is followed in a moment.
SUCCESSION_S: Final = 4.0
_LOOK_S: Final = 0.25
# Messages of one sender that are taken without a look at anybody else; a queue of tiny ones holds a thousand.
_IN_A_ROW: Final = 64
_ENDED: Final = {
    Ending.STOPPED: CloseCode.SESSION_ENDED,
    Ending.REPLACED: CloseCode.TAKEN_OVER,
    Ending.MOVED: CloseCode.DRAINING,
}
_REASONS: Final = {code.value: code.name.lower() for code in CloseCode}
# What the session's health says of a sender that the door refused, by the door's word for it. Anybody may knock there,
# so it quotes nothing of the request.
_AT_THE_DOOR: Final = {
    "origin": "its page is of an origin that may not connect; see GATEWAY_ALLOWED_ORIGINS",
    "credential": "its credential is missing, wrong or has expired; fetch a fresh one",
    "forbidden": "its credential is for another session, or does not allow publishing a microphone",
    "malformed": f"it must offer the subprotocol {SUBPROTOCOL} together with its token's",
    "too_many": "too many senders are connected; see GATEWAY_MAX_SENDERS",
    "too_many_of_session": "too many senders are connected to this session; see GATEWAY_MAX_SENDERS_PER_SESSION",
    "too_many_from_address": "too many senders are connected from its address; see GATEWAY_MAX_SENDERS_PER_ADDRESS",
    "database": "the database does not answer; it is asked to come back",
}


@dataclass(slots=True)
class AudioCounts:
    """Since the process began. `refused` and `closed` by reason: fixed words, fit for a metric's label."""

    connected: int = 0
    carried: int = 0  # to another replica
    messages: int = 0
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """`limits`: of connections. `heartbeat_s`: a sender that has sent nothing for that long is pinged, and given up
    when it has not answered half of that later. `start_s`: how long it may take to send its first message.
    """

    limits: Limits = field(default_factory=lambda: Limits(1_000, 100, 200))
    heartbeat_s: float = 20.0
    start_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Coming:
    """A sender who has been let in. `speaker` is found out once the connection is open."""

    slug: str
    speaker: Callable[[], Awaitable[Speaker | None]]
    expires_at: float | None = None
    owners: Owners | None = None
    """Where its audio may be carried on to; None: it has been carried here already."""
    proof: bytes = b""
    """As in `Access`; empty: another replica has checked the credential, and watches it."""


class AudioEndpoint:
    """Owns every sender's connection. `close` ends them all."""

    def __init__(
        self,
        feeding: Feeding,
        policy: DoorPolicy,
        options: AudioOptions | None = None,
        owners: Owners | None = None,
    ) -> None:
        """`owners`: other replicas that transcribe; None: there are none."""
        self.counts = AudioCounts()
        self._owners = owners
        self._feeding = feeding
        self._options = options or AudioOptions()
        self._door = Door(policy, self._options.limits, self.counts.refused)
        self._lines: set[_Line] = set()
        self._newest: WeakValueDictionary[tuple[str, str], _Line] = WeakValueDictionary()  # by session and identity

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._lines)

    async def speak(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/realtime/audio`: a WebSocket for any credential of the session that may publish a microphone.

        Answers 101, or 426 for requests of another kind. Refused as the door says.
        """
        if not websocket.is_upgrade(request.headers):
            raise web.HTTPUpgradeRequired(text="send audio by WebSocket", headers={"Upgrade": "websocket"})
        try:
            self._door.check_origin(request)
            self._door.check_offer(request, SUBPROTOCOL)
            access, watched = await self._door.identify(request)
            if not access.may_speak:
                raise credentials.Forbidden("this LiveKit token does not allow publishing a microphone")
            slot = self._door.enter(request, watched.slug)
        except Exception as error:
            refusal = self._door.refuse(request, error)
            if (why := _AT_THE_DOOR.get(refused_as(error))) is not None:
                self._feeding.turned_away(request.query.get("session", ""), None, why)
            if refusal is None:
                raise
            page = await _Line.open(request, self._options)
            await page.end(*refusal)
            return page.response
        with slot:
            return await self._open(
                request,
                _Coming(
                    watched.slug,
                    lambda: self._speaker(request, watched, access),
                    access.expires_at,
                    self._owners,
                    access.proof,
                ),
            )

    async def carried(self, request: web.Request) -> web.StreamResponse:
        """The same for a sender on another replica, which has let it in: `session`, `identity` and `name` are believed.

        Raises: NotAdmitted while this one shuts down; TakenElsewhere when the audio is not taken here either;
        RecordsUnavailable.
        """
        self._door.check_open()
        query = request.query
        slug, identity = query.get("session", ""), query.get("identity")
        if not self._feeding.takes(slug) and (owner := await self._feeding.owner(slug)) is not None:
            raise TakenElsewhere(owner)
        speaker = Speaker(identity, query.get("name")) if identity else None

        async def known() -> Speaker | None:
            return speaker

        return await self._open(request, _Coming(slug, known))

    async def _open(self, request: web.Request, coming: _Coming) -> web.WebSocketResponse:
        line = await _Line.open(request, self._options)
        line.proof = coming.proof
        if isinstance(request.protocol, Metered):
            request.protocol.when_flooded(lambda why: line.refuse(CloseCode.TOO_MANY_FRAMES, why))
        self._lines.add(line)
        self.counts.connected += 1
        try:
            await self._serve(line, coming)
        except ConnectionError:
            pass  # the sender has gone
        finally:
            self._lines.discard(line)
            self.counts.closed[line.ended_with] += 1
            if line.ending is not None:
                await line.ending
        return line.response

    def revoke(self, proofs: frozenset[bytes]) -> None:
        """Close those whose credential is good no more, as `LiveEndpoint.revoke`."""
        for line in list(self._lines):
            if line.proof and line.proof not in proofs:
                line.refuse(CloseCode.CREDENTIAL_REFUSED, "the credential has expired")

    async def close(self) -> None:
        """Admit no more, close every sender with 4000 after a last ack, and wait for that, at most CLOSE_S + 1 s."""
        self._door.is_draining = True
        for line in list(self._lines):
            line.close(CloseCode.DRAINING, "the gateway is restarting; come back")
        endings = [line.ending for line in self._lines if line.ending is not None]
        if endings:
            await asyncio.wait(endings, timeout=CLOSE_S + 1)

    # --- one connection -----------------------------------------------------------------------------------

    async def _serve(self, line: _Line, coming: _Coming) -> None:
        speaker: Speaker | None = None

        def refuse(code: CloseCode, why: Exception | str) -> None:
            line.close(code, str(why))
            self._feeding.turned_away(coming.slug, speaker.identity if speaker else None, str(why))

        line.refuse = refuse
        expiry = None
        if coming.expires_at is not None:
            left = max(coming.expires_at - time.time(), 0.0)
            expiry = asyncio.get_running_loop().call_later(
                left, refuse, CloseCode.CREDENTIAL_REFUSED, "the credential has expired"
            )
        try:
            speaker = await coming.speaker()
            first = await self._first(line)
            if first is None:
                return
            start, text = first
            line.feed = await self._enter(line, coming, speaker, start, text)
            if line.feed is None:
                return
            log.info("audio connected", extra={"session": coming.slug, "identity": speaker and speaker.identity})
            await line.response.send_str(audio_protocol.ready(line.feed.taken if start.stream else None))
            await self._take(line, line.feed, coming.slug)
        except NotTaken as error:
            refuse(CloseCode.DRAINING if error.come_back else CloseCode.SESSION_ENDED, error)
        except (WrongMessage, NameRefused, ValueError) as error:
            refuse(CloseCode.WRONG_AUDIO, error)
        except (IdentityRefused, credentials.Forbidden) as error:
            refuse(CloseCode.CREDENTIAL_REFUSED, error)
        except OwnerGone as error:
            line.close(CloseCode.DRAINING, str(error))
        except RecordsUnavailable:
            refuse(CloseCode.DRAINING, "the database does not answer; come back")
        except ConnectionError:
            raise
        except Exception:
            log.exception("a sender of %s was lost to an error", coming.slug)
            refuse(CloseCode.INTERNAL, "the gateway failed; its log has the details")
        finally:
            if expiry is not None:
                expiry.cancel()
            if line.feed is not None:
                line.feed.leave(for_good=line.is_done)

    async def _enter(
        self, line: _Line, coming: _Coming, speaker: Speaker | None, start: FeedStart, first: str
    ) -> Feed | None:
        """The way in here; None when all was carried to the owner. The next owner of one that is dying is waited for.

        Raises: as `Feeding.enter` and `_carry`.
        """
        at = time.monotonic()
        until = at + SUCCESSION_S
        if speaker is not None:
            self._newest[coming.slug, speaker.identity] = line
        while line.ending is None and not line.is_gone:
            if speaker is not None and self._newest.get((coming.slug, speaker.identity)) is not line:
                # Held still, while its sender has come again: it must not end that one.
                line.close(CloseCode.TAKEN_OVER, "another connection of this identity has taken over")
                return None
            try:
                return await self._feeding.enter(coming.slug, speaker, start, line.over)
            except TakenElsewhere as error:
                if coming.owners is None:
                    raise
                owner = error.owner
            try:
                await self._carry(line, coming.owners, owner, coming.slug, speaker, first)
                return None
            except OwnerSilent:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_LOOK_S)
            before, at = at, time.monotonic()
            start, first = audio_protocol.aged(start, first, at - before)
        return None

    async def _speaker(self, request: web.Request, watched: Watched, access: credentials.Access) -> Speaker | None:
        """Raises: Forbidden, IdentityRefused, NameRefused, RecordsUnavailable."""
        wanted, name = names.identity(request.query.get("identity")), names.name(request.query.get("name"))
        if access.is_service:
            return Speaker(wanted, name) if wanted else None
        own = access.subject
        if not own:
            raise credentials.Forbidden("the token names nobody; it needs a sub")
        if access.room is not None:
            if wanted not in (None, own):
                raise credentials.Forbidden("a room's token speaks as its own identity only")
            if not access.is_vouched:
                await self._feeding.check_owner(watched.session_id, own, access.user_id)
            speaker = Speaker(own, access.name or name)
        else:
            known = await self._feeding.own_identity(watched.session_id, own, wanted)
            speaker = Speaker(known.identity, known.name or access.name or name)
        is_guest = not access.is_vouched and access.user_id is None
        await self._feeding.check_room(watched.session_id, speaker.identity, guest=is_guest)
        return speaker

    async def _carry(
        self, line: _Line, owners: Owners, owner: str, slug: str, speaker: Speaker | None, first: str
    ) -> None:
        """All that the sender says goes to the owner, and its answers come back. When the owner changes, the sender is
        told to come back, and goes on with its stream from what was acknowledged. Raises: OwnerGone, ConnectionError.
        """
        query = {"session": slug}
        if speaker is not None:
            query |= {"identity": speaker.identity, **({"name": speaker.name} if speaker.name else {})}
        async with owners.speak(owner, query) as there:
            log.info("audio carried to its owner", extra={"session": slug, "owner": owner})
            self.counts.carried += 1
            try:
                await carry(line.response, there, first, self._count, line.close)
            finally:
                self.counts.carried -= 1

    def _count(self, audio: bytes) -> None:
        self.counts.messages += 1
        self.counts.bytes += len(audio)

    async def _first(self, line: _Line) -> tuple[FeedStart, str] | None:
        """The message that everything begins with, read and as it came; None when the sender has gone."""
        try:
            message = await line.response.receive(timeout=self._options.start_s)
        except TimeoutError:
            raise WrongMessage("no start message came") from None
        if message.type is aiohttp.WSMsgType.TEXT:
            said = audio_protocol.read(message.data)
            if isinstance(said, FeedStart):
                return said, message.data
        elif message.type is not aiohttp.WSMsgType.BINARY:
            return None
        raise WrongMessage('the first message must be {"type":"start","sampleRate":…,"channels":…}')

    async def _take(self, line: _Line, feed: Feed, slug: str) -> None:
        """Until the sender stops or the connection ends."""
        acks = asyncio.create_task(_acknowledge(line, feed), name="audio acks")
        in_a_row, paused_at = 0, -PAUSE_EVERY_S
        try:
            async for message in line.response:
                in_a_row = (in_a_row + 1) % _IN_A_ROW
                if not in_a_row:
                    await asyncio.sleep(0)
                if line.ended_with == "too_many_frames":
                    return  # what has come is not read before the close frame goes out
                if message.type is aiohttp.WSMsgType.BINARY:
                    feed.put(message.data)
                    self._count(message.data)
                    await feed.room()
                elif message.type is aiohttp.WSMsgType.TEXT:
                    said = audio_protocol.read(message.data)
                    if isinstance(said, FeedStart):
                        raise WrongMessage("a connection is started once")
                    if isinstance(said, Gap):
                        feed.skip(said.ms / 1000)
                    if isinstance(said, Pause | Resume):
                        await asyncio.sleep(paused_at + PAUSE_EVERY_S - time.monotonic())
                        paused_at, is_paused = time.monotonic(), isinstance(said, Pause)
                        await self._feeding.pause(slug, feed, is_paused=is_paused)
                        await line.response.send_str(audio_protocol.paused(is_paused=is_paused))
                    if isinstance(said, Stop):
                        line.is_done = True
                        line.close(CloseCode.NORMAL, "")
                        return
                elif message.type is aiohttp.WSMsgType.ERROR:  # closed with 1009 or 1002 already
                    raise WrongMessage(
                        f"a message of more than {MESSAGE_BYTES // 1024} KiB, or no valid frame; send 20 to 200 ms each"
                    )
        finally:
            acks.cancel()


async def _acknowledge(line: _Line, feed: Feed) -> None:
    with suppress(ConnectionError):
        while True:
            await asyncio.sleep(ACK_S)
            await line.response.send_str(audio_protocol.ack(feed.taken))


class _Line:
    """One sender's connection."""

    def __init__(self, response: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.response = response
        self.feed: Feed | None = None
        self.proof = b""  # of the credential
        self.is_done = False  # the sender has said stop
        self.ended_with = "by_sender"
        self.ending: asyncio.Task[None] | None = None
        self.refuse: Callable[[CloseCode, str], None] = self.close  # and the session's health says so
        self._transport = transport

    @classmethod
    async def open(cls, request: web.Request, options: AudioOptions) -> _Line:
        """Raises: ConnectionError when the sender has gone already."""
        response = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=options.heartbeat_s,
            max_msg_size=MESSAGE_BYTES,
            compress=False,
            timeout=CLOSE_S,
        )
        transport = transport_of(request)
        await response.prepare(request)
        return cls(response, transport)

    @property
    def is_gone(self) -> bool:
        """Its sender is not there any more; of one that is held, nobody reads that."""
        return self.response.closed or self._transport.is_closing()

    def over(self, why: str, ending: Ending) -> None:
        """The feed has ended under us."""
        self.close(_ENDED[ending], why)

    def close(self, code: int, why: str) -> None:
        """Say so in the background. The first reason stands."""
        if self.ending is None:
            self.ended_with = _REASONS.get(code, "other")
            self.ending = asyncio.create_task(self.end(code, why), name="audio goodbye")

    async def end(self, code: int, why: str) -> None:
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                if self.feed is not None and not self.response.closed:
                    await self.response.send_str(audio_protocol.ack(self.feed.taken))
                await self.response.close(code=code, message=websocket.close_reason(why))
        abort_unsent(self._transport)
