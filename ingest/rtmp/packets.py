"""Packets of one publish as messages from one gateway to another. Each message stands for itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.errors import ProtocolError

MESSAGE_BYTES: Final = 1024 * 1024
"""No message is longer: a packet and a codec's configuration have at most 256 KiB each."""
_BATCH_BYTES: Final = 64 * 1024  # with the packet that goes beyond


class _Batch(msgspec.Struct, array_like=True):
    """Packets of one format, as MessagePack. `age_s`: how long ago the first of them came in."""

    age_s: float
    codec: str
    extradata: bytes
    sample_rate: int | None
    channels: int | None
    supported: bool
    packets: list[tuple[int, bytes]]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Batch)


def write(packets: Sequence[AudioPacket], age_s: float) -> Iterator[bytes]:
    """The messages for `packets`, in order; the first came in `age_s` ago."""
    for format, alike in groupby(packets, lambda packet: packet.format):
        batch = _batch(format, age_s)
        size = 0
        for packet in alike:
            batch.packets.append((packet.timestamp_ms, packet.payload))
            size += len(packet.payload)
            if size >= _BATCH_BYTES:
                yield _ENCODER.encode(batch)
                batch, size = _batch(format, age_s), 0
        if batch.packets:
            yield _ENCODER.encode(batch)


def read(message: bytes) -> tuple[list[AudioPacket], float]:
    """What `write` made a message of. Raises: ProtocolError."""
    try:
        batch = _DECODER.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # the latter of what should be text
        raise ProtocolError("unreadable packets", str(error)) from None
    format = AudioFormat(batch.codec, batch.extradata, batch.sample_rate, batch.channels, batch.supported)
    return [AudioPacket(timestamp_ms, payload, format) for timestamp_ms, payload in batch.packets], batch.age_s


def _batch(format: AudioFormat, age_s: float) -> _Batch:
    return _Batch(age_s, format.codec, format.extradata, format.sample_rate, format.channels, format.supported, [])
