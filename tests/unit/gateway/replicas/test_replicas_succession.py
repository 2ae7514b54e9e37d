"""Who takes over what a dead replica ran: one of the survivors, the same by all reckonings, and each its share."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.replica import Load, Replica
from gateway.replicas.succession import heir

AT = datetime(2026, 1, 5, tzinfo=UTC)
KEYS = [f"transcription {number}" for number in range(600)]


def survivor(number: int, tracks: int = 0) -> Replica:
    return Replica(f"r{number}", "run", "1", None, AT, AT, False, Load(tracks, tracks, 0, 100))


def heirs(members: list[Replica]) -> dict[str, str | None]:
    return {key: heir(members, key) for key in KEYS}


@given(loads=st.lists(st.integers(0, 120), max_size=6), seed=st.integers(0, 99), key=st.text())
def test_all_survivors_name_the_same_one_and_it_has_room(loads: list[int], seed: int, key: str) -> None:
    members = [survivor(number, tracks) for number, tracks in enumerate(loads)]
    shuffled = list(members)
    Random(seed).shuffle(shuffled)
    chosen = heir(members, key)
    assert chosen == heir(shuffled, key)
    able = {one.id for one in members if one.load.tracks < 100}
    assert chosen in able if able else chosen is None


@pytest.mark.parametrize("count", [2, 3, 6, 20])
def test_a_dead_replicas_sessions_are_spread_over_the_survivors(count: int) -> None:
    shares = Counter(heirs([survivor(number) for number in range(count)]).values())
    assert len(shares) == count
    assert max(shares.values()) < 2 * len(KEYS) / count


def test_of_two_the_less_loaded_one_is_chosen_and_one_that_goes_is_not() -> None:
    light, heavy = survivor(0, 10), survivor(1, 90)
    assert set(heirs([light, heavy]).values()) == {"r0"}
    assert set(heirs([replace(light, is_draining=True), heavy]).values()) == {"r1"}


def test_one_that_comes_or_goes_changes_the_choice_of_few() -> None:
    five, six = ([survivor(number) for number in range(count)] for count in (5, 6))
    before, after = heirs(five), heirs(six)
    moved = [key for key in KEYS if before[key] != after[key]]
    assert all(after[key] == "r5" for key in moved), "only the new one takes from the others"
    assert len(moved) < len(KEYS) / 2
