"""How many may watch."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gateway.live.places import Crowded, Limits, Places
from gateway.live.protocol import CloseCode


@pytest.mark.parametrize(
    ("limits", "then", "limit"),
    [
        (Limits(2, 9, 9), ("c", "three"), "too_many"),
        (Limits(9, 2, 9), ("a", "three"), "too_many_from_address"),
        (Limits(9, 9, 2), ("c", "one"), "too_many_of_session"),
    ],
)
def test_each_limit_is_met_exactly_and_says_which_it_is(limits: Limits, then: tuple[str, str], limit: str) -> None:
    places = Places(limits)
    with ExitStack() as watching:
        watching.enter_context(places.take("a", "one"))
        watching.enter_context(places.take("a" if limit == "too_many_from_address" else "b", "one"))
        with pytest.raises(Crowded) as refused:
            places.take(*then)
        assert (refused.value.code, refused.value.limit) == (CloseCode.TOO_MANY, limit)
    with places.take(*then):
        pass


def test_others_have_their_own_places() -> None:
    places = Places(Limits(9, 1, 1))
    with places.take("a", "one"), places.take("b", "two"):
        pass


def test_a_place_is_given_back_whatever_happens() -> None:
    places = Places(Limits(1, 1, 1))
    for _ in range(3):
        with pytest.raises(ConnectionError), places.take("a", "one"):
            raise ConnectionError
