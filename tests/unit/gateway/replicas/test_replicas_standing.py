from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.replica import Load
from gateway.replicas.standing import Verdict, verdict


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], Verdict.OUTAGE),
        ([False], Verdict.OUTAGE),
        ([None], Verdict.LOST),
        ([True], Verdict.LOST),
        ([False, None], Verdict.OUTAGE),
        ([False, None, None], Verdict.LOST),
        ([False, False, True], Verdict.LOST),
    ],
)
def test_whether_a_replica_without_its_database_may_go_on(answers: list[bool | None], expected: Verdict) -> None:
    assert verdict(answers) is expected


@given(st.lists(st.sampled_from([True, False, None])))
def test_what_others_can_take_over_is_lost(answers: list[bool | None]) -> None:
    """One side at most of a divided house goes on: the side that has the database, or the larger one."""
    assert verdict(answers, was_refused=True) is Verdict.LOST
    if True in answers:
        assert verdict(answers) is Verdict.LOST
    others = [None if answer is False else False for answer in answers if answer is not True]
    if answers and True not in answers:
        # What the silent ones would conclude, of whom one asks and the others answer it.
        theirs = others[:]
        if False in theirs:
            theirs.remove(False)
            theirs.append(None)
            assert Verdict.LOST in (verdict(answers), verdict(theirs))


def test_the_share_of_a_replica() -> None:
    assert Load(tracks=50, capacity=200).share == 0.25
    assert Load(tracks=200, capacity=200).is_full
    assert Load().is_full, "one that says nothing is given nothing"
