"""Session audio as it arrives, turned into one 16 kHz stream per channel."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16_000
_HEADER_LIMIT: Final = 4096  # a WAV header longer than this is taken for audio

Samples = npt.NDArray[np.int16]


class AudioDecoder:
    """Splits interleaved audio into channels of 16 kHz s16le.

    `encoding`: wav/pcm, wav/alaw or wav/ulaw; `sample_bytes`: 1 (unsigned PCM, or G.711), 2, 3 or 4.
    A chunk may end anywhere, also inside a sample; the rest waits for the next one. A WAV header in front is skipped.
    """

    def __init__(self, encoding: str, sample_bytes: int, sample_rate: int, channels: int) -> None:
        self._encoding, self._sample_bytes, self._channels = encoding, sample_bytes, channels
        self._frame = sample_bytes * channels
        self._held = b""
        self._headed = False
        self._plain = encoding == "wav/pcm" and sample_bytes == 2 and channels == 1 and sample_rate == RATE
        self._resamplers = [] if sample_rate == RATE else [_resampler(sample_rate) for _ in range(channels)]

    def push(self, chunk: bytes) -> list[bytes]:
        """Take any bytes, return what they complete: one piece per channel, possibly empty."""
        data = self._held + chunk if self._held else chunk
        if not self._headed:
            start = _header_end(data)
            if start is None:
                self._held = data
                return [b""] * self._channels
            self._headed, data = True, data[start:]
        whole = len(data) - len(data) % self._frame
        self._held = data[whole:]
        data = data[:whole]
        return [data] if self._plain else self._convert(self._samples(data), last=False)

    def flush(self) -> list[bytes]:
        """Return what the resamplers still hold. No `push` may follow."""
        if not self._resamplers:
            return [b""] * self._channels
        return self._convert(np.empty((0, self._channels), np.int16), last=True)

    def _convert(self, frames: Samples, *, last: bool) -> list[bytes]:
        channels = [np.ascontiguousarray(frames[:, i]) for i in range(self._channels)]
        if self._resamplers:
            channels = [r.resample_chunk(c, last=last) for r, c in zip(self._resamplers, channels, strict=True)]
        return [channel.tobytes() for channel in channels]

    def _samples(self, data: bytes) -> Samples:
        """Whole frames of any encoding as an array [frames, channels]."""
        flat: Samples
        if self._encoding == "wav/alaw":
            flat = _ALAW[np.frombuffer(data, np.uint8)]
        elif self._encoding == "wav/ulaw":
            flat = _ULAW[np.frombuffer(data, np.uint8)]
        elif self._sample_bytes == 1:
            flat = (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
        else:
            # The two high bytes of each little-endian sample are the 16-bit sample.
            octets = np.frombuffer(data, np.uint8).reshape(-1, self._sample_bytes)
            flat = np.ascontiguousarray(octets[:, -2:]).view("<i2").ravel()
        return flat.reshape(-1, self._channels)


def _header_end(data: bytes) -> int | None:
    """Where audio starts behind a possible WAV header; None while that cannot be said yet."""
    magic = b"RIFF"
    if data[:4] != magic[: len(data)]:
        return 0
    if len(data) < 12:
        return None
    if data[8:12] != b"WAVE":
        return 0
    at = data.find(b"data", 12, _HEADER_LIMIT)
    if at >= 0 and len(data) >= at + 8:
        return at + 8
    return 0 if len(data) >= _HEADER_LIMIT else None


def _resampler(rate: int) -> Any:
    import soxr  # most sessions are 16 kHz already and never need it

    return soxr.ResampleStream(rate, RATE, 1, dtype="int16", quality="MQ")


def _alaw_table() -> Samples:
    """G.711 A-law, ITU-T G.711 table 1a, scaled to 16 bits."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    linear = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, linear, -linear).astype(np.int16)


def _ulaw_table() -> Samples:
    """G.711 µ-law, ITU-T G.711 table 2a, scaled to 16 bits."""
    code = ~np.arange(256) & 0xFF
    linear = ((((code & 15) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -linear, linear).astype(np.int16)


_ALAW: Final = _alaw_table()
_ULAW: Final = _ulaw_table()
