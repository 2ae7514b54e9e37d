"""A source that stops delivering is noticed, and once more when it still does not; one that delivers seldom is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual_time import run_virtually

from ingest.pcm import SAMPLE_RATE, Chunk
from ingest.stall import HELD_UP_S, STALL_S, StallWatch
from ingest.websocket_audio import PcmFormat, PcmTrack

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)


async def heard_of(sends: list[tuple[float, float]], stop_at: float, rate: int = 16_000) -> list[tuple[float, Chunk]]:
    """Messages of (time, seconds) put into a track; its chunks with the time at which they came out."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    track = PcmTrack(PcmFormat(rate, 1), monotonic=lambda: loop.time() + 100, wall=lambda: BEGIN)
    found: list[tuple[float, Chunk]] = []

    async def listen() -> None:
        async for chunk in track.chunks():
            found.append((loop.time() - began, chunk))

    listening = asyncio.create_task(listen())
    for at, seconds in sends:
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        track.feed(b"\x01\x02" * round(seconds * rate))
    await asyncio.sleep(began + stop_at - loop.time())
    track.end()
    await listening
    return found


def talk(start: float, seconds: float, piece: float = 0.02) -> list[tuple[float, float]]:
    """A microphone: each piece is sent when it has been spoken."""
    return [(start + (n + 1) * piece, piece) for n in range(round(seconds / piece))]


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_everything_said_comes_out_when_the_source_stops_and_then_an_empty_chunk(rate: int) -> None:
    """Nothing of the last word waits in a resampler or for a full chunk."""
    found = run_virtually(heard_of(talk(0, 1.03, 0.01), 60, rate))
    (_, stall), before = found[-1], found[:-2]
    assert stall.pcm == b"" and stall.offset == before[-1][1].end and found[-2][1] == stall
    assert [at for at, _ in found[-2:]] == pytest.approx([1.03 + STALL_S, 1.03 + HELD_UP_S], abs=0.01)
    assert sum(chunk.samples for _, chunk in before) == pytest.approx(1.03 * SAMPLE_RATE, abs=2)


@pytest.mark.parametrize("pause", [0.4, 0.7, 1.0, 3.0, 30.0])
def test_a_pause_in_which_nothing_was_sent_is_a_gap_from_the_first_sample_on(pause: float) -> None:
    """Push to talk, or a client's own voice detector."""
    found = run_virtually(heard_of(talk(0, 2) + talk(2 + pause, 2), 8 + pause))
    audio = [chunk for _, chunk in found if chunk.pcm]
    behind = next(chunk for chunk in audio if chunk.offset > 2.1 * SAMPLE_RATE)
    assert behind.offset / SAMPLE_RATE == pytest.approx(2 + pause, abs=0.05)
    assert audio[-1].end / SAMPLE_RATE == pytest.approx(4 + pause, abs=0.05)
    assert len([chunk for _, chunk in found if not chunk.pcm]) == 1 + (pause > STALL_S) + (pause > HELD_UP_S)


@pytest.mark.parametrize("held_s", [0.5, 1.0, 5.0])
def test_an_uplink_that_stalled_and_catches_up_leaves_no_gap(held_s: float) -> None:
    """All of it was recorded: it comes in one go, in many messages."""
    late = [(max(at, 2 + held_s), piece) for at, piece in talk(2, held_s + 1)]
    found = run_virtually(heard_of(talk(0, 2) + late, 20))
    audio = [chunk for _, chunk in found if chunk.pcm]
    assert all(after.offset == before.end for before, after in pairwise(audio))
    assert audio[-1].end == (3 + held_s) * SAMPLE_RATE


@pytest.mark.parametrize("piece", [1.0, 2.0])
def test_a_page_in_the_background_has_not_stalled_between_its_pieces(piece: float) -> None:
    found = run_virtually(heard_of(talk(0, 20, piece), 20 + HELD_UP_S - 1))
    assert [chunk.pcm == b"" for _, chunk in found].count(True) == 1
    burst = [(float(round(at + 0.49)), length) for at, length in talk(0, 20)]
    found = run_virtually(heard_of(burst, 20 + HELD_UP_S - 1))
    assert [chunk.pcm == b"" for _, chunk in found].count(True) == 1
    assert found[-1][1].offset == 20 * SAMPLE_RATE


@given(st.lists(st.tuples(st.floats(0.3, 4), st.floats(0.35, 10)), min_size=1, max_size=5), st.floats(0.01, 0.1))
def test_generated_talk_and_pauses_keep_their_times(turns: list[tuple[float, float]], piece: float) -> None:
    sends: list[tuple[float, float]] = []
    begins: list[float] = []
    at = 0.0
    for talk_s, pause_s in turns:
        begins.append(at)
        sends += talk(at, talk_s, piece)
        at = sends[-1][0] + pause_s + piece
    found = run_virtually(heard_of(sends, at + 3))
    audio = [chunk for _, chunk in found if chunk.pcm]
    starts = [audio[0].offset] + [after.offset for before, after in pairwise(audio) if after.offset > before.end]
    assert [start / SAMPLE_RATE for start in starts] == pytest.approx(begins, abs=0.3)
    assert sum(chunk.samples for chunk in audio) == sum(round(piece * SAMPLE_RATE) for _, piece in sends)


def test_a_held_up_event_loop_is_no_stall() -> None:
    """The timer is late itself: what came meanwhile is about to be read."""

    async def check() -> None:
        loop, stalls = asyncio.get_running_loop(), 0
        now = loop.time()

        def stalled() -> None:
            nonlocal stalls
            stalls += 1

        watch = StallWatch(stalled, lambda: now)
        watch.fed(now)
        watch.arm()
        watch._due -= 5  # as if the loop had slept
        now += STALL_S
        await asyncio.sleep(STALL_S + 0.05)
        assert stalls == 0
        watch.fed(now)
        await asyncio.sleep(0.2)
        assert stalls == 0
        watch.disarm()

    run_virtually(check())
