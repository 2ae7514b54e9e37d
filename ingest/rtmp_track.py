"""One RTMP publish as a track of chunks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Final

from ingest.audio_packet import AudioPacket
from ingest.errors import UnsupportedCodec
from ingest.pcm import Chunk
from ingest.rtmp.publisher import Publisher
from ingest.stall import StallWatch
from ingest.track_assembler import RECENT, TrackAssembler, TrackStats

# A batch up to this size is decoded on the event loop: that takes 0.1-0.3 ms, about as long as parsing one read, while
# the way to a thread and back costs 0.2-0.5 ms of CPU per batch (measured: 81 publishers a core by way of a pool of
# two threads, 123 without).
_SMALL_PACKETS: Final = 8
_SMALL_BYTES: Final = 16 * 1024
# At 128 kbit/s a minute; it is doubted for seconds whether one has been lost to the others.
DOUBTED_BYTES: Final = 1024 * 1024
# What comes within this time after a stall tells a backlog from a pause.
_GATHER_S: Final = 0.25


class RtmpTrack:
    """One publish as a track of chunks.

    Audio is decoded about `batch_s` at a time; a backlog or anything else that could hold up the event loop goes to
    `executor`.
    `anchor` is the UTC wall time of offset 0, known once the first audio has arrived.
    """

    def __init__(
        self,
        publisher: Publisher,
        executor: Executor,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
        batch_s: float = 0.08,
        may_acknowledge: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_acknowledge`: whether what comes now is certainly heard here to its end."""
        self.anchor: datetime | None = None
        self._publisher = publisher
        self._executor = executor
        self._monotonic = monotonic
        self._wall = wall
        self._batch_s = batch_s
        self._started: float | None = None
        self._assembler = TrackAssembler()
        self._stall = StallWatch(publisher.interrupt, monotonic)
        self._is_over = self._is_given_back = False
        self._may_acknowledge = may_acknowledge
        self._recent: deque[AudioPacket] = deque(maxlen=RECENT)
        self._doubted: deque[tuple[float, list[AudioPacket]]] = deque()  # with the time at which the first had come

    @property
    def stats(self) -> TrackStats:
        """Since the track began; the same object at every call."""
        return self._assembler.stats

    @property
    def ends_at(self) -> datetime | None:
        """Wall time behind the last chunk; None before the first audio."""
        return None if self.anchor is None else self.anchor + timedelta(seconds=self._assembler.cut_to_s)

    def end(self, *, was_lost: bool = False) -> None:
        """Take no more packets: those that come, or wait, are for another reader, and so are those behind the last
        whole chunk: whoever has seen that nobody speaks at its end cuts no word.

        `was_lost`: so are those that may not be heard here to their end, DOUBTED_BYTES at most."""
        if not was_lost:
            self._doubted.clear()
        self._is_over = True
        self._publisher.interrupt()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Every chunk until the publish ends, or `end`, the last one short; an empty one whenever it stalls.

        Call it again after an error that is not foreseen: it goes on with the packets behind.

        Raises: UnsupportedCodec, after the chunks before it.
        """
        try:
            async for chunk in self._read():
                yield chunk
        finally:
            self._stall.disarm()
        if self.stats.unsupported_codec:
            raise UnsupportedCodec(self.stats.unsupported_codec)

    async def _read(self) -> AsyncIterator[Chunk]:
        started = self._started = self._monotonic() if self._started is None else self._started
        has_stalled = False
        while not self._is_over:
            self._stall.arm()
            packets = await self._publisher.read()
            if not packets:
                if self._is_over or self._publisher.ended_because is not None:
                    break
                has_stalled = True
                for chunk in self._assembler.stall():
                    yield chunk
                continue
            if self.anchor is None:
                age_s = self._publisher.audio_age_s
                started = self._started = self._monotonic() - age_s
                self.anchor = self._wall() - timedelta(seconds=age_s)
            if has_stalled:
                await asyncio.sleep(_GATHER_S)
                self._publisher.interrupt()
                packets += await self._publisher.read()
            self._note(packets)
            now = self._monotonic()
            self._stall.fed(now)
            after_stall_s = _GATHER_S if has_stalled else None
            has_stalled = False
            for chunk in await self._assemble(packets, now - started, after_stall_s):
                yield chunk
            if self.stats.unsupported_codec:
                break
            if packets[-1].timestamp_ms - packets[0].timestamp_ms < self._batch_s * 1000:
                await asyncio.sleep(self._batch_s)  # let the next batch gather; a backlog is taken at once
        if self._is_over:
            self.give_back()
        for chunk in self._assembler.flush(self._monotonic() - started):
            yield chunk

    def _note(self, packets: list[AudioPacket]) -> None:
        """They were read: what of them may have to be given back is kept."""
        self._recent.extend(packets)
        if self._may_acknowledge():
            self._doubted.clear()
            return
        self._doubted.append((self._monotonic() - self._publisher.audio_age_s, packets))
        while sum(len(packet.payload) for _, batch in self._doubted for packet in batch) > DOUBTED_BYTES:
            self._doubted.popleft()

    def give_back(self) -> None:
        """What is for another reader, once; for whoever has stopped reading this one before its end."""
        if self._is_given_back:
            return
        self._is_given_back = True
        count = self._assembler.give_back()
        if self._doubted:
            again = [packet for _, batch in self._doubted for packet in batch]
            self._publisher.put_back(again, self._monotonic() - self._doubted[0][0])
        elif count:
            self._publisher.put_back(list(self._recent)[-count:], self._publisher.audio_age_s)

    async def _assemble(
        self, packets: Sequence[AudioPacket], arrival_s: float, after_stall_s: float | None
    ) -> list[Chunk]:
        if len(packets) <= _SMALL_PACKETS and sum(len(packet.payload) for packet in packets) <= _SMALL_BYTES:
            return self._assembler.feed(packets, arrival_s, after_stall_s)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._assembler.feed, packets, arrival_s, after_stall_s)
