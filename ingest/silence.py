"""Tells digital silence, which need not be sent nor paid for, from audio. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from ingest.pcm import SAMPLE_BYTES, SAMPLE_RATE

# 16-bit units, -72 dBFS: a muted or starved track decodes to zeros, give or take the codec's rounding. The quietest
# room through the quietest microphone is above it.
FLOOR: Final = 8
_NEAR_ZERO: Final = bytes([*range(FLOOR + 1), *range(256 - FLOOR, 256)])
"""The bytes that a sample of digital silence can have."""


def is_silent(pcm: bytes) -> bool:
    """Whether all of it (s16le) is digital silence."""
    if pcm[::50].translate(None, _NEAR_ZERO):
        return False  # audio says so at once: the low byte of some sample
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.max(initial=0) <= FLOOR and samples.min(initial=0) >= -FLOOR)


class SilenceGate:
    """Lets audio through, and `hang_over_s` of the silence after it, so that the provider hears where speech ends."""

    def __init__(self, hang_over_s: float) -> None:
        self._hang_over = int(hang_over_s * SAMPLE_RATE)
        self._left = 0

    def passes(self, pcm: bytes) -> bool:
        """Whether this piece of the track (s16le) is to be heard."""
        if not is_silent(pcm):
            self._left = self._hang_over
            return True
        self._left, passes = max(0, self._left - len(pcm) // SAMPLE_BYTES), self._left > 0
        return passes
