"""Sound for the tests of this room: tones, encoders, and what is heard in the end."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from ingest.audio_packet import AudioFormat, AudioPacket

EncodeTone = Callable[..., list[AudioPacket]]


def tone(hz: float, rate: int, samples: int, channels: int, level: float) -> np.ndarray:
    """A sine with its peak at `level`, shape (channels, samples)."""
    wave = level * np.sin(2 * np.pi * hz * np.arange(samples) / rate)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


@cache
def encoded(
    codec: str,
    hz: float = 440.0,
    rate: int = 48_000,
    seconds: float = 1.0,
    channels: int = 2,
    first_ms: float = 0.0,
    level: float = 0.25,
) -> tuple[AudioPacket, ...]:
    """A tone as packets of `codec`, stamped like a publisher would; made once, since encoding is slow."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.time_base = rate, Fraction(1, rate)
    encoder.layout = "stereo" if channels == 2 else "mono"
    encoder.format = {"aac": "fltp", "libmp3lame": "fltp", "libopus": "flt"}.get(codec, "s16")
    encoder.open()
    name = {"libmp3lame": "mp3", "libopus": "opus"}.get(codec, codec)
    format = AudioFormat(name, bytes(encoder.extradata or b""), rate, channels, True)
    sound = tone(hz, rate, round(rate * seconds), channels, level)
    size = encoder.frame_size or rate // 50
    packets: list[AudioPacket] = []

    def take(encoded: list[av.Packet]) -> None:
        for packet in encoded:
            at = first_ms + len(packets) * size * 1000 / rate
            packets.append(AudioPacket(round(at), bytes(packet), format))

    for start in range(0, sound.shape[1] - size + 1, size):
        piece = sound[:, start : start + size]
        if encoder.format.name == "flt":
            piece = piece.T.reshape(1, -1)
        elif encoder.format.name == "s16":
            piece = (piece.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(piece), format=encoder.format.name, layout=encoder.layout.name
        )
        frame.sample_rate, frame.pts = rate, start
        take(encoder.encode(frame))
    take(encoder.encode(None))
    return tuple(packets)


@pytest.fixture
def encode_tone() -> EncodeTone:
    return lambda *args, **options: list(encoded(*args, **options))


@pytest.fixture
def pitch() -> Callable[..., float]:
    """The loudest frequency (Hz) in PCM at 16 kHz."""

    def find(pcm: bytes, rate: int = 16_000) -> float:
        sound = np.frombuffer(pcm, "<i2").astype(float)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
        return float(np.argmax(spectrum)) * rate / len(sound)

    return find
