"""One connection from the server's side, in the orders and shapes that real publishers use."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterable
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.audio_packet import AudioPacket
from ingest.errors import ProtocolError
from ingest.rtmp import amf0
from ingest.rtmp.chunk_stream import ChunkReader, Message, write
from ingest.rtmp.handshake import RANDOM_BYTES
from ingest.rtmp.protocol import (
    MOVES,
    Event,
    Limits,
    Metadata,
    Move,
    Phase,
    PublishAsked,
    ServerProtocol,
    Unpublished,
)

HELLO = b"\x03" + bytes(2 * 1536)
ASC = b"\x11\x90"


def command(*values: object, stream_id: int = 0, type: int = 20, csid: int = 3) -> bytes:
    lead = b"\x00" if type == 17 else b""
    return write(Message(type, stream_id, 0, lead + amf0.encode(*values)), 128, csid)


def audio(timestamp: int, body: bytes = b"\xaf\x01frame", chunk_bytes: int = 128) -> bytes:
    extended = timestamp >= 0xFFFFFF
    head = b"\x04" + (b"\xff\xff\xff" if extended else timestamp.to_bytes(3, "big"))
    head += len(body).to_bytes(3, "big") + b"\x08\x01\x00\x00\x00"
    assert len(body) <= chunk_bytes
    return head + (timestamp.to_bytes(4, "big") if extended else b"") + body


CONNECT = command("connect", 1, {"app": "live", "type": "nonprivate", "flashVer": "FMLE/3.0"})
ASK = command("createStream", 4, None) + command("publish", 5, None, "secret", "live", stream_id=1)


def server(limits: Limits | None = None) -> ServerProtocol:
    return ServerProtocol(limits or Limits(), b"r" * RANDOM_BYTES)


def feed(protocol: ServerProtocol, *wires: bytes, size: int = 1 << 20) -> list[Event]:
    """Like the shell: a publish that is asked for is accepted at once."""
    events: list[Event] = []
    wire = b"".join(wires)
    for at in range(0, len(wire), size):
        events += protocol.receive(memoryview(wire[at : at + size]))
        if protocol.phase is Phase.ASKING:
            protocol.accept()
    return events


def answers(protocol: ServerProtocol) -> list[Message]:
    """What the server says next. It raises its chunk size in its first answer."""
    wire = protocol.to_send()
    types = (1, 3, 4, 5, 6, 20)
    reader = ChunkReader(dict.fromkeys(types, 1 << 20), skip_limit=0, lane_limit=9, assembly_limit=1 << 20)
    if wire.startswith(b"\x03" + bytes(8)):
        wire = wire[1 + 2 * 1536 :]
    else:
        reader.receive(memoryview(write(Message(1, 0, 0, (65_536).to_bytes(4, "big")), 128, 2)))
    return reader.receive(memoryview(wire))


def commands(messages: Iterable[Message]) -> list[list[object]]:
    return [amf0.decode(m.payload) for m in messages if m.type == 20]


def codes(messages: Iterable[Message]) -> list[object]:
    infos = (values[-1] for values in commands(messages))
    return [info["code"] for info in infos if isinstance(info, dict)]


# What each publisher sends before and after its media, as seen on the wire.
FFMPEG = (
    HELLO
    + CONNECT
    + command("releaseStream", 2, None, "secret")
    + command("FCPublish", 3, None, "secret")
    + command("createStream", 4, None)
    + command("_checkbw", 5, None)
    + command("publish", 6, None, "secret", "live", stream_id=1)
)
OBS = (
    HELLO
    + b"\x42\x00\x00\x00\x00\x00\x04\x05\x00\x26\x25\xa0"  # window size on a fresh stream, type 1, as librtmp does
    + write(Message(1, 0, 0, (4096).to_bytes(4, "big")), 128, 2)
    + write(Message(20, 0, 0, amf0.encode("connect", 1, {"app": "live", "fourCcList": ["av01", "hvc1"]})), 4096, 3)
    + write(Message(20, 0, 0, amf0.encode("releaseStream", 2, None, "secret")), 4096, 3)
    + write(Message(20, 0, 0, amf0.encode("FCPublish", 3, None, "secret")), 4096, 3)
    + write(Message(20, 0, 0, amf0.encode("createStream", 4, None)), 4096, 3)
    + write(Message(20, 1, 0, amf0.encode("publish", 5, None, "secret", "live")), 4096, 4)
)
AMF3 = (
    HELLO
    + command("connect", 1, {"app": "live", "objectEncoding": 3}, type=17)
    + command("createStream", 2, None, type=17)
    + command("publish", 3, None, "secret", type=17, stream_id=1)
)


@pytest.mark.parametrize("opening", [FFMPEG, OBS, AMF3], ids=["ffmpeg", "obs", "amf3"])
@pytest.mark.parametrize("size", [1, 2, 100, 1 << 20])
def test_publishers_open_in_their_own_ways(opening: bytes, size: int) -> None:
    """All of them are told to start, wherever the network cuts the bytes."""
    protocol = server()
    events = feed(protocol, opening, size=size)
    assert events == [PublishAsked("live", "secret", "")]
    said = answers(protocol)
    assert [m.type for m in said[:3]] == [5, 6, 20]  # window, bandwidth; Set Chunk Size is the reader's own
    assert codes(said)[0] == "NetConnection.Connect.Success"
    assert codes(said)[-1] == "NetStream.Publish.Start"
    assert protocol.phase is Phase.PUBLISHING


def test_media_becomes_packets_with_growing_time() -> None:
    """Across the 32-bit wrap; video leaves only its size."""
    protocol = server()
    feed(protocol, FFMPEG)
    metadata = write(Message(18, 1, 0, amf0.encode("@setDataFrame", "onMetaData", {"encoder": "x"})), 128, 4)
    video = write(Message(9, 1, 0, bytes(1000)), 128, 6)
    events = feed(protocol, metadata, audio(0, b"\xaf\x00" + ASC), audio(0xFFFFFFF0), video, audio(0x10), video, size=7)
    assert events[0] == Metadata({"encoder": "x"})
    packets = [event for event in events if isinstance(event, AudioPacket)]
    assert [packet.timestamp_ms for packet in packets] == [0xFFFFFFF0, 0x100000010]
    assert packets[0].payload == b"frame"
    assert packets[0].format.extradata == ASC
    assert protocol.video_bytes == 2000


def test_media_before_the_answer_is_kept() -> None:
    """Some publishers do not wait to be told to start."""
    protocol = server()
    events = protocol.receive(memoryview(FFMPEG + audio(0, b"\xaf\x00" + ASC) + audio(10)))
    assert [type(event) for event in events] == [PublishAsked, AudioPacket]


@pytest.mark.parametrize(
    ("app", "name", "asked"),
    [
        ("live", "k?token=a&b=c", PublishAsked("live", "k", "token=a&b=c")),
        ("live/eu/1", "k", PublishAsked("live/eu/1", "k", "")),
        ("live/", "/k", PublishAsked("live", "k", "")),
        ("live?token=a", "k", PublishAsked("live", "k", "token=a")),
        ("", "k", PublishAsked("", "k", "")),
    ],
)
def test_app_key_and_query(app: str, name: str, asked: PublishAsked) -> None:
    """Encoders split the address in different places."""
    protocol = server()
    wire = HELLO + command("connect", 1, {"app": app}) + command("publish", 2, None, name, stream_id=1)
    assert feed(protocol, wire) == [asked]


def test_a_refused_key_is_told_so() -> None:
    """With level error, so that encoders stop instead of trying again and again."""
    protocol = server()
    protocol.receive(memoryview(FFMPEG))
    answers(protocol)
    protocol.refuse("NetStream.Publish.BadName", "unknown stream key")
    (status,) = commands(answers(protocol))
    assert status[0] == "onStatus"
    assert status[3] == {"level": "error", "code": "NetStream.Publish.BadName", "description": "unknown stream key"}
    assert protocol.refused


@pytest.mark.parametrize("last", ["FCUnpublish", "deleteStream", "closeStream"])
def test_a_publish_ends_once_and_another_may_follow(last: str) -> None:
    """ffmpeg says it twice; time and format start anew with the next publish."""
    protocol = server()
    end = command(last, 6, None, "secret") + command("deleteStream", 7, None, 1)
    events = feed(protocol, FFMPEG)
    events += feed(protocol, audio(0xFFFFFFFF), end, audio(5))
    assert events.count(Unpublished()) == 1
    assert sum(isinstance(event, AudioPacket) for event in events) == 1
    again = feed(protocol, command("publish", 8, None, "other", stream_id=1), audio(7))
    assert again[0] == PublishAsked("live", "other", "")
    assert isinstance(again[1], AudioPacket)
    assert again[1].timestamp_ms == 7


def test_what_was_published_does_not_count_as_too_much_without_publish() -> None:
    """Farewells come in two messages; the second must not be an offence after hours of media."""
    protocol = server(Limits(setup_bytes=2_000 + len(FFMPEG)))
    feed(protocol, FFMPEG, *(audio(n) for n in range(2_000)))
    feed(protocol, command("FCUnpublish", 6, None, "secret"))
    feed(protocol, command("deleteStream", 7, None, 1))
    assert protocol.phase is Phase.CONNECTED


def test_whoever_unpublishes_before_the_answer_is_done() -> None:
    """Else a connection could have keys checked for ever, each while the one before is still being checked."""
    protocol = server()
    [asked, *_] = protocol.receive(memoryview(FFMPEG))
    assert isinstance(asked, PublishAsked)
    again = command("publish", 9, None, "another", "live", stream_id=1)
    assert feed(protocol, command("deleteStream", 8, None, 1) + again) == [Unpublished()]
    assert protocol.refused


def test_play_is_refused_clearly() -> None:
    """A player that comes to the wrong address learns why."""
    protocol = server()
    feed(protocol, HELLO, CONNECT, command("createStream", 2, None), command("play", 3, None, "secret"))
    assert codes(answers(protocol))[-1] == "NetStream.Play.Failed"
    assert protocol.refused


def test_an_unknown_command_gets_an_error_only_when_it_asked_for_an_answer() -> None:
    """Transaction 0 wants none."""
    protocol = server()
    feed(protocol, HELLO, CONNECT)
    answers(protocol)
    feed(protocol, command("getStreamLength", 9, None, "x"), command("onBWDone", 0, None))
    ((name, transaction, *_),) = commands(answers(protocol))
    assert (name, transaction) == ("_error", 9.0)


def test_pings_are_answered() -> None:
    """User control 6 with a time, 7 with the same time back."""
    protocol = server()
    feed(protocol, FFMPEG)
    answers(protocol)
    feed(protocol, write(Message(4, 0, 0, b"\x00\x06\x01\x02\x03\x04"), 128, 2))
    assert [m.payload for m in answers(protocol)] == [b"\x00\x07\x01\x02\x03\x04"]


def test_received_bytes_are_acknowledged_every_window() -> None:
    """The publisher's window counts, from the first byte of the handshake on."""
    protocol = server()
    feed(protocol, FFMPEG, write(Message(5, 0, 0, (1000).to_bytes(4, "big")), 128, 2))
    answers(protocol)
    sent = 0
    seen = []
    for n in range(200):
        wire = audio(n)
        sent += len(wire)
        feed(protocol, wire)
        seen += [struct.unpack(">I", m.payload)[0] for m in answers(protocol) if m.type == 3]
    assert len(seen) in (sent // 1000, sent // 1000 + 1)
    assert all(1000 <= b - a < 1000 + len(audio(0)) for a, b in pairwise(seen))
    total = len(FFMPEG) + 16 + sent
    assert total - 1000 < seen[-1] <= total


def test_aggregates_are_taken_apart() -> None:
    """Times inside count from the first part; video inside is counted."""

    def part(type: int, timestamp: int, body: bytes) -> bytes:
        head = bytes((type,)) + len(body).to_bytes(3, "big")
        head += (timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes((timestamp >> 24,)) + bytes(3)
        return head + body + (len(body) + 11).to_bytes(4, "big")

    body = part(9, 500, bytes(30)) + part(8, 510, b"\xaf\x01one") + part(8, 530, b"\xaf\x01two")
    protocol = server()
    events = feed(protocol, FFMPEG, write(Message(22, 1, 2000, body), 128, 5), size=50)
    assert [(e.timestamp_ms, e.payload) for e in events[1:] if isinstance(e, AudioPacket)] == [
        (2010, b"one"),
        (2030, b"two"),
    ]
    assert protocol.video_bytes == 30
    cut = part(8, 0, b"\xaf\x01x") + part(8, 10, b"\xaf\x01y")[:-6]
    [packet] = feed(protocol, write(Message(22, 1, 0, cut), 128, 5))
    assert isinstance(packet, AudioPacket) and packet.payload == b"x"
    tiny = part(8, 0, b"") * 1_025
    with pytest.raises(ProtocolError, match="too many messages in one"):
        feed(protocol, write(Message(22, 1, 0, tiny), 128, 5))


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (HELLO + ASK, "out of order"),
        (HELLO + CONNECT + write(Message(9, 0, 0, bytes(200_000)), 128, 3), "too much without publish"),
        (HELLO + write(Message(20, 0, 0, bytes(70_000)), 128, 3), "message too long"),
    ],
)
def test_rules(wire: bytes, why: str) -> None:
    """Whoever breaks one is disconnected, with a reason fit for a counter."""
    with pytest.raises(ProtocolError, match=why):
        feed(server(), wire, size=1000)


DATA_NOBODY_NEEDS = [
    b"",
    b"\x02",
    b"\x11\x0a\x0b\x01",  # an AMF3 value
    b"\x02\x00\x0aonMetaData" + b"\x03\x00\x01a" * 20,  # too deep
    b"\x02\x00\x0aonMetaData\x08\xff\xff\xff\xff\x00\x08timecode\x02\x00\xff01:00:00",  # cut short
    b"\x02\x00\x0aonTextData\x7f\x00",
    b"\x02\x00\x0aonCuePoint" + bytes(range(256)) * 400,  # longer than a command may be
    bytes(range(256)) * 600,
]


@pytest.mark.parametrize("type", [18, 15, 16, 19, 4, 5, 3, 6, 77])
@pytest.mark.parametrize("payload", DATA_NOBODY_NEEDS, ids=range(len(DATA_NOBODY_NEEDS)))
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_data_that_nobody_needs_ends_no_publish(type: int, payload: bytes, size: int) -> None:
    """Timecode, captions, AMF3, shared objects, odd control messages, unknown types: the audio behind is taken."""
    protocol = server()
    feed(protocol, FFMPEG)
    events = feed(protocol, audio(10), write(Message(type, 1, 20, payload), 128, 6), audio(30), size=size)
    assert [event.timestamp_ms for event in events if isinstance(event, AudioPacket)] == [10, 30]
    assert protocol.phase is Phase.PUBLISHING


@given(st.sampled_from([18, 15, 20, 17, 22, 8]), st.binary(max_size=300), st.booleans())
def test_generated_messages_end_no_publish(type: int, payload: bytes, as_metadata: bool) -> None:
    """Commands that ask for something are obeyed; none is made by chance."""
    protocol = server()
    feed(protocol, FFMPEG)
    said = (b"\x02\x00\x0aonMetaData" if as_metadata else b"") + payload
    feed(protocol, write(Message(type, 1, 20, said), 128, 6))
    assert any(isinstance(event, AudioPacket) for event in feed(protocol, audio(30)))


def test_metadata_is_read_as_far_as_it_goes() -> None:
    protocol = server()
    feed(protocol, FFMPEG)
    for head in (amf0.encode("@setDataFrame", "onMetaData"), amf0.encode("onMetaData")):
        whole = head + amf0.encode({"encoder": "x", "width": 640}) + b"\x7f"
        [found] = feed(protocol, write(Message(18, 1, 0, whole), 128, 6))
        assert found == Metadata({"encoder": "x", "width": 640.0})


def test_a_second_publish_on_a_connection_changes_nothing_of_the_first() -> None:
    """The same name is told again to start, another one that it cannot be; audio goes on."""
    protocol = server()
    feed(protocol, FFMPEG)
    answers(protocol)
    again = command("publish", 7, None, "secret", "live", stream_id=1)
    events = feed(protocol, again, command("publish", 8, None, "other", "live", stream_id=1), audio(10))
    assert [type(event) for event in events] == [AudioPacket]
    assert codes(answers(protocol)) == ["NetStream.Publish.Start", "NetStream.Publish.BadName"]
    assert protocol.repeated_publishes == 2


def test_odd_commands_are_answered_or_passed_over() -> None:
    """A second connect, a command without a name, an empty one, one that cannot be read; a publish without a name."""
    protocol = server()
    odd = [command("connect", 9, {"app": "other"}), command(5), write(Message(20, 0, 0, b""), 128, 3)]
    odd.append(write(Message(20, 0, 0, b"\x03\x00\x01a" * 9), 128, 3))
    assert feed(protocol, HELLO, CONNECT, *odd) == []
    assert codes(answers(protocol)) == ["NetConnection.Connect.Success", "NetConnection.Connect.Rejected"]
    assert feed(protocol, command("publish", 2, None, stream_id=1)) == [PublishAsked("live", "", "")]


@pytest.mark.parametrize("payload", [bytes(4), b"", b"\x00\x26", b"\x00\x26\x25\xa0\x00"])
def test_an_odd_window_size_is_none(payload: bytes) -> None:
    """Acknowledgements go on; five bytes say what their first four do."""
    protocol = server()
    feed(protocol, FFMPEG, write(Message(5, 0, 0, payload), 128, 2))
    answers(protocol)
    feed(protocol, write(Message(9, 1, 0, bytes(2_600_000)), 128, 6))
    assert [m.type for m in answers(protocol)] == [3]


@pytest.mark.parametrize(("phase", "move"), list(product(Phase, Move)))
def test_the_table_of_moves_is_the_whole_truth(phase: Phase, move: Move) -> None:
    """What it does not list is refused."""
    protocol = server()
    protocol.phase = phase
    if (phase, move) in MOVES:
        protocol._move(move)
        assert protocol.phase is MOVES[phase, move]
    else:
        with pytest.raises(ProtocolError, match="out of order"):
            protocol._move(move)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_conversations_raise_nothing_else(seed: int) -> None:
    """A whole session with bytes flipped, lost and inserted after the handshake."""
    dice = random.Random(seed)
    good = FFMPEG + b"".join(audio(n * 21, b"\xaf\x01" + dice.randbytes(90)) for n in range(50))
    good += command("FCUnpublish", 6, None, "secret")
    for _ in range(20):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(HELLO), len(bad))
            bad[at : at + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 3))
        with contextlib.suppress(ProtocolError):
            feed(server(), bytes(bad), size=dice.randint(1, 999))
