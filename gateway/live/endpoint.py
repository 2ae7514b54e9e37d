"""The live stream: who may watch, and the life of one watcher's connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from gateway.errors import SessionNotFound
from gateway.live import credentials, events
from gateway.live.address import Network, client_address
from gateway.live.hub import SWEEP_S, Hub, Watcher
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
    handshake,
)
from gateway.live.places import Crowded, Limits, Place, Places
from gateway.live.protocol import NO_EPOCH, SUBPROTOCOL, CloseCode, ResumePoint, offered_token, parse_since
from gateway.outage import RecordsUnavailable
from gateway.transcription.usecases.watch import Watched, Watching

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_ASK_S: Final = 30.0


@dataclass(slots=True)
class LiveCounts:
    """Connections refused or ended, by reason: fixed words, fit for a metric's label."""

    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """`trusted_proxies`: whose X-Forwarded-For is believed. `ask_s`: how often watched sessions are looked up."""

    allowed_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    trusted_proxies: tuple[Network, ...] = ()
    heartbeat_s: float = HEARTBEAT_S
    ping_s: float = PING_S
    ask_s: float = _ASK_S


class _Visit:
    """One watcher's stay. `code`: why it was ended here."""

    __slots__ = ("_end", "code", "ended", "expiry", "line", "place", "slug", "watcher")
    watcher: Watcher
    ended: asyncio.Future[str]

    def __init__(self, line: Line, slug: str, place: Place, end: Callable[[_Visit, CloseCode], None]) -> None:
        self.line = line
        self.slug = slug
        self.place = place
        self.expiry: asyncio.TimerHandle | None = None
        self.code: CloseCode | None = None
        self._end = end

    def close(self, code: CloseCode) -> None:
        if self.code is None:
            self.code = code
            self._end(self, code)


class LiveEndpoint:
    """Owns every watcher's connection. `close` ends them all. `check`: finds out what a credential is."""

    def __init__(
        self,
        hub: Hub,
        watching: Watching,
        check: Callable[[str | None], Awaitable[credentials.Access]],
        own_origin: Callable[[], str],
        options: LiveOptions,
    ) -> None:
        self.counts = LiveCounts()
        self.check = check
        self._hub = hub
        self._watching = watching
        self._own_origin = own_origin
        self._options = options
        self._places = Places(options.limits)
        self._times = Times(options.heartbeat_s, options.ping_s)
        self._lines: set[Line] = set()
        self._serving: set[asyncio.Task[None]] = set()  # WebSockets; server-sent events are served in their request
        self._ending: set[asyncio.Task[None]] = set()
        self._draining = False

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/realtime/transcribe`.

        A program is refused with an HTTP status. A page with a WebSocket is told by a close code instead, because a
        browser hides the status of a refused WebSocket from it; pages are recognised by their `Origin`.
        """
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if not is_socket and events.MEDIA_TYPE not in request.headers.get("Accept", ""):
            raise web.HTTPUpgradeRequired(
                text="this is a stream; connect by WebSocket, or send Accept: text/event-stream",
                headers={"Upgrade": "websocket"},
            )
        origin = request.headers.get("Origin")
        try:
            self.check_origin(request)
        except credentials.WrongOrigin:
            self.counts.refused["origin"] += 1
            raise
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if SUBPROTOCOL not in offered and offered_token(offered) is not None:
            # A browser gives up when none of its offers is chosen, and aiohttp would log them, the token among them.
            self.counts.refused["malformed"] += 1
            raise web.HTTPBadRequest(text=f"offer {SUBPROTOCOL} together with the token's subprotocol")
        try:
            since = _since(request)
            access = await self.check(token_of(request, offered))
            watched = await self._watching.session(request.query.get("session", ""))
            access.check_session(watched.slug, watched.space_id)
            if not is_socket and since is not None and await self._is_done(watched, since):
                return web.Response(status=204)  # an EventSource comes back until it is told this
            if self._draining:
                raise Crowded(CloseCode.DRAINING, "the gateway is shutting down; come back in a moment", "draining")
            answer = handshake(request) if is_socket else None
            place = self._places.take(self.address(request), watched.slug)
        except Exception as error:
            reason, code = refusal(error)
            self.counts.refused[reason] += 1
            if not is_socket or origin is None or code is None:
                raise
            page = SocketLine.take_over(request, handshake(request), self._times)
            await page.end(code, error.text or "" if isinstance(error, web.HTTPException) else str(error))
            return HandedOver()
        line: SocketLine | EventLine
        try:
            if answer is not None:
                line = SocketLine.take_over(request, answer, self._times)
            else:
                line = await EventLine.open(request, self._times)
        except BaseException:
            place.leave()
            raise
        visit = self._begin(line, watched.slug, access, place)
        serving = self._serve(visit, watched, since)
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
            for line in self._lines:
                if now >= line.due:
                    line.look(now)

    async def end_finished(self) -> None:
        """Watchers of a session that ends while they watch are told so. Runs until cancelled.

        The app ends sessions in its own tables, so the tables are asked: as soon as a transcription has stopped here,
        and now and then where none runs.
        """
        clock = asyncio.get_running_loop().time
        due: dict[str, float] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            idle = self._hub.idle()
            due = {slug: due.get(slug, 0.0) for slug in idle}
            for slug in idle:
                if clock() >= due[slug]:
                    code = await self._over(slug)
                    is_done = code is None or self._hub.runs_here(slug) or self._hub.end(slug, code)
                    due[slug] = clock() + (self._options.ask_s if is_done else 0)

    async def _over(self, slug: str) -> CloseCode | None:
        """Why nobody need watch any longer; None while somebody may, or while nobody knows."""
        try:
            watched = await self._watching.session(slug)
            if not watched.is_over:
                await self._watching.refresh(watched, self._hub)  # another replica may have begun an epoch
        except SessionNotFound:
            return CloseCode.NO_SUCH_SESSION
        except RecordsUnavailable:
            return None
        return CloseCode.SESSION_ENDED if watched.is_over else None

    async def close(self) -> None:
        """Tell every watcher to come back later, and wait for the goodbyes."""
        self._draining = True
        self._hub.close_all(CloseCode.DRAINING)
        if goodbyes := self._ending | self._serving:
            await asyncio.wait(goodbyes, timeout=CLOSE_S + 1)
        for task in self._serving:
            task.cancel()

    # --- one connection -----------------------------------------------------------------------------------

    def _begin(self, line: Line, slug: str, access: credentials.Access, place: Place) -> _Visit:
        loop = asyncio.get_running_loop()
        visit = _Visit(line, slug, place, self._end)
        visit.watcher = self._hub.join(slug, line.transport, visit.close, line.framing, line.descriptor)
        visit.ended = line.listen(visit.watcher)
        if access.expires_at is not None:
            left = max(access.expires_at - time.time(), 0.0)
            visit.expiry = loop.call_later(left, visit.watcher.close, CloseCode.CREDENTIAL_REFUSED)
        self._lines.add(line)
        return visit

    async def _serve(self, visit: _Visit, watched: Watched, since: ResumePoint | None) -> None:
        why = BY_WATCHER
        try:
            await self._catch_up(visit, watched, since)
            del watched, since  # a watcher stays for hours, so what it no longer needs goes
            why = await visit.ended
        except ConnectionError:
            pass  # the watcher has gone
        except Exception:
            log.exception("a watcher of %s was lost to an error", visit.slug)
        finally:
            self._leave(visit, why)

    async def _catch_up(self, visit: _Visit, watched: Watched, since: ResumePoint | None) -> None:
        watcher = visit.watcher
        try:
            await self._watching.refresh(watched, self._hub)
            await self._hub.channel(visit.slug).catch_up(watcher, since, self._watching.reader(watched))
        except RecordsUnavailable:
            watcher.close(CloseCode.DRAINING)  # nothing was lost: it resumes where it was
            return
        if watched.is_over and not self._hub.runs_here(visit.slug):
            while watcher.behind and not watcher.gone:
                await asyncio.sleep(SWEEP_S)
            watcher.close(CloseCode.SESSION_ENDED)
        if self._draining:
            watcher.close(CloseCode.DRAINING)

    def _end(self, visit: _Visit, code: CloseCode) -> None:
        reason = _REASONS[code]
        goodbye = self._hub.channel(visit.slug).goodbye(code, reason) if code >= 4500 else None
        task = asyncio.ensure_future(visit.line.end(code, reason, goodbye))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _leave(self, visit: _Visit, why: str) -> None:
        if visit.expiry is not None:
            visit.expiry.cancel()
        self._lines.discard(visit.line)
        self._hub.leave(visit.slug, visit.watcher)
        del visit.watcher  # it refers to the visit
        visit.place.leave()
        if visit.code is not None:
            self.counts.closed[visit.code.name.lower()] += 1
        else:
            self.counts.closed[why] += 1
            visit.line.drop()

    async def _is_done(self, watched: Watched, since: ResumePoint) -> bool:
        """Whether everything that will ever be said in this session was said up to that point."""
        if not watched.is_over or self._hub.runs_here(watched.slug):
            return False
        return (since.epoch, since.seq) == (await self._watching.end(watched) or (NO_EPOCH, 0))

    # --- admission ----------------------------------------------------------------------------------------

    def check_origin(self, request: web.Request) -> None:
        """Raises: WrongOrigin when the request comes from a page that may not use this gateway."""
        origin = request.headers.get("Origin")
        own = {self._own_origin(), f"http://{request.host}", f"https://{request.host}"}
        if origin is not None and origin not in own and not {"*", origin} & set(self._options.allowed_origins):
            raise credentials.WrongOrigin(f"pages from {origin} may not connect; see GATEWAY_ALLOWED_ORIGINS")

    def address(self, request: web.Request) -> str:
        forwarded_for = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote, forwarded_for, self._options.trusted_proxies)


_REASONS: Final = {
    CloseCode.DRAINING: "the gateway is restarting; come back",
    CloseCode.TOO_SLOW: "too far behind; come back with since",
    CloseCode.TOO_MANY: "too many watchers; come back later",
    CloseCode.CREDENTIAL_REFUSED: "the credential has expired",
    CloseCode.NO_SUCH_SESSION: "no such session",
    CloseCode.SESSION_ENDED: "the session has ended and everything was sent",
    CloseCode.MALFORMED: "the request is malformed",
    CloseCode.NOT_TEXT: "this stream takes no binary messages",
}


def refusal(error: Exception) -> tuple[str, CloseCode | None]:
    """A word for the counter, and what a page is told (None: HTTP says it)."""
    match error:
        case credentials.WrongOrigin():
            return "origin", None
        case credentials.Forbidden():
            return "forbidden", CloseCode.CREDENTIAL_REFUSED
        case credentials.CredentialRefused():
            return "credential", CloseCode.CREDENTIAL_REFUSED
        case SessionNotFound():
            return "no_session", CloseCode.NO_SUCH_SESSION
        case Crowded():
            return error.limit, error.code
        case RecordsUnavailable():
            return "database", CloseCode.DRAINING
        case web.HTTPBadRequest():
            return "malformed", CloseCode.MALFORMED
        case _:
            return "malformed", None


def _since(request: web.Request) -> ResumePoint | None:
    """An EventSource that comes back tells the newer point in the header."""
    given = request.headers.get("Last-Event-ID") or request.query.get("since")
    if not given:
        return None
    try:
        return parse_since(given)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def token_of(request: web.Request, offered: list[str]) -> str | None:
    token = credentials.bearer(request.headers.get("Authorization", ""))
    return token or offered_token(offered) or request.query.get("token")
