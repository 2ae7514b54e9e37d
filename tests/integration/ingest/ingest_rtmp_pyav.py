"""Publish a tone with FFmpeg's libraries: URL CODEC RATE HZ SECONDS [HOLE_FROM HOLE_TO].

A program of its own, because FFmpeg's RTMP blocks.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import av
import numpy as np


def publish(url: str, codec: str, rate: int, hz: float, seconds: float, hole: tuple[float, float]) -> None:
    with av.open(url, "w", format="flv") as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        size = 960
        for start in range(0, round(seconds * rate) - size + 1, size):
            wave = 8_000 * np.sin(2 * np.pi * hz * np.arange(start, start + size) / rate)
            samples = np.repeat(wave.astype(np.int16), 2)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            mux(output, stream.encode(frame), hole)
        mux(output, stream.encode(None), hole)


def mux(output: av.container.OutputContainer, packets: list[av.Packet], hole: tuple[float, float]) -> None:
    for packet in packets:
        at = 0.0 if packet.pts is None else float(packet.pts * packet.time_base)
        if not hole[0] <= at < hole[1]:
            output.mux(packet)


if __name__ == "__main__":
    url, codec, rate, hz, seconds, *hole = sys.argv[1:]
    first, last = (float(hole[0]), float(hole[1])) if hole else (0.0, 0.0)
    publish(url, codec, int(rate), float(hz), float(seconds), (first, last))
