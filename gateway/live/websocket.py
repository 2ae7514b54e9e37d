"""WebSockets on the wire (RFC 6455): the answer to a handshake, frames that a server and a client send. Pure."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from gateway.live.protocol import Message

MAX_MESSAGE_BYTES: Final = 4096
"""A watcher has nothing long to say: a longer message ends the connection."""
VERSION: Final = "13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL_BYTES: Final = 125
_MAX_REASON_BYTES: Final = 120  # 123 fit beside the close code


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES: Final = {opcode.value: opcode for opcode in Opcode}


# --- the handshake (section 4) --------------------------------------------------------------------------------


class BadHandshake(Exception):
    """The request is no WebSocket handshake that can be answered; the text says what is wrong."""


class WrongVersion(BadHandshake):
    """The client speaks another version of the protocol; the answer has to name VERSION (4.4)."""


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a WebSocket. `headers`: a mapping that ignores case, here and below."""
    return headers.get("Upgrade", "").lower() == "websocket"


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The client's offers in its order; `[""]` when it makes none."""
    return [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]


def handshake_answer(headers: Mapping[str, str], subprotocol: str) -> bytes:
    """The whole 101 answer (4.2.2). `subprotocol` is chosen when the client offers it, and else none is.

    Raises: BadHandshake, WrongVersion.
    """
    if headers.get("Sec-WebSocket-Version") != VERSION:
        raise WrongVersion(f"only version {VERSION} of the WebSocket protocol is spoken")
    if "upgrade" not in [word.strip().lower() for word in headers.get("Connection", "").split(",")]:
        raise BadHandshake("a WebSocket's request has Connection: Upgrade; is there a proxy that drops it?")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        is_key = False
    if not is_key:
        raise BadHandshake("Sec-WebSocket-Key must be 16 bytes in base64")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Server: gateway"]
    head.append(f"Sec-WebSocket-Accept: {accept}")
    if subprotocol in offered_subprotocols(headers):
        head.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*head, "", ""]).encode()


# --- frames that a server sends (section 5) -------------------------------------------------------------------


def text_frame(payload: bytes) -> bytes:
    """A whole text message: unmasked, final, no extension (5.2). `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def control_frame(opcode: Opcode, payload: bytes = b"") -> bytes:
    """A ping, a pong or a close; `payload` has at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


def close_frame(code: int, why: str) -> bytes:
    """A close with its code; `why` is cut to what fits."""
    return control_frame(Opcode.CLOSE, code.to_bytes(2, "big") + close_reason(why))


def close_reason(text: str) -> bytes:
    """UTF-8 that fits into a close frame (5.5), cut between two characters."""
    return text.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore").encode()


def in_frame(message: Message) -> bytes:
    """The `Framing` of WebSockets: one message of the stream as one text frame."""
    return text_frame(message.payload)


PING: Final = control_frame(Opcode.PING)


# --- frames that a client sends -------------------------------------------------------------------------------


class BadFrame(Exception):
    """Nothing that follows can be understood. `code` is what the connection is closed with."""

    code = 1002


class MessageTooBig(BadFrame):
    """More than MAX_MESSAGE_BYTES are announced for one message."""

    code = 1009


class TooManyFrames(BadFrame):
    """The client sends more frames than any honest one: each costs time, however small it is."""

    code = 1008


class FrameBudget:
    """Frames of one client: `per_s` on the long run, `most` at once. Control frames and fragments count like others."""

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, per_s: int, most: int) -> None:
        self._per_s, self._most = per_s, most
        self._left = float(most)
        self._at = 0.0

    def earn(self, now: float) -> None:
        """To be called before bytes are read; `now`: seconds of any clock."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now

    def spend(self) -> None:
        """One frame. Raises: TooManyFrames."""
        self._left -= 1
        if self._left < 0:
            raise TooManyFrames(f"more than {self._per_s} frames a second")


class ClientFrames:
    """Reads one connection's frames, from the handshake on.

    The stream is one-way: text means nothing and is skipped, so that nothing is kept of an open connection but the
    beginning of a frame that is under way.
    """

    __slots__ = ("_budget", "_in_message", "_message_bytes", "_rest")

    def __init__(self, budget: FrameBudget) -> None:
        self._budget = budget
        self._rest = b""
        self._in_message = False
        self._message_bytes = 0

    def feed(self, data: bytes) -> list[tuple[Opcode, bytes]]:
        """Returns: the frames that are whole now, text left out; only control frames with their payload.

        Raises: BadFrame, MessageTooBig, TooManyFrames; after that nothing may be fed any more.
        """
        data = self._rest + data if self._rest else data
        at, found = 0, []
        while len(data) - at >= 2:
            opcode, body, end = self._head(data, at)
            if end is None or len(data) < end:
                break
            self._budget.spend()
            self._count(data[at] & 0x80 != 0, opcode, end - body)
            if opcode >= Opcode.CLOSE:
                key = data[body - 4 : body]
                found.append((opcode, bytes(byte ^ key[n & 3] for n, byte in enumerate(data[body:end]))))
            elif opcode is Opcode.BINARY:
                found.append((opcode, b""))
            at = end
        self._rest = data[at:]
        return found

    def _head(self, data: bytes, at: int) -> tuple[Opcode, int, int | None]:
        """Returns: the frame's opcode, where its payload begins and ends; no end when the head is cut off."""
        is_final, opcode, size = data[at] & 0x80 != 0, data[at] & 0x0F, data[at + 1] & 0x7F
        if data[at] & 0x70 or not data[at + 1] & 0x80 or opcode not in _OPCODES:
            raise BadFrame("a frame with reserved bits, without a mask, or of an unknown kind")
        body = at + 2
        if opcode >= Opcode.CLOSE and (not is_final or size > _MAX_CONTROL_BYTES):
            raise BadFrame("a control frame in pieces or too long")
        if size > _MAX_CONTROL_BYTES:
            body += 2 if size == 126 else 8
            if len(data) < body:
                return _OPCODES[opcode], body, None
            size = int.from_bytes(data[at + 2 : body], "big")
        if opcode < Opcode.CLOSE and size + self._message_bytes > MAX_MESSAGE_BYTES:
            raise MessageTooBig("a message that is too long")  # before it has come
        return _OPCODES[opcode], body + 4, body + 4 + size

    def _count(self, is_final: bool, opcode: Opcode, size: int) -> None:
        if opcode >= Opcode.CLOSE:
            return
        if (opcode is Opcode.CONTINUATION) is not self._in_message:
            raise BadFrame("a continuation of nothing, or a message within a message")
        self._in_message = not is_final
        self._message_bytes = 0 if is_final else self._message_bytes + size


class Masks:
    """Looks at one connection's frames on their way to another reader, for what such readers let pass.

    A client masks every frame (5.1), so that what it sends cannot be taken for HTTP by a proxy in between; and it sends
    no more of them than its budget.
    """

    __slots__ = ("_budget", "_left", "_rest")

    def __init__(self, budget: FrameBudget) -> None:
        self._budget = budget
        self._left = 0  # bytes of the frame under way
        self._rest = b""  # a head that is not whole

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Returns: what may go on now, and whether every frame has a mask; when not, nothing may be fed any more.

        Raises: TooManyFrames; after that neither.
        """
        data = self._rest + data if self._rest else data
        at = min(self._left, len(data))
        self._left -= at
        while len(data) - at >= 2:
            if not data[at + 1] & 0x80:
                return data[:at], False
            size = data[at + 1] & 0x7F
            body = at + 2 + (0 if size < 126 else 2 if size == 126 else 8)
            if len(data) < body:
                break
            self._budget.spend()
            if size >= 126:
                size = int.from_bytes(data[at + 2 : body], "big")
            end = body + 4 + size
            self._left = max(end - len(data), 0)
            at = min(end, len(data))
        self._rest = data[at:]
        return data[:at], True
