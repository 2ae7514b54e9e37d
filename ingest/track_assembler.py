"""Packets of one publish to the chunks of one track: decode, place in time, resample, cut. Synchronous."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.decode import Mono, PacketDecoder, Run
from ingest.errors import Undecodable, UnsupportedCodec
from ingest.pcm import SAMPLE_RATE, Chunk, Chunker
from ingest.resample import Resampler
from ingest.track_clock import TrackClock

RECENT: Final = 8
"""Packets of AAC in more than a chunk and what the resampler holds."""
_FULL_SCALE: Final = 1 << 15
# After a stall, audio that comes faster than it was spoken by this much was held up on its way; else it was not sent.
_BACKLOG_S: Final = 0.2


@dataclass(slots=True)
class TrackStats:
    """Since the track began. Samples are of 16 kHz; `samples` counts the PCM handed out.

    `gaps` of `gap_samples` were left out because audio was missing. `reanchors`: steps of the timestamps that no audio
    was missing at. `drift_samples`: by how much the timestamps have slowly moved away from the audio.
    """

    packets: int = 0
    decode_errors: int = 0
    gaps: int = 0
    gap_samples: int = 0
    drift_samples: int = 0
    reanchors: int = 0
    samples: int = 0
    unsupported_codec: str | None = None


class _Decoded(NamedTuple):
    """A run with the publisher's time of its first sample."""

    timestamp_ms: float
    run: Run


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
        self._recent: deque[float] = deque(maxlen=RECENT)  # seconds in each of the last packets
        self._ends_at: int | None = None
        self._undecoded = 0  # packets before the first that could be decoded
        self._next_ms = 0.0

    def feed(self, packets: Sequence[AudioPacket], arrival_s: float, after_stall_s: float | None = None) -> list[Chunk]:
        """The chunks that `packets` complete; they arrived `arrival_s` after the track's anchor (monotonic).

        `after_stall_s`: the first since a stall, and they came within so many seconds.

        The more packets at a time the cheaper: 100 ms of them is a good measure.
        """
        decoded: list[_Decoded] = []
        for packet in packets:
            if self.stats.unsupported_codec:
                break
            self.stats.packets += 1
            if packet.format is not self._format and packet.format != self._format:
                decoded += self._change_format(packet.format)
            runs = self._decode(packet.payload, packet.timestamp_ms)
            self._recent.append(sum(one.run.seconds for one in runs))
            decoded += runs
        if after_stall_s is not None and sum(one.run.seconds for one in decoded) < after_stall_s + _BACKLOG_S:
            self._clock.paused()
        self._place_all(decoded, arrival_s)
        return self._take()

    def stall(self) -> list[Chunk]:
        """Nothing comes for now: everything that is still held, and the empty chunk that says so."""
        self._end_run()
        self._chunks += self._chunker.stall()
        return self._take()

    def flush(self, arrival_s: float) -> list[Chunk]:
        """The end of the track: everything that is still held, the last chunk short."""
        self._place_all(self._change_format(None), arrival_s)
        self._end_run()
        self._chunks += self._chunker.flush()
        if self._ends_at is not None:
            self._chunks = [one for chunk in self._chunks for one in chunk.until(self._ends_at)]
        return self._take()

    @property
    def cut_to_s(self) -> float:
        """Seconds from the anchor to the end of the last chunk."""
        return self._chunker.cut_to / SAMPLE_RATE

    def give_back(self) -> int:
        """What lies behind the last whole chunk is for another track, as far as it fills packets; to be flushed then.

        Nobody has heard it yet. Returns: how many of the last packets that is, RECENT at most.
        """
        held_s = left_s = self._clock.position_s - self.cut_to_s
        count = 0
        for seconds in reversed(self._recent):
            if not 0 < seconds <= left_s:
                break
            left_s -= seconds
            count += 1
        self._ends_at = round((self._clock.position_s - held_s + left_s) * SAMPLE_RATE)
        return count

    def _take(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        self.stats.samples += sum(chunk.samples for chunk in chunks)
        return chunks

    def _change_format(self, format: AudioFormat | None) -> list[_Decoded]:
        rest = self._decode(None, self._next_ms) if self._decoder is not None else []
        self._format, self._decoder = format, None
        if format is not None:
            try:
                self._decoder = PacketDecoder(format)
            except UnsupportedCodec as error:
                self.stats.unsupported_codec = error.codec
        return rest

    def _decode(self, payload: bytes | None, timestamp_ms: float) -> list[_Decoded]:
        if self._decoder is None:
            return []
        try:
            runs = self._decoder.decode(payload)
        except Undecodable:
            self.stats.decode_errors += 1
            if self._last is None or payload is None:
                self._undecoded += payload is not None
                return []
            runs = [Run(self._last.sample_rate, np.zeros_like(self._last.samples))]  # time passes all the same
        decoded = []
        for run in runs:
            decoded.append(_Decoded(timestamp_ms, run))
            timestamp_ms += run.seconds * 1000
            self._last = run
        self._next_ms = timestamp_ms
        return decoded

    def _place_all(self, decoded: Sequence[_Decoded], arrival_s: float) -> None:
        behind_s = sum(one.run.seconds for one in decoded)
        if decoded and not self._clock.position_s and self._undecoded:
            # Packets last equally long: what could not be decoded was spoken all the same.
            before_s = min(self._undecoded * decoded[0].run.seconds, max(0.0, arrival_s - behind_s))
            self._clock.begin_at(before_s)
            self._chunker.skip(round(before_s * SAMPLE_RATE))
        for one in decoded:
            behind_s -= one.run.seconds
            self._place(one, arrival_s, behind_s)
        self.stats.gaps, self.stats.reanchors = self._clock.gaps, self._clock.steps_ignored
        self.stats.drift_samples = round(self._clock.drift_s * SAMPLE_RATE)
        self._resample()

    def _place(self, decoded: _Decoded, arrival_s: float, behind_s: float) -> None:
        rate, samples = run = decoded.run
        if self._resampler is None or self._resampler.sample_rate != rate:
            self._end_run()
            self._resampler = Resampler(rate)
        gap = round(self._clock.place(decoded.timestamp_ms, run.seconds, arrival_s, behind_s) * SAMPLE_RATE)
        if gap:
            self._end_run()
            self._resampler = Resampler(rate)
            self._chunks += self._chunker.skip(gap)
            self.stats.gap_samples += gap
        self._runs.append(samples)

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
