"""Every accepted audio format comes out as 16 kHz s16le, one stream per channel."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt.local.audio import AudioDecoder


def sine(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.rint(10_000 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


def decode(decoder: AudioDecoder, data: bytes, size: int = 777) -> list[bytes]:
    parts = [decoder.push(data[i : i + size]) for i in range(0, len(data), size)] + [decoder.flush()]
    return [b"".join(column) for column in zip(*parts, strict=True)]


def strongest(pcm: bytes, rate: int = 16_000) -> float:
    samples = np.frombuffer(pcm, "<i2")
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@given(st.lists(st.integers(1, 50), max_size=40))
def test_native_audio_passes_unchanged_however_it_is_cut(sizes: list[int]) -> None:
    """Also when a cut lies inside a sample."""
    pcm = sine(440, 16_000, 0.02).tobytes()
    decoder, out, at = AudioDecoder("wav/pcm", 2, 16_000, 1), b"", 0
    for size in [*sizes, len(pcm)]:
        out += decoder.push(pcm[at : at + size])[0]
        at += size
    assert out == pcm


@pytest.mark.parametrize("rate", [8000, 32_000, 44_100, 48_000])
def test_other_rates_are_resampled_without_loss_of_time_or_pitch(rate: int) -> None:
    (pcm,) = decode(AudioDecoder("wav/pcm", 2, rate, 1), sine(1000, rate).tobytes())
    assert abs(len(pcm) // 2 - 16_000) <= 2
    assert abs(strongest(pcm) - 1000) < 2


@pytest.mark.parametrize(("width", "dtype", "shift"), [(3, "<i4", 8), (4, "<i4", 16)])
def test_deeper_samples_keep_their_upper_16_bits(width: int, dtype: str, shift: int) -> None:
    samples = sine(500, 16_000, 0.05)
    wide = (samples.astype(dtype) << shift).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    (pcm,) = decode(AudioDecoder("wav/pcm", width, 16_000, 1), wide)
    assert pcm == samples.tobytes()


def test_8_bit_pcm_is_unsigned() -> None:
    (pcm,) = decode(AudioDecoder("wav/pcm", 1, 16_000, 1), bytes([0, 128, 255]))
    assert struct.unpack("<3h", pcm) == (-32768, 0, 32512)


@pytest.mark.parametrize(
    ("encoding", "code", "value"),
    [
        # ITU-T G.711: ends and middle of both laws, scaled to 16 bits.
        ("wav/ulaw", 0x00, -32124),
        ("wav/ulaw", 0x80, 32124),
        ("wav/ulaw", 0x7F, 0),
        ("wav/ulaw", 0xFF, 0),
        ("wav/ulaw", 0xEF, 132),
        ("wav/alaw", 0x2A, -32256),
        ("wav/alaw", 0xAA, 32256),
        ("wav/alaw", 0x55, -8),
        ("wav/alaw", 0xD5, 8),
        ("wav/alaw", 0xC5, 264),
    ],
)
def test_g711_codes_have_their_standard_values(encoding: str, code: int, value: int) -> None:
    (pcm,) = decode(AudioDecoder(encoding, 1, 16_000, 1), bytes([code]))
    assert struct.unpack("<h", pcm) == (value,)


def test_channels_are_separated_in_interleaving_order() -> None:
    tones = [sine(500 * (i + 1), 16_000, 0.5) for i in range(3)]
    channels = decode(AudioDecoder("wav/pcm", 2, 16_000, 3), np.stack(tones, axis=1).tobytes())
    assert channels == [tone.tobytes() for tone in tones]


@pytest.mark.parametrize("size", [1, 3, 44, 45, 5000])
def test_a_wav_header_in_front_is_skipped(size: int) -> None:
    pcm = sine(440, 16_000, 0.1).tobytes()
    header = (
        b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVEfmt " + bytes(20) + b"data" + struct.pack("<I", len(pcm))
    )
    assert decode(AudioDecoder("wav/pcm", 2, 16_000, 1), header + pcm, size) == [pcm]


def test_audio_that_only_begins_like_a_header_is_audio() -> None:
    pcm = b"RIFX" + bytes(100)
    assert decode(AudioDecoder("wav/pcm", 2, 16_000, 1), pcm, 3) == [pcm]
