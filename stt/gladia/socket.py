"""The provider's WebSocket: one connection, whose messages are handed to a receiver as they come.

Nothing waits here but the beginning and the end: sending is a call, receiving is a callback. picows does the framing
and the masking; this module adds what a client has to decide. Whatever the peer does ends in a close code or in None,
never in an exception of an event loop's callback; an exception of the receiver ends the connection and is raised by
`Socket.over`.
"""

from __future__ import annotations

import asyncio
import logging
import socket as stdlib_socket
import ssl
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

import aiohappyeyeballs
import picows
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from yarl import URL

LARGEST_MESSAGE: Final = 16 * 1024 * 1024
UNSENT: Final = 64 * 1024
"""Bytes that may wait for a peer that reads slowly: two seconds of audio. Then nothing more is written."""
HEARTBEAT_S: Final = 20.0
"""A peer that sent nothing for this long is pinged, and must send something within half of it."""
CLOSE_S: Final = 0.5
"""For the peer's half of a close handshake."""
_MOST_SAID: Final = 200  # characters of an error; what a server writes may be in it
_SECOND_ADDRESS_S: Final = 0.25  # a host with several addresses: the next one is tried this much later

_TEXT, _BINARY = WSMsgType.TEXT, WSMsgType.BINARY

# What there is to say about a connection is its outcome. The library also logs addresses, which carry credentials.
_quiet = logging.getLogger("stt.gladia.socket.picows")
_quiet.setLevel(logging.CRITICAL + 1)


class Receiver(Protocol):
    """The holder of the connection. Called from the event loop; must not wait."""

    def opened(self, socket: Socket) -> None:
        """Before any message, and before `connect` returns."""

    def received(self, message: str | bytes) -> None:
        """A whole message: text, or bytes from a peer that sends text as binary."""

    def writable(self) -> None:
        """The peer reads again."""


class UpgradeRefused(Exception):
    """The server answered, but not with a WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(f"upgrade answered with HTTP {status}")
        self.status = status


class NoConnection(Exception):
    """No usable answer, or none at all."""


class _Violation(Exception):
    """The peer broke the protocol."""

    def __init__(self, code: WSCloseCode, what: str) -> None:
        super().__init__(what)
        self.code = code


class Socket(WSListener):
    """One open connection. Made by `connect`, ended by `close` in any case."""

    def __init__(self, receiver: Receiver, *, takes_garbled: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.is_writable = False
        self.problem: str | None = None
        """What was wrong with what the peer sent."""
        self.reason = ""
        """Why the peer closed the connection, in its own words."""
        self._takes_garbled = takes_garbled
        self._receiver = receiver
        self._transport: WSTransport | None = None
        self._over: asyncio.Future[int | None] = loop.create_future()
        self._begun: WSMsgType | None = None  # a message that comes in several frames is under way
        self._so_far = bytearray()
        self._is_cut = False
        self._is_alive = True  # something came since the last look
        self._silent = 0  # looks
        self._call_later = loop.call_later
        self._look: asyncio.TimerHandle | None = None

    # --- for the holder -------------------------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Write it at once. Ask `is_writable` before: what is sent although it is not is held in memory."""
        if self._transport is not None and not self._over.done():
            self._transport.send(_BINARY if isinstance(message, bytes) else _TEXT, message)

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
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)

    async def close(self) -> None:
        """End the connection in order if the peer takes part in it soon, else without it."""
        self._end(None)
        if self._transport is None:
            return
        if not self._is_cut:
            self._transport.send_close(WSCloseCode.OK)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._transport.wait_disconnected()
        except TimeoutError:
            pass
        except Exception as error:  # what the library found; it has closed the connection
            self.problem = self.problem or str(error.args[-1] if error.args else error)
        finally:
            self.abort()

    # --- for the library ------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done: the receiver may send from now on."""
        self._transport = transport
        if self._is_cut:  # given up while it was being opened
            transport.disconnect(graceful=False)
            return
        transport.underlying_transport.set_write_buffer_limits(UNSENT)
        self.is_writable = True
        self._look = self._call_later(HEARTBEAT_S / 2, self._beat)
        try:
            self._receiver.opened(self)
        except Exception as error:
            self.fail(error)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame; `frame` is valid during this call only. Whole messages go to the receiver."""
        if self._over.done():
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()  # the answer to ours
            return
        self._is_alive = True
        try:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                raise _Violation(WSCloseCode.PROTOCOL_ERROR, "reserved bits are set")
            kind = frame.msg_type
            if kind is _TEXT and frame.fin and self._begun is None:
                message: str | bytes | None = frame.get_payload_as_utf8_text()
            else:
                message = self._unusual(transport, kind, frame)
        except UnicodeDecodeError as error:
            if not self._takes_garbled:
                self._violated(transport, WSCloseCode.INVALID_TEXT, "text that is not UTF-8")
                return
            message = bytes(error.object)
        except _Violation as violation:
            self._violated(transport, violation.code, str(violation))
            return
        if message is None:
            return
        try:
            self._receiver.received(message)
        except Exception as error:
            self.fail(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone: `over` returns None unless a close code came before."""
        self._end(None)

    def pause_writing(self) -> None:
        """More than UNSENT bytes wait for the peer."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """The peer has read enough that more may be sent; the receiver is told."""
        if self._over.done():
            return
        self.is_writable = True
        try:
            self._receiver.writable()
        except Exception as error:
            self.fail(error)

    # --- inside ---------------------------------------------------------------------------------------------

    def _unusual(self, transport: WSTransport, kind: WSMsgType, frame: WSFrame) -> str | bytes | None:
        """All that is not a text in one frame. Raises: _Violation, UnicodeDecodeError."""
        match kind:
            case WSMsgType.PING:
                if self.is_writable:  # else it is asked for more than it reads
                    transport.send_pong(frame.get_payload_as_bytes())
                return None
            case WSMsgType.PONG:
                return None
            case WSMsgType.CLOSE:
                code = frame.get_close_code().value
                self.reason = (frame.get_close_message() or b"").decode("utf-8", "replace")[:_MOST_SAID]
                self._end(code or None)
                transport.send_close(frame.get_close_code() if code else WSCloseCode.OK)
                transport.disconnect()
                return None
            case WSMsgType.CONTINUATION if self._begun is None:
                raise _Violation(WSCloseCode.PROTOCOL_ERROR, "the continuation of nothing")
            case WSMsgType.TEXT | WSMsgType.BINARY if self._begun is not None:
                raise _Violation(WSCloseCode.PROTOCOL_ERROR, "a message within a message")
            case WSMsgType.TEXT | WSMsgType.BINARY:
                self._begun = kind
        if len(self._so_far) + frame.payload_size > LARGEST_MESSAGE:
            raise _Violation(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {LARGEST_MESSAGE} bytes")
        self._so_far += frame.get_payload_as_memoryview()
        if not frame.fin:
            return None
        whole, is_text = self._so_far, self._begun is _TEXT
        self._so_far, self._begun = bytearray(), None
        return whole.decode() if is_text else bytes(whole)

    def _violated(self, transport: WSTransport, code: WSCloseCode, what: str) -> None:
        self.problem = what
        self._end(code.value)
        transport.send_close(code)
        transport.disconnect()

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
        if self._silent == 2 and self._transport is not None:
            self._transport.send_ping()
        self._look = self._call_later(HEARTBEAT_S / 2, self._beat)


async def connect(url: str, receiver: Receiver, *, takes_garbled: bool = False) -> Socket:
    """Open a connection. How long it takes is bounded by the caller.

    `takes_garbled`: a text that is not UTF-8 goes to the receiver as bytes; else it ends the connection (RFC 6455).

    Raises: UpgradeRefused, NoConnection; asyncio.CancelledError, which leaves no connection behind.
    """
    socket: Socket | None = None
    dialled: stdlib_socket.socket | None = None
    is_given_up = False  # an answer that has arrived already is read all the same

    def answered(request: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse) -> Socket:
        nonlocal socket
        socket = Socket(receiver, takes_garbled=takes_garbled)
        if is_given_up:
            socket.abort()
        return socket

    async def dial(to: picows.WSParsedURL) -> stdlib_socket.socket:
        nonlocal dialled
        addresses = await _addresses(to.host, to.port)
        dialled = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_SECOND_ADDRESS_S)
        return dialled

    try:
        where = _websocket(url)
        await picows.ws_connect(
            answered,
            str(where),
            ssl_context=_trusted() if where.scheme == "wss" else None,
            websocket_handshake_timeout=None,
            logger_name=_quiet,
            enable_auto_pong=False,
            max_frame_size=LARGEST_MESSAGE,
            socket_factory=dial,
            use_aiofastnet=False,  # its TLS saves a tenth, but reads private memory of the interpreter's
        )
    except picows.WSHandshakeError as error:
        status = _status(error)
        if status is None:
            raise NoConnection(str(error)[:_MOST_SAID]) from error
        raise UpgradeRefused(status) from error
    except (OSError, RuntimeError) as error:  # TLS's errors are among the first; uvloop has some of the second
        raise NoConnection(str(error)[:_MOST_SAID] or type(error).__name__) from error
    except (picows.WSError, ValueError) as error:
        raise NoConnection("not the address of a WebSocket") from error  # which may carry a credential
    except BaseException:
        is_given_up = True
        if socket is not None:
            socket.abort()
        elif dialled is not None:
            with suppress(OSError):
                dialled.shutdown(stdlib_socket.SHUT_RDWR)  # its reader sees the end of the stream and closes it
        raise
    if socket is None:
        raise NoConnection("closed before it was open")
    return socket


async def _addresses(host: str, port: int) -> list[Any]:
    wanted = stdlib_socket.SOCK_STREAM
    try:  # a number needs no thread to be looked up in
        return stdlib_socket.getaddrinfo(host, port, type=wanted, flags=stdlib_socket.AI_NUMERICHOST)
    except stdlib_socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=wanted)


def _websocket(url: str) -> URL:
    """As people write it: an http(s) address names the same place."""
    where = URL(url)
    return where.with_scheme({"http": "ws", "https": "wss"}.get(where.scheme, where.scheme)).with_user(None)


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, or those that SSL_CERT_FILE names; read once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _status(error: picows.WSHandshakeError) -> int | None:
    """Also the numbers that no document lists, as some proxies use them."""
    line = (error.raw_header or b"").split(b"\r\n", 1)[0].split()
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit() or line[1] == b"101":
        return None
    return int(line[1])
