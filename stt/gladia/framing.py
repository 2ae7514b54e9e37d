"""The provider's WebSocket as bytes: the protocol of `websockets` without its I/O. No I/O, no clock.

What comes and goes ten times a second, a whole text in and a chunk of audio out, is one frame each, read and written
here in a microsecond. Everything else is the library's.
"""

from __future__ import annotations

import logging
import sys
from secrets import token_bytes
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import BINARY, TEXT, CloseCode, Frame
from websockets.uri import parse_uri

try:
    from websockets.speedups import apply_mask
except ImportError:  # it is not built everywhere
    from websockets.utils import apply_mask

LARGEST_MESSAGE: Final = 16 * 1024 * 1024
_WHOLE_TEXT: Final = 0x80 | TEXT
_IN_TWO_BYTES: Final = 126
"""What a frame says of its length when that follows in two bytes; more: in eight, or it is masked."""
_CHUNK: Final = bytes([0x80 | BINARY, 0x80 | _IN_TWO_BYTES])
_KEYS: Final = 256  # drawn at once: each costs a system call

# What there is to say about a connection is its outcome. The library also logs addresses, which carry credentials.
_quiet = logging.getLogger("stt.gladia.socket.websockets")
_quiet.setLevel(logging.CRITICAL + 1)


class Wire(ClientProtocol):
    """The client's side of one connection, without compression."""

    def __init__(self, url: str) -> None:
        super().__init__(parse_uri(url), max_size=LARGEST_MESSAGE, logger=_quiet)
        self._unread = 0  # bytes of a frame that has not come to its end
        self._keys: list[bytes] = []

    def upgraded(self, head: bytes) -> None:
        """The answer to the upgrade has come, and perhaps frames behind it."""
        self.receive_data(head)
        self._unread = len(head) - head.index(b"\r\n\r\n") - 4

    def whole_text(self, data: bytes, begin: int) -> tuple[int, int] | None:
        """Where the text lies, begin and end, whose frame begins at `begin`.

        None: it is something else, or not all of it, which is for `frames` to read.
        """
        size = len(data) - begin
        if self._unread or self.current_size is not None or size < 2 or data[begin] != _WHOLE_TEXT:
            return None
        length, text = data[begin + 1], begin + 2
        if length == _IN_TWO_BYTES and size >= 4:
            length, text = data[begin + 2] << 8 | data[begin + 3], begin + 4
        elif length >= _IN_TWO_BYTES:
            return None
        end = text + length
        return (text, end) if end <= len(data) else None

    def frames(self, data: bytes) -> list[Frame]:
        """Read what has come, whatever it is."""
        self.receive_data(data)
        found = [one for one in self.events_received() if isinstance(one, Frame)]
        # Where a length is told in more bytes than it needs, something seems to be left for ever, and all is read here.
        self._unread += len(data) - sum(_size(len(one.data)) for one in found)
        return found

    def binary(self, message: bytes) -> bytes:
        """The frame of a message. Raises: websockets.exceptions.InvalidState when the connection is not open."""
        length = len(message)
        if not _IN_TWO_BYTES <= length < 1 << 16:
            self.send_binary(message)
            return self.data_to_send()[0]
        if not self._keys:
            drawn = token_bytes(4 * _KEYS)
            self._keys = [drawn[at : at + 4] for at in range(0, len(drawn), 4)]
        key = self._keys.pop()
        return b"".join((_CHUNK, length.to_bytes(2), key, apply_mask(message, key)))

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """A length with its highest bit set is no length (RFC 6455, 5.2), not a large one."""
        error = sys.exc_info()[1]
        if isinstance(error, PayloadTooBig) and (error.size or 0) >> 63:
            code = CloseCode.PROTOCOL_ERROR
        super().fail(code, reason)


def _size(length: int) -> int:
    """Of an unmasked frame, with its head."""
    return length + (2 if length < _IN_TWO_BYTES else 4 if length < 1 << 16 else 10)
