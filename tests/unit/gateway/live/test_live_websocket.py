"""The handshake and the frames of both sides, against another WebSocket library."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from support.frames import frames
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame
from websockets.frames import Opcode as Theirs
from websockets.uri import parse_uri

from gateway.live.websocket import (
    MAX_MESSAGE_BYTES,
    BadFrame,
    BadHandshake,
    ClientFrames,
    FrameBudget,
    MessageTooBig,
    Opcode,
    WrongVersion,
    close_frame,
    control_frame,
    handshake_answer,
    is_upgrade,
    text_frame,
)

# --- the handshake ------------------------------------------------------------------------------------------


def asked(**changes: str) -> CIMultiDict[str]:
    """The headers of RFC 6455, 1.3, by names in any case."""
    headers = CIMultiDict(
        {
            "upgrade": "WebSocket",
            "connection": "keep-alive, Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        }
    )
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return headers


def test_the_answer_is_that_of_the_standard() -> None:
    answer = handshake_answer(asked(), "transcript.v1").decode()
    assert answer.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert answer.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("offers", "chosen"), [([], None), (["other"], None), (["other", "transcript.v1"], "transcript.v1")]
)
def test_a_client_library_takes_the_answer(offers: list[str], chosen: str | None) -> None:
    client = ClientProtocol(parse_uri("ws://gateway.example/"), subprotocols=offers or None)  # type: ignore[arg-type]
    request = client.connect()
    client.send_request(request)
    headers = CIMultiDict(list(request.headers.raw_items()))
    assert is_upgrade(headers)
    client.receive_data(handshake_answer(headers, "transcript.v1"))
    assert client.handshake_exc is None
    assert client.subprotocol == chosen


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"sec_websocket_version": "8"}, WrongVersion),
        ({"connection": "keep-alive"}, BadHandshake),
        ({"sec_websocket_key": "c2hvcnQ="}, BadHandshake),
        ({"sec_websocket_key": "not base64!"}, BadHandshake),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==\u00e9"}, BadHandshake),
    ],
)
def test_what_is_no_handshake_is_refused(changes: dict[str, str], kind: type[BadHandshake]) -> None:
    with pytest.raises(BadHandshake) as error:
        handshake_answer(asked(**changes), "transcript.v1")
    assert type(error.value) is kind


# --- frames that a server sends -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frames_of_every_length_are_read_by_a_client_library(size: int) -> None:
    """At both borders where the length field grows (RFC 6455, 5.2)."""
    payload = b"x" * size
    [frame] = frames(text_frame(payload))
    assert (frame.opcode, frame.fin, frame.data) == (Theirs.TEXT, True, payload)
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_written_together_stay_apart(payloads: list[bytes]) -> None:
    assert [frame.data for frame in frames(b"".join(map(text_frame, payloads)))] == payloads


def test_control_frames_are_read_by_a_client_library() -> None:
    [pong, closing] = frames(control_frame(Opcode.PONG, b"yo") + close_frame(4008, "too far behind"))
    assert (pong.opcode, pong.data) == (Theirs.PONG, b"yo")
    assert Close.parse(closing.data) == Close(4008, "too far behind")


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_long_reason_is_cut_between_two_characters(letter: str) -> None:
    [closing] = frames(close_frame(4501, letter * 200))
    reason = Close.parse(closing.data).reason
    assert 110 < len(reason.encode()) <= 123
    assert set(reason) == {letter}


# --- frames that a client sends -----------------------------------------------------------------------------


def plenty() -> FrameBudget:
    return FrameBudget(1, 10_000)


SAID = [
    (Theirs.TEXT, b"hello", True),
    (Theirs.PING, b"are you there", True),
    (Theirs.TEXT, b"x" * 200, False),
    (Theirs.PONG, b"", True),
    (Theirs.CONT, b"y" * 3000, False),
    (Theirs.CONT, b"", True),
    (Theirs.BINARY, b"\0" * MAX_MESSAGE_BYTES, True),
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
    frames = ClientFrames(plenty())
    heard = [one for start, end in itertools.pairwise(edges) for one in frames.feed(data[start:end])]
    assert heard == HEARD


def test_byte_by_byte() -> None:
    frames = ClientFrames(plenty())
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
    with pytest.raises(BadFrame) as error:
        ClientFrames(plenty()).feed(data)
    assert error.value.code == 1002


@pytest.mark.parametrize(
    "data",
    [
        sent(Theirs.TEXT, b"x" * (MAX_MESSAGE_BYTES + 1)),
        b"\x82\xff\x7f" + b"\xff" * 7,  # announced only
        sent(Theirs.TEXT, b"x" * MAX_MESSAGE_BYTES, fin=False) + sent(Theirs.CONT, b"y", fin=False),
    ],
    ids=range(3),
)
def test_a_long_message_is_refused_before_it_has_come(data: bytes) -> None:
    with pytest.raises(MessageTooBig) as error:
        ClientFrames(plenty()).feed(data)
    assert error.value.code == 1009


def test_nothing_is_kept_between_frames_and_little_within_one() -> None:
    frames = ClientFrames(plenty())
    frames.feed(b"".join(sent(*one) for one in SAID[:-1]))
    assert frames._rest == b""
    frames.feed(sent(Theirs.TEXT, b"x" * MAX_MESSAGE_BYTES)[:-1])
    assert len(frames._rest) < MAX_MESSAGE_BYTES + 14
