"""How many may watch."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gateway.live.protocol import CloseCode
from gateway.live.slots import Limits, NotAdmitted, Slots


@pytest.mark.parametrize(
    ("limits", "then", "limit"),
    [
        (Limits(2, 9, 9), ("c", "three"), "too_many"),
        (Limits(9, 2, 9), ("a", "three"), "too_many_from_address"),
        (Limits(9, 9, 2), ("c", "one"), "too_many_of_session"),
    ],
)
def test_each_limit_is_met_exactly_and_says_which_it_is(limits: Limits, then: tuple[str, str], limit: str) -> None:
    slots = Slots(limits)
    with ExitStack() as watching:
        watching.enter_context(slots.take("a", "one"))
        watching.enter_context(slots.take("a" if limit == "too_many_from_address" else "b", "one"))
        with pytest.raises(NotAdmitted) as refused:
            slots.take(*then)
        assert (refused.value.code, refused.value.reason) == (CloseCode.TOO_MANY, limit)
    with slots.take(*then):
        pass


def test_others_have_their_own_slots() -> None:
    slots = Slots(Limits(9, 1, 1))
    with slots.take("a", "one"), slots.take("b", "two"):
        pass


def test_a_slot_is_given_back_whatever_happens() -> None:
    slots = Slots(Limits(1, 1, 1))
    for _ in range(3):
        with pytest.raises(ConnectionError), slots.take("a", "one"):
            raise ConnectionError


def test_those_on_other_replicas_count_for_their_session() -> None:
    elsewhere = {"one": 1, "two": 2}
    slots = Slots(Limits(9, 9, 2), lambda slug: elsewhere.get(slug, 0))
    with slots.take("a", "one"), pytest.raises(NotAdmitted, match="of this session"):
        slots.take("a", "one")
    with pytest.raises(NotAdmitted):
        slots.take("a", "two")
    elsewhere.clear()
    with slots.take("a", "two"):
        pass
