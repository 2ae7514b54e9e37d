"""The provider's WebSocket: one connection, whose messages are handed to a receiver as they come.

Nothing waits here but the beginning and the end: sending is a call, receiving is a callback. The protocol is that of
`websockets`, without its I/O; this module moves the bytes and adds what a client has to decide. Whatever the peer does
ends in a close code or in None, never in an exception of an event loop's callback; an exception of the receiver ends
the connection and is raised by `Socket.over`.
"""

from __future__ import annotations

import asyncio
import re
import socket as stdlib_socket
import ssl
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol, cast

import aiohappyeyeballs
from websockets.exceptions import WebSocketException
from websockets.frames import CLOSE, CONT, PING, PONG, TEXT, Close, CloseCode, Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri
from yarl import URL

from stt.gladia.framing import Wire

UNSENT: Final = 64 * 1024
"""Bytes that may wait for a peer that reads slowly: two seconds of audio. Then nothing more is written."""
HEARTBEAT_S: Final = 20.0
"""A peer that sent nothing for this long is pinged, and must send something within half of it."""
CLOSE_S: Final = 0.5
"""For the peer's half of a close handshake."""
_MOST_SAID: Final = 200  # characters of an error; what a server writes may be in it
_SECOND_ADDRESS_S: Final = 0.25  # a host with several addresses: the next one is tried this much later
_MOST_HEAD: Final = 64 * 1024  # bytes of an answer to the upgrade
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SWITCHING: Final = 101
_WHOLE_PONG: Final = 0x80 | PONG
_OK: Final = Frame(CLOSE, Close(CloseCode.NORMAL_CLOSURE, "").serialize())
_LOCATION: Final = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]+)", re.IGNORECASE)


class Receiver(Protocol):
    """The holder of the connection. Called from the event loop; must not wait."""

    def opened(self, socket: Socket) -> None:
        """Before any message, and before `connect` returns."""

    def received(self, message: str | bytes) -> None:
        """A whole message: text, or bytes from a peer that sends text as binary."""

    def writable(self) -> None:
        """The peer reads again."""


class UpgradeRefused(Exception):
    """The server answered, but not with a WebSocket. `location`: where it redirects to."""

    def __init__(self, status: int, location: str | None = None) -> None:
        super().__init__(f"upgrade answered with HTTP {status}")
        self.status = status
        self.location = location


class NoConnection(Exception):
    """No usable answer, or none at all."""


class Socket(asyncio.Protocol):
    """One connection. Made by `connect`, ended by `close` in any case."""

    def __init__(self, url: URL, receiver: Receiver, *, takes_garbled: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.is_writable = False
        self.problem: str | None = None
        """What was wrong with what the peer sent."""
        self.reason = ""
        """Why the peer closed the connection, in its own words."""
        self.upgraded: asyncio.Future[None] = loop.create_future()
        """Done when the connection is open. Raises: UpgradeRefused, NoConnection."""
        self._wire = Wire(str(url))
        self._receiver = receiver
        self._takes_garbled = takes_garbled
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()  # of the answer to the upgrade
        self._over: asyncio.Future[int | None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._begun: int | None = None  # a message that comes in several frames is under way
        self._so_far = bytearray()
        self._is_cut = False
        self._is_alive = True  # something came since the last look
        self._silent = 0  # looks
        self._call_later = loop.call_later
        self._look: asyncio.TimerHandle | None = None

    # --- for the holder -------------------------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Write it at once. Ask `is_writable` before: what is sent although it is not is held in memory."""
        transport, wire = self._transport, self._wire
        if transport is None or transport.is_closing() or self._over.done() or wire.state is not OPEN:
            return
        if isinstance(message, bytes):
            transport.write(wire.binary(message))
        else:
            wire.send_text(message.encode())
            transport.write(wire.data_to_send()[0])

    async def over(self) -> int | None:
        """Wait for the end. Returns: the close code, None without one. Raises: what the receiver raised."""
        return await self._over

    def leave(self) -> None:
        """No more messages are wanted: `over` returns."""
        self._end(None)

    def fail(self, error: Exception) -> None:
        """Something of ours went wrong: `over` raises it."""
        if not self._over.done():
            self._over.set_exception(error)
            self._end(None)

    def abort(self) -> None:
        """Cut the connection without a close frame, so that the provider keeps the session for a resume."""
        self._end(None)
        self._is_cut = True
        if not self.upgraded.cancel() and not self.upgraded.cancelled():
            self.upgraded.exception()  # it is known, or of no interest any more
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection in order if the peer takes part in it soon, else without it."""
        self._end(None)
        if self._transport is None:
            return
        if not self._is_cut and self._wire.state is OPEN:
            self._wire.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        await asyncio.wait((self._lost,), timeout=CLOSE_S)
        self.abort()

    @property
    def is_unmade(self) -> bool:
        """Whether the event loop has not handed it a transport yet."""
        return self._transport is None

    # --- for the event loop ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP and TLS are up: the upgrade is asked for."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_cut:  # given up while it was being opened
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(UNSENT)
        self._wire.send_request(self._wire.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Whole messages go to the receiver."""
        if self._is_cut:
            return
        if not self.upgraded.done():
            self._answered(data)
            return
        self._is_alive = True
        begin, whole = 0, self._wire.whole_text
        while not self._over.done() and (place := whole(data, begin)) is not None:
            self._message(data[place[0] : place[1]], is_text=True)
            begin = place[1]
        if begin < len(data):
            self._take(data[begin:] if begin else data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is gone: `over` returns None unless a close code came before."""
        self._refuse(NoConnection(str(exc or "closed before it was open")[:_MOST_SAID]))
        self._end(None)
        self._transport = None
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """More than UNSENT bytes wait for the peer."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """The peer has read enough that more may be sent; the receiver is told."""
        if self._over.done() or not self.upgraded.done():
            return
        self.is_writable = True
        try:
            self._receiver.writable()
        except Exception as error:
            self.fail(error)

    # --- the upgrade ----------------------------------------------------------------------------------------

    def _answered(self, data: bytes) -> None:
        """A refusal is read from its head: its body may never end."""
        self._head += data
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _MOST_HEAD:
                self._refuse(NoConnection("no answer of a web server"))
            return
        status = _status(self._head)
        if status != _SWITCHING:
            location = _LOCATION.search(self._head)
            where = location[1].decode("latin-1").strip() if location else None
            no_server = NoConnection("no answer of a web server")
            self._refuse(no_server if status is None else UpgradeRefused(status, where))
            return
        self._wire.upgraded(bytes(self._head))
        self._head.clear()
        if self._wire.handshake_exc is not None:
            self._refuse(NoConnection(str(self._wire.handshake_exc)[:_MOST_SAID]))
            return
        self.upgraded.set_result(None)
        self.is_writable = self._wire.state is OPEN
        self._look = self._call_later(HEARTBEAT_S / 2, self._beat)
        try:
            self._receiver.opened(self)
        except Exception as error:
            self.fail(error)
        self._take(b"")

    def _refuse(self, error: Exception) -> None:
        if not self.upgraded.done():
            self.upgraded.set_exception(error)
            self._is_cut = True
            if self._transport is not None:
                self._transport.abort()

    # --- inside ---------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """What the peer has sent is passed on; what the protocol answers is written."""
        wire = self._wire
        frames = wire.frames(data)
        if wire.state is not OPEN:  # by what is among these frames
            self.is_writable = False
        for frame in frames:
            self._frame(frame)
        if wire.parser_exc is not None and not self._over.done():
            self._violated(str(wire.parser_exc))
        elif wire.writes:
            self._flush()

    def _frame(self, frame: Frame) -> None:
        kind = frame.opcode
        if kind is CLOSE:
            self._closed(frame)
        elif not self._over.done() and kind is not PING and kind is not PONG:
            if kind is TEXT and frame.fin:
                self._message(frame.data, is_text=True)
                return
            if kind is not CONT:
                self._begun = kind
            self._so_far += frame.data
            if frame.fin:
                whole, is_text = self._so_far, self._begun is TEXT
                self._so_far, self._begun = bytearray(), None
                self._message(whole, is_text=is_text)

    def _message(self, data: Any, *, is_text: bool) -> None:
        try:
            message: str | bytes = str(data, "utf-8") if is_text else bytes(data)
        except UnicodeDecodeError:
            if not self._takes_garbled:
                self._wire.fail(CloseCode.INVALID_DATA)
                self._violated("text that is not UTF-8")
                return
            message = bytes(data)
        try:
            self._receiver.received(message)
        except Exception as error:
            self.fail(error)

    def _closed(self, frame: Frame) -> None:
        """The peer's half of the end, the first or the second one."""
        close = Close.parse(frame.data)
        if not self._over.done():
            self.reason = close.reason[:_MOST_SAID]
            self._end(int(close.code) if frame.data else None)
            if not frame.data:
                self._wire.data_to_send()  # an answer without a code
                self._wire.writes.append(_OK.serialize(mask=True))
        self._hang_up()

    def _violated(self, what: str) -> None:
        """The peer broke the protocol; what it is told is written already."""
        self.problem = what[:_MOST_SAID]
        sent = self._wire.close_sent
        self._end(int(sent.code) if sent is not None else None)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close when the rest is written."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        transport = self._transport
        for data in self._wire.data_to_send():
            if transport is None or transport.is_closing() or not data:
                continue
            # A peer that reads slowly gets no more pongs: it is asked for more than it reads.
            if self.is_writable or data[0] != _WHOLE_PONG:
                transport.write(data)

    def _end(self, code: int | None) -> None:
        self.is_writable = False
        if not self._over.done():
            self._over.set_result(code)
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _beat(self) -> None:
        """Every half heartbeat: after two without a frame the peer is pinged, after a third the connection is cut."""
        self._silent = 0 if self._is_alive else self._silent + 1
        self._is_alive = False
        if self._silent == 3:
            self.problem = "no sign of life"
            self.abort()
            return
        if self._silent == 2:
            self._wire.send_ping(b"")
            self._flush()
        self._look = self._call_later(HEARTBEAT_S / 2, self._beat)


async def connect(url: str, receiver: Receiver, *, takes_garbled: bool = False) -> Socket:
    """Open a connection. How long it takes is bounded by the caller.

    `takes_garbled`: a text that is not UTF-8 goes to the receiver as bytes; else it ends the connection (RFC 6455).

    Raises: UpgradeRefused, NoConnection; asyncio.CancelledError, which leaves no connection behind.
    """
    where = _websocket(url)
    for _ in range(_MOST_REDIRECTS):
        try:
            socket = Socket(where, receiver, takes_garbled=takes_garbled)
            return await _open(where, socket)
        except UpgradeRefused as refused:
            if refused.status not in _REDIRECTS or refused.location is None:
                raise
            before, where = where, _websocket(refused.location, beside=where)
            if before.scheme == "wss" != where.scheme:
                raise NoConnection("a redirect to where nothing is encrypted") from None
    raise NoConnection("too many redirects")


async def _open(where: URL, socket: Socket) -> Socket:
    dialled: stdlib_socket.socket | None = None
    is_secure = where.scheme == "wss"
    try:
        addresses = await _addresses(where.host or "", where.port or 0)
        dialled = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_SECOND_ADDRESS_S)
        await asyncio.get_running_loop().create_connection(
            lambda: socket,
            sock=dialled,
            ssl=_trusted() if is_secure else None,
            server_hostname=where.host if is_secure else None,
        )
        await socket.upgraded
    except (OSError, RuntimeError) as error:  # TLS's errors are among the first; uvloop has some of the second
        socket.abort()
        raise NoConnection(str(error)[:_MOST_SAID] or type(error).__name__) from error
    except BaseException:
        socket.abort()
        if dialled is not None and socket.is_unmade:
            with suppress(OSError):
                dialled.shutdown(stdlib_socket.SHUT_RDWR)  # its reader sees the end of the stream and closes it
        raise
    return socket


async def _addresses(host: str, port: int) -> list[Any]:
    wanted = stdlib_socket.SOCK_STREAM
    try:  # a number needs no thread to be looked up in
        return stdlib_socket.getaddrinfo(host, port, type=wanted, flags=stdlib_socket.AI_NUMERICHOST)
    except stdlib_socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=wanted)


def _websocket(url: str, beside: URL | None = None) -> URL:
    """As people write it: an http(s) address names the same place. Raises: NoConnection, without the address."""
    try:
        where = URL(url) if beside is None else beside.join(URL(url))
        where = where.with_scheme({"http": "ws", "https": "wss"}.get(where.scheme, where.scheme)).with_user(None)
        if where.scheme in ("ws", "wss") and where.host:
            parse_uri(str(where))
            return where
    except (ValueError, WebSocketException):
        pass
    raise NoConnection("not the address of a WebSocket")  # which may carry a credential


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, or those that SSL_CERT_FILE names; read once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _status(head: bytes | bytearray) -> int | None:
    """Also the numbers that no document lists, as some proxies use them."""
    line = bytes(head.split(b"\r\n", 1)[0]).split()
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
        return None
    return int(line[1])
