"""What clients send, framed by another WebSocket library, cut anywhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Theirs

from gateway.live.client_frames import MESSAGE_BYTES, ClientFrames, Misframed, Opcode, TooBig

SAID = [
    (Theirs.TEXT, b"hello", True),
    (Theirs.PING, b"are you there", True),
    (Theirs.TEXT, b"x" * 200, False),
    (Theirs.PONG, b"", True),
    (Theirs.CONT, b"y" * 3000, False),
    (Theirs.CONT, b"", True),
    (Theirs.BINARY, b"\0" * MESSAGE_BYTES, True),
    (Theirs.PING, b"z" * 125, True),
    (Theirs.CLOSE, b"\x03\xe8bye", True),
]
HEARD = [
    (Opcode.PING, b"are you there"),
    (Opcode.PONG, b""),
    (Opcode.BINARY, b""),
    (Opcode.PING, b"z" * 125),
    (Opcode.CLOSE, b"\x03\xe8bye"),
]


def sent(opcode: Theirs, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@given(st.lists(st.integers(0, 8000), max_size=12))
def test_it_makes_no_difference_where_the_bytes_are_cut(cuts: list[int]) -> None:
    data = b"".join(sent(*one) for one in SAID)
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    frames = ClientFrames()
    heard = [one for start, end in itertools.pairwise(edges) for one in frames.feed(data[start:end])]
    assert heard == HEARD


def test_byte_by_byte() -> None:
    frames = ClientFrames()
    data = b"".join(sent(*one) for one in SAID)
    assert [one for n in range(len(data)) for one in frames.feed(data[n : n + 1])] == HEARD


@pytest.mark.parametrize(
    "data",
    [
        Frame(Theirs.TEXT, b"hello").serialize(mask=False),
        b"\xc1\x80",  # compressed, which was not agreed
        b"\x83\x80",
        b"\x8b\x80",
        b"\x09\x80",  # a ping in pieces
        b"\x89\xfe",  # a ping of more than 125 bytes
        sent(Theirs.CONT, b"of nothing"),
        sent(Theirs.TEXT, b"one", fin=False) + sent(Theirs.TEXT, b"two"),
    ],
    ids=range(8),  # masks are drawn by lot
)
def test_what_is_no_frame_of_a_client_is_refused(data: bytes) -> None:
    with pytest.raises(Misframed) as error:
        ClientFrames().feed(data)
    assert error.value.code == 1002


@pytest.mark.parametrize(
    "data",
    [
        sent(Theirs.TEXT, b"x" * (MESSAGE_BYTES + 1)),
        b"\x82\xff\x7f" + b"\xff" * 7,  # announced only
        sent(Theirs.TEXT, b"x" * MESSAGE_BYTES, fin=False) + sent(Theirs.CONT, b"y", fin=False),
    ],
    ids=range(3),
)
def test_a_long_message_is_refused_before_it_has_come(data: bytes) -> None:
    with pytest.raises(TooBig) as error:
        ClientFrames().feed(data)
    assert error.value.code == 1009


def test_nothing_is_kept_between_frames_and_little_within_one() -> None:
    frames = ClientFrames()
    frames.feed(b"".join(sent(*one) for one in SAID[:-1]))
    assert frames._rest == b""
    frames.feed(sent(Theirs.TEXT, b"x" * MESSAGE_BYTES)[:-1])
    assert len(frames._rest) < MESSAGE_BYTES + 14
