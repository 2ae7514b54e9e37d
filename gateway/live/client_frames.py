"""What a watcher sends on its WebSocket (RFC 6455, 5): bytes in, what matters out. Pure.

The stream is one-way: text means nothing and is skipped, so that of a connection that is open nothing is kept
but the beginning of a frame that is under way.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MESSAGE_BYTES: Final = 4096
"""A client has nothing long to say: more than that in one message ends the connection."""
_CONTROL_BYTES: Final = 125


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Misframed(Exception):
    """Nothing more can be understood. `code` is what the connection is closed with."""

    code = 1002


class TooBig(Misframed):
    code = 1009


class ClientFrames:
    """One connection's frames, from the handshake on."""

    __slots__ = ("_in_message", "_message_bytes", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._in_message = False
        self._message_bytes = 0

    def feed(self, data: bytes) -> list[tuple[Opcode, bytes]]:
        """Returns: the frames that are whole now, text left out; only control frames with their payload.

        Raises: Misframed, TooBig; after that nothing may be fed any more.
        """
        data = self._rest + data if self._rest else data
        at, found = 0, []
        while len(data) - at >= 2:
            opcode, body, end = self._head(data, at)
            if end is None or len(data) < end:
                break
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
            raise Misframed("a frame with reserved bits, without a mask, or of an unknown kind")
        body = at + 2
        if opcode >= Opcode.CLOSE and (not is_final or size > _CONTROL_BYTES):
            raise Misframed("a control frame in pieces or too long")
        if size > _CONTROL_BYTES:
            body += 2 if size == 126 else 8
            if len(data) < body:
                return _OPCODES[opcode], body, None
            size = int.from_bytes(data[at + 2 : body], "big")
        if opcode < Opcode.CLOSE and size + self._message_bytes > MESSAGE_BYTES:
            raise TooBig("a message that is too long")  # before it has come
        return _OPCODES[opcode], body + 4, body + 4 + size

    def _count(self, is_final: bool, opcode: Opcode, size: int) -> None:
        if opcode >= Opcode.CLOSE:
            return
        if (opcode is Opcode.CONTINUATION) is not self._in_message:
            raise Misframed("a continuation of nothing, or a message within a message")
        self._in_message = not is_final
        self._message_bytes = 0 if is_final else self._message_bytes + size


_OPCODES: Final = {opcode.value: opcode for opcode in Opcode}
