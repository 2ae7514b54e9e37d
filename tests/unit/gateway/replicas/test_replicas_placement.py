"""Where a new transcription goes, given what the replicas have told."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.replicas.placement import OFFERS, Placement
from gateway.replicas.replica import Load, Replica

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def one(name: str, tracks: int = 0, capacity: int = 10, *, draining: bool = False, url: str | None = "x") -> Replica:
    return Replica(name, "r", "1.0", url, NOW, NOW, draining, Load(tracks, tracks, 0, capacity))


def names(placement: Placement, *members: Replica) -> list[str]:
    return [replica.id for replica in placement.order(members)]


def test_of_two_the_less_loaded_is_asked_first_and_a_tie_stays_here() -> None:
    placement = Placement("me", random.Random(1).shuffle)
    assert names(placement, one("me", 5), one("a", 4)) == ["a", "me"]
    assert names(placement, one("me", 1), one("a", 20, 100)) == ["me", "a"], "shares are compared, not numbers"
    assert {tuple(names(placement, one("me"), one("a"))) for _ in range(20)} == {("me", "a")}


def test_full_draining_and_unreachable_ones_are_not_asked() -> None:
    placement = Placement("me", random.Random(1).shuffle)
    members = [one("full", 10), one("nothing", 0, 0), one("going", draining=True), one("mute", url=None)]
    assert names(placement, one("me", url=None), *members) == ["me"]
    assert names(placement, one("me", 10), *members) == []


def test_what_was_given_counts_until_the_next_beat_shows_it() -> None:
    placement = Placement("me", random.Random(1).shuffle)
    a, me = one("a", 3), one("me", 5)
    for _ in range(3):
        placement.gave(a)
    assert names(placement, a, me) == ["me", "a"]
    placement.gave(one("b", 9))
    assert names(placement, one("b", 9), me) == ["me"], "it is full by now"
    beaten = replace(a, seen_at=NOW + timedelta(seconds=2))
    assert names(placement, beaten, me) == ["a", "me"]


def test_one_that_has_not_answered_is_left_alone_until_its_next_beat() -> None:
    placement = Placement("me", random.Random(1).shuffle)
    a, me = one("a"), one("me", 5)
    assert names(placement, a, me) == ["a", "me"]
    placement.missed("a")
    assert names(placement, a, me) == ["me"]
    assert names(placement, a, me) == ["me"]
    assert names(placement, replace(a, seen_at=NOW + timedelta(seconds=2)), me) == ["a", "me"]


@settings(max_examples=10)
@given(st.integers(2, 12), st.integers(0, 2**32))
def test_starts_are_spread_evenly_however_many_replicas_there_are(count: int, seed: int) -> None:
    """100 starts a replica, placed by one of them between two beats: none gets more than a third above its share."""
    placement = Placement("r0", random.Random(seed).shuffle)
    members = [one(f"r{number}", 0, 10_000) for number in range(count)]
    got = Counter[str]()
    for _ in range(100 * count):
        order = placement.order(members)
        assert len(order) == min(count, OFFERS) == len(set(order))
        placement.gave(order[0])
        got[order[0].id] += 1
    assert max(got.values()) <= 133
