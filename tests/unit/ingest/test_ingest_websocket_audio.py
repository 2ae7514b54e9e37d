"""PCM from a WebSocket on the track's clock: formats, gaps, backlogs, and senders that are too fast."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual_time import run_virtually

from ingest.pcm import SAMPLE_RATE, Chunk
from ingest.websocket_audio import AHEAD_S, HELD_CHUNKS, PcmFormat, PcmTrack

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
MONO = PcmFormat(16_000, 1)


class HandTime:
    """Moved by the test; the loop's, where there is one."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> datetime:
        return BEGIN + timedelta(seconds=self.at)


def track(time: HandTime, format: PcmFormat = MONO, age_s: float | None = None) -> PcmTrack:
    return PcmTrack(format, monotonic=time.monotonic, wall=time.wall, age_s=age_s)


def drained(track: PcmTrack) -> list[Chunk]:
    async def read() -> list[Chunk]:
        return [chunk async for chunk in track.chunks()]

    return run_virtually(read())


@pytest.mark.parametrize("rate, channels", [(7_999, 1), (48_001, 1), (0, 1), (-16_000, 1), (16_000, 0), (16_000, 3)])
def test_other_formats_are_refused_with_what_is_possible(rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match=r"8000 to 48000 Hz|1 or 2"):
        PcmFormat(rate, channels)


@given(st.lists(st.integers(0, 5_000), max_size=30))
def test_however_it_is_cut_into_messages_the_track_is_the_same(cuts: list[int]) -> None:
    pcm = np.arange(20_000, dtype="<i2").tobytes()
    found = track(HandTime())
    at = 0
    for frames in cuts:
        found.feed(pcm[2 * at : 2 * (at + frames)])
        at = min(at + frames, 20_000)
    found.feed(pcm[2 * at :])
    found.end()
    chunks = drained(found)
    assert b"".join(chunk.pcm for chunk in chunks) == pcm
    assert [chunk.offset for chunk in chunks] == list(range(0, 20_000, 1_600))
    assert found.taken == 20_000


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_becomes_16_khz_mono_of_the_same_length_and_pitch(rate: int, channels: int) -> None:
    seconds = 2.0
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(int(rate * seconds)) / rate)
    found = track(HandTime(), PcmFormat(rate, channels))
    frames = np.repeat(tone.astype("<i2")[:, None], channels, axis=1)
    for part in np.array_split(frames, 37):
        found.feed(part.tobytes())
    found.end()
    samples = np.frombuffer(b"".join(chunk.pcm for chunk in drained(found)), "<i2")
    assert len(samples) == pytest.approx(seconds * SAMPLE_RATE, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(samples))) == pytest.approx(1000 * seconds, abs=1)
    assert found.taken == int(rate * seconds)


@pytest.mark.parametrize("channels, size", [(1, 1), (1, 3_201), (2, 2), (2, 6)])
def test_half_a_frame_is_refused_and_changes_nothing(channels: int, size: int) -> None:
    found = track(HandTime(), PcmFormat(16_000, channels))
    with pytest.raises(ValueError, match="whole frames"):
        found.feed(bytes(size))
    assert found.taken == 0 and found.anchor is None


def test_the_anchor_is_when_the_first_sample_was_spoken() -> None:
    """Known by its length when it is sent at once, else said by the sender that kept it."""
    time = HandTime()
    live, kept = track(time), track(time, age_s=20.0)
    for one in (live, kept):
        one.feed(bytes(2 * 1_600))
    assert live.anchor == time.wall() - timedelta(seconds=0.1)
    assert kept.anchor == time.wall() - timedelta(seconds=20)


def test_time_without_audio_becomes_a_gap() -> None:
    """A page that was asleep for ten seconds: the words after it lie ten seconds later."""
    time = HandTime()
    found = track(time)
    for second in range(120):
        time.at += 0.1 if second != 50 else 10.1
        found.feed(bytes(3_200))
    found.end()
    chunks = drained(found)
    assert found.stats.lost_samples == pytest.approx(10 * SAMPLE_RATE, abs=1_600)
    assert chunks[-1].end == pytest.approx(22 * SAMPLE_RATE, abs=1_600)


def test_a_gap_that_the_sender_tells_of_is_left_at_once() -> None:
    """A minute muted: the first word after it lies a minute later. Told twice, it is left once."""
    time = HandTime()
    found = track(time, PcmFormat(48_000, 1))
    found.skip(5)  # before anything was said it means nothing
    for _ in range(10):
        time.at += 0.1
        found.feed(bytes(9_600))
    time.at += 60
    found.skip(60)
    found.skip(60)
    time.at += 0.1
    found.feed(bytes(9_600))
    found.end()
    chunks = drained(found)
    assert chunks[-1].end == pytest.approx(61.1 * SAMPLE_RATE, abs=SAMPLE_RATE / 20)
    assert sum(chunk.samples for chunk in chunks) == pytest.approx(1.1 * SAMPLE_RATE, abs=4)


@pytest.mark.parametrize("speed", [1.5, 4, 50])
def test_a_backlog_that_is_worked_off_is_no_gap(speed: float) -> None:
    """Twenty seconds kept by a page during a cut, sent as fast as its line allows."""
    time = HandTime()
    found = track(time, age_s=20.0)
    for _ in range(200 + 300):
        time.at += 0.1 / speed
        found.feed(bytes(3_200))
        drain(found)
    assert found.stats.lost_samples == 0


@given(st.floats(0.3, 3.0), st.lists(st.floats(0.15, 0.35), max_size=2))
def test_a_backlog_that_comes_by_fits_and_starts_is_no_gap(hole_s: float, starts: list[float]) -> None:
    """A sender, or who carries it, on a busy machine: a message gets through now and then, and then all the others."""
    time = HandTime()
    found = track(time)
    spoken = sent = 0.0
    for pause_s in [0.1] * 20 + [hole_s, *starts, 0.01] + [0.1] * 100:
        time.at += pause_s
        spoken += pause_s
        is_start = pause_s != 0.1 and pause_s != 0.01
        while sent + 0.1 <= spoken + 1e-9:
            sent += 0.1
            found.feed(bytes(3_200))
            if is_start:
                break
        drain(found)
    assert found.stats.lost_samples == 0


@given(st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(0.0, 5.0)), min_size=1, max_size=8))
def test_who_tells_gaps_has_none_that_was_not_told_however_slow_the_line(hiccups: list[tuple[float, float]]) -> None:
    """It is held up, falls behind at some speed of the line, and catches up: silence there would cut words in two."""
    time = HandTime()
    found = PcmTrack(MONO, monotonic=time.monotonic, wall=time.wall, tells_gaps=True)

    def feed(seconds: float, *, takes_s: float = 0.1) -> None:
        for _ in range(round(seconds * 10)):
            time.at += takes_s
            found.feed(bytes(3_200))
            drain(found)

    began = time.at
    feed(1.0)
    for held_s, slow_s in hiccups:
        time.at += held_s
        feed(slow_s / 4, takes_s=0.2)
        feed(slow_s / 2)
        while time.at - began > found.taken / SAMPLE_RATE:
            feed(0.1, takes_s=0.05)
    assert found.stats.lost_samples == 0


def test_who_tells_gaps_and_stays_behind_has_lost_audio() -> None:
    time = HandTime()
    found = PcmTrack(MONO, monotonic=time.monotonic, wall=time.wall, tells_gaps=True)
    for second in range(20):
        time.at += 1.5 if second == 3 else 0.0
        for _ in range(10):
            time.at += 0.1
            found.feed(bytes(3_200))
            drain(found)
    assert found.stats.lost_samples == pytest.approx(1.5 * SAMPLE_RATE, abs=1_600)


def drain(track: PcmTrack) -> None:
    track._held.clear()


def test_faster_than_speech_is_held_back_and_whole() -> None:
    """A file pushed in as fast as the line takes it is read in real time, and nothing of it is lost."""

    async def push() -> None:
        loop = asyncio.get_running_loop()
        found = PcmTrack(MONO, monotonic=loop.time, wall=lambda: BEGIN)
        heard: list[Chunk] = []

        async def listen() -> None:
            heard.extend([chunk async for chunk in found.chunks()])

        listening = asyncio.create_task(listen())
        for _ in range(60):
            found.feed(bytes(32_000))
            await found.room()
            assert found.taken / SAMPLE_RATE <= loop.time() + AHEAD_S + 1.1
        assert loop.time() == pytest.approx(60 - AHEAD_S, abs=1.2)
        found.end()
        await listening
        assert heard[-1].end == 60 * SAMPLE_RATE
        assert found.stats.holds > 0 and found.stats.lost_samples == 0

    run_virtually(push())


@pytest.mark.parametrize("speed, fast", [(1, False), (1.5, True), (3, True), (6, True), (500, False)])
def test_a_microphone_whose_rate_is_not_the_one_that_was_said_is_noticed(speed: float, fast: bool) -> None:
    """48 kHz called 16 kHz comes three times as fast as it is spoken; a file is there at once."""

    async def push() -> None:
        loop = asyncio.get_running_loop()
        found = PcmTrack(MONO, monotonic=lambda: loop.time() + 5, wall=lambda: BEGIN)
        listening = asyncio.create_task(anext(found.chunks()))
        for _ in range(200):
            await asyncio.sleep(0.1 / speed)
            found.feed(bytes(3_200))
            drain(found)
            await found.room()
        assert found.runs_fast is fast
        listening.cancel()

    run_virtually(push())


def test_a_consumer_that_does_not_follow_holds_the_sender_back() -> None:
    async def push() -> None:
        loop = asyncio.get_running_loop()
        found = PcmTrack(MONO, monotonic=loop.time, wall=lambda: BEGIN)
        for _ in range(HELD_CHUNKS):
            found.feed(bytes(3_200))
            await asyncio.sleep(0.1)
        waiting = asyncio.create_task(found.room())
        await asyncio.sleep(600)
        assert not waiting.done()
        await anext(found.chunks())
        await waiting
        found.feed(bytes(3_200))
        waiting = asyncio.create_task(found.room())
        await asyncio.sleep(1)
        found.end()
        await waiting  # nobody waits for a track that has ended

    run_virtually(push())


@pytest.mark.parametrize(
    "said, is_so, slow",
    [(48_000, 44_100, True), (48_000, 16_000, True), (16_000, 15_300, True), (48_000, 47_800, False)],
)
def test_a_sample_rate_that_is_too_high_is_noticed(said: int, is_so: int, slow: bool) -> None:
    """44.1 kHz called 48 kHz. A microphone's own clock is never so wrong."""
    time = HandTime()
    found = track(time, PcmFormat(said, 1))
    for _ in range(500):
        found.feed(bytes(2 * (is_so // 10)))
        time.at += 0.1
    assert found.runs_slow is slow
    time.at += 60
    assert not found.runs_slow


@given(st.lists(st.tuples(st.floats(0.3, 4.0), st.floats(0.3, 8.0)), min_size=3, max_size=20))
def test_who_is_silent_now_and_then_is_not_slow(turns: list[tuple[float, float]]) -> None:
    """Push to talk, a client's own voice detector: what is left out is left out in whole."""
    time = HandTime()
    found = track(time)
    for spoken_s, silent_s in turns:
        for _ in range(round(spoken_s / 0.05)):
            found.feed(bytes(1_600))
            time.at += 0.05
        assert not found.runs_slow
        time.at += silent_s
