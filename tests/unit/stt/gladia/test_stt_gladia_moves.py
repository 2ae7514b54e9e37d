"""The table of a provider session's moves, in the code and in the documentation."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from stt.gladia.moves import MOVES, OVER, SHOWN, Event, LinkState, OutOfOrder, SessionState, move


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SessionState, Event)), ids=lambda x: x.name)
def test_a_move_is_in_the_table_or_out_of_order(state: SessionState, event: Event) -> None:
    if (state, event) in MOVES:
        assert move(state, event) is MOVES[state, event]
    else:
        with pytest.raises(OutOfOrder, match=f"{event.name} in state {state.name}"):
            move(state, event)


def test_every_state_is_reached_and_only_the_last_two_are_final() -> None:
    assert set(MOVES.values()) | {SessionState.CREATING} == set(SessionState)
    assert {state for state, _ in MOVES} == set(SessionState) - OVER


def test_the_table_in_the_documentation_is_the_table() -> None:
    text = (Path(__file__).parents[4] / "docs" / "provider-link.md").read_text()
    told = set(re.findall(r"^ +(\w+) --> (\w+): (\w+)$", text, re.MULTILINE))
    assert told == {(state.name, to.name, event.name) for (state, event), to in MOVES.items()}


def test_every_state_is_shown_under_its_own_name() -> None:
    assert {state.name.lower(): str(shown) for state, shown in SHOWN.items()} == {
        state.name.lower(): state.name.lower() for state in SessionState
    }
    assert set(LinkState) - set(SHOWN.values()) == {LinkState.IDLE, LinkState.WAITING}
