"""The browser's WebSocket: who may watch, the handshake, and the life of one connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web

from gateway.live import credentials
from gateway.live.hub import SWEEP_S, Crowded, Hub, Watcher
from gateway.live.protocol import SUBPROTOCOL, CloseCode, ResumePoint, offered_token, parse_since
from gateway.sessions.domain.errors import SessionNotFound
from gateway.sessions.usecases.ports import RecordsUnavailable
from gateway.sessions.usecases.watch import Watched, Watching

log = logging.getLogger(__name__)

_HEARTBEAT_S: Final = 20.0
_CLIENT_MESSAGE_BYTES: Final = 4096  # the stream is one-way; a client has nothing long to say
_NOTSENT_LOWAT: Final = 16 * 1024
_CLOSE_S: Final = 2.0


@dataclass(slots=True)
class LiveCounts:
    """Connections refused or ended, by reason: fixed words, fit for a metric's label."""

    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)


class LiveEndpoint:
    """Owns every watcher's connection. `close` ends them all."""

    def __init__(
        self,
        hub: Hub,
        watching: Watching,
        secrets: credentials.Secrets,
        allowed_origins: tuple[str, ...],
        own_origin: Callable[[], str],
        max_watchers: int,
    ) -> None:
        self.counts = LiveCounts()
        self._hub = hub
        self._watching = watching
        self._secrets = secrets
        self._allowed_origins = allowed_origins
        self._own_origin = own_origin
        self._max_watchers = max_watchers
        self._ending: set[asyncio.Task[None]] = set()
        self._draining = False

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/realtime/transcribe`.

        A program is refused with an HTTP status. A page is told by a close code instead, because a browser hides
        the status of a refused WebSocket from it; pages are recognised by their `Origin`.
        """
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPUpgradeRequired(
                text="this is a WebSocket; connect with ws:// or wss://", headers={"Upgrade": "websocket"}
            )
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_allowed(origin, request):
            self.counts.refused["origin"] += 1
            raise credentials.Forbidden(f"pages from {origin} may not use this stream; see GATEWAY_ALLOWED_ORIGINS")
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if SUBPROTOCOL not in offered and offered_token(offered) is not None:
            # A browser gives up when none of its offers is chosen, and aiohttp would log them, the token among them.
            self.counts.refused["malformed"] += 1
            raise web.HTTPBadRequest(text=f"offer {SUBPROTOCOL} together with the token's subprotocol")
        try:
            since = _since(request)
            access = credentials.check(_token(request, offered), self._secrets)
            watched = await self._watching.session(request.query.get("session", ""))
            access.check_session(watched.slug, watched.space_id)
            self._check_room()
        except Exception as error:
            reason, code = _refusal(error)
            self.counts.refused[reason] += 1
            if origin is None or code is None:
                raise
            socket_ = await self._accept(request)
            await self._end(request, socket_, code, str(error))
            return socket_
        response = await self._accept(request)
        await self._serve(request, response, watched, since, access)
        return response

    async def close(self) -> None:
        """Tell every watcher to come back later, and wait for the goodbyes."""
        self._draining = True
        self._hub.close_all(CloseCode.DRAINING)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSE_S + 1)

    # --- one connection -----------------------------------------------------------------------------------

    async def _accept(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=_HEARTBEAT_S,
            max_msg_size=_CLIENT_MESSAGE_BYTES,
            compress=False,
            timeout=_CLOSE_S,
        )
        await response.prepare(request)
        return response

    async def _serve(
        self,
        request: web.Request,
        response: web.WebSocketResponse,
        watched: Watched,
        since: ResumePoint | None,
        access: credentials.Access,
    ) -> None:
        transport = request.transport
        if transport is None:
            return
        _keep_backlog_visible(transport)
        slug = watched.slug
        ended: asyncio.Future[CloseCode] = asyncio.get_running_loop().create_future()

        def close(code: CloseCode) -> None:
            if not ended.done():
                ended.set_result(code)
                task = asyncio.ensure_future(self._end(request, response, code, _REASONS[code]))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

        watcher = self._hub.join(slug, transport, close)
        expiry = None
        if access.expires_at is not None:
            left = max(access.expires_at - time.time(), 0.0)
            expiry = asyncio.get_running_loop().call_later(left, watcher.close, CloseCode.CREDENTIAL_REFUSED)
        try:
            await self._watching.refresh(watched, self._hub)
            channel = self._hub.channel(slug)
            await channel.catch_up(watcher, since, self._watching.reader(watched))
            if watched.is_over and not self._hub.runs_here(slug):
                while watcher.behind and not watcher.gone:
                    await asyncio.sleep(SWEEP_S)
                watcher.close(CloseCode.SESSION_ENDED)
            if self._draining:
                watcher.close(CloseCode.DRAINING)
            await self._listen(response, watcher)
        except RecordsUnavailable:
            watcher.close(CloseCode.DRAINING)  # nothing was lost: it resumes where it was
            await self._listen(response, watcher)
        except ConnectionError:
            pass  # the watcher has gone
        finally:
            if expiry is not None:
                expiry.cancel()
            self._hub.leave(slug, watcher)
            if ended.done():
                self.counts.closed[ended.result().name.lower()] += 1
            else:
                self.counts.closed["by_watcher"] += 1
                _let_go(transport)

    async def _listen(self, response: web.WebSocketResponse, watcher: Watcher) -> None:
        """Until the connection ends. A watcher has nothing to say: text is ignored, binary is refused."""
        async for message in response:
            if message.type is aiohttp.WSMsgType.BINARY:
                watcher.close(CloseCode.NOT_TEXT)

    async def _end(self, request: web.Request, response: web.WebSocketResponse, code: CloseCode, why: str) -> None:
        transport = request.transport
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(_CLOSE_S):
                await response.close(code=code, message=_reason(why))
                while transport is not None and transport.get_write_buffer_size():
                    await asyncio.sleep(SWEEP_S)
        if transport is not None:
            _let_go(transport)

    # --- admission ----------------------------------------------------------------------------------------

    def _is_allowed(self, origin: str, request: web.Request) -> bool:
        own = {self._own_origin(), f"http://{request.host}", f"https://{request.host}"}
        return "*" in self._allowed_origins or origin in self._allowed_origins or origin in own

    def _check_room(self) -> None:
        if self._draining:
            raise Crowded(CloseCode.DRAINING, "the gateway is shutting down; come back in a moment")
        if self._hub.counts.watchers >= self._max_watchers:
            raise Crowded(CloseCode.TOO_MANY, "too many watchers; come back later")


_REASONS: Final = {
    CloseCode.DRAINING: "the gateway is restarting; come back",
    CloseCode.TOO_SLOW: "too far behind; come back with since",
    CloseCode.TOO_MANY: "too many watchers; come back later",
    CloseCode.CREDENTIAL_REFUSED: "the credential has expired",
    CloseCode.NO_SUCH_SESSION: "no such session",
    CloseCode.SESSION_ENDED: "the session has ended and everything was sent",
    CloseCode.NOT_TEXT: "this stream takes no binary messages",
}


def _reason(text: str) -> bytes:
    """A close frame has room for 123 bytes of UTF-8 (RFC 6455, 5.5)."""
    return text.encode(errors="replace")[:120].decode(errors="ignore").encode()


def _let_go(transport: asyncio.WriteTransport) -> None:
    """A peer that does not read would keep a closed connection, and its buffer, for ever."""
    if transport.get_write_buffer_size():
        transport.abort()


def _refusal(error: Exception) -> tuple[str, CloseCode | None]:
    """A word for the counter, and what a page is told (None: HTTP says it)."""
    match error:
        case credentials.Forbidden():
            return "forbidden", CloseCode.CREDENTIAL_REFUSED
        case credentials.CredentialRefused():
            return "credential", CloseCode.CREDENTIAL_REFUSED
        case SessionNotFound():
            return "no_session", CloseCode.NO_SUCH_SESSION
        case Crowded():
            return error.code.name.lower(), error.code
        case RecordsUnavailable():
            return "database", CloseCode.DRAINING
        case _:
            return "malformed", None


def _since(request: web.Request) -> ResumePoint | None:
    given = request.query.get("since")
    if not given:
        return None
    try:
        return parse_since(given)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def _token(request: web.Request, offered: list[str]) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return offered_token(offered) or request.query.get("token")


def _keep_backlog_visible(transport: asyncio.BaseTransport) -> None:
    """Let the kernel hold little, so that a watcher who does not read is noticed after seconds, not minutes."""
    raw = transport.get_extra_info("socket")
    lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if raw is not None and lowat is not None:
        raw.setsockopt(socket.IPPROTO_TCP, lowat, _NOTSENT_LOWAT)
