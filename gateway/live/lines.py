"""One open connection to a watcher: a WebSocket, or an HTTP answer that goes on as server-sent events."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from aiohttp import HttpVersion11, web

from gateway.live import events, websocket
from gateway.live.audience import NO_DESCRIPTOR
from gateway.live.protocol import BEAT, CloseCode, Framing, Message
from gateway.live.watcher import BEHIND_BYTES, Watcher
from gateway.live.websocket import BadFrame, ClientFrames, FrameBudget, MessageTooBig, Opcode, TooManyFrames, in_frame

HEARTBEAT_S: Final = 15.0
PING_S: Final = 20.0
CLOSE_S: Final = 2.0
BY_WATCHER: Final = "by_watcher"
_NOTSENT_LOWAT: Final = 16 * 1024
UNREAD_S: Final = 30.0
_LINGER_S: Final = 0.5
_POLL_S: Final = 0.05
_BEAT: Final = websocket.text_frame(BEAT)
# A watcher need not send anything; some ping.
FRAMES_PER_S: Final = 100
FRAMES_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Times:
    """`ping_s`: how often a WebSocket is pinged. `heartbeat_s`: how often those get a message who see no pings."""

    heartbeat_s: float = HEARTBEAT_S
    ping_s: float = PING_S


@runtime_checkable
class Counted(Protocol):
    """An HTTP connection that its listener counts until it ends."""

    def hand_over(self) -> tuple[Callable[[], None], bytes]:
        """The connection goes on without HTTP.

        Returns: to be called once, when it has ended; and what has come behind the request, which is no HTTP any more.
        """


@runtime_checkable
class Metered(Protocol):
    """An HTTP connection that counts the frames of the WebSocket that it has become."""

    def when_flooded(self, tell: Callable[[str], None]) -> None:
        """`tell` is called, at most once, when more frames have come than any honest client sends; with a sentence.

        From then on nothing of what the client sends is read.
        """


_WHY: Final[dict[type[BadFrame], str]] = {MessageTooBig: "too_big", TooManyFrames: "too_many_frames"}


class Line(Protocol):
    """What the endpoint needs of a connection, whatever its kind."""

    @property
    def transport(self) -> asyncio.Transport:
        """The same for as long as the connection lives."""

    @property
    def framing(self) -> Framing:
        """What messages become on it; the same function for all connections of a kind."""

    @property
    def descriptor(self) -> int:
        """Of the socket, where frames may be written past the transport; else NO_DESCRIPTOR."""

    @property
    def due(self) -> float:
        """When `tick` wants to be called, by the event loop's clock."""

    def attach(self, watcher: Watcher) -> asyncio.Future[str]:
        """To be called once. Returns: done when the connection has ended, with a metric's label for why."""

    def tick(self, now: float) -> None:
        """Send pings and heartbeats that are due, and give up a watcher that has gone. Never waits."""

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None, retry_ms: int = 0) -> None:
        """Say why, then close, within CLOSE_S. `goodbye` is for connections without a close code. `retry_ms`: one of a
        crowd is asked to stay away so long. Raises nothing.
        """

    def drop(self) -> None:
        """Close without a word, and without waiting for a peer that does not read. May be repeated."""


class SocketLine(asyncio.Protocol):
    """A WebSocket that has its connection to itself: of the HTTP request that it came as nothing is kept.

    An aiohttp WebSocket keeps request, parser, queue, writer and two tasks for as long as it is open, 16 KB for a pong
    now and then. `beats`: its page cannot see pings and asked for a message now and then.
    """

    __slots__ = (
        "_beat_at",
        "_budget",
        "_counted",
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
        self._budget = FrameBudget(FRAMES_PER_S, FRAMES_AT_ONCE)
        self._frames: ClientFrames | None = ClientFrames(self._budget)  # until nothing more is to be understood
        self._watcher: Watcher | None = None
        self._ended: asyncio.Future[str] = loop.create_future()
        self._why = BY_WATCHER
        self._counted: Callable[[], None] | None = None
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
        former, early = request.protocol, b""
        if isinstance(former, Counted):
            line._counted, early = former.hand_over()
        transport.set_protocol(line)
        former.transport = None  # else it would close the connection, now that it loses it
        former.connection_lost(None)
        if early:
            line.data_received(early)  # frames of a client that has not waited for our answer
        transport.resume_reading()  # aiohttp pauses it when the client sends much before it has our answer
        return line

    @property
    def descriptor(self) -> int:
        """Open until `connection_lost` has returned, in asyncio as in uvloop."""
        raw = self.transport.get_extra_info("socket")
        if raw is None or self.transport.get_extra_info("sslcontext") is not None or os.name == "nt":
            return NO_DESCRIPTOR
        descriptor: int = raw.fileno()
        return descriptor

    def attach(self, watcher: Watcher) -> asyncio.Future[str]:
        """A watcher has nothing to say: text is ignored, binary is refused."""
        self._watcher = watcher
        if self._frames is None:
            watcher.stop()  # a close frame has gone out already
        return self._ended

    def tick(self, now: float) -> None:
        """A ping each `ping_s`; a client that has sent nothing half of that later is given up."""
        if now >= self._beat_at:
            self._beat_at = now + self._times.heartbeat_s
            if not self.transport.get_write_buffer_size():
                self._write(_BEAT)
        if now >= self._ping_at:
            if not self._is_asked:
                self._write(websocket.PING)
            elif not self._was_heard:
                self._why = "no_pong"
                self.transport.abort()
            self._is_asked, self._was_heard = not self._is_asked, False
            self._ping_at = now + self._times.ping_s / 2
        self.due = min(self._ping_at, self._beat_at)

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None, retry_ms: int = 0) -> None:
        """Send a close frame, and give the client CLOSE_S to answer it."""
        self._say_close(code, f"{why}; retry={retry_ms}" if retry_ms else why)
        await asyncio.wait((self._ended,), timeout=CLOSE_S)
        self.drop()

    def drop(self) -> None:
        """See `Line`."""
        self.transport.close()
        abort_unsent(self.transport)

    # --- asyncio.Protocol: what comes -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Called by the transport. What no client may send ends the connection with 1002, 1008 or 1009."""
        self._was_heard = True
        if self._frames is None:
            return
        self._budget.earn(asyncio.get_running_loop().time())
        try:
            for opcode, payload in self._frames.feed(data):
                self._frame(opcode, payload)
        except BadFrame as error:
            self._frames = None
            self._why = _WHY.get(type(error), "not_websocket")
            self._say_close(error.code, str(error))
            if self._watcher is not None:
                self._watcher.stop()  # after the close frame nothing may follow
            # What else comes is read and thrown away for a moment: a connection with unread data ends in a reset,
            # which would overtake the close frame.
            asyncio.get_running_loop().call_later(_LINGER_S, self.drop)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the transport, once. Until it returns the descriptor is open; then another socket may get it."""
        if not self._ended.done():
            self._ended.set_result(self._why)
        if self._watcher is not None:
            self._watcher.stop()
        self._watcher = None
        if self._counted is not None:
            self._counted()
            self._counted = None

    def _frame(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.BINARY:
            if self._watcher is not None:
                self._watcher.close(CloseCode.NOT_TEXT)
        elif opcode is Opcode.PING:
            if self.transport.get_write_buffer_size() < BEHIND_BYTES:  # a client that does not read gets no pong
                self._write(websocket.control_frame(Opcode.PONG, payload))
        elif opcode is Opcode.CLOSE:
            self._frames = None
            if self._watcher is not None:
                self._watcher.stop()  # after the close frame nothing may follow
            if not self._has_said_close:
                self._write(websocket.control_frame(Opcode.CLOSE, payload[:2]))
            self.transport.close()

    def _say_close(self, code: int, why: str) -> None:
        if not self._has_said_close:
            self._has_said_close = True
            self._write(websocket.close_frame(code, why))

    def _write(self, data: bytes) -> None:
        if self._watcher is not None:
            self._watcher.leave_fast_path()
        if not self.transport.is_closing():
            self.transport.write(data)


class HandedOver(web.StreamResponse):
    """The answer of a request whose connection has gone over to a SocketLine: said already, so nothing is sent."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the handshake's answer is out."""
        return

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the connection goes on."""


class EventLine:
    """Server-sent events. Only a write shows whether the client is still there: hence a comment now and then."""

    due = 0.0  # always: nothing else tells that the connection is lost
    descriptor = NO_DESCRIPTOR  # its transport is the HTTP library's

    def __init__(
        self, response: web.StreamResponse, transport: asyncio.Transport, times: Times, *, chunked: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport
        self.framing: Framing = events.in_chunk if chunked else events.in_event
        self.response = response
        self._framed = events.chunk if chunked else bytes
        self._heartbeat = self._framed(events.HEARTBEAT)
        self._heartbeat_s = times.heartbeat_s
        self._beat_at = loop.time() + times.heartbeat_s
        self._ended: asyncio.Future[str] = loop.create_future()

    @classmethod
    async def open(cls, request: web.Request, times: Times) -> EventLine:
        """Send the answer's head. Raises: ConnectionError when the watcher has gone already."""
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
        await response.write(events.retry())
        return cls(response, transport, times, chunked=request.version >= HttpVersion11)

    def attach(self, watcher: Watcher) -> asyncio.Future[str]:
        """See `Line`. The watcher is not needed: nothing but the hub and `tick` writes, both through the transport."""
        return self._ended

    def tick(self, now: float) -> None:
        """A comment each `heartbeat_s`, unless bytes are on their way anyhow."""
        if self.transport.is_closing():
            self._end()
        elif now >= self._beat_at:
            self._beat_at = now + self._heartbeat_s
            if not self.transport.get_write_buffer_size():
                self.transport.write(self._heartbeat)

    def drop(self) -> None:
        """See `Line`. The HTTP library closes the connection when the handler returns."""
        abort_unsent(self.transport)

    async def end(self, code: CloseCode, why: str, goodbye: Message | None = None, retry_ms: int = 0) -> None:
        """Send the goodbye where there is one, and wait up to CLOSE_S until the client has taken everything."""
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                if goodbye is not None and not self.transport.is_closing():
                    self.transport.write(goodbye.framed(self.framing))
                if retry_ms and not self.transport.is_closing():
                    self.transport.write(self._framed(events.retry(retry_ms)))
                await _emptied(self.transport)
        abort_unsent(self.transport)
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(BY_WATCHER)


def abort_unsent(transport: asyncio.Transport) -> None:
    """A peer that does not read would keep a closed connection, and its buffer, for ever."""
    if transport.get_write_buffer_size():
        transport.abort()


async def _emptied(transport: asyncio.Transport) -> None:
    while transport.get_write_buffer_size():
        await asyncio.sleep(_POLL_S)


def transport_of(request: web.Request) -> asyncio.Transport:
    """The connection's own, set so that a peer that does not read is noticed after seconds, not minutes.

    Raises: ConnectionResetError when the client has gone already.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    _set(transport, "TCP_NOTSENT_LOWAT", _NOTSENT_LOWAT)  # the kernel holds little, so the backlog shows here
    give_up_unread(transport, UNREAD_S)
    return transport


def give_up_unread(transport: asyncio.Transport, seconds: float) -> None:
    """A peer that has vanished, or takes nothing of what it was sent for so long, loses its connection (Linux)."""
    _set(transport, "TCP_USER_TIMEOUT", round(seconds * 1000))


def _set(transport: asyncio.Transport, name: str, value: int) -> None:
    raw, option = transport.get_extra_info("socket"), getattr(socket, name, None)
    if raw is not None and option is not None:
        raw.setsockopt(socket.IPPROTO_TCP, option, value)
