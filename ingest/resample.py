"""The one resampler: any rate and 1 to 8 channels in, 16 kHz mono s16le out."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from ingest.pcm import SAMPLE_RATE

Samples = npt.NDArray[np.int16]
_FRONT_CHANNELS: Final = 3


class Resampler:
    """One stream of audio; make a new one after a gap that is left out, or when the rate changes.

    soxr at quality MQ: flat to 7.6 kHz, aliases below the 16-bit floor, 37 ms of delay until `flush`,
    about 10 us a call; it releases the GIL.
    """

    def __init__(self, sample_rate: int) -> None:
        """`sample_rate` of the input in Hz."""
        self.sample_rate = sample_rate
        self._soxr = (
            None
            if sample_rate == SAMPLE_RATE
            else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="int16", quality="MQ")
        )

    def push(self, samples: Samples) -> bytes:
        """`samples`: shape (n,) for mono, (n, channels) else.

        Returns: whole samples, possibly none while the delay line fills.
        """
        samples = downmix(samples)
        if self._soxr is None:
            return samples.tobytes()
        pcm: bytes = self._soxr.resample_chunk(samples).tobytes()
        return pcm

    def flush(self) -> bytes:
        """What the delay line still holds. The resampler is then spent."""
        if self._soxr is None:
            return b""
        pcm: bytes = self._soxr.resample_chunk(np.zeros(0, np.int16), last=True).tobytes()
        return pcm


def downmix(samples: Samples) -> Samples:
    """The mean of the front channels: speech stands there, and the order of all codecs begins with them."""
    if samples.ndim == 1:
        return samples
    front = samples[:, :_FRONT_CHANNELS]
    if front.shape[1] == 1:
        return np.ascontiguousarray(front[:, 0])
    mean: Samples = (front.sum(axis=1, dtype=np.int32) // front.shape[1]).astype(np.int16)
    return mean
