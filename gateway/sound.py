"""Sound files as samples: one channel, s16le."""

from __future__ import annotations

from pathlib import Path

import av


def read_sound(file: Path, rate: int, from_s: float = 0.0, to_s: float = 3_600.0, tail_s: float = 1.0) -> bytes:
    """What lies between the two, at `rate` Hz, and `tail_s` of silence, by which the end of the last word is heard.

    Raises: OSError, av.FFmpegError.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    with av.open(str(file)) as source:
        frames = [out for frame in source.decode(audio=0) for out in resampler.resample(frame)]
    pcm = b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)
    return pcm[2 * round(from_s * rate) : 2 * round(to_s * rate)] + bytes(2 * round(tail_s * rate))
