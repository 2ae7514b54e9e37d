"""One RTMP publish as a track of chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta

from ingest.errors import UnsupportedCodec
from ingest.pcm import Chunk
from ingest.rtmp.publisher import Publisher
from ingest.track_assembler import TrackAssembler, TrackStats


class RtmpTrack:
    """One publish as a track of chunks.

    Decoding runs in `executor`, about `batch_s` of audio at a time; the event loop only waits.
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
    ) -> None:
        self.anchor: datetime | None = None
        self._publisher = publisher
        self._executor = executor
        self._monotonic = monotonic
        self._wall = wall
        self._batch_s = batch_s
        self._assembler = TrackAssembler()

    @property
    def stats(self) -> TrackStats:
        return self._assembler.stats

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Every chunk until the publish ends, the last one short. Call it once.

        Raises: UnsupportedCodec, after the chunks before it.
        """
        run = asyncio.get_running_loop().run_in_executor
        started = self._monotonic()
        while packets := await self._publisher.read():
            if self.anchor is None:
                age = self._publisher.audio_age_s
                started = self._monotonic() - age
                self.anchor = self._wall() - timedelta(seconds=age)
            arrival = self._monotonic() - started
            for chunk in await run(self._executor, self._assembler.feed, packets, arrival):
                yield chunk
            if self.stats.unsupported_codec:
                break
            if packets[-1].timestamp_ms - packets[0].timestamp_ms < self._batch_s * 1000:
                await asyncio.sleep(self._batch_s)  # let the next batch gather; a backlog is taken at once
        for chunk in await run(self._executor, self._assembler.flush, self._monotonic() - started):
            yield chunk
        if self.stats.unsupported_codec:
            raise UnsupportedCodec(self.stats.unsupported_codec)
