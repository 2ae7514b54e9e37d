"""Two channels to one, also where one side is turned over. Pure."""

from __future__ import annotations

from math import exp
from typing import Final

import numpy as np
import numpy.typing as npt

Side = npt.NDArray[np.float32]

# The mean of two sides of which one is turned over cancels out. Below the first share of the louder side's energy the
# louder side alone is taken, above the second the mean again. A microphone on one side only has 0.25, sides that have
# nothing to do with each other 0.5.
_CANCELS: Final = 0.1
_HOLDS: Final = 0.2
_AUDIBLE: Final = 1e-8  # energy of a sample, full scale 1 (-80 dBFS): what is below decides nothing
_MEMORY_S: Final = 0.1
_LOUDER: Final = 2.0  # in energy: what makes one side a better choice than the other
_HALF: Final = np.float32(0.5)
_MEAN: Final = (0.5, 0.5)
_LEFT: Final = (1.0, 0.0)
_RIGHT: Final = (0.0, 1.0)


class Downmix:
    """The mean of left and right, or the louder of them while they cancel each other out.

    One for a track: it remembers the last tenth of a second. A change of mind fades over the block it falls into.
    """

    def __init__(self, sample_rate: int) -> None:
        self._memory = _MEMORY_S * sample_rate
        # Of left, right and mean; samples add up and fade. Plain floats: arrays of three cost more than the sound does.
        self._left = self._right = self._mean = 0.0
        self._weights: tuple[float, float] | None = None

    def mix(self, left: Side, right: Side) -> Side:
        """Equally long blocks, full scale 1. Returns: as long."""
        size = len(left)
        if not size:
            return left
        mean = left + right
        mean *= _HALF
        left_now, right_now = float(left.dot(left)), float(right.dot(right))
        kept = exp(-size / self._memory)
        self._left = self._left * kept + left_now
        self._right = self._right * kept + right_now
        self._mean = self._mean * kept + float(mean.dot(mean))
        before = self._weights
        if max(left_now, right_now) > _AUDIBLE * size:
            self._weights = self._decided()
        after = self._weights or _MEAN
        if before is None or before == after:
            return mean if after == _MEAN else (left if after[0] else right).copy()
        fade = np.linspace(0, 1, size, dtype=np.float32)
        from_, to = (weights[0] * left + weights[1] * right for weights in (before, after))
        mixed: Side = (from_ + fade * (to - from_)).astype(np.float32)
        return mixed

    def _decided(self) -> tuple[float, float]:
        left, right, mean = self._left, self._right, self._mean
        is_mean = self._weights in (None, _MEAN)
        if mean >= (_CANCELS if is_mean else _HOLDS) * max(left, right):
            return _MEAN
        if self._weights == _RIGHT:
            return _LEFT if left > _LOUDER * right else _RIGHT
        return _RIGHT if right > _LOUDER * left else _LEFT
