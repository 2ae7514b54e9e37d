"""The simple RTMP handshake, server side: C0 C1 in, S0 S1 S2 out, C2 in.

Source: RTMP 1.0, section 5.2. The digest variant is for Flash players only; no publisher asks for it.
"""

from __future__ import annotations

from typing import Final

from ingest.errors import ProtocolError

VERSION: Final = 3
BLOCK_BYTES: Final = 1536
RANDOM_BYTES: Final = BLOCK_BYTES - 8


class Handshake:
    """Holds at most one block (1,537 bytes) of the peer."""

    def __init__(self, random: bytes) -> None:
        """`random` fills S1: RANDOM_BYTES that the caller draws, so that this class needs no luck."""
        if len(random) != RANDOM_BYTES:
            raise ValueError(f"S1 takes {RANDOM_BYTES} random bytes")
        self._random = random
        self._held = bytearray()
        self._greeted = False
        self.done = False

    def receive(self, data: memoryview) -> tuple[int, bytes]:
        """Take what belongs to the handshake.

        Returns: how many bytes of `data` were taken, and what to send.
        Raises: ProtocolError when the first byte is not plain RTMP (TLS, HTTP, RTMPE).
        """
        taken = 0
        reply = b""
        if not self._greeted:
            taken = self._hold(data, 1 + BLOCK_BYTES)
            if self._held and self._held[0] != VERSION:
                raise ProtocolError("not RTMP", f"first byte 0x{self._held[0]:02x}")
            if len(self._held) == 1 + BLOCK_BYTES:
                reply = bytes((VERSION,)) + bytes(8) + self._random + bytes(self._held[1:])
                self._greeted = True
                self._held.clear()
        if self._greeted:
            taken += self._hold(data[taken:], BLOCK_BYTES)
            self.done = len(self._held) == BLOCK_BYTES
        return taken, reply

    def _hold(self, data: memoryview, size: int) -> int:
        missing = size - len(self._held)
        self._held += data[:missing]
        return min(missing, len(data))
