"""The life of a transcription: the table of moves, and what the API shows of it."""

from __future__ import annotations

import itertools

import pytest

from gateway.transcription.domain.transcription import IllegalMove, TranscriptionState, move

S = TranscriptionState
ALLOWED = {
    (S.STARTING, S.RUNNING),
    (S.STARTING, S.WAITING),
    (S.STARTING, S.STOPPING),
    (S.RUNNING, S.WAITING),
    (S.RUNNING, S.STOPPING),
    (S.WAITING, S.RUNNING),
    (S.WAITING, S.STOPPING),
    (S.STOPPING, S.STOPPED),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_every_pair_of_states_is_a_move_or_is_refused(before: S, after: S) -> None:
    """Nothing leaves STOPPED, nothing stops without STOPPING, and staying is no move."""
    if before is after or (before, after) in ALLOWED:
        assert move(before, after) is after
    else:
        with pytest.raises(IllegalMove, match=f"{before}.*{after}"):
            move(before, after)


@pytest.mark.parametrize("state", [state for state in S if state is not S.STOPPED])
def test_every_state_can_be_stopped(state: S) -> None:
    """From anywhere, STOPPING and then STOPPED are reached."""
    assert move(move(state, S.STOPPING), S.STOPPED) is S.STOPPED


@pytest.mark.parametrize("state", S)
def test_the_api_shows_states_in_lower_case(state: S) -> None:
    assert state.shown == state.value.lower()


def test_only_what_is_stopping_or_stopped_is_ending() -> None:
    assert {state for state in S if state.is_ending} == {S.STOPPING, S.STOPPED}
