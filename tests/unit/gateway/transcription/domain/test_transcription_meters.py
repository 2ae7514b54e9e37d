"""Meters: what participants have used, over tracks that overlap or follow each other, and over owners."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.meters import Meter, Meters, Reading, read, resumed
from gateway.transcription.domain.usage import Listened, started_minutes, whole_seconds

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
RATE = 16_000
ANNA, BEN = Speaker("anna", "Anna"), Speaker("ben", None)


def meters(*speakers: Speaker) -> Meters:
    made = Meters(0.1, lambda identity: f"row of {identity}")
    for speaker in speakers:
        made.of(speaker, NOW)
    return made


def sent(seconds: float, identity: str = "anna", *, heard: float = 0.0) -> Reading:
    return Reading(identity, Listened(heard=round(heard * RATE)), round(seconds * RATE), 1)


def test_a_reading_has_the_columns_of_the_table() -> None:
    """Minutes are billed as begun; every transcript counts; the cost has no binary dust."""
    meter = Meter(
        "u", "anna", "Anna", NOW, 0.1, samples_sent=61 * RATE, chunks_sent=610, finals=3, partials=9, errors=1
    )
    used = read(meter, "on")
    assert (used.duration_seconds, used.duration_minutes, used.total_cost) == (61, 2, 0.2)
    assert (used.audio_chunks_sent, used.errors_count, used.gate) == (610, 1, "on")
    assert (used.transcripts_received, used.final_transcripts, used.partial_transcripts) == (12, 3, 9)
    assert (used.id, used.identity, used.started_at, used.ended_at) == ("u", "anna", NOW, None)


@given(st.integers(0, RATE * 36_000), st.sampled_from([0.0, 0.01, 0.0068, 0.1, 1.5]))
def test_the_cost_is_the_minutes_times_the_price(samples: int, price: float) -> None:
    used = read(Meter("u", "anna", None, NOW, price, samples_sent=samples))
    assert used.duration_minutes == started_minutes(used.duration_seconds)
    assert used.total_cost == pytest.approx(used.duration_minutes * price, abs=1e-6)


def test_a_participant_has_one_meter_from_its_first_audio_on() -> None:
    made = meters(ANNA)
    assert made.of(Speaker("anna", "another name"), NOW + timedelta(hours=1)).started_at == NOW
    assert (len(made), made.identities, made.of(ANNA, NOW).usage_id) == (1, {"anna"}, "row of anna")


def test_tracks_that_overlap_and_follow_each_other_add_up() -> None:
    """The old track still runs when the new one begins; each counts once, however often the meters are read."""
    made = meters(ANNA, BEN)
    for _ in range(2):
        made.read([sent(10), sent(20), sent(5, "ben")])
        assert made.seconds_sent == 35
    made.close(sent(12, heard=30))
    made.read([sent(21), sent(5, "ben")])
    assert [(one.identity, one.duration_seconds, one.audio_chunks_sent) for one in made.usage("on")] == [
        ("anna", 33, 2),
        ("ben", 5, 1),
    ]
    assert made.usage("on")[0].heard_s == 30.0


def test_what_would_be_spent_counts_the_minutes_that_would_be_begun() -> None:
    made = meters(ANNA, BEN)
    made.read([sent(58), sent(30, "ben")])
    assert made.cost_after(2) == pytest.approx(0.2)
    assert made.cost_after(3) == pytest.approx(0.3)


def test_the_next_owner_goes_on_with_the_reading_at_its_old_price() -> None:
    first = meters(ANNA)
    first.of(ANNA, NOW).finals = 3
    first.read([sent(61, heard=70)])
    [left] = first.usage("on")
    second = Meters(5.0, lambda identity: "another row", [left])
    assert second.usage("on") == [left]
    second.of(BEN, NOW)
    second.read([sent(60, heard=60), sent(1, "ben")])
    anna, ben = second.usage("on")
    assert (anna.id, anna.duration_seconds, anna.heard_s, anna.cost_per_minute) == ("row of anna", 121, 130.0, 0.1)
    assert (ben.id, ben.cost_per_minute) == ("another row", 5.0)


def test_all_meters_end_with_the_transcription() -> None:
    made = meters(ANNA, BEN)
    made.end(NOW)
    assert {one.ended_at for one in made.usage("off")} == {NOW}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**4))
def test_a_meter_that_is_resumed_reads_as_before(seconds: int, heard_ms: int, finals: int) -> None:
    used = structs.replace(
        read(Meter("u", "anna", None, NOW, 0.1, samples_sent=seconds * RATE)),
        heard_s=heard_ms / 1000,
        withheld_s=heard_ms / 1000,
        final_transcripts=finals,
        transcripts_received=finals,
    )
    assert read(resumed(used)) == used


@given(st.lists(st.tuples(st.integers(0, 20 * RATE), st.integers(0, 5 * RATE)), min_size=1, max_size=8))
def test_generated_owners_that_are_lost_leave_no_meter_above_what_the_provider_has(
    owners: list[tuple[int, int]],
) -> None:
    """Of each what it had sent at its last reading, and behind that; the last owner is the one that ends in order."""
    earlier = [read(Meter("u", "anna", None, NOW, 0.1))]
    received = forgotten = 0
    for read_at, behind in owners:
        running = Meters(0.1, lambda identity: "u", earlier)
        running.read([Reading("anna", Listened(), read_at, 1)])
        before, earlier = earlier, running.usage("on")
        received, forgotten = received + read_at + behind, forgotten + behind
        assert before[0].duration_seconds <= earlier[0].duration_seconds <= whole_seconds(received)
    least = received - forgotten - len(owners) * RATE
    assert earlier[0].duration_seconds * RATE >= least


def test_a_former_owner_that_tells_its_meters_is_counted_to_the_sample() -> None:
    stored, told = sent(4.6), sent(6.3)
    former = meters(ANNA)
    former.read([stored])
    heir = Meters(0.1, lambda identity: f"row of {identity}", former.usage("on"))
    former.read([told])
    heir.learn(former.counted(), NOW)
    heir.read([sent(2.1)])
    assert heir.of(ANNA, NOW).samples_sent == round(8.4 * RATE)
