"""One open connection to a watcher: a WebSocket, or an HTTP answer that goes on as server-sent events."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final, Protocol

import aiohttp
from aiohttp import HttpVersion11, web

from gateway.live import events, protocol
from gateway.live.framing import Framing, Message, in_frame
from gateway.live.hub import SWEEP_S, Watcher
from gateway.live.protocol import CloseCode

HEARTBEAT_S: Final = 15.0
PING_S: Final = 20.0
_CLIENT_MESSAGE_BYTES: Final = 4096  # the stream is one-way; a client has nothing long to say
_NOTSENT_LOWAT: Final = 16 * 1024
_UNHEARD_MS: Final = 30_000
CLOSE_S: Final = 2.0
BY_WATCHER: Final = "by_watcher"


class Line(Protocol):
    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def framing(self) -> Framing: ...

    @property
    def heartbeat(self) -> bytes | None:
        """What is written every HEARTBEAT_S; None when nothing is."""

    async def listen(self, watcher: Watcher) -> str:
        """Until the connection ends. Returns: why, when nobody here ended it, in a word fit for a metric's label."""

    def look(self) -> None:
        """Once a second: has the watcher gone?"""

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        """Say why, within a bounded time. `goodbye` is for connections without a close code."""


class SocketLine:
    """A WebSocket. `beats`: its page cannot see pings and asked for a message now and then."""

    __slots__ = ("_response", "heartbeat", "transport")
    framing = staticmethod(in_frame)

    def __init__(self, response: web.WebSocketResponse, transport: asyncio.Transport, *, beats: bool) -> None:
        self.transport = transport
        self.heartbeat = protocol.text_frame(protocol.BEAT) if beats else None
        self._response = response

    @classmethod
    async def open(cls, request: web.Request, ping_s: float = PING_S) -> SocketLine:
        """`ping_s` after the last sign of life it is asked for one, and half of that later given up.

        Raises: ConnectionError when the watcher has gone already.
        """
        response = web.WebSocketResponse(
            protocols=(protocol.SUBPROTOCOL,),
            heartbeat=ping_s,
            max_msg_size=_CLIENT_MESSAGE_BYTES,
            compress=False,
            timeout=CLOSE_S,
        )
        transport = transport_of(request)
        await response.prepare(request)
        return cls(response, transport, beats=request.query.get("beat") == "1")

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    async def listen(self, watcher: Watcher) -> str:
        """A watcher has nothing to say: text is ignored, binary is refused."""
        why = BY_WATCHER
        while True:
            message = await self._response.receive()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    watcher.close(CloseCode.NOT_TEXT)
                case aiohttp.WSMsgType.ERROR:
                    why = _fault(message.data)
                case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                    return why

    def look(self) -> None:
        """`listen` sees it."""

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                await self._response.close(code=code, message=close_reason(why))
                await _emptied(self.transport)
        let_go(self.transport)


class EventLine:
    """Server-sent events. Only writing shows whether somebody is there: hence the comment now and then."""

    def __init__(self, response: web.StreamResponse, transport: asyncio.Transport, *, chunked: bool) -> None:
        self.transport = transport
        self.framing: Framing = events.in_chunk if chunked else events.in_event
        self.heartbeat = events.chunk(events.HEARTBEAT) if chunked else events.HEARTBEAT
        self._response = response
        self._ended = asyncio.Event()

    @classmethod
    async def open(cls, request: web.Request) -> EventLine:
        """Raises: ConnectionError when the watcher has gone already."""
        response = web.StreamResponse(
            headers={
                "Content-Type": events.MEDIA_TYPE,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would hold the events back
            }
        )
        response.force_close()
        transport = transport_of(request)
        await response.prepare(request)
        await response.write(events.RETRY)
        return cls(response, transport, chunked=request.version >= HttpVersion11)

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    async def listen(self, watcher: Watcher) -> str:
        await self._ended.wait()
        return BY_WATCHER

    def look(self) -> None:
        if self.transport.is_closing():
            self._ended.set()

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                if goodbye is not None and not self.transport.is_closing():
                    self.transport.write(goodbye.framed(self.framing))
                await _emptied(self.transport)
        let_go(self.transport)
        self._ended.set()


def _fault(error: object) -> str:
    match error:
        case aiohttp.WebSocketError(code=aiohttp.WSCloseCode.MESSAGE_TOO_BIG):
            return "too_big"
        case aiohttp.WebSocketError():
            return "not_websocket"
        case TimeoutError():
            return "no_pong"
        case _:
            return BY_WATCHER


def let_go(transport: asyncio.Transport) -> None:
    """A peer that does not read would keep a closed connection, and its buffer, for ever."""
    if transport.get_write_buffer_size():
        transport.abort()


async def _emptied(transport: asyncio.Transport) -> None:
    while transport.get_write_buffer_size():
        await asyncio.sleep(SWEEP_S)


def transport_of(request: web.Request) -> asyncio.Transport:
    """The connection's own, set so that a watcher who does not read is noticed after seconds, not minutes."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the watcher has gone")
    raw = transport.get_extra_info("socket")
    for name, value in (
        ("TCP_NOTSENT_LOWAT", _NOTSENT_LOWAT),  # the kernel holds little, so the backlog shows here
        ("TCP_USER_TIMEOUT", _UNHEARD_MS),  # a peer that vanished, or takes nothing, is given up
    ):
        option = getattr(socket, name, None)
        if raw is not None and option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
    return transport


def close_reason(text: str) -> bytes:
    """A close frame has room for 123 bytes of UTF-8 (RFC 6455, 5.5)."""
    return text.encode(errors="replace")[:120].decode(errors="ignore").encode()
