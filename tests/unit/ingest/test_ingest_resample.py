"""Any rate to 16 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ingest.resample import Resampler, downmix


def run(rate: int, samples: np.ndarray, block: int) -> bytes:
    resampler = Resampler(rate)
    pieces = [resampler.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return b"".join(pieces) + resampler.flush()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_pitch_level_and_length(rate: int, pitch: Callable[..., float]) -> None:
    """In blocks of any size, to the sample."""
    wave = (8000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.int16)
    pcm = run(rate, wave, 441)
    assert abs(len(pcm) // 2 - 16_000) <= 1
    assert pitch(pcm) == pytest.approx(1000, abs=1)
    middle = np.frombuffer(pcm, "<i2")[4000:12_000]
    assert np.abs(middle).max() == pytest.approx(8000, rel=0.02)
    assert pcm == run(rate, wave, 100_000) or rate != 16_000


def test_what_16_khz_cannot_hold_is_removed_not_folded() -> None:
    """10 kHz must not come back as 6 kHz."""
    wave = (16_000 * np.sin(2 * np.pi * 10_000 * np.arange(48_000) / 48_000)).astype(np.int16)
    assert np.abs(np.frombuffer(run(48_000, wave, 960), "<i2")[2000:-2000]).max() <= 2


def test_nothing_moves_in_time() -> None:
    """A click half a second in comes out half a second in."""
    wave = np.zeros(48_000, np.int16)
    wave[24_000] = 20_000
    assert np.argmax(np.frombuffer(run(48_000, wave, 480), "<i2")) == 8_000


def test_channels_are_averaged() -> None:
    """Two, one, and six of which the front three count; loud ones do not overflow."""
    stereo = np.array([[1000, 3000], [32_767, 32_767], [-32_768, -32_768]], np.int16)
    assert downmix(stereo).tolist() == [2000, 32_767, -32_768]
    assert downmix(stereo[:, :1]).tolist() == [1000, 32_767, -32_768]
    assert downmix(np.array([[30, 60, 90, 9999, 9999, 9999]], np.int16)).tolist() == [60]
    assert Resampler(16_000).push(stereo) == np.array([2000, 32_767, -32_768], "<i2").tobytes()
