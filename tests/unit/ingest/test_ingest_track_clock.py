"""Where packets lie in time: the count of samples is the clock, and timestamps only tell of audio that is missing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.track_clock import BELIEVED_S, TrackClock

FRAME_S = 1_024 / 48_000
# AAC at 48, 16 and 7.35 kHz and with spectral band replication, MP3 at 8 kHz, the shortest and longest of Opus, PCM.
FRAMES_S = (FRAME_S, 1_024 / 16_000, 1_024 / 7_350, 2_048 / 11_025, 576 / 8_000, 0.0025, 0.12, 0.25)
Stamp = Callable[[int, float], float]


@dataclass
class Line:
    """A publisher that sends packets of `frame_s`; `true_s` is when what it sends next is spoken."""

    frame_s: float = FRAME_S
    clock: TrackClock = field(default_factory=TrackClock)
    true_s: float = 0.0
    sent: int = 0
    worst_s: float = 0.0
    left_out_s: float = 0.0

    def put(self, timestamp_ms: float, arrival_s: float | None = None, behind_s: float = 0.0) -> float:
        """Arrives as soon as it is spoken, unless said otherwise. Returns the gap before it."""
        before = self.clock.position_s
        arrival_s = self.true_s + self.frame_s if arrival_s is None else arrival_s
        gap = self.clock.place(timestamp_ms, self.frame_s, arrival_s, behind_s)
        assert gap >= 0, "the clock ran backwards"
        assert isclose(self.clock.position_s, before + gap + self.frame_s, rel_tol=1e-6)  # approx is slow, this is hot
        self.worst_s = max(self.worst_s, abs(before + gap - self.true_s))
        self.left_out_s += gap
        self.true_s += self.frame_s
        self.sent += 1
        return gap

    def run(self, seconds: float, stamp: Stamp, arrival: Callable[[float], float] = lambda true: true) -> None:
        for _ in range(round(seconds / self.frame_s)):
            self.put(stamp(self.sent, self.true_s * 1000), arrival(self.true_s + self.frame_s))


def exact(index: int, true_ms: float) -> float:
    return true_ms


PATTERNS: dict[str, Stamp] = {
    "exact": lambda n, ms: 5_000_000 + int(ms),
    "5 % fast": lambda n, ms: int(ms * 1.05),
    "9 % fast": lambda n, ms: int(ms * 1.0884),
    "twice as fast": lambda n, ms: int(ms * 2),
    "8 % slow": lambda n, ms: int(ms * 0.92),
    "whole seconds": lambda n, ms: int(ms) // 1000 * 1000,
    "whole five seconds": lambda n, ms: int(ms) // 5000 * 5000,
    "ten under one": lambda n, ms: int(n // 10 * 10 * FRAME_S * 1000),
    "all the same": lambda n, ms: 0,
    "falls back for a second": lambda n, ms: int(ms + 400 - (300 if ms % 3000 < 1000 else 0)),
    "half an hour ahead for a while": lambda n, ms: int(ms) + (1_800_000 if 20_000 < ms < 40_000 else 0),
    "wraps": lambda n, ms: int(ms + 0xFFFFFF - 3000) % 0xFFFFFF,
    "backwards": lambda n, ms: 10_000_000 - ms,
}


@pytest.mark.parametrize("frame_s, jitter_s", [(FRAME_S, 0.0), (FRAME_S, 0.12), (1_024 / 7_350, 0.12)])
@pytest.mark.parametrize("name", PATTERNS)
def test_whatever_the_timestamps_say_the_audio_is_the_clock(name: str, frame_s: float, jitter_s: float) -> None:
    """Ten minutes that are all there: every packet in its place, nothing added."""
    dice = random.Random(1)
    line = Line(frame_s)
    line.run(600, PATTERNS[name], lambda true: true + dice.uniform(0, jitter_s))
    assert line.worst_s < 0.3
    assert line.left_out_s < 0.02 * 600


@given(
    frame_s=st.sampled_from(FRAMES_S),
    speed=st.floats(0.5, 2.0),
    grain_ms=st.sampled_from([1, 10, 40, 500, 1000, 3000]),
    jumps=st.lists(st.tuples(st.integers(0, 2_000), st.integers(-4_000_000, 4_000_000)), max_size=6),
    jitter_s=st.floats(0, 0.12),
    seed=st.integers(0, 1 << 20),
)
def test_generated_timestamps_neither_move_nor_add_anything(
    frame_s: float, speed: float, grain_ms: int, jumps: list[tuple[int, int]], jitter_s: float, seed: int
) -> None:
    dice = random.Random(seed)

    def stamp(index: int, ms: float) -> float:
        jumped = sum(by for at, by in jumps if index >= at)
        return int(ms * speed + jumped) // grain_ms * grain_ms

    line = Line(frame_s)
    line.run(45, stamp, lambda true: true + dice.uniform(0, jitter_s))
    assert line.worst_s < 0.3
    assert line.left_out_s <= 0.02 * 45


@given(
    frame_s=st.sampled_from(FRAMES_S),
    gaps=st.lists(st.tuples(st.floats(1, 8), st.floats(0.25, 90)), min_size=1, max_size=6),
    jitter_s=st.floats(0, 0.1),
    seed=st.integers(0, 1 << 20),
)
def test_audio_that_is_missing_leaves_its_gap_at_once(
    frame_s: float, gaps: list[tuple[float, float]], jitter_s: float, seed: int
) -> None:
    """The timestamps step by as much as the arrival is late."""
    dice = random.Random(seed)
    line = Line(frame_s)
    for talk_s, gap_s in gaps:
        line.run(talk_s, exact, lambda true: true + dice.uniform(0, jitter_s))
        line.true_s += gap_s
    line.run(2, exact, lambda true: true + dice.uniform(0, jitter_s))
    assert line.worst_s < 0.3
    assert line.clock.gaps >= len(gaps)


def test_single_lost_packets_add_up_to_gaps() -> None:
    """One packet in twenty lost for ten minutes."""
    dice = random.Random(3)
    line = Line()
    for _ in range(28_000):
        if dice.random() < 0.05:
            line.true_s += FRAME_S
        else:
            line.put(line.true_s * 1000, line.true_s + FRAME_S + dice.uniform(0, 0.05))
    assert line.worst_s < 0.4


@pytest.mark.parametrize("stamp", [exact, PATTERNS["5 % fast"]])
def test_an_uplink_that_stalls_and_catches_up_leaves_no_gap(stamp: Stamp) -> None:
    """What was held up comes in one batch."""
    line = Line()
    line.run(20, stamp)
    now, held = line.true_s + 3, round(3 / FRAME_S)
    for n in range(held):
        line.put(stamp(line.sent, line.true_s * 1000), now, (held - 1 - n) * FRAME_S)
    line.run(20, stamp)
    assert line.left_out_s == 0
    assert line.worst_s < 0.01


def test_a_pause_that_the_timestamps_hide_is_a_gap_at_once_after_a_stall_else_after_a_while() -> None:
    """GStreamer's clock stands still while a pipeline is paused."""
    for was_noticed in (True, False):
        line = Line()
        line.run(10, exact)
        line.true_s += 5
        if was_noticed:
            line.clock.paused()
        first = line.put(10_000)
        assert (first > 4.9) is was_noticed
        line.run(5, lambda n, ms: ms - 5_000)
        assert line.left_out_s == pytest.approx(5, abs=0.1)
        assert line.clock.position_s == pytest.approx(line.true_s, abs=0.1)


def test_after_a_stall_without_lateness_there_is_no_gap() -> None:
    line = Line()
    line.run(10, exact)
    line.clock.paused()
    assert line.put(10_000) == 0


def test_a_file_sent_faster_than_it_is_heard_is_believed_its_gaps() -> None:
    """The time of arrival says nothing then. A step of more than ten minutes is none of a talk's."""
    line = Line()
    for at_ms in (0.0, 30_000.0, 60_000 + BELIEVED_S * 1000 + 20_000):
        for n in range(round(20 / FRAME_S)):
            line.put(at_ms + n * FRAME_S * 1000, arrival_s=line.sent * FRAME_S / 50)
    assert line.left_out_s == pytest.approx(10, abs=0.05)


def test_a_burst_at_the_beginning_makes_the_rest_no_gap() -> None:
    """An encoder sends what it has buffered, and then in real time."""
    line = Line()
    for n in range(100):
        line.put(n * FRAME_S * 1000, arrival_s=n * 0.001)
    line.run(30, exact, lambda true: true - 2)
    assert line.left_out_s == 0


@given(st.lists(st.tuples(st.integers(-20_000, 20_000), st.floats(0.001, 0.1), st.floats(0, 1)), max_size=200))
def test_nothing_runs_backwards_whatever_comes(steps: list[tuple[int, float, float]]) -> None:
    """Any timestamps, any packet lengths, any arrival; never further ahead than the time that has passed."""
    clock = TrackClock()
    timestamp, arrival, before, heard = 1_000_000, 0.0, 0.0, 0.0
    for step, seconds, wait in steps:
        timestamp += step
        arrival += wait
        heard += seconds
        assert clock.place(timestamp, seconds, arrival) >= 0
        assert clock.position_s >= before + seconds - 1e-9
        before = clock.position_s
