"""One open connection to a watcher: a WebSocket, or an HTTP answer that goes on as server-sent events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import HttpVersion11, web

from gateway.live import events, protocol
from gateway.live.audience import APART
from gateway.live.client_frames import ClientFrames, Misframed, Opcode, TooBig
from gateway.live.framing import Framing, Message, in_frame
from gateway.live.hub import BEHIND_BYTES, SWEEP_S, Watcher
from gateway.live.protocol import CloseCode

HEARTBEAT_S: Final = 15.0
PING_S: Final = 20.0
_NOTSENT_LOWAT: Final = 16 * 1024
_UNHEARD_MS: Final = 30_000
CLOSE_S: Final = 2.0
_LINGER_S: Final = 0.5
BY_WATCHER: Final = "by_watcher"
_BEAT: Final = protocol.text_frame(protocol.BEAT)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Times:
    """`ping_s`: how often a WebSocket is asked for a sign of life. `heartbeat_s`: for those who see no pings."""

    heartbeat_s: float = HEARTBEAT_S
    ping_s: float = PING_S


class Line(Protocol):
    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def framing(self) -> Framing: ...

    @property
    def descriptor(self) -> int:
        """Of the socket, where frames may be written past the transport; APART where that will not do."""

    @property
    def due(self) -> float:
        """When `look` wants to be called, by the event loop's clock."""

    def listen(self, watcher: Watcher) -> asyncio.Future[str]:
        """Done when the connection has ended: why, when nobody here ended it, in a word fit for a metric's label."""

    def look(self, now: float) -> None:
        """Has the watcher gone? Heartbeats."""

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        """Say why, within a bounded time. `goodbye` is for connections without a close code."""

    def drop(self) -> None:
        """Nobody listens any more."""


class SocketLine(asyncio.Protocol):
    """A WebSocket that has its connection to itself: of the HTTP request that it came as nothing is kept.

    An aiohttp WebSocket keeps request, parser, queue, writer and two tasks for as long as somebody watches, 16 KB for a
    pong now and then. `beats`: its page cannot see pings and asked for a message now and then.
    """

    __slots__ = (
        "_beat_at",
        "_ended",
        "_frames",
        "_has_said_close",
        "_is_asked",
        "_ping_at",
        "_times",
        "_was_heard",
        "_watcher",
        "_why",
        "due",
        "transport",
    )
    framing = staticmethod(in_frame)

    def __init__(self, transport: asyncio.Transport, times: Times, *, beats: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport
        self._times = times
        self._frames: ClientFrames | None = ClientFrames()  # until nothing more is to be understood
        self._watcher: Watcher | None = None
        self._ended: asyncio.Future[str] = loop.create_future()
        self._why = BY_WATCHER
        self._has_said_close = False
        self._is_asked = self._was_heard = False
        self._ping_at = loop.time() + times.ping_s
        self._beat_at = loop.time() + times.heartbeat_s if beats else math.inf
        self.due = min(self._ping_at, self._beat_at)

    @classmethod
    def take_over(cls, request: web.Request, answer: bytes, times: Times) -> SocketLine:
        """Send the handshake's answer. The request's handler has nothing to send any more: it returns `HandedOver`.

        Raises: ConnectionError when the watcher has gone already.
        """
        transport = transport_of(request)
        transport.write(answer)
        line = cls(transport, times, beats=request.query.get("beat") == "1")
        former = request.protocol
        transport.set_protocol(line)
        former.transport = None  # else it would close the connection, now that it loses it
        former.connection_lost(None)
        transport.resume_reading()  # whoever said much before it had our answer is not read any more
        return line

    @property
    def descriptor(self) -> int:
        """Open until `connection_lost` has returned, in asyncio as in uvloop."""
        raw = self.transport.get_extra_info("socket")
        if raw is None or self.transport.get_extra_info("sslcontext") is not None or os.name == "nt":
            return APART
        descriptor: int = raw.fileno()
        return descriptor

    def listen(self, watcher: Watcher) -> asyncio.Future[str]:
        """A watcher has nothing to say: text is ignored, binary is refused."""
        self._watcher = watcher
        return self._ended

    def look(self, now: float) -> None:
        """A ping each `ping_s`; whoever has not said a word half of that later is given up."""
        if now >= self._beat_at:
            self._beat_at = now + self._times.heartbeat_s
            if not self.transport.get_write_buffer_size():
                self._write(_BEAT)
        if now >= self._ping_at:
            if not self._is_asked:
                self._write(protocol.PING)
            elif not self._was_heard:
                self._why = "no_pong"
                self.transport.abort()
            self._is_asked, self._was_heard = not self._is_asked, False
            self._ping_at = now + self._times.ping_s / 2
        self.due = min(self._ping_at, self._beat_at)

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        self._say_close(code, why)
        await asyncio.wait((self._ended,), timeout=CLOSE_S)
        self.drop()

    def drop(self) -> None:
        self.transport.close()
        let_go(self.transport)

    # --- asyncio.Protocol: what comes -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        if self._frames is None:
            return
        try:
            for opcode, payload in self._frames.feed(data):
                self._frame(opcode, payload)
        except Misframed as error:
            self._frames = None
            self._why = "too_big" if isinstance(error, TooBig) else "not_websocket"
            self._say_close(error.code, str(error))
            if self._watcher is not None:
                self._watcher.forget()  # after the close frame nothing may follow
            # What else comes is read and thrown away for a moment: a connection with unread data ends in a reset,
            # which would overtake the close frame.
            asyncio.get_running_loop().call_later(_LINGER_S, self.drop)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(self._why)
        if self._watcher is not None:
            self._watcher.forget()  # the descriptor is somebody else's soon
        self._watcher = None

    def _frame(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.BINARY:
            if self._watcher is not None:
                self._watcher.close(CloseCode.NOT_TEXT)
        elif opcode is Opcode.PING:
            if self.transport.get_write_buffer_size() < BEHIND_BYTES:  # who does not read gets none
                self._write(protocol.control_frame(Opcode.PONG, payload))
        elif opcode is Opcode.CLOSE:
            self._frames = None
            if self._watcher is not None:
                self._watcher.forget()  # after the close frame nothing may follow
            if not self._has_said_close:
                self._write(protocol.control_frame(Opcode.CLOSE, payload[:2]))
            self.transport.close()

    def _say_close(self, code: int, why: str) -> None:
        if not self._has_said_close:
            self._has_said_close = True
            self._write(protocol.control_frame(Opcode.CLOSE, code.to_bytes(2, "big") + close_reason(why)))

    def _write(self, data: bytes) -> None:
        if self._watcher is not None:
            self._watcher.step_out()
        if not self.transport.is_closing():
            self.transport.write(data)


class HandedOver(web.StreamResponse):
    """The answer of a request whose connection has gone over to a SocketLine: said already, so nothing is sent."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def handshake(request: web.Request) -> bytes:
    """The whole answer to a WebSocket's request (RFC 6455, 4.2). Raises: HTTPBadRequest."""
    given = request.headers
    if given.get("Sec-WebSocket-Version") != "13":
        raise web.HTTPBadRequest(
            text="only version 13 of the WebSocket protocol is spoken", headers={"Sec-WebSocket-Version": "13"}
        )
    if "upgrade" not in [word.strip().lower() for word in given.get("Connection", "").split(",")]:
        raise web.HTTPBadRequest(text="a WebSocket's request has Connection: Upgrade; is there a proxy that drops it?")
    key = given.get("Sec-WebSocket-Key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        is_key = False
    if not is_key:
        raise web.HTTPBadRequest(text="Sec-WebSocket-Key must be 16 bytes in base64")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Server: gateway"]
    head.append(f"Sec-WebSocket-Accept: {accept}")
    if protocol.SUBPROTOCOL in [name.strip() for name in given.get("Sec-WebSocket-Protocol", "").split(",")]:
        head.append(f"Sec-WebSocket-Protocol: {protocol.SUBPROTOCOL}")
    return "\r\n".join([*head, "", ""]).encode()


class EventLine:
    """Server-sent events. Only writing shows whether somebody is there: hence the comment now and then."""

    due = 0.0  # always: nobody else says that the connection is gone
    descriptor = APART  # its transport is the HTTP library's

    def __init__(
        self, response: web.StreamResponse, transport: asyncio.Transport, times: Times, *, chunked: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport
        self.framing: Framing = events.in_chunk if chunked else events.in_event
        self.response = response
        self._heartbeat = events.chunk(events.HEARTBEAT) if chunked else events.HEARTBEAT
        self._heartbeat_s = times.heartbeat_s
        self._beat_at = loop.time() + times.heartbeat_s
        self._ended: asyncio.Future[str] = loop.create_future()

    @classmethod
    async def open(cls, request: web.Request, times: Times) -> EventLine:
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
        return cls(response, transport, times, chunked=request.version >= HttpVersion11)

    def listen(self, watcher: Watcher) -> asyncio.Future[str]:
        return self._ended

    def look(self, now: float) -> None:
        if self.transport.is_closing():
            self._end()
        elif now >= self._beat_at:
            self._beat_at = now + self._heartbeat_s
            if not self.transport.get_write_buffer_size():
                self.transport.write(self._heartbeat)

    def drop(self) -> None:
        let_go(self.transport)

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None) -> None:
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                if goodbye is not None and not self.transport.is_closing():
                    self.transport.write(goodbye.framed(self.framing))
                await _emptied(self.transport)
        let_go(self.transport)
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(BY_WATCHER)


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
