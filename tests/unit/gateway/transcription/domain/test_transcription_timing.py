"""Where the time of a final went."""

from __future__ import annotations

import random

from gateway.transcription.domain.timing import REMEMBERED, Arrival, Marks, Passage, Timeline, Timing


def timing(heard_at: float, after_s: float, taken: float | None, sent: float | None, *, until: float = 0.0) -> Timing:
    arrival = Arrival(heard_at, after_s)
    return arrival.timing(7, "u7", "anna", Passage(taken, sent), heard_at + until, heard_at + 2 * until)


def test_each_hop_is_the_time_between_two_places() -> None:
    found = timing(100.0, 1.0, 99.2, 99.25, until=0.01)
    assert (found.source_ms, found.socket_ms, found.provider_ms) == (200, 50, 750)
    assert (found.durable_ms, found.watchers_ms, found.end_to_end_ms) == (10, 10, 1_020)


def test_without_its_chunk_the_provider_has_all_until_its_final() -> None:
    for taken, sent in ((None, None), (99.2, None), (None, 99.3)):
        found = timing(100.0, 1.0, taken, sent)
        assert (found.source_ms, found.socket_ms, found.provider_ms) == (None, None, 1_000)


def test_hops_add_up_and_none_is_negative_whatever_the_clocks_say() -> None:
    dice = random.Random(18)
    for _ in range(2_000):
        at = [dice.uniform(90, 110) for _ in range(5)]
        found = Arrival(at[0], dice.uniform(0, 5)).timing(1, "u", "anna", Passage(at[1], at[2]), at[3], at[4])
        hops = [found.source_ms, found.socket_ms, found.provider_ms, found.durable_ms, found.watchers_ms]
        known = [hop for hop in hops if hop is not None]
        assert len(known) == 5 and min(known) >= 0
        assert sum(known) == found.end_to_end_ms


def test_a_sample_has_passed_with_the_first_chunk_that_reaches_it() -> None:
    marks = Marks()
    assert marks.at(0) is None
    for number in range(1, 4):
        marks.mark(number * 1_600, float(number))
    marks.mark(4_800, 9.0)  # the source says that it delivers nothing for now
    assert [marks.at(sample) for sample in (1, 1_600, 1_601, 4_800, 4_801)] == [1.0, 1.0, 2.0, 3.0, None]


def test_what_is_sent_again_passes_again() -> None:
    marks = Marks()
    for end, at in ((1_600, 1.0), (3_200, 2.0), (1_600, 7.0), (4_800, 8.0)):
        marks.mark(end, at)
    assert [marks.at(sample) for sample in (1_600, 3_200, 4_800)] == [7.0, 8.0, 8.0]


def test_memory_is_bounded() -> None:
    marks, timeline = Marks(), Timeline()
    for number in range(1, 10_000):
        marks.mark(number * 1_600, float(number))
        timeline.add(timing(float(number), 1.0, None, None))
    assert marks.at(1_600) is None  # forgotten, not mistaken for the oldest that is known
    assert marks.at(9_999 * 1_600 - 1) == 9_999.0
    assert len(timeline.finals()) == REMEMBERED
