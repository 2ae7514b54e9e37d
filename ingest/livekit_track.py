"""One published LiveKit track as chunks, for as long as it is published."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from ingest.arrival_clock import ArrivalClock
from ingest.pcm import SAMPLE_RATE, Chunk, Chunker
from ingest.silence import SilenceGate
from ingest.stall import StallWatch

# Chunks that wait for the consumer: half a minute. One that far behind loses the oldest, counted.
HELD_CHUNKS: Final = 300


class Captioned(Protocol):
    """Where captions of a track go."""

    def caption(self, identity: str, track_sid: str, segment_id: str, text: str, *, is_final: bool) -> None:
        """Show `text` as said by `identity` on this track. Never waits; a later call with the id replaces it."""


@dataclass(slots=True)
class LivekitTrackStats:
    """`silent_samples`: left out as silence. `dropped_chunks`: lost because the consumer was too far behind.

    `resting`: muted beyond its hang-over, and its stream closed.
    """

    heard_samples: int = 0
    silent_samples: int = 0
    lost_samples: int = 0
    dropped_chunks: int = 0
    muted: bool = False
    resting: bool = False


class LivekitTrack:
    """The room feeds it, one consumer takes its chunks. A republished or rejoined track is a new one.

    `attributes`: of the participant, as they are now. `anchor` is the UTC wall time of offset 0, known from the
    first audio on.
    """

    def __init__(
        self,
        sid: str,
        identity: str,
        name: str | None,
        attributes: Mapping[str, str],
        captions: Captioned,
        *,
        hang_over_s: float,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self.sid = sid
        self.identity = identity
        self.name = name
        self.attributes = attributes
        self.anchor: datetime | None = None
        self.stats = LivekitTrackStats()
        self._captions = captions
        self._monotonic = monotonic
        self._wall = wall
        self._began = 0.0
        self._clock = ArrivalClock()
        self._gate = SilenceGate(hang_over_s)
        self._chunker = Chunker()
        self._held: deque[Chunk] = deque()
        self._news = asyncio.Event()
        self._stall = StallWatch(lambda: self._hold(self._chunker.stall()), monotonic)
        self._ended = False

    @property
    def ends_at(self) -> datetime | None:
        """Wall time behind the last sample that came; None before the first one."""
        return None if self.anchor is None else self.anchor + timedelta(seconds=self._clock.position / SAMPLE_RATE)

    def feed(self, pcm: bytes) -> None:
        """Take whole samples, 16 kHz mono s16le, as they arrive; never waits."""
        samples = len(pcm) // 2
        now = self._monotonic()
        self._stall.fed(now)
        if self.anchor is None:
            # The first sample was spoken when its frame began.
            self._began = now - samples / SAMPLE_RATE
            self.anchor = self._wall() - timedelta(seconds=samples / SAMPLE_RATE)
        if self.stats.resting:
            self.stats.resting = False
            gap = self._clock.resumed(samples, now - self._began)
            self.stats.silent_samples += gap
        else:
            gap = self._clock.arrived(samples, now - self._began)
            self.stats.lost_samples += gap
        if self._gate.passes(pcm):
            self.stats.heard_samples += samples
            ready = (self._chunker.skip(gap) if gap else []) + self._chunker.push(pcm)
        else:
            self.stats.silent_samples += samples
            ready = self._chunker.skip(gap + samples)
        self._hold(ready)

    def rest(self) -> None:
        """No audio until further notice; the time until it comes again is a gap."""
        self.stats.resting = True

    def end(self) -> None:
        """No more audio will come. Once is enough, twice is harmless."""
        if not self._ended:
            self._ended = True
            self._hold(self._chunker.flush())
            self._news.set()

    def _hold(self, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        self._held.extend(chunks)
        while len(self._held) > HELD_CHUNKS:
            self._held.popleft()
            self.stats.dropped_chunks += 1
        self._news.set()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Every chunk until the track ends; what is not taken within HELD_CHUNKS is lost, oldest first."""
        try:
            while True:
                while self._held:
                    yield self._held.popleft()
                if self._ended:
                    return
                self._news.clear()
                self._stall.arm()
                await self._news.wait()
        finally:
            self._stall.disarm()

    def caption(self, segment_id: str, text: str, *, is_final: bool) -> None:
        """Show in the room what was understood. Never waits; partials may be skipped."""
        self._captions.caption(self.identity, self.sid, segment_id, text, is_final=is_final)
