"""Chunk streams: every header, every split, every limit."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ProtocolError
from ingest.rtmp.chunk_stream import ChunkReader, Message, write

LIMITS = {1: 64, 2: 64, 8: 256 * 1024, 18: 64 * 1024, 20: 64 * 1024}


def reader(**limits: int) -> ChunkReader:
    defaults = {"skip_limit": 1 << 24, "lane_limit": 32, "assembly_limit": 1 << 20}
    return ChunkReader(LIMITS, **(defaults | limits))


def read(wire: bytes, size: int = 1 << 30, **limits: int) -> list[Message]:
    chunks = reader(**limits)
    return [m for at in range(0, len(wire), size) for m in chunks.receive(memoryview(wire[at : at + size]))]


def u24(value: int) -> bytes:
    return value.to_bytes(3, "big")


def basic(kind: int, csid: int) -> bytes:
    if csid < 64:
        return bytes((kind << 6 | csid,))
    if csid < 320:
        return bytes((kind << 6, csid - 64))
    return bytes((kind << 6 | 1,)) + (csid - 64).to_bytes(2, "little")


def full(csid: int, timestamp: int, length: int, type: int = 8, stream_id: int = 1) -> bytes:
    extended = timestamp >= 0xFFFFFF
    head = basic(0, csid) + u24(0xFFFFFF if extended else timestamp) + u24(length) + bytes((type,))
    return head + stream_id.to_bytes(4, "little") + (timestamp.to_bytes(4, "big") if extended else b"")


@pytest.mark.parametrize("csid", [2, 3, 63, 64, 319, 320, 65_599])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_every_header_type_on_every_form_of_stream_id(csid: int, size: int) -> None:
    """Absolute time, then deltas with less and less said; type 3 repeats the last delta."""
    wire = full(csid, 1000, 3) + b"abc"
    wire += basic(1, csid) + u24(20) + u24(2) + b"\x12" + b"de"
    wire += basic(2, csid) + u24(30) + b"fg"
    wire += basic(3, csid) + b"hi"
    assert read(wire, size) == [
        Message(8, 1, 1000, b"abc"),
        Message(18, 1, 1020, b"de"),
        Message(18, 1, 1050, b"fg"),
        Message(18, 1, 1080, b"hi"),
    ]


@pytest.mark.parametrize("size", [1, 2, 5, 127, 1000])
def test_messages_of_different_streams_interleave(size: int) -> None:
    """Each chunk stream keeps its own place; a message of length 0 is one too."""
    wire = full(4, 10, 200) + b"a" * 128 + full(5, 11, 0, 18) + full(6, 12, 130, 20) + b"b" * 128
    wire += basic(3, 4) + b"a" * 72 + basic(3, 6) + b"b" * 2
    assert read(wire, size) == [
        Message(18, 1, 11, b""),
        Message(8, 1, 10, b"a" * 200),
        Message(20, 1, 12, b"b" * 130),
    ]


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("size", [1, 3, 4, 131, 1000])
@pytest.mark.parametrize("timestamp", [0xFFFFFF, 0x01234567, 0xFFFFFFFE])
def test_extended_timestamps_repeated_or_not(repeated: bool, size: int, timestamp: int) -> None:
    """Encoders disagree on type 3 chunks; both are read, in the middle of a message and at a new one."""
    echo = timestamp.to_bytes(4, "big") if repeated else b""
    wire = full(4, timestamp, 300) + b"a" * 128 + basic(3, 4) + echo + b"a" * 128 + basic(3, 4) + echo + b"a" * 44
    wire += basic(1, 4) + u24(0xFFFFFF) + u24(2) + b"\x08" + (0x02000000).to_bytes(4, "big") + b"xy"
    wire += basic(3, 4) + ((0x02000000).to_bytes(4, "big") if repeated else b"") + b"zz"
    wire += full(4, 7, 1) + b"!"
    times = [timestamp, timestamp + 0x02000000, timestamp + 0x04000000, 7]
    bodies = [b"a" * 300, b"xy", b"zz", b"!"]
    expected = [Message(8, 1, t & 0xFFFFFFFF, body) for t, body in zip(times, bodies, strict=True)]
    assert read(wire, size) == expected


def test_an_unrepeated_extended_timestamp_does_not_hold_back_the_last_bytes() -> None:
    """The two bytes that end the message are enough to see that they are not a timestamp."""
    wire = full(4, 0x01234567, 130) + b"a" * 128 + basic(3, 4) + b"bc"
    assert [m.payload for m in read(wire)] == [b"a" * 128 + b"bc"]


def test_timestamps_wrap_at_32_bits() -> None:
    """A delta across the wrap stays 32 bits wide."""
    wire = full(4, 0xFFFFFFF0, 1) + b"a" + basic(2, 4) + u24(0x20) + b"b"
    assert [m.timestamp_ms for m in read(wire)] == [0xFFFFFFF0, 0x10]


def test_librtmp_opens_its_control_stream_with_a_short_header() -> None:
    """RTMP_SendCtrl starts channel 2 with type 1."""
    wire = basic(1, 2) + u24(0) + u24(1) + b"\x12" + b"x"
    assert read(wire) == [Message(18, 0, 0, b"x")]


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_chunk_size_changes_between_chunks_of_another_message(size: int) -> None:
    """Set Chunk Size counts from the next chunk on, whatever is under way."""
    wire = full(4, 0, 5000) + b"a" * 128 + full(2, 0, 4, 1, 0) + (4096).to_bytes(4, "big")
    wire += basic(3, 4) + b"a" * 4096 + basic(3, 4) + b"a" * 776
    assert read(wire, size) == [Message(8, 1, 0, b"a" * 5000)]


def test_a_huge_chunk_size_is_never_allocated() -> None:
    """2^31 - 1 is a legal announcement; only bytes that arrive cost memory."""
    wire = full(2, 0, 4, 1, 0) + b"\x7f\xff\xff\xff" + full(4, 0, 256 * 1024) + b"x" * 10
    chunks = reader()
    tracemalloc.start()
    try:
        chunks.receive(memoryview(wire))
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


def test_abort_forgets_an_unfinished_message() -> None:
    """The next header on that stream may begin a new one."""
    wire = full(4, 0, 200) + b"a" * 128 + full(2, 0, 4, 2, 0) + (4).to_bytes(4, "big") + full(4, 9, 2) + b"ok"
    assert read(wire) == [Message(8, 1, 9, b"ok")]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_message_given_up_half_way_is_forgotten(size: int) -> None:
    """A new header on its chunk stream tells; what comes behind is read as what it is."""
    chunks = reader()
    wire = full(4, 0, 200) + b"a" * 128 + full(4, 20, 3) + b"new" + full(5, 0, 300, 9) + b"v" * 128
    wire += full(5, 40, 2, 9) + b"vv" + full(4, 60, 4) + b"next"
    found = [m for at in range(0, len(wire), size) for m in chunks.receive(memoryview(wire[at : at + size]))]
    assert found == [Message(8, 1, 20, b"new"), Message(8, 1, 60, b"next")]
    assert chunks.abandoned == 2
    assert chunks._assembling == 0


@pytest.mark.parametrize("payload", [bytes(4), b"", b"\x00\x00\x80", b"\x00\x00\x00\x80\x99"])
def test_an_odd_chunk_size_leaves_it_as_it_is(payload: bytes) -> None:
    """128 bytes, which is also what the first four of five bytes say."""
    wire = full(2, 0, len(payload), 1) + payload + full(4, 0, 200) + b"a" * 128 + basic(3, 4) + b"b" * 72
    assert [m.payload for m in read(wire)] == [b"a" * 128 + b"b" * 72]


def test_abort_counts_once() -> None:
    """Aborting again must not make room for more than the limit."""
    abort = full(2, 0, 4, 2, 0) + (64).to_bytes(4, "big")
    wire = full(64, 0, 1000) + bytes(128) + abort * 9
    wire += b"".join(full(csid, 0, 1000) + bytes(128) for csid in range(3, 12))
    with pytest.raises(ProtocolError, match="too much unfinished"):
        read(wire, assembly_limit=1024)


def test_neighbouring_stream_ids_are_different_streams() -> None:
    """63 in one byte, 64 in two, 320 in three; an abort names one of them."""
    abort = full(2, 0, 4, 2, 0) + (64).to_bytes(4, "big")
    wire = b"".join(full(csid, 0, 130) + bytes(128) for csid in (63, 64, 320)) + abort
    wire += basic(3, 63) + b"ab" + basic(3, 320) + b"cd" + full(64, 7, 2) + b"ef"
    assert [m.payload[-2:] for m in read(wire)] == [b"ab", b"cd", b"ef"]


def test_only_unfinished_messages_count_against_the_limit() -> None:
    """A day of finished ones does not."""
    wire = (
        full(4, 0, 1000) + bytes(128) + b"".join(basic(3, 4) + bytes(128) for _ in range(6)) + b"\xc4" + bytes(104)
    ) * 50
    assert len(read(wire, assembly_limit=1024)) == 50


def test_video_is_counted_but_neither_assembled_nor_copied() -> None:
    """15 MB of one video message leave no trace in memory."""
    chunks = reader()
    chunks.receive(memoryview(full(2, 0, 4, 1, 0) + (65_536).to_bytes(4, "big") + full(6, 0, 15_000_000, 9)[:-1]))
    piece = memoryview(bytes(65_536))
    chunks.receive(memoryview(b"\x00"))  # the last byte of the header
    tracemalloc.start()
    try:
        sent = 0
        while sent < 15_000_000:
            size = min(65_536, 15_000_000 - sent)
            if sent:
                chunks.receive(memoryview(basic(3, 6)))
            assert chunks.receive(piece[:size]) == []
            sent += size
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert chunks.skipped_bytes == {9: 15_000_000}
    assert chunks.receive(memoryview(full(4, 5, 2) + b"ok")) == [Message(8, 1, 5, b"ok")]


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (full(3, 0, 64 * 1024 + 1, 20), "message too long"),
        (full(4, 0, 256 * 1024 + 1, 8), "message too long"),
        (full(2, 0, 65, 1), "message too long"),
        (basic(3, 4), "malformed chunk"),
        (basic(2, 4) + u24(0), "malformed chunk"),
        (b"".join(full(csid, 0, 0) for csid in range(3, 40)), "too many chunk streams"),
        (full(4, 0, 0, 9) + b"\xc4" * 200, "too many tiny chunks"),
        (full(2, 0, 4, 1) + b"\x00\x00\x00\x01" + full(4, 0, 999, 9) + b"x" + b"\xc4x" * 400, "too many tiny chunks"),
        (b"".join(full(csid, 0, 256 * 1024) + bytes(128) for csid in range(3, 12)), "too much unfinished"),
    ],
)
def test_limits(wire: bytes, why: str) -> None:
    """Each has its own name, fit for a counter."""
    with pytest.raises(ProtocolError, match=why):
        read(wire, assembly_limit=1024)


def test_a_video_longer_than_the_limit_is_refused() -> None:
    """16 MB by default; here less, since 24 bits cannot say more."""
    with pytest.raises(ProtocolError, match="message too long"):
        read(full(6, 0, 1001, 9), skip_limit=1000)


def _write_wildly(messages: list[Message], chunk_bytes: int, dice: random.Random) -> bytes:
    """A writer that is nothing like ours: random header types where legal, streams interleaved at random."""
    wire = bytearray(full(2, 0, 4, 1, 0) + chunk_bytes.to_bytes(4, "big"))
    lanes: dict[int, list[int]] = {}  # csid -> timestamp, delta, length, type, stream id
    queues: dict[int, list[Message]] = {}
    csids = dice.sample([3, 4, 63, 64, 200, 319, 320, 40_000], 3)
    for message in messages:
        queues.setdefault(dice.choice(csids), []).append(message)
    underway: dict[int, tuple[bytes, int]] = {}
    while any(queues.values()) or underway:
        csid = dice.choice([c for c in csids if queues.get(c) or c in underway])
        if csid in underway:
            body, at = underway.pop(csid)
            wire += basic(3, csid)
            if lanes[csid][1] >= 0xFFFFFF:
                wire += lanes[csid][1].to_bytes(4, "big")
        else:
            message = queues[csid].pop(0)
            body, at = message.payload, 0
            last = lanes.get(csid)
            delta = (message.timestamp_ms - last[0]) & 0xFFFFFFFF if last else 0
            kinds = [0]
            if last and last[4] == message.stream_id:
                kinds.append(1)
                if last[2:4] == [len(body), message.type]:
                    kinds.append(2)
                    if last[1] == delta:
                        kinds.append(3)
            kind = dice.choice(kinds)
            field = delta if kind else message.timestamp_ms
            lanes[csid] = [message.timestamp_ms, field, len(body), message.type, message.stream_id]
            wire += basic(kind, csid)
            short = b"" if kind == 3 else u24(min(field, 0xFFFFFF))
            wire += short
            if kind < 2:
                wire += u24(len(body)) + bytes((message.type,))
            if kind == 0:
                wire += message.stream_id.to_bytes(4, "little")
            if field >= 0xFFFFFF:
                wire += field.to_bytes(4, "big")
        wire += body[at : at + chunk_bytes]
        if at + chunk_bytes < len(body):
            underway[csid] = (body, at + chunk_bytes)
    return bytes(wire)


messages_lists = st.lists(
    st.builds(
        Message,
        st.sampled_from([8, 18, 20]),
        st.integers(0, 2),
        st.integers(0, 5000) | st.integers(0xFFFFF0, 0x1000010) | st.integers(0xFFFFFFF0, 0xFFFFFFFF),
        st.binary(max_size=400),
    ),
    max_size=12,
)


@given(messages_lists, st.integers(4, 300), st.randoms(use_true_random=False), st.integers(1, 200))
def test_any_legal_writer_and_any_split_give_the_messages_back(
    messages: list[Message], chunk_bytes: int, dice: random.Random, size: int
) -> None:
    """Order within one chunk stream is kept; nothing is lost, doubled or changed."""
    seen = read(_write_wildly(messages, chunk_bytes, dice), size)
    key = lambda m: (m.type, m.stream_id, m.timestamp_ms, m.payload)  # noqa: E731
    assert sorted(seen, key=key) == sorted(messages, key=key)


@given(st.binary(max_size=600), st.integers(1, 64))
def test_garbage_raises_nothing_else_and_keeps_little(data: bytes, size: int) -> None:
    """Random bytes: our own error or silence."""
    with contextlib.suppress(ProtocolError):
        read(data, size)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_stream_raises_nothing_else(seed: int) -> None:
    """A good stream with bytes flipped, removed and inserted."""
    dice = random.Random(seed)
    good = b"".join(
        write(Message(dice.choice([8, 18, 20, 9]), 1, n * 20, dice.randbytes(300)), 128, 4) for n in range(40)
    )
    for _ in range(30):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(len(bad))
            bad[at : at + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 3))
        with contextlib.suppress(ProtocolError):
            read(bytes(bad), dice.randint(1, 500))


@pytest.mark.parametrize("chunk_bytes", [4, 128, 4096])
@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 5000])
def test_what_we_write_we_can_read(chunk_bytes: int, length: int) -> None:
    """Our own answers, at any chunk size."""
    message = Message(20, 1, 77, bytes(n % 251 for n in range(length)))
    size = write(Message(1, 0, 0, chunk_bytes.to_bytes(4, "big")), 128, 2)
    assert read(size + write(message, chunk_bytes, 3)) == [message]
