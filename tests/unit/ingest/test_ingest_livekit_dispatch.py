"""Frames reach the stream that wants them; with an unknown SDK everything goes its own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient

from ingest import livekit_dispatch


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The SDK's own way again."""
    yield
    vars(FfiClient.instance.queue).pop("put", None)
    livekit_dispatch._streams.clear()


@pytest.fixture
async def streams() -> AsyncIterator[list[rtc.AudioStream]]:
    """Three tracks of this process; each source makes silence by itself, so frames come without a server."""
    sources = [rtc.AudioSource(16_000, 1) for _ in range(3)]
    tracks = [rtc.LocalAudioTrack.create_audio_track(str(n), source) for n, source in enumerate(sources)]
    made = [rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=100) for track in tracks]
    yield made
    for stream in made:
        await stream.aclose()
    for source in sources:
        await source.aclose()


async def frames(stream: rtc.AudioStream, count: int) -> int:
    async with asyncio.timeout(5):
        for n in range(count):
            event = await anext(stream)
            assert event.frame.samples_per_channel == 1600, n
    return count


async def test_attached_and_other_streams_all_get_their_frames(streams: list[rtc.AudioStream]) -> None:
    livekit_dispatch.attach(streams[0])
    livekit_dispatch.attach(streams[1])
    assert await asyncio.gather(*[frames(stream, 5) for stream in streams]) == [5, 5, 5]
    assert len(livekit_dispatch._streams) == 2


async def test_a_detached_stream_leaves_nothing(streams: list[rtc.AudioStream]) -> None:
    """The end of the stream still reaches it, so that closing does not hang."""
    livekit_dispatch.attach(streams[0])
    await frames(streams[0], 1)
    async with asyncio.timeout(5):
        await streams[0].aclose()
    livekit_dispatch.detach(streams[0])
    assert not livekit_dispatch._streams


async def test_another_version_of_the_sdk_is_left_alone(
    streams: list[rtc.AudioStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtc, "__version__", "1.3.0")
    livekit_dispatch.attach(streams[0])
    assert not livekit_dispatch._streams and "put" not in vars(FfiClient.instance.queue)
    assert await frames(streams[0], 2) == 2
