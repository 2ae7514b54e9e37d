"""PCM that a page or a program sends over a WebSocket, as the chunks of one track."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from ingest.arrival_clock import ArrivalClock
from ingest.downmix import Downmix
from ingest.pcm import SAMPLE_BYTES, SAMPLE_RATE, Chunk, Chunker
from ingest.resample import Resampler
from ingest.stall import StallWatch

SAMPLE_RATES: Final = range(8_000, 48_001)
CHANNELS: Final = range(1, 3)
# How far the audio may run ahead of the time it takes to speak it: jitter, and what a page had buffered during a cut.
AHEAD_S: Final = 5.0
# A file is that far ahead at once; what takes longer is a microphone whose sample rate is not the one that was said.
LIVE_S: Final = 1.0
# Audio that is late so often, without a hole in the deliveries, is not what `start` said.
LATE_TIMES: Final = 3
LATE_WITHIN_S: Final = 60.0
# Chunks that wait for the consumer; then no more is read from the sender.
HELD_CHUNKS: Final = 100
# A hole in the deliveries of this length is doubted: time passed unrecorded, or was the audio held up?
HOLE_S: Final = 0.25
# Nothing was recorded for so long, says the sender: whoever spoke has stopped.
SILENT_S: Final = 0.6
# A sender that tells its gaps cannot tell of one in which its machine slept: it would have come back long before.
ASLEEP_S: Final = 15.0
# Behind for longer, its audio was lost, or its rate is not the one it said: a line so slow would have been given up.
SLOW_LINE_S: Final = 10.0
# What comes within this time tells: a backlog comes faster than it was spoken, by this much.
DOUBT_S: Final = 0.15
BACKLOG_S: Final = 0.08
# What is later than what came before it was held up itself, and tells nothing yet; but not for longer than this.
LATER_S: Final = 0.03
LONGEST_DOUBT_S: Final = 1.0
_FULL_SCALE: Final = np.float32(1 << 15)


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Signed 16-bit little-endian samples, channels interleaved. A frame is one sample of each channel."""

    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        """Raises: ValueError, with what is possible."""
        if self.sample_rate not in SAMPLE_RATES:
            raise ValueError(f"sampleRate must be {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz")
        if self.channels not in CHANNELS:
            raise ValueError(f"channels must be {CHANNELS[0]} or {CHANNELS[-1]}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * SAMPLE_BYTES


@dataclass(slots=True)
class PcmTrackStats:
    """Samples are of 16 kHz. `lost_samples`: time that passed without audio. `holds`: reads put off."""

    samples: int = 0
    lost_samples: int = 0
    holds: int = 0


@dataclass(slots=True)
class _Doubt:
    """What came behind a hole in the deliveries, at `began` and later: `heard_s` in all, `late_s` after its time.

    `since`: from when on it is looked whether it comes faster than it is spoken; `first_s` of it were there by then.
    """

    began: float
    since: float
    hole_s: float
    first_s: float
    late_s: float
    heard_s: float = 0.0
    is_backlog: bool = False


class PcmTrack:
    """A connection feeds it, and the next one of the same sender may go on with it; one consumer takes its chunks.

    Its clock counts samples. Time that passes without audio becomes a gap (see ArrivalClock), at once where a sender
    was silent and goes on without a backlog; audio that comes faster than it is spoken is not lost but not read either:
    `room` waits. A sender that stops ends with an empty chunk.
    `anchor` is the UTC wall time of offset 0, known from the first audio on. `taken` counts frames of `format`.
    """

    def __init__(
        self,
        format: PcmFormat,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
        age_s: float | None = None,
        taken: int = 0,
        tells_gaps: bool = False,
    ) -> None:
        """`age_s`: how long ago the first sample was spoken, if the sender knows; else it has been sent at once.
        `taken`: frames of the stream before it, which another track has had. `tells_gaps`: the sender calls for `skip`
        whenever nothing is recorded, so that a hole in the deliveries of which it says nothing is none in the audio."""
        self.format = format
        self.anchor: datetime | None = None
        self.taken = taken
        self.runs_fast = False
        """Audio comes somewhat faster than it is spoken: not a file, rather a wrong sample rate."""
        self.stats = PcmTrackStats()
        self._monotonic = monotonic
        self._wall = wall
        self._age_s = age_s
        self._tells_gaps = tells_gaps
        self._began = 0.0
        self._clock = ArrivalClock(SLOW_LINE_S) if tells_gaps else ArrivalClock()
        self._resampler = Resampler(format.sample_rate)
        self._downmix = Downmix(format.sample_rate)
        self._chunker = Chunker()
        self._held: deque[Chunk] = deque()
        self._news = asyncio.Event()  # for the consumer
        self._moved = asyncio.Event()  # for the reader that waits in `room`
        self._stall = StallWatch(self._stalled, monotonic)
        self._fed_at = 0.0
        self._doubted = bytearray()  # came behind a hole of unknown kind
        self._doubt: _Doubt | None = None
        self._ended = False
        self._late_at: deque[float] = deque(maxlen=LATE_TIMES)  # gaps that no hole explains

    @property
    def is_fed(self) -> bool:
        """Audio has come within the last second."""
        return self.anchor is not None and self._monotonic() - self._fed_at < LIVE_S

    @property
    def runs_slow(self) -> bool:
        """Audio keeps coming somewhat slower than it is spoken: a wrong sample rate, or some is left out on the way."""
        return len(self._late_at) == LATE_TIMES and self._monotonic() - self._late_at[0] < LATE_WITHIN_S

    @property
    def ends_at(self) -> datetime | None:
        """Wall time behind the last frame that was taken; None before the first one."""
        if self.anchor is None:
            return None
        doubted = len(self._doubted) / self.format.frame_bytes / self.format.sample_rate
        hole_s = self._doubt.late_s if self._doubt is not None and not self._doubt.is_backlog else 0.0
        return self.anchor + timedelta(seconds=self._clock.position / SAMPLE_RATE + hole_s + doubted)

    def feed(self, pcm: bytes) -> None:
        """Take whole frames, as they arrive.

        Raises: ValueError when a frame is cut in two.
        """
        frames, rest = divmod(len(pcm), self.format.frame_bytes)
        if rest:
            raise ValueError(
                f"{len(pcm)} bytes do not hold whole frames of {self.format.channels} × 16 bits; "
                "send each message as whole frames"
            )
        if self._ended or not frames:
            return
        now = self._monotonic()
        if self.anchor is None:
            age_s = frames / self.format.sample_rate if self._age_s is None else self._age_s
            self._began = now - age_s
            self.anchor = self._wall() - timedelta(seconds=age_s)
        self.taken += frames
        seconds = frames / self.format.sample_rate
        self._stall.fed(now, seconds)
        if not self._is_doubted(pcm, seconds, now):
            self._place(pcm, now)
        self._fed_at = now

    def _is_doubted(self, pcm: bytes, seconds: float, now: float) -> bool:
        """Whether `pcm` is kept until it is known what the hole before it was."""
        if self._doubt is None:
            hole_s = now - self._fed_at
            late_s = now - self._began - self._clock.position / SAMPLE_RATE - seconds
            if self._fed_at == 0 or hole_s < HOLE_S or late_s < HOLE_S:
                return False
            if self._tells_gaps and hole_s < ASLEEP_S:
                return False
            self._doubt = _Doubt(now, now, hole_s, seconds, late_s)
        doubt = self._doubt
        self._doubted += pcm
        doubt.heard_s += seconds
        late_s = now - self._began - self._clock.position / SAMPLE_RATE - doubt.heard_s
        if late_s > doubt.late_s + LATER_S and now - doubt.began < LONGEST_DOUBT_S:
            doubt.since, doubt.first_s = now, doubt.heard_s
        doubt.late_s = late_s
        doubt.is_backlog = doubt.heard_s - doubt.first_s - (now - doubt.since) >= BACKLOG_S
        if doubt.is_backlog or now - doubt.since >= DOUBT_S:
            self._settle(now)
        return True

    def _settle(self, now: float) -> None:
        """Leave the gap before what was doubted, or none before a backlog."""
        doubt, self._doubt = self._doubt, None
        if doubt is None:
            return
        pcm = bytes(self._doubted)
        self._doubted.clear()
        if doubt.is_backlog:
            self._stall.usual_s = doubt.hole_s
        else:
            self._leave(int(doubt.late_s * SAMPLE_RATE))
        self._place(pcm, now)

    def _place(self, pcm: bytes, now: float) -> None:
        samples = np.frombuffer(pcm, "<i2")
        if self.format.channels == 2:
            sides = samples.reshape(-1, 2).T.astype(np.float32) / _FULL_SCALE
            samples = np.rint(self._downmix.mix(*sides) * _FULL_SCALE).astype(np.int16)
        ready = self._resampler.push(samples)
        gap = self._clock.arrived(len(ready) // SAMPLE_BYTES, now - self._began)
        chunks: list[Chunk] = []
        if gap:
            self._late_at.append(now)
            self.stats.lost_samples += gap
            chunks += self._chunker.skip(gap)
        self._hold(chunks + self._chunker.push(ready))

    def skip(self, seconds: float) -> None:
        """The sender recorded nothing for this long (it was muted): a gap at once, not after a while of doubt.

        No longer than the time that has passed, so that saying it twice does no harm.
        """
        if self.anchor is None or self._ended:
            return
        self._settle(self._fed_at)
        late_s = self._monotonic() - self._began - self._clock.position / SAMPLE_RATE
        self._leave(int(max(0.0, min(seconds, late_s)) * SAMPLE_RATE))
        if seconds >= SILENT_S:
            self._hold(self._chunker.stall())

    def _leave(self, gap: int) -> None:
        """A gap of so many samples on the clock; nothing that follows joins on to what the resampler holds."""
        before = self._resampler.flush()
        self._resampler = Resampler(self.format.sample_rate)
        self._clock.skip(len(before) // SAMPLE_BYTES + gap)
        self.stats.lost_samples += gap
        self._hold(self._chunker.push(before) + self._chunker.skip(gap))

    def _stalled(self) -> None:
        if len(self._held) >= HELD_CHUNKS:  # it is we who do not read
            return
        self._settle(self._fed_at)
        self._leave(0)
        self._hold(self._chunker.stall())

    async def room(self) -> None:
        """Wait until more may be read: at most AHEAD_S ahead of real time, and with HELD_CHUNKS waiting at most."""
        waited = False
        while not self._ended:
            ahead_s = self._clock.position / SAMPLE_RATE - (self._monotonic() - self._began)
            is_full = len(self._held) >= HELD_CHUNKS
            if not is_full and (self.anchor is None or ahead_s <= AHEAD_S):
                break
            self.stats.holds += not waited
            waited = True
            if self.stats.holds == 1 and not is_full:
                self.runs_fast = self._monotonic() - self._began - (self._age_s or 0.0) >= LIVE_S
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if is_full else ahead_s - AHEAD_S):
                    await self._moved.wait()

    def end(self) -> None:
        """No more audio will come. Once is enough, twice is harmless."""
        if not self._ended:
            self._settle(self._fed_at)
            self._ended = True
            self._hold(self._chunker.push(self._resampler.flush()) + self._chunker.flush())
            self._news.set()
            self._moved.set()

    def _hold(self, chunks: list[Chunk]) -> None:
        if chunks:
            self._held.extend(chunks)
            self.stats.samples += sum(chunk.samples for chunk in chunks)
            self._news.set()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Every chunk until the track ends, the last one short."""
        try:
            while True:
                while self._held:
                    chunk = self._held.popleft()
                    self._moved.set()
                    yield chunk
                if self._ended:
                    return
                self._news.clear()
                self._stall.arm()
                await self._news.wait()
        finally:
            self._stall.disarm()
