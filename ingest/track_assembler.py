"""Packets of one publish to the chunks of one track: decode, place in time, resample, cut. Synchronous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.decode import Mono, PacketDecoder, Run
from ingest.errors import Undecodable, UnsupportedCodec
from ingest.pcm import SAMPLE_RATE, Chunk, Chunker
from ingest.resample import Resampler
from ingest.track_clock import TrackClock

_FULL_SCALE: Final = 1 << 15


@dataclass(slots=True)
class TrackStats:
    """Since the track began. Samples are of 16 kHz; `samples` counts the PCM handed out, silence included."""

    packets: int = 0
    decode_errors: int = 0
    gaps: int = 0
    gap_samples: int = 0
    drift_samples: int = 0
    reanchors: int = 0
    samples: int = 0
    unsupported_codec: str | None = None


class TrackAssembler:
    """Call it from one thread at a time. It ends with the first packet of an unsupported codec (see `stats`)."""

    def __init__(self) -> None:
        self.stats = TrackStats()
        self._format: AudioFormat | None = None
        self._decoder: PacketDecoder | None = None
        self._clock = TrackClock()
        self._resampler: Resampler | None = None
        self._chunker = Chunker()
        self._runs: list[Mono] = []  # decoded, at the resampler's rate, not yet resampled
        self._chunks: list[Chunk] = []
        self._last: Run | None = None
        self._next_ms = 0.0

    def feed(self, packets: Sequence[AudioPacket], arrival_s: float) -> list[Chunk]:
        """The chunks that `packets` complete; they arrived `arrival_s` after the track's anchor (monotonic).

        The more packets at a time the cheaper: 100 ms of them is a good measure.
        """
        for packet in packets:
            if self.stats.unsupported_codec:
                break
            self.stats.packets += 1
            if packet.format is not self._format and packet.format != self._format:
                self._change_format(packet.format, arrival_s)
            self._next_ms = packet.timestamp_ms
            self._decode(packet.payload, arrival_s)
        self._resample()
        return self._take()

    def flush(self, arrival_s: float) -> list[Chunk]:
        """The end of the track: everything that is still held, the last chunk short."""
        self._change_format(None, arrival_s)
        self._end_run()
        self._chunks += self._chunker.flush()
        return self._take()

    def _take(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        self.stats.samples += sum(chunk.samples for chunk in chunks)
        return chunks

    def _change_format(self, format: AudioFormat | None, arrival_s: float) -> None:
        if self._decoder is not None:
            self._decode(None, arrival_s)
        self._format, self._decoder = format, None
        if format is not None:
            try:
                self._decoder = PacketDecoder(format)
            except UnsupportedCodec as error:
                self.stats.unsupported_codec = error.codec

    def _decode(self, payload: bytes | None, arrival_s: float) -> None:
        if self._decoder is None:
            return
        try:
            runs = self._decoder.decode(payload)
        except Undecodable:
            self.stats.decode_errors += 1
            if self._last is None or payload is None:
                return
            runs = [Run(self._last.sample_rate, np.zeros_like(self._last.samples))]  # time passes all the same
        for run in runs:
            self._place(run, arrival_s)
            self._next_ms += len(run.samples) * 1000 / run.sample_rate
            self._last = run

    def _place(self, run: Run, arrival_s: float) -> None:
        rate, samples = run
        if self._resampler is None or self._resampler.sample_rate != rate:
            self._end_run()
            self._resampler = Resampler(rate)
        placement = self._clock.place(round(self._next_ms), len(samples), rate, arrival_s)
        if placement.skip_to is not None:
            self._end_run()
            self._resampler = Resampler(rate)
            self._chunks += self._chunker.skip(max(0, placement.skip_to - self._chunker.position))
        if placement.silence:
            self._runs.append(np.zeros(placement.silence, np.float32))
            self.stats.gap_samples += round(placement.silence * SAMPLE_RATE / rate)
        if placement.stretch:
            samples = _stretched(samples, placement.stretch)
            self.stats.drift_samples += round(placement.stretch * SAMPLE_RATE / rate)
        self._runs.append(samples)
        self.stats.gaps, self.stats.reanchors = self._clock.gaps, self._clock.reanchors

    def _resample(self) -> None:
        if self._runs and self._resampler is not None:
            samples = np.concatenate(self._runs)
            self._runs.clear()
            samples *= _FULL_SCALE
            np.clip(samples, -_FULL_SCALE, _FULL_SCALE - 1, out=samples)
            self._chunks += self._chunker.push(self._resampler.push(samples.astype(np.int16)))

    def _end_run(self) -> None:
        """Nothing that follows joins on to what the resampler holds."""
        self._resample()
        if self._resampler is not None:
            self._chunks += self._chunker.push(self._resampler.flush())
            self._resampler = None


def _stretched(samples: Mono, by: int) -> Mono:
    """The same sound, `by` samples longer (shorter if negative)."""
    old = np.arange(len(samples))
    new = np.linspace(0, len(samples) - 1, max(1, len(samples) + by))
    return np.interp(new, old, samples).astype(np.float32)
