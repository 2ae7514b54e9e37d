"""The gate: what is said passes whole, with what is around it; silence stays; nothing shifts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gate import Detector, Gate, GateOptions
from ingest.pcm import CHUNK_SAMPLES, Chunk
from ingest.silence import is_silent
from ingest.vad import WebRtcDetector
from stt.local.scripted import VOCABULARY, speak

FRAME = 160
LOUD = np.full(FRAME, 1000, "<i2").tobytes()
HUM = np.full(FRAME, 50, "<i2").tobytes()
OPTIONS = GateOptions(pre_roll_s=0.3, hang_over_s=0.6, settle_s=0.0)


class Level:
    """A frame is speech when it is loud."""

    frame_samples = FRAME

    def __init__(self) -> None:
        self.asked = 0

    def is_speech(self, frame: bytes) -> bool:
        self.asked += 1
        return frame[:2] == LOUD[:2]


class Broken(Level):
    def is_speech(self, frame: bytes) -> bool:
        self.asked += 1
        if self.asked > 25:
            raise ValueError("no more")
        return False


def chunks(frames: str, offset: int = 0) -> list[Chunk]:
    """One letter a frame of 10 ms: `S` speech, `.` hum, `0` digital silence."""
    pcm = b"".join({"S": LOUD, ".": HUM, "0": bytes(2 * FRAME)}[letter] for letter in frames)
    size = 2 * CHUNK_SAMPLES
    return [Chunk(offset + at // 2, pcm[at : at + size]) for at in range(0, len(pcm), size)]


def through(gate: Gate, given: list[Chunk]) -> list[Chunk]:
    return [passed for chunk in given for passed in gate.push(chunk)]


def places(passed: list[Chunk]) -> list[int]:
    """In tenths of a second."""
    return [chunk.offset // CHUNK_SAMPLES for chunk in passed]


def test_speech_passes_with_its_pre_roll_and_hang_over() -> None:
    """Speech at 1.05 to 1.25 s: from 0.7 s on, and until 0.6 s behind its end."""
    gate = Gate(Level(), OPTIONS)
    passed = through(gate, chunks("." * 105 + "S" * 20 + "." * 195))
    assert places(passed) == list(range(6, 19))
    assert (gate.counts.heard, gate.counts.passed) == (32 * CHUNK_SAMPLES, 13 * CHUNK_SAMPLES)
    assert (gate.counts.withheld, gate.counts.speech, gate.counts.openings) == (19 * CHUNK_SAMPLES, 20 * FRAME, 1)
    assert not gate.is_open


def test_a_pause_shorter_than_the_hang_over_is_no_gap() -> None:
    gate = Gate(Level(), OPTIONS)
    passed = through(gate, chunks("S" * 10 + "." * 55 + "S" * 5 + "." * 100))
    assert places(passed) == list(range(13))
    assert gate.counts.openings == 1


@pytest.mark.parametrize(
    ("frames", "opens"),
    [("S.........", False), ("SS........", False), ("S...S...S.", False), ("S.S.S.....", True), ("SSS.......", True)],
)
def test_three_frames_of_five_open_the_gate(frames: str, opens: bool) -> None:
    gate = Gate(Level(), OPTIONS)
    assert bool(through(gate, chunks("." * 20 + frames + "." * 20))) is opens


def test_the_detectors_first_moments_do_not_count_but_what_is_said_in_them_is_kept() -> None:
    """The detector calls the beginning of a track speech; who really speaks goes on speaking."""
    gate = Gate(Level(), GateOptions(settle_s=0.12))
    assert through(gate, chunks("S" * 12 + "." * 48)) == []
    gate = Gate(Level(), GateOptions(settle_s=0.12))
    assert places(through(gate, chunks("S" * 20 + "." * 100)))[:2] == [0, 1]


def test_digital_silence_is_never_speech() -> None:
    detector = Level()
    gate = Gate(detector, OPTIONS)
    assert through(gate, chunks("0" * 500)) == []
    assert detector.asked == 0


@given(st.integers(0, 400), st.dictionaries(st.integers(0, 399), st.integers(-12, 12), max_size=3))
def test_silence_is_digital_when_no_sample_is_above_the_floor(size: int, loud: dict[int, int]) -> None:
    """Wherever it lies, and on either side of zero."""
    samples = [loud.get(at, 0) for at in range(size)]
    assert is_silent(np.array(samples, "<i2").tobytes()) is all(-8 <= sample <= 8 for sample in samples)


def test_frames_that_lie_across_two_chunks_are_heard() -> None:
    gate = Gate(Level(), OPTIONS)
    pcm = HUM * 50 + LOUD * 5 + HUM * 50
    pieces = [Chunk(at // 2, pcm[at : at + 250]) for at in range(0, len(pcm), 250)]
    assert through(gate, pieces)
    assert gate.counts.speech == 5 * FRAME


def test_a_gap_of_the_track_separates_what_lies_around_it() -> None:
    """What lies before a long gap is no pre-roll, and half a click on either side is no speech."""
    gate = Gate(Level(), OPTIONS)
    before, after = chunks("." * 28 + "SS"), chunks("S" + "." * 29, offset=16_000)
    assert through(gate, [*before, *after]) == []
    passed = through(gate, chunks("S" * 10, offset=80_000))
    assert [chunk.offset for chunk in passed] == [80_000]


def test_a_detector_that_fails_opens_the_gate_for_good() -> None:
    """Silence costs money; a lost word costs trust."""
    gate = Gate(Broken(), OPTIONS)
    passed = through(gate, chunks("." * 500))
    assert places(passed) == list(range(50))
    assert gate.counts.failures == 1


SECOND = 16_000


def test_a_stall_owes_what_the_provider_has_not_heard_of_the_hang_over() -> None:
    """Once; in the middle of silence less, behind it nothing; a gap no more than its length."""
    for silence, owed in ((0, 0.6), (20, 0.4), (60, 0.0), (300, 0.0)):
        gate = Gate(Level(), OPTIONS)
        through(gate, chunks("." * 20 + "S" * 20 + "." * silence))
        assert gate.stall(1600) == min(1600, round(owed * SECOND))
        assert gate.stall() == round(owed * SECOND)
        assert gate.stall() == 0
        assert not gate.is_open


def test_what_is_left_out_is_told_as_soon_as_it_is_certain() -> None:
    """The pre-roll may still pass; what is older never will."""
    gate = Gate(Level(), OPTIONS)
    through(gate, chunks("S" * 10))
    assert gate.left_out_to == CHUNK_SAMPLES
    through(gate, chunks("." * 200, offset=CHUNK_SAMPLES))
    last = 21 * CHUNK_SAMPLES
    assert last - 5 * CHUNK_SAMPLES <= gate.left_out_to <= last - 3 * CHUNK_SAMPLES


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 120), st.sampled_from(".0")), min_size=1, max_size=8))
def test_whatever_is_said_passes_whole_and_in_order(talk: list[tuple[int, int, str]]) -> None:
    """Every stretch of speech that opens the gate, 0.3 s before it, 0.6 s behind it; nothing twice."""
    frames = "".join(quiet * silence + "S" * speech for silence, speech, quiet in talk) + "." * 100
    gate = Gate(Level(), OPTIONS)
    given_ = chunks(frames)
    passed = through(gate, given_)
    assert all(one.end <= two.offset for one, two in pairwise(passed))
    assert {(chunk.offset, chunk.pcm) for chunk in passed} <= {(chunk.offset, chunk.pcm) for chunk in given_}
    covered = {place for chunk in passed for place in range(chunk.offset // FRAME, chunk.end // FRAME)}
    at = 0
    for silence, speech, _ in talk:
        at += silence
        if speech >= 3:
            wanted = range(max(at - 30, 0), min(at + speech + 60, len(frames)))
            assert covered.issuperset(wanted)
        at += speech
    assert gate.counts.heard == sum(chunk.samples for chunk in given_)
    assert gate.counts.passed == sum(chunk.samples for chunk in passed)


# --- with the real detector -------------------------------------------------------------------------------------


def room(samples: int, level: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(7).normal(0.0, level, samples)


def detector() -> Detector:
    return WebRtcDetector()


@pytest.mark.parametrize("level", [0.0, 3.0, 30.0, 100.0])  # RMS: digital silence to -50 dBFS
def test_no_word_is_clipped_in_a_room(level: float) -> None:
    """Thirty words, each after up to three seconds of silence; most of the silence stays."""
    words = list(VOCABULARY[:30])
    pcm, said = speak(words, lead_s=2.0, tail_s=2.0, pauses=[0.0, 0.4, 1.2, 3.0] * 8)
    sound = np.frombuffer(pcm, "<i2") + room(len(pcm) // 2, level)
    noisy = np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()
    gate = Gate(detector())
    passed = through(gate, [Chunk(at // 2, noisy[at : at + 3200]) for at in range(0, len(noisy), 3200)])
    for _, start, end in said:
        pieces = [chunk for chunk in passed if chunk.end > start * 16_000 and chunk.offset < end * 16_000]
        assert pieces and pieces[0].offset <= start * 16_000 and pieces[-1].end >= end * 16_000
        assert all(one.end == two.offset for one, two in pairwise(pieces))
    assert gate.counts.withheld > 0.25 * gate.counts.heard


@pytest.mark.parametrize("level", [3.0, 30.0, 300.0])
def test_an_empty_room_costs_nothing(level: float) -> None:
    """White noise up to -41 dBFS, which the detector learns."""
    noise = np.rint(room(16_000 * 30, level)).astype("<i2").tobytes()
    gate = Gate(detector())
    through(gate, [Chunk(at // 2, noise[at : at + 3200]) for at in range(0, len(noise), 3200)])
    assert gate.counts.passed <= 0.02 * gate.counts.heard
    assert gate.counts.failures == 0
