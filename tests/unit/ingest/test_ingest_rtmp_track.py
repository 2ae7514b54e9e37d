"""A publish as a track of chunks: anchor, end, codec trouble, threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.errors import UnsupportedCodec
from ingest.pcm import Chunk
from ingest.rtmp.publisher import Publisher
from ingest.rtmp_track import RtmpTrack

EncodeTone = Callable[..., list[AudioPacket]]
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Counting(Executor):
    """A pool that counts its work and remembers which threads did it."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.jobs = 0
        self.threads: set[int] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.jobs += 1

        def work() -> Any:
            self.threads.add(threading.get_ident())
            return fn(*args, **kwargs)

        return self.pool.submit(work)


@pytest.fixture
def executor() -> Iterator[Counting]:
    counting = Counting()
    with counting.pool:
        yield counting


def publisher(packets: list[AudioPacket], clock: Callable[[], float] = lambda: 0.0) -> Publisher:
    made = Publisher(
        "live",
        "key",
        "peer",
        buffer_bytes=1 << 30,
        buffer_packets=1 << 30,
        clock=clock,
        full=lambda: None,
        emptied=lambda: None,
        closed=lambda reason: None,
    )
    for packet in packets:
        made.take(packet)
    made.end("unpublished")
    return made


def track(source: Publisher, executor: Executor, monotonic: Callable[[], float] = lambda: 100.0) -> RtmpTrack:
    return RtmpTrack(source, executor, monotonic=monotonic, wall=lambda: NOON)


async def test_a_publish_is_heard_to_its_last_sample(executor: Counting, encode_tone: EncodeTone) -> None:
    """Full chunks, then one short one; the anchor is when the first audio came."""
    made = track(publisher(encode_tone("aac", seconds=2.03)), executor)
    assert made.anchor is None
    chunks = [chunk async for chunk in made.chunks()]
    assert {chunk.samples for chunk in chunks[:-1]} == {1600}
    assert chunks[-1].end / 16_000 == pytest.approx(2.04, abs=0.03)
    assert made.anchor == NOON
    assert made.stats.samples == chunks[-1].end


async def test_audio_that_waited_for_its_handler_is_anchored_when_it_came(
    executor: Counting, encode_tone: EncodeTone
) -> None:
    """Not when it was read: a takeover may take seconds."""
    times = iter([50.0, 50.0])
    made = track(publisher(encode_tone("aac"), lambda: next(times, 53.5)), executor)
    async for _ in made.chunks():
        pass
    assert made.anchor == NOON - timedelta(seconds=3.5)


@pytest.mark.parametrize("is_stalled", [False, True])
@pytest.mark.parametrize(("codec", "rate"), [("pcm_s16le", 16_000), ("aac", 44_100), ("aac", 48_000)])
@pytest.mark.parametrize("part", [0.5, 0.53, 0.61])
async def test_what_comes_behind_its_end_is_for_the_next_track(
    executor: Counting, encode_tone: EncodeTone, is_stalled: bool, codec: str, rate: int, part: float
) -> None:
    """Nothing is lost or heard twice in between, and the second one has an anchor of its own."""
    packets, now = encode_tone(codec, rate=rate, seconds=2), [50.0]
    whole = sum([chunk.samples async for chunk in track(publisher(packets), executor).chunks()])
    source = publisher([], lambda: now[0])
    source.ended_because = None
    half = round(part * len(packets))
    first = track(source, executor, lambda: now[0])
    heard: list[Chunk] = []
    if not is_stalled:
        for packet in packets[:half]:
            source.take(packet)

    async def listen() -> None:
        heard.extend([chunk async for chunk in first.chunks()])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    first.end()
    await asyncio.wait_for(listening, 5)
    for packet in packets[0 if is_stalled else half :]:
        source.take(packet)
    now[0] += 3.0
    source.end("unpublished")
    second = track(source, executor, lambda: now[0])
    rest = [chunk async for chunk in second.chunks()]
    packet = whole / len(packets)
    assert sum(chunk.samples for chunk in heard + rest) == pytest.approx(
        whole, abs=0 if rate == 16_000 else 1.5 * packet
    )
    assert source.packets_read == half * (not is_stalled) + len(packets) - half * (not is_stalled)
    assert sum(chunk.samples for chunk in heard) % 1_600 <= packet, "the first one ends at what was looked at"
    assert all(chunk.samples for chunk in heard + rest), "and no stall is told at the seam"
    assert second.anchor == NOON - timedelta(seconds=3.0)


@pytest.mark.parametrize("is_read_to_its_end", [False, True])
@pytest.mark.parametrize("was_lost", [False, True])
async def test_what_may_not_be_heard_to_its_end_is_given_back_by_who_is_lost(
    executor: Counting, encode_tone: EncodeTone, was_lost: bool, is_read_to_its_end: bool
) -> None:
    """As a sender over WebSockets sends again what was not acknowledged; what is handed over is heard here."""
    packets, now, is_certain = encode_tone("pcm_s16le", rate=16_000, seconds=2), [50.0], [True]
    source = publisher([], lambda: now[0])
    source.ended_because = None
    made = RtmpTrack(
        source,
        executor,
        monotonic=lambda: now[0],
        wall=lambda: NOON,
        batch_s=0.0,
        may_acknowledge=lambda: is_certain[0],
    )

    async def listen() -> None:
        async for _ in made.chunks():
            pass

    listening = asyncio.create_task(listen())
    third = len(packets) // 3
    for n, certain in enumerate([False, True, False]):  # it was certain again meanwhile
        is_certain[0] = certain
        for packet in packets[n * third : (n + 1) * third]:
            source.take(packet)
        await asyncio.sleep(0.02)
    now[0] += 2.0
    if not is_read_to_its_end:
        listening.cancel()
        await asyncio.wait([listening])
    made.end(was_lost=was_lost)
    await asyncio.wait([listening], timeout=5)
    made.give_back()
    left = await source.read() if was_lost else []
    assert left == (packets[2 * third : 3 * third] if was_lost else [])
    assert source.audio_age_s == 2.0


@pytest.mark.parametrize(("codec", "rate", "packets"), [("pcm_alaw", 8_000, 50), ("pcm_s16le", 48_000, 8)])
async def test_a_backlog_is_decoded_off_the_event_loop(
    executor: Counting, encode_tone: EncodeTone, codec: str, rate: int, packets: int
) -> None:
    """Many packets at once, or large ones, would hold up everybody else."""
    async for _ in track(publisher(encode_tone(codec, rate=rate, seconds=2)[:packets]), executor).chunks():
        pass
    assert executor.jobs == 1
    assert executor.threads.isdisjoint({threading.get_ident()})


async def test_a_small_batch_is_not_worth_a_thread(executor: Counting, encode_tone: EncodeTone) -> None:
    """Four packets take a tenth of a millisecond."""
    chunks = [chunk async for chunk in track(publisher(encode_tone("aac", seconds=2)[:4]), executor).chunks()]
    assert executor.jobs == 0
    assert sum(chunk.samples for chunk in chunks) > 1000


async def test_an_unsupported_codec_is_raised_after_the_chunks_before_it(
    executor: Counting, encode_tone: EncodeTone
) -> None:
    """The gateway reports it to the owner of the encoder."""
    speex = AudioPacket(1000, b"x", AudioFormat("speex", b"", None, None, False))
    made = track(publisher([*encode_tone("aac", seconds=1), speex]), executor)
    chunks: list[Chunk] = []
    with pytest.raises(UnsupportedCodec) as raised:
        async for chunk in made.chunks():
            chunks.append(chunk)
    assert raised.value.codec == made.stats.unsupported_codec == "speex"
    assert chunks[-1].end / 16_000 == pytest.approx(1.0, abs=0.08)


async def test_a_publish_without_audio_gives_no_chunks_and_no_anchor(executor: Counting) -> None:
    """Video only, or nothing at all."""
    made = track(publisher([]), executor)
    assert [chunk async for chunk in made.chunks()] == []
    assert made.anchor is None


async def test_the_time_of_arrival_reaches_the_clock(executor: Counting, encode_tone: EncodeTone) -> None:
    """After a long pause the track goes on at the monotonic time since its anchor."""
    times = iter([100.0, 100.0, 100.0, 145.0])
    first, second = encode_tone("aac", seconds=1), encode_tone("aac", seconds=1, first_ms=900_000)
    source = publisher([])
    batches = [first, second, []]

    async def read() -> list[AudioPacket]:
        return batches.pop(0)

    source.read = read  # type: ignore[method-assign]
    last = 145.0
    made = RtmpTrack(source, executor, monotonic=lambda: next(times, last), wall=lambda: NOON)
    chunks = [chunk async for chunk in made.chunks()]
    assert made.stats.gaps == 1
    gap = max(after.offset - before.end for before, after in pairwise(chunks))
    assert gap / 16_000 == pytest.approx(44.0, abs=0.1)
