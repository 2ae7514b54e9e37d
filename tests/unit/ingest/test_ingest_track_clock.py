"""Where packets lie in time: gaps, drift, jumps, and what must never happen."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.pcm import SAMPLE_RATE
from ingest.track_clock import Placement, TrackClock

RATE, FRAME = 48_000, 1_024
FRAME_MS = FRAME * 1000 / RATE


@dataclass
class Line:
    """Applies placements as the assembler does and keeps the sum, in samples of RATE."""

    clock: TrackClock = field(default_factory=TrackClock)
    position: float = 0.0

    def put(self, timestamp_ms: float, samples: int = FRAME, arrival_s: float = 0.0) -> Placement:
        placement = self.clock.place(round(timestamp_ms), samples, RATE, arrival_s)
        if placement.skip_to is not None:
            assert placement.skip_to * RATE / SAMPLE_RATE >= self.position - 0.1, "the clock ran backwards"
            self.position = max(self.position, placement.skip_to * RATE / SAMPLE_RATE)
        assert placement.silence >= 0
        assert abs(placement.stretch) <= samples / 50
        self.start = self.position + placement.silence
        self.position = self.start + samples + placement.stretch
        return placement

    @property
    def start_ms(self) -> float:
        return self.start * 1000 / RATE

    def steady(self, packets: int, first_ms: float = 0.0) -> float:
        for n in range(packets):
            self.put(first_ms + n * FRAME_MS)
        return first_ms + packets * FRAME_MS


@pytest.mark.parametrize("first_ms", [0, 5_000_000, 2**40])
def test_a_steady_stream_is_left_alone(first_ms: int) -> None:
    """Rounded milliseconds add up to nothing in a quarter of an hour."""
    line = Line()
    for n in range(42_000):
        assert line.put(first_ms + n * FRAME_MS) == Placement()
    assert line.clock.gaps == line.clock.reanchors == 0


def test_a_gap_is_filled_with_exactly_the_silence_that_is_missing() -> None:
    """The packet after it stands where its timestamp says."""
    line = Line()
    now = line.steady(100)
    placement = line.put(now + 1500)
    assert placement.silence == pytest.approx(1.5 * RATE, abs=RATE // 1000)
    assert line.start_ms == pytest.approx(now + 1500, abs=1)
    assert line.clock.gaps == 1


@pytest.mark.parametrize("gap_ms", [20, 50, 99])
def test_a_step_within_the_tolerance_is_jitter(gap_ms: int) -> None:
    """Nothing is inserted, and a second small step does not add up to a hole forgotten."""
    line = Line()
    now = line.steady(100)
    assert line.put(now + gap_ms).silence == 0
    now += gap_ms + FRAME_MS
    second = line.put(now + 99)
    assert line.start_ms == pytest.approx(now + 99, abs=101)
    assert (second.silence > 0) == (gap_ms + 99 > 101)


@settings(max_examples=20)
@given(st.lists(st.floats(-45, 45), min_size=200, max_size=300))
def test_jitter_below_the_threshold_never_accumulates(jitter: list[float]) -> None:
    """Neither by silence nor by stretching."""
    line = Line()
    for n, off in enumerate(jitter):
        assert line.put(1000 + n * FRAME_MS + off) == Placement()


@pytest.mark.parametrize("ppm", [-2000, -300, -50, 50, 300, 2000])
def test_a_clock_that_drifts_is_followed_in_steps_too_small_to_hear(ppm: int) -> None:
    """An hour of an encoder whose samples and timestamps disagree: never more than the tolerance apart."""
    line = Line()
    stretched = 0
    for n in range(36_000):
        true = n * 100 * (1 + ppm / 1_000_000)
        placement = line.put(true, samples=RATE // 10)
        assert placement.silence == 0
        assert placement.skip_to is None
        stretched += placement.stretch
        assert abs(line.start_ms - true) < 103
    assert stretched / RATE == pytest.approx(3600 * ppm / 1_000_000, abs=0.103)
    assert line.clock.gaps == 0


def test_a_jump_too_far_to_fill_goes_on_at_the_time_of_arrival() -> None:
    """An encoder paused for a minute: a minute passes on the track, unheard."""
    line = Line()
    now = line.steady(100)
    arrival = now / 1000 + 60.1
    placement = line.put(now + 60_000, arrival_s=arrival)
    assert placement.silence == 0
    assert placement.skip_to == pytest.approx(arrival * SAMPLE_RATE, abs=1)
    assert line.clock.reanchors == 1
    assert line.put(now + 60_000 + FRAME_MS) == Placement()


def test_a_jump_of_timestamps_without_any_pause_changes_nothing_but_the_base() -> None:
    """The track goes on where it was when no time has passed."""
    line = Line()
    now = line.steady(100)
    placement = line.put(now + 3_600_000, arrival_s=now / 1000)
    assert placement == Placement()
    assert line.start_ms == pytest.approx(now, abs=1)
    assert line.clock.reanchors == 1


def test_timestamps_that_start_over_begin_a_new_count() -> None:
    """As after a restart of the encoder behind a relay."""
    line = Line()
    now = line.steady(1000)
    placement = line.put(0, arrival_s=now / 1000 + 2)
    assert placement.skip_to == pytest.approx((now / 1000 + 2) * SAMPLE_RATE, abs=1)
    assert line.put(FRAME_MS) == Placement()
    assert line.clock.reanchors == 1


def test_a_small_step_back_is_absorbed_without_losing_a_packet() -> None:
    """Packets are shortened by one part in a hundred until time agrees again."""
    line = Line()
    now = line.steady(1000) - 200
    settled = 0
    for n in range(2000):
        placement = line.put(now + n * FRAME_MS)
        assert placement.silence == 0
        assert placement.skip_to is None
        settled = settled + 1 if placement == Placement() else 0
    assert settled > 900
    assert line.start_ms == pytest.approx(now + 1999 * FRAME_MS, abs=12)


def test_wild_timestamps_cannot_make_hours_of_silence() -> None:
    """Every packet claims another nine seconds: at most as much silence as audio, after the first ten seconds."""
    line = Line()
    silence = sum(line.put(n * 9_000).silence for n in range(5_000)) / RATE
    assert silence <= 10 + 5_000 * FRAME / RATE
    assert line.clock.reanchors > 4_000


def test_random_loss_is_replaced_by_time() -> None:
    """One packet in five lost for ten minutes: every packet that arrives is in its place."""
    dice = random.Random(3)
    line = Line()
    line.put(0)
    for n in range(1, 28_000):
        if dice.random() > 0.2:
            line.put(n * FRAME_MS)
            assert abs(line.start_ms - n * FRAME_MS) < 151


@given(
    st.lists(st.tuples(st.integers(-20_000, 20_000), st.integers(1, 4_800), st.floats(0, 1)), max_size=200),
)
def test_nothing_runs_backwards_whatever_comes(steps: list[tuple[int, int, float]]) -> None:
    """Any timestamps, any packet sizes, any arrival: `Line.put` checks order, and the clock agrees with the sum."""
    line = Line()
    timestamp, arrival = 1_000_000, 0.0
    for step, samples, wait in steps:
        timestamp += step
        arrival += wait
        before = line.position
        line.put(timestamp, samples, arrival)
        assert line.start >= before
        assert line.clock.position_s * RATE == pytest.approx(line.position, abs=4)
