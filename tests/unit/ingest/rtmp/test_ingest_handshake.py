"""The RTMP handshake."""

from __future__ import annotations

import pytest

from ingest.errors import ProtocolError
from ingest.rtmp.handshake import RANDOM_BYTES, Handshake

C1 = bytes(range(256)) * 6
C2 = bytes(1536)


@pytest.mark.parametrize("size", [1, 7, 1535, 1536, 1537, 3073, 5000])
def test_any_split_gives_the_same_answer(size: int) -> None:
    """S0 S1 S2 once, S2 an echo of C1; what follows C2 is left alone."""
    handshake = Handshake(b"r" * RANDOM_BYTES)
    wire = b"\x03" + C1 + C2 + b"after"
    sent, at = b"", 0
    while not handshake.done:
        taken, reply = handshake.receive(memoryview(wire[at : at + size]))
        sent += reply
        at += taken
    assert sent == b"\x03" + bytes(8) + b"r" * RANDOM_BYTES + C1
    assert wire[at:] == b"after"


@pytest.mark.parametrize("first", [b"\x06", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"])
def test_other_protocols_are_refused_at_the_first_byte(first: bytes) -> None:
    """RTMPE, TLS, HTTP."""
    with pytest.raises(ProtocolError, match="not RTMP"):
        Handshake(b"r" * RANDOM_BYTES).receive(memoryview(first))
