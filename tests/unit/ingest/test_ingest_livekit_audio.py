"""A room's audio on the sample clock: arrival, silence, the track's queue."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta

import pytest

from ingest.arrival_clock import BEHIND_S, SUSTAINED_S, ArrivalClock
from ingest.livekit_track import HELD_CHUNKS, LivekitTrack
from ingest.pcm import CHUNK_SAMPLES, SAMPLE_RATE
from ingest.silence import FLOOR, SilenceGate

LOUD = struct.pack("<h", 1000) * CHUNK_SAMPLES
ZEROS = bytes(len(LOUD))
START = datetime(2026, 1, 5, 10, tzinfo=UTC)


# --- arrival ------------------------------------------------------------------------------------------------


def gaps(arrivals: list[float]) -> list[int]:
    clock = ArrivalClock()
    return [clock.arrived(CHUNK_SAMPLES, at) for at in arrivals]


def test_steady_arrival_has_no_gap() -> None:
    assert not any(gaps([0.1 * i for i in range(1, 1000)]))


def test_jitter_and_a_burst_after_a_blocked_loop_have_no_gap() -> None:
    """Five seconds late and all at once: nothing was lost, so nothing moves."""
    steady = [0.1 * i for i in range(1, 21)]
    burst = [7.0 + 0.0005 * i for i in range(50)]
    after = [7.1 + 0.1 * i for i in range(100)]
    assert not any(gaps(steady + burst + after))


def test_time_that_the_samples_never_show_becomes_one_gap() -> None:
    """The machine slept four seconds: after two more seconds it is sure, and the clock agrees with the wall again."""
    clock = ArrivalClock()
    found = []
    for i in range(1, 200):
        at = 0.1 * i + (4.0 if i > 50 else 0.0)
        gap = clock.arrived(CHUNK_SAMPLES, at)
        if gap:
            found.append((i, gap))
    ((when, gap),) = found
    assert gap == pytest.approx(4.0 * SAMPLE_RATE, abs=16)
    assert 0.1 * (when - 51) == pytest.approx(SUSTAINED_S, abs=0.11)
    assert clock.position / SAMPLE_RATE == pytest.approx(at, abs=0.01)


def test_a_backlog_below_the_limit_is_buffering() -> None:
    assert not any(gaps([0.1 * i + BEHIND_S - 0.1 for i in range(1, 200)]))


def test_a_pause_made_on_purpose_is_a_gap_at_once() -> None:
    """A minute in which nobody asked for audio; a clock that is ahead stays where it is."""
    clock = ArrivalClock()
    clock.arrived(CHUNK_SAMPLES, 0.1)
    assert clock.resumed(CHUNK_SAMPLES, 60.0) == 60 * SAMPLE_RATE - 2 * CHUNK_SAMPLES
    assert clock.position == 60 * SAMPLE_RATE
    assert clock.resumed(CHUNK_SAMPLES, 60.05) == 0
    assert not any(clock.arrived(CHUNK_SAMPLES, 60.2 + 0.1 * i) for i in range(50))


# --- silence ------------------------------------------------------------------------------------------------


def test_silence_passes_until_the_hang_over_is_used_up_and_again_after_speech() -> None:
    gate = SilenceGate(0.25)
    heard = [gate.passes(pcm) for pcm in (ZEROS, LOUD, ZEROS, ZEROS, ZEROS, ZEROS, LOUD, ZEROS)]
    assert heard == [False, True, True, True, True, False, True, True]


@pytest.mark.parametrize(("level", "audible"), [(FLOOR, False), (-FLOOR, False), (FLOOR + 1, True), (-FLOOR - 1, True)])
def test_one_sample_above_the_floor_is_audio(level: int, audible: bool) -> None:
    assert SilenceGate(0.0).passes(struct.pack("<h", level) + ZEROS) is audible


# --- the track ----------------------------------------------------------------------------------------------


class Shown:
    def __init__(self) -> None:
        self.captions: list[tuple[object, ...]] = []

    def caption(self, *caption: object, is_final: bool) -> None:
        self.captions.append((*caption, is_final))


class Hand:
    """A track fed by hand: `feed` moves its clock by 100 ms."""

    def __init__(self) -> None:
        self.now = 100.0
        self.shown = Shown()
        self.track = LivekitTrack(
            "TR_1",
            "anna",
            "Anna",
            {},
            self.shown,
            hang_over_s=0.2,
            monotonic=lambda: self.now,
            wall=lambda: START + timedelta(seconds=self.now - 100),
        )

    def feed(self, *pieces: bytes) -> None:
        for pcm in pieces:
            self.now += 0.1
            self.track.feed(pcm)

    async def rest(self) -> list[tuple[int, int]]:
        self.track.end()
        return [(chunk.offset, chunk.samples) async for chunk in self.track.chunks()]


async def test_the_anchor_is_when_the_first_sample_was_spoken() -> None:
    hand = Hand()
    assert hand.track.anchor is None
    hand.feed(LOUD)
    assert hand.track.anchor == START


async def test_silence_is_a_gap_on_the_clock() -> None:
    """Speech, its hang-over, nothing, speech: the second speech stands where it was spoken."""
    hand = Hand()
    hand.feed(LOUD, *[ZEROS] * 10, LOUD)
    assert await hand.rest() == [(n * CHUNK_SAMPLES, CHUNK_SAMPLES) for n in (0, 1, 2, 11)]
    assert hand.track.stats.silent_samples == 8 * CHUNK_SAMPLES


async def test_a_rest_is_silence_and_not_loss() -> None:
    """Ten seconds in which the stream was closed: the next words stand where they were spoken."""
    hand = Hand()
    hand.feed(LOUD)
    hand.track.rest()
    hand.now += 10
    hand.feed(LOUD)
    assert await hand.rest() == [(0, CHUNK_SAMPLES), (101 * CHUNK_SAMPLES, CHUNK_SAMPLES)]
    stats = hand.track.stats
    assert (stats.silent_samples, stats.lost_samples, stats.resting) == (100 * CHUNK_SAMPLES, 0, False)


async def test_a_track_nobody_takes_loses_its_oldest_chunks_and_counts_them() -> None:
    hand = Hand()
    hand.feed(*[LOUD] * (HELD_CHUNKS + 7))
    chunks = await hand.rest()
    assert len(chunks) == HELD_CHUNKS and chunks[0][0] == 7 * CHUNK_SAMPLES
    assert hand.track.stats.dropped_chunks == 7


async def test_a_waiting_consumer_gets_what_comes_and_then_the_end() -> None:
    hand = Hand()
    got: list[int] = []

    async def take() -> None:
        async for chunk in hand.track.chunks():
            got.append(chunk.offset)

    taking = asyncio.create_task(take())
    for _ in range(3):
        await asyncio.sleep(0)
        hand.feed(LOUD)
    hand.track.end()
    hand.track.end()
    await taking
    assert got == [0, CHUNK_SAMPLES, 2 * CHUNK_SAMPLES]


async def test_captions_of_a_track_carry_its_speaker_and_its_id() -> None:
    hand = Hand()
    hand.track.caption("u1", "hello", is_final=True)
    assert hand.shown.captions == [("anna", "TR_1", "u1", "hello", True)]
