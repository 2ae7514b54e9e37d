"""Packets on their way from one gateway to another."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.errors import ProtocolError
from ingest.rtmp.packets import MESSAGE_BYTES, read, write

rates = st.none() | st.integers(1, 384_000)
formats = st.builds(
    AudioFormat, st.text(), st.binary(max_size=100), rates, st.none() | st.integers(1, 8), st.booleans()
)
times = st.integers(-(1 << 40), 1 << 50)
values = st.none() | st.integers(-9, 9) | st.text() | st.binary()


@given(st.data())
def test_every_packet_arrives_once_in_its_order_as_it_was(data: st.DataObject) -> None:
    """Whatever the codec, however often it changes and however long they are."""
    known = data.draw(st.lists(formats, min_size=1, max_size=3))
    payloads = st.binary(max_size=50) | st.integers(0, 200_000).map(bytes)
    packets = data.draw(st.lists(st.builds(AudioPacket, times, payloads, st.sampled_from(known)), max_size=20))
    messages = list(write(packets, 1.5))
    assert [packet for message in messages for packet in read(message)[0]] == packets
    assert all(read(message)[1] == 1.5 and len(message) <= MESSAGE_BYTES for message in messages)


def test_the_longest_packet_fits_into_a_message() -> None:
    longest = bytes(256 * 1024)
    format = AudioFormat("aac", longest, None, None, True)
    packets = [AudioPacket(0, longest[: 64 * 1024 - 1], format), AudioPacket(1, longest, format)]
    assert max(len(message) for message in write(packets, 0.0)) <= MESSAGE_BYTES


@example(b"\x97\x00\xa1\x80")
@given(st.binary(max_size=200) | st.lists(values).map(msgspec.msgpack.encode))
def test_what_is_none_is_said_to_be_unreadable(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(message)
