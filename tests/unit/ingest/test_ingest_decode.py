"""Real encoders' packets through real decoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.decode import PacketDecoder
from ingest.errors import Undecodable, UnsupportedCodec

EncodeTone = Callable[..., list[AudioPacket]]


def decoded(packets: list[AudioPacket]) -> tuple[int, np.ndarray]:
    decoder = PacketDecoder(packets[0].format)
    runs = [run for packet in packets for run in decoder.decode(packet.payload)] + decoder.decode(None)
    (rate,) = {run.sample_rate for run in runs}
    return rate, np.concatenate([run.samples for run in runs])


@pytest.mark.parametrize(
    ("codec", "rate", "channels"),
    [
        ("aac", 48_000, 2), ("aac", 44_100, 1), ("aac", 16_000, 2),
        ("libmp3lame", 44_100, 2), ("libmp3lame", 22_050, 1),
        ("libopus", 48_000, 2), ("libopus", 48_000, 1),
        ("pcm_alaw", 8_000, 1), ("pcm_mulaw", 8_000, 2), ("pcm_s16le", 44_100, 2),
    ],
)  # fmt: skip
def test_a_tone_survives(
    codec: str, rate: int, channels: int, encode_tone: EncodeTone, pitch: Callable[..., float]
) -> None:
    """Pitch, level, length: mono at full scale 1."""
    heard_rate, sound = decoded(encode_tone(codec, hz=500, rate=rate, channels=channels))
    assert heard_rate == rate
    assert len(sound) / rate == pytest.approx(1.0, abs=0.08)
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    assert np.abs(middle).max() == pytest.approx(0.25, rel=0.1)
    assert pitch((middle * 32767).astype("<i2").tobytes(), rate) == pytest.approx(500, abs=4)


def test_unsigned_bytes_are_centred() -> None:
    """128 is silence."""
    decoder = PacketDecoder(AudioFormat("pcm_u8", b"", 11_025, 2, True))
    (run,) = decoder.decode(bytes([128, 128, 255, 255, 0, 0]))
    assert run.sample_rate == 11_025
    assert run.samples.tolist() == pytest.approx([0.0, 127 / 128, -1.0])


def test_a_broken_packet_does_not_break_the_decoder(encode_tone: EncodeTone) -> None:
    """It is reported; the packets after it are heard."""
    packets = encode_tone("aac")
    decoder = PacketDecoder(packets[0].format)
    with pytest.raises(Undecodable):
        decoder.decode(b"\x00" * 40)
    assert sum(len(run.samples) for packet in packets for run in decoder.decode(packet.payload)) > 40_000


@pytest.mark.parametrize("extradata", [b"", b"\x00", b"\xff\xff\xff"])
def test_a_missing_or_broken_configuration_is_reported_packet_by_packet(
    extradata: bytes, encode_tone: EncodeTone
) -> None:
    """A configuration may still come and bring a new decoder."""
    decoder = PacketDecoder(AudioFormat("aac", extradata, None, None, True))
    with pytest.raises(Undecodable):
        decoder.decode(encode_tone("aac")[5].payload)


@pytest.mark.parametrize(
    "format", [AudioFormat("speex", b"", None, None, False), AudioFormat("nonsense", b"", 1, 1, True)]
)
def test_an_unsupported_codec_says_what_to_configure(format: AudioFormat) -> None:
    """In words for the owner of the encoder."""
    with pytest.raises(UnsupportedCodec, match="set its audio codec to AAC"):
        PacketDecoder(format)
