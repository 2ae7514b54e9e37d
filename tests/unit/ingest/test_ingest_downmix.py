"""Stereo to mono: nothing cancels out, one side alone stays as it was, and no click is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.downmix import Downmix

RATE = 48_000
_GAINS = st.floats(0.01, 1) | st.floats(-1, -0.01)


def voice(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise that comes and goes, as speech does."""
    size = round(seconds * RATE)
    noise = np.convolve(np.random.default_rng(seed).standard_normal(size), np.ones(40) / 40, "same")
    loudness = 0.2 * np.clip(np.sin(2 * np.pi * 1.5 * np.arange(size) / RATE), 0, None)
    return (noise * loudness).astype(np.float32)


def mixed(left: np.ndarray, right: np.ndarray, block: int = 1024) -> np.ndarray:
    downmix = Downmix(RATE)
    return np.concatenate(
        [downmix.mix(left[at : at + block], right[at : at + block]) for at in range(0, len(left), block)]
    )


def energy(sound: np.ndarray) -> float:
    return float(np.square(sound, dtype=float).sum())


@pytest.mark.parametrize("block", [160, 960, 1024, 9600])
@pytest.mark.parametrize("right", [-1.0, -0.9, -0.6])
def test_a_side_that_is_turned_over_is_heard_like_mono_from_the_first_sample(right: float, block: int) -> None:
    sound = voice(4)
    assert np.array_equal(mixed(sound, (right * sound).astype(np.float32), block), sound)


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (0, 1), (1, 0.3), (1, -0.3)])
def test_what_does_not_cancel_out_is_the_mean(gains: tuple[float, float]) -> None:
    """One microphone on one side among them."""
    sound = voice(2)
    left, right = (np.float32(gain) * sound for gain in gains)
    assert np.array_equal(mixed(left, right), (left + right) * np.float32(0.5))


def test_two_voices_on_two_sides_are_both_heard() -> None:
    left, right = voice(3, 1), voice(3, 2)
    assert np.array_equal(mixed(left, right), (left + right) * np.float32(0.5))


def test_a_change_fades_and_is_made_once() -> None:
    """A cable is swapped in mid-speech: no step between two samples that the sound itself does not have."""
    tone = (0.3 * np.sin(2 * np.pi * 200 * np.arange(4 * RATE) / RATE)).astype(np.float32)
    right = np.where(np.arange(len(tone)) < 2 * RATE, tone, -tone).astype(np.float32)
    found = mixed(tone, right)
    behind = found[2 * RATE + 12_000 :]
    assert np.array_equal(behind, tone[2 * RATE + 12_000 :])
    assert np.abs(np.diff(found[2 * RATE + 1024 :])).max() < 0.02


@given(_GAINS, _GAINS, st.integers(100, 5000), st.integers(0, 99))
def test_no_two_gains_make_silence_of_speech(left: float, right: float, block: int, seed: int) -> None:
    sound = voice(1, seed)
    sides = (np.float32(gain) * sound for gain in (left, right))
    loudest = max(abs(left), abs(right)) ** 2 * energy(sound)
    assert energy(mixed(*sides, block)) >= 0.09 * loudest


def test_silence_decides_nothing() -> None:
    silence = np.zeros(4096, np.float32)
    assert not mixed(silence, silence).any()
    downmix = Downmix(RATE)
    assert downmix.mix(silence[:0], silence[:0]).size == 0
