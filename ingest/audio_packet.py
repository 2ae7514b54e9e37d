"""One piece of compressed audio as a publisher sent it, and what is needed to decode it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What the packets are made of.

    `codec` is FFmpeg's name of the codec, also where it is not `supported`. `extradata` is the codec's own
    configuration (AudioSpecificConfig, OpusHead), or nothing. `sample_rate` (Hz) and `channels` are what the
    container says, None where it does not or where its word is known to be worthless.
    """

    codec: str
    extradata: bytes
    sample_rate: int | None
    channels: int | None
    supported: bool


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """`timestamp_ms` is the publisher's own clock, unwrapped to more than 32 bits; it may start anywhere and jump.

    Packets of one format share one `format` object until the publisher announces another.
    """

    timestamp_ms: int
    payload: bytes
    format: AudioFormat
