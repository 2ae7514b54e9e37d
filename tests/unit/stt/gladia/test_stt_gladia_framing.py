"""What is read and written of a WebSocket beside the library means what the library's own reading and writing means."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import BINARY, Frame
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from stt.gladia.framing import LARGEST_MESSAGE, Wire

URL = "ws://localhost/live"


def open_to(client: ClientProtocol, behind: bytes = b"") -> ServerProtocol:
    """The upgrade is done; `behind` came with its answer."""
    server = ServerProtocol()
    client.send_request(client.connect())  # type: ignore[attr-defined]
    server.receive_data(b"".join(client.data_to_send()))
    server.send_response(server.accept(server.events_received()[0]))  # type: ignore[arg-type]
    answer = b"".join(server.data_to_send()) + behind
    if isinstance(client, Wire):
        client.upgraded(answer)
    else:
        client.receive_data(answer)
    return server


def frame(first: int, payload: bytes, *, length: int, masked: bool) -> bytes:
    """`length`: in how many bytes it is told at least."""
    size = len(payload)
    mask = 0x80 if masked else 0
    if length == 1 and size < 126:
        head = struct.pack("!BB", first, mask | size)
    elif length <= 2 and size < 1 << 16:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


USUAL = st.builds(
    lambda size, byte: frame(0x81, byte * size, length=1, masked=False),
    st.sampled_from([0, 1, 125, 126, 127, 900, 65_535, 65_536]), st.sampled_from([b"a", b"\xff"]),
)  # fmt: skip
ODD = st.builds(
    lambda kind, size, length, masked: frame(kind, b"x" * size, length=length, masked=masked),
    st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x89, 0x8A, 0x88, 0xC1, 0x83]), st.sampled_from([0, 2, 125, 300]),
    st.sampled_from([1, 1, 1, 2, 8]), st.sampled_from([False, False, False, True]),
)  # fmt: skip
COMING = st.lists(st.one_of(USUAL, USUAL, ODD), max_size=8).map(b"".join)


def seen(frames: list[Frame]) -> list[tuple[int, bytes, bool]]:
    return [(one.opcode, bytes(one.data), one.fin) for one in frames]


@settings(max_examples=300, deadline=None)
@given(coming=COMING, cuts=st.lists(st.integers(0, 3000), max_size=8), behind=st.integers(0, 3000))
def test_the_same_is_read_as_by_the_library_however_it_is_cut(coming: bytes, cuts: list[int], behind: int) -> None:
    library, wire = ClientProtocol(parse_uri(URL), max_size=LARGEST_MESSAGE), Wire(URL)
    open_to(library, coming[:behind])
    open_to(wire, coming[:behind])
    borders = sorted({behind, len(coming), *(cut for cut in cuts if behind < cut < len(coming))})
    ours = seen(wire.frames(b""))
    for begin, end in pairwise(borders):
        library.receive_data(coming[begin:end])
        piece, at = coming[begin:end], 0
        while wire.state is OPEN and (place := wire.whole_text(piece, at)) is not None:
            ours.append((1, piece[place[0] : place[1]], True))
            at = place[1]
        ours += seen(wire.frames(piece[at:]))
    theirs = seen([one for one in library.events_received() if isinstance(one, Frame)])
    assert ours == theirs
    assert str(wire.parser_exc) == str(library.parser_exc)
    assert wire.state is library.state


def test_a_usual_text_is_not_left_to_the_library() -> None:
    """Also behind one that came in pieces, and behind a ping."""
    wire = Wire(URL)
    open_to(wire, frame(0x81, b"first", length=1, masked=False))
    assert seen(wire.frames(b"")) == [(1, b"first", True)]
    text = frame(0x81, b"a" * 300, length=1, masked=False)
    assert wire.whole_text(text, 0) == (4, 304)
    assert wire.whole_text(text[:-1], 0) is None
    assert wire.frames(text[:7]) == []
    assert wire.whole_text(text, 0) is None
    assert seen(wire.frames(text[7:] + frame(0x89, b"", length=1, masked=False))) == [
        (1, b"a" * 300, True),
        (9, b"", True),
    ]
    assert wire.whole_text(text, 0) == (4, 304)


@settings(max_examples=50, deadline=None)
@given(size=st.one_of(st.sampled_from([0, 1, 125, 126, 3200, 65_535, 65_536]), st.integers(0, 4000)))
def test_a_chunk_arrives_as_it_was(size: int) -> None:
    wire = Wire(URL)
    server = open_to(wire)
    chunk = bytes(n % 251 for n in range(size))
    server.receive_data(wire.binary(chunk) + wire.binary(chunk))
    assert seen([one for one in server.events_received() if isinstance(one, Frame)]) == [(BINARY, chunk, True)] * 2


def test_no_two_chunks_are_masked_alike() -> None:
    wire = Wire(URL)
    open_to(wire)
    assert len({wire.binary(bytes(3200))[4:8] for _ in range(2000)}) > 1990
