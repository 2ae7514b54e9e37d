"""A running RTMP server whose publishes are heard, and what is left when it has gone."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import numpy as np
import pytest
import uvloop

from ingest.errors import IngestError
from ingest.pcm import Chunk
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.publisher import Publisher
from ingest.rtmp.server import RtmpServer
from ingest.rtmp_track import RtmpTrack


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Production runs on uvloop, whose transports differ: what depends on them is tested on both."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("asyncio") and "server" in item.path.name:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


class Heard:
    """One publish and what was heard of it."""

    def __init__(
        self, publisher: Publisher, executor: ThreadPoolExecutor, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.publisher = publisher
        self.track = RtmpTrack(publisher, executor, monotonic=monotonic, wall=lambda: datetime.now(UTC))
        self.chunks: list[Chunk] = []
        self.first_chunk = asyncio.Event()
        self.error: IngestError | None = None
        self.over = asyncio.Event()

    async def listen(self) -> None:
        try:
            async for chunk in self.track.chunks():
                self.chunks.append(chunk)
                self.first_chunk.set()
        except IngestError as error:
            self.error = error
        finally:
            self.over.set()

    @property
    def sound(self) -> np.ndarray:
        """The whole track at 16 kHz; time that was skipped is silent."""
        sound = np.zeros(self.chunks[-1].end if self.chunks else 0, np.int16)
        end = 0
        for chunk in self.chunks:
            assert chunk.offset >= end, "the clock ran backwards"
            sound[chunk.offset : chunk.end] = np.frombuffer(chunk.pcm, "<i2")
            end = chunk.end
        return sound

    @property
    def seconds(self) -> float:
        return len(self.sound) / 16_000

    def pitch(self, start_s: float = 0.0, end_s: float | None = None) -> float:
        """The loudest frequency in Hz."""
        part = self.sound[round(start_s * 16_000) : None if end_s is None else round(end_s * 16_000)].astype(float)
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        return float(np.argmax(spectrum)) * 16_000 / len(part)

    def level(self, start_s: float, end_s: float) -> float:
        part = self.sound[round(start_s * 16_000) : round(end_s * 16_000)].astype(float)
        return float(np.sqrt(np.mean(part**2)))


class Desk:
    """A handler that knows some keys and listens to everything."""

    def __init__(self, executor: ThreadPoolExecutor, keys: frozenset[str]) -> None:
        self.executor = executor
        self.keys = keys
        self.monotonic = time.monotonic
        self.asked: list[tuple[str, str, str]] = []
        self.heard: list[Heard] = []
        self.told_of_crowd = 0
        self._arrivals: asyncio.Queue[Heard] = asyncio.Queue()

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        self.asked.append((app, key, query))
        return key in self.keys

    async def published(self, publisher: Publisher) -> None:
        heard = Heard(publisher, self.executor, self.monotonic)
        self.heard.append(heard)
        self._arrivals.put_nowait(heard)
        await heard.listen()

    def crowded(self) -> None:
        self.told_of_crowd += 1

    async def next(self) -> Heard:
        """The next publish to begin."""
        async with asyncio.timeout(60):
            return await self._arrivals.get()

    async def ended(self, heard: Heard | None = None) -> Heard:
        """The next publish (or `heard`), once it has ended."""
        heard = heard or await self.next()
        async with asyncio.timeout(60):
            await heard.over.wait()
        return heard


Serve = Callable[..., Awaitable[tuple[RtmpServer, Desk]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers; afterwards check that they leave no connection and no task."""
    async with AsyncExitStack() as running:
        executor = running.enter_context(ThreadPoolExecutor(2))

        async def start(
            desk: Desk | None = None, keys: tuple[str, ...] = ("key",), **options: object
        ) -> tuple[RtmpServer, Desk]:
            handler = desk or Desk(executor, frozenset(keys))
            handler.executor = executor
            server = RtmpServer(RtmpOptions(host="127.0.0.1", port=0, **options), handler)  # type: ignore[arg-type]
            await server.start()
            running.push_async_callback(server.close)
            return server, handler

        yield start
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("rtmp")]
    assert left == []
    gc.collect()  # an unclosed socket says so here, as a warning, which is an error
