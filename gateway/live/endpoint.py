"""The live stream's endpoint: the life of one watcher's connection, from the door to its end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from gateway.errors import SessionNotFound
from gateway.live import credentials, events, websocket
from gateway.live.address import Network
from gateway.live.channel import ReadPast
from gateway.live.door import Door, DoorPolicy, handshake
from gateway.live.foreign import Foreign
from gateway.live.hub import SWEEP_S, Hub
from gateway.live.lines import (
    BY_WATCHER,
    CLOSE_S,
    HEARTBEAT_S,
    PING_S,
    EventLine,
    HandedOver,
    Line,
    SocketLine,
    Times,
)
from gateway.live.pace import Pace
from gateway.live.protocol import NO_EPOCH, SUBPROTOCOL, CloseCode, ResumePoint, parse_since
from gateway.live.slots import Limits, Slot
from gateway.live.translated import Translated
from gateway.live.watcher import Reading, Watcher
from gateway.outage import RecordsUnavailable
from gateway.transcription.usecases.watch import NoSuchLanguage, Watched, Watching

log = logging.getLogger(__name__)

RETURNS_PER_S: Final = 500
"""Watchers that are sent back are asked to return so many a second: `retry=MS` in the close reason."""
CROWD_MS: Final = 50
"""A crowd that needs less to return needs not be told."""
_LOOK_S: Final = 1.0
READS_PER_S: Final = 50.0
"""Reads of history from the database, by one process: the others of a crowd wait, most of them for the same read."""
_ASK_S: Final = 30.0
_ASK_AT_ONCE: Final = 20
_REASONS: Final = {
    CloseCode.DRAINING: "the gateway is restarting; come back",
    CloseCode.TOO_SLOW: "too far behind; come back with since",
    CloseCode.TOO_MANY: "too many watchers; come back later",
    CloseCode.CREDENTIAL_REFUSED: "the credential has expired",
    CloseCode.NO_SUCH_SESSION: "no such session",
    CloseCode.SESSION_ENDED: "the session has ended and everything was sent",
    CloseCode.MALFORMED: "the request is malformed",
    CloseCode.INTERNAL: "the gateway failed; its log has the details",
    CloseCode.NOT_TEXT: "this stream takes no binary messages",
}


@dataclass(slots=True)
class LiveCounts:
    """Connections refused or ended, by reason: fixed words, fit for a metric's label."""

    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """`trusted_proxies`, `belongs`: as `DoorPolicy`. `ask_s`: how often watched sessions are looked up."""

    allowed_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    trusted_proxies: tuple[Network, ...] = ()
    heartbeat_s: float = HEARTBEAT_S
    ping_s: float = PING_S
    ask_s: float = _ASK_S
    belongs: Callable[[credentials.Access, str], Awaitable[bool]] | None = None


class _Connection:
    """One watcher's. `code`: why it was ended here; None while it was not."""

    __slots__ = ("_end", "code", "ended", "expiry", "line", "proof", "slot", "slug", "watcher")
    watcher: Watcher
    ended: asyncio.Future[str]

    def __init__(
        self, line: Line, slug: str, slot: Slot, proof: bytes, end: Callable[[_Connection, CloseCode], None]
    ) -> None:
        self.line = line
        self.slug = slug
        self.slot = slot
        self.proof = proof
        self.expiry: asyncio.TimerHandle | None = None
        self.code: CloseCode | None = None
        self._end = end

    def close(self, code: CloseCode) -> None:
        if self.code is None:
            self.code = code
            self._end(self, code)


class LiveEndpoint:
    """Owns every watcher's connection. `close` ends them all. `policy` is for the endpoints beside it."""

    def __init__(
        self,
        hub: Hub,
        watching: Watching,
        check: Callable[[str | None], Awaitable[credentials.Access]],
        own_origin: Callable[[], str],
        options: LiveOptions,
        foreign: Foreign | None = None,
    ) -> None:
        """`foreign`: keeps sessions up to date that run on other replicas; without it they are as they were found."""
        self.counts = LiveCounts()
        self.policy = DoorPolicy(
            watching, check, own_origin, options.allowed_origins, options.trusted_proxies, options.belongs
        )
        self._door = Door(self.policy, options.limits, self.counts.refused, self._elsewhere)
        self._hub = hub
        self._watching = watching
        self._foreign = foreign
        self._options = options
        self._times = Times(options.heartbeat_s, options.ping_s)
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()  # WebSockets; server-sent events are served in their request
        self.translated = Translated(hub, watching.translations)
        """Must run."""
        self._pace = Pace(READS_PER_S, time.monotonic)
        self._ending: set[asyncio.Task[None]] = set()
        self._idled: set[str] = set()  # sessions that are run here no more, or ended, since the last look
        self._has_idled = asyncio.Event()
        hub.on_idle = self._idles
        self._spread_ms = 0  # within which those that are sent back are asked to return

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/realtime/transcribe`: WebSocket or server-sent events, for any credential of the session.

        Answers 101, 200, or 204 when an EventSource comes back to a session that has nothing more for it; 426 for
        requests of neither kind. Refused as the door says.
        """
        is_socket = websocket.is_upgrade(request.headers)
        if not is_socket and events.MEDIA_TYPE not in request.headers.get("Accept", ""):
            raise web.HTTPUpgradeRequired(
                text="this is a stream; connect by WebSocket, or send Accept: text/event-stream",
                headers={"Upgrade": "websocket"},
            )
        try:
            self._door.check_origin(request)
            self._door.check_offer(request, SUBPROTOCOL)
            since, newest = _since(request), _newest(request)
            access, watched = await self._door.identify(request)
            reads = await self._reads(request, watched, since)
            if not is_socket and since is not None and await self._is_done(watched, since, reads):
                return web.Response(status=204)  # an EventSource comes back until it is told this
            answer = handshake(request, SUBPROTOCOL) if is_socket else None
            slot = self._door.enter(request, watched.slug)
        except Exception as error:
            refusal = self._door.refuse(request, error)
            if refusal is None:
                raise
            page = SocketLine.take_over(request, handshake(request, SUBPROTOCOL), self._times)
            await page.end(*refusal)
            return HandedOver()
        try:
            line = await self._open(request, answer)
        except BaseException:
            slot.release()
            raise
        wants = {name for name in ("epochs", "voids", "timing") if request.query.get(name) == "1"}
        connection = self._begin(line, watched.slug, access, slot, wants, reads)
        serving = self._serve(connection, watched, since, newest)
        if isinstance(line, EventLine):
            await serving
            return line.response
        task = asyncio.create_task(serving, name="watcher")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return HandedOver()

    async def beat(self) -> None:
        """Pings, heartbeats, and a look at who has gone. Runs until cancelled."""
        clock = asyncio.get_running_loop().time
        every = min(_LOOK_S, self._times.ping_s, self._times.heartbeat_s)
        while True:
            await asyncio.sleep(every)
            now = clock()
            for connection in self._connections:
                if now >= connection.line.due:
                    connection.line.tick(now)

    async def end_finished(self) -> None:
        """Follow sessions that others run, and close the watchers of those that end. Runs until cancelled.

        The app ends sessions in its own tables, so the tables are asked: as soon as a session is run here no more or is
        ended here, and each `ask_s` where none runs. While they do not answer, with every look.
        """
        clock = asyncio.get_running_loop().time
        due: dict[tuple[str, bool], float] = {}  # anew when a run elsewhere has said its last word
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._has_idled.wait()
            self._has_idled.clear()
            fresh, self._idled = self._idled, set()
            idle = [(slug, self._has_all(slug)) for slug in self._hub.idle()]
            due = {key: 0.0 if key[0] in fresh else due.get(key, 0.0) for key in idle}
            now = [key for key in idle if clock() >= due[key]]
            for some in (now[at : at + _ASK_AT_ONCE] for at in range(0, len(now), _ASK_AT_ONCE)):
                again_s = await asyncio.gather(*(self._ask(slug) for slug, _ in some))
                if all(pause_s is None for pause_s in again_s):
                    break
                due |= {key: clock() + (pause_s or 0.0) for key, pause_s in zip(some, again_s, strict=True)}

    def _idles(self, slug: str) -> None:
        self._idled.add(slug)
        self._has_idled.set()

    async def _ask(self, slug: str) -> float | None:
        """Returns: in how many seconds to ask again; None when the database does not answer."""
        try:
            code = await self._over(slug)
        except RecordsUnavailable:
            return None
        is_done = code is None or self._hub.runs_here(slug) or self._hub.end(slug, code)
        return self._options.ask_s if is_done else 0.0

    async def _over(self, slug: str) -> CloseCode | None:
        """With what the session's watchers are to be closed; None while it is not over. Raises: RecordsUnavailable."""
        try:
            watched = await self._watching.session(slug)
        except SessionNotFound:
            return CloseCode.NO_SUCH_SESSION
        if not watched.is_over:
            await self._refresh(watched)  # another replica may have begun an epoch
        elif self._has_all(slug):
            await self.translated.finish(slug)
        return CloseCode.SESSION_ENDED if watched.is_over and self._has_all(slug) else None

    async def _refresh(self, watched: Watched, since: ResumePoint | None = None) -> None:
        """The channel of a session that does not run here, as it stands. Raises: RecordsUnavailable."""
        if self._foreign is not None:
            await self._foreign.follow(watched.slug, watched.session_id, since)
        else:
            await self._watching.refresh(watched, self._hub)

    def _elsewhere(self, slug: str) -> int:
        """Watchers of a session on other replicas."""
        if self._hub.runs_here(slug):
            return self._hub.watching_elsewhere(slug)
        return self._foreign.elsewhere(slug) if self._foreign is not None else 0

    def _has_all(self, slug: str) -> bool:
        """Whether no more words come of a session that is over."""
        return not self._hub.runs_here(slug) and (self._foreign is None or self._foreign.has_all(slug))

    def revoke(self, proofs: frozenset[bytes]) -> None:
        """Close those whose credential is good no more: a secret has been taken out. `proofs`: of `Secrets`."""
        for connection in list(self._connections):
            if connection.proof and connection.proof not in proofs:
                connection.watcher.close(CloseCode.CREDENTIAL_REFUSED)

    async def close(self) -> None:
        """Admit no more, close every watcher with 4000, and wait for the close frames, at most CLOSE_S + 1 s."""
        self._door.is_draining = True
        self._spread_ms = self._hub.counts.watchers * 1_000 // RETURNS_PER_S
        self._hub.close_all(CloseCode.DRAINING)
        if goodbyes := self._ending | self._serving:
            await asyncio.wait(goodbyes, timeout=CLOSE_S + 1)
        for task in self._serving:
            task.cancel()

    # --- one connection -----------------------------------------------------------------------------------

    async def _open(self, request: web.Request, answer: bytes | None) -> SocketLine | EventLine:
        """Raises: ConnectionError when the watcher has gone already."""
        if answer is not None:
            return SocketLine.take_over(request, answer, self._times)
        return await EventLine.open(request, self._times)

    def _begin(
        self,
        line: Line,
        slug: str,
        access: credentials.Access,
        slot: Slot,
        wants: Collection[str],
        reads: Reading | None,
    ) -> _Connection:
        loop = asyncio.get_running_loop()
        connection = _Connection(line, slug, slot, access.proof, self._end)
        watcher = self._hub.join(
            slug,
            line.transport,
            connection.close,
            line.framing,
            line.descriptor,
            crosses_epochs="epochs" in wants,
            takes_voids="voids" in wants,
            reads=reads,
            is_timed="timing" in wants,
        )
        connection.watcher = watcher
        connection.ended = line.attach(watcher)
        if access.expires_at is not None:
            left = max(access.expires_at - time.time(), 0.0)
            connection.expiry = loop.call_later(left, watcher.close, CloseCode.CREDENTIAL_REFUSED)
        self._connections.add(connection)
        return connection

    async def _serve(
        self, connection: _Connection, watched: Watched, since: ResumePoint | None, newest: int | None
    ) -> None:
        why = BY_WATCHER
        session_id = watched.session_id
        self.translated.add(connection.slug, session_id, connection.watcher)
        try:
            await self._catch_up(connection, watched, since, newest)
            del watched, since  # a watcher stays for hours, so what it no longer needs goes
            why = await connection.ended
        except ConnectionError:
            pass  # the watcher has gone
        except Exception:
            log.exception("a watcher of %s was lost to an error", connection.slug)
            connection.watcher.close(CloseCode.INTERNAL)
        finally:
            self.translated.remove(connection.slug, session_id, connection.watcher)
            self._leave(connection, why)

    async def _catch_up(
        self, connection: _Connection, watched: Watched, since: ResumePoint | None, newest: int | None
    ) -> None:
        watcher = connection.watcher
        try:
            await self._refresh(watched, since)
            channel = self._hub.channel(connection.slug)
            await channel.catch_up(watcher, since, self._reader(watched), newest, ended=watched.is_over)
        except RecordsUnavailable:
            watcher.close(CloseCode.DRAINING)  # nothing was lost: it resumes where it was
            return
        if watched.is_over and self._has_all(connection.slug):
            while not (watcher.has_all or watcher.gone):
                await asyncio.sleep(SWEEP_S)
            watcher.close(CloseCode.SESSION_ENDED)
        if self._door.is_draining:
            watcher.close(CloseCode.DRAINING)

    def _reader(self, watched: Watched) -> ReadPast:
        read = self._watching.reader(watched)

        async def in_turn(after: int, limit: int) -> list[tuple[int, bytes]]:
            await self._pace.turn()
            return await read(after, limit)

        return in_turn

    def _end(self, connection: _Connection, code: CloseCode) -> None:
        reason, retry_ms = _REASONS[code], 0
        if code is CloseCode.DRAINING:
            # A session's watchers are mostly sent back together: its owner has changed, or the database is away.
            session_ms = self._hub.watching(connection.slug) * 1_000 // RETURNS_PER_S
            if (within_ms := max(self._spread_ms, session_ms)) >= CROWD_MS:
                retry_ms = random.randrange(within_ms) + 1  # noqa: S311 - nobody gains by guessing it
        goodbye = self._hub.channel(connection.slug).goodbye(code, reason) if code >= 4500 else None
        task = asyncio.ensure_future(connection.line.end(code, reason, goodbye, retry_ms))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _leave(self, connection: _Connection, why: str) -> None:
        if connection.expiry is not None:
            connection.expiry.cancel()
        self._connections.discard(connection)
        self._hub.leave(connection.slug, connection.watcher)
        del connection.watcher  # it refers to the connection
        connection.slot.release()
        if connection.code is not None:
            self.counts.closed[connection.code.name.lower()] += 1
        else:
            self.counts.closed[why] += 1
            connection.line.drop()

    async def _reads(self, request: web.Request, watched: Watched, since: ResumePoint | None) -> Reading | None:
        """The language that is asked for. Raises: HTTPBadRequest, RecordsUnavailable."""
        language = request.query.get("lang")
        if language is None:
            return None
        try:
            await self._watching.check_language(watched.session_id, language)
        except NoSuchLanguage as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return Reading(language, since.translation if since is not None else 0)

    async def _is_done(self, watched: Watched, since: ResumePoint, reads: Reading | None) -> bool:
        """Whether everything that will ever be said in this session was said up to that point."""
        if not watched.is_over or self._hub.runs_here(watched.slug):
            return False
        if reads is not None and await self._watching.translations(watched.session_id, reads.language, reads.has, 1):
            return False
        return (since.epoch, since.seq) == (await self._watching.end(watched) or (NO_EPOCH, 0))


async def sweep(hub: Hub) -> None:
    """Watchers that lag are sent on what they can take. Runs until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_S)
        hub.flush_lagging()


def _since(request: web.Request) -> ResumePoint | None:
    """An EventSource that comes back sends the newer point in the header. Raises: HTTPBadRequest."""
    given = request.headers.get("Last-Event-ID") or request.query.get("since")
    if not given:
        return None
    try:
        return parse_since(given, translated="lang" in request.query)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def _newest(request: web.Request) -> int | None:
    """Of how many finals of the past a reader wants to hear. Raises: HTTPBadRequest."""
    given = request.query.get("newest")
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 9):
        raise web.HTTPBadRequest(text="newest must be a whole number: of how many finals of the past to begin with")
    return int(given)
