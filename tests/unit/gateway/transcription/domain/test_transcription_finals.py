"""Finals in the database and finals that only this process holds, read as one row of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.transcription.domain.finals import StoredFinal, UnstoredFinal, merged


def stored(*seqs: int) -> list[StoredFinal]:
    return [StoredFinal(seq, b"stored") for seq in seqs]


def unstored(*seqs: int, epoch: str = "now") -> list[UnstoredFinal]:
    return [UnstoredFinal(seq, b"unstored", epoch) for seq in seqs]


def test_they_follow_each_other_by_number_up_to_the_limit() -> None:
    found = merged(stored(1, 2, 4), unstored(3, 5, 6), "now", 5)
    assert [(one.seq, one.data) for one in found] == [
        (1, b"stored"),
        (2, b"stored"),
        (3, b"unstored"),
        (4, b"stored"),
        (5, b"unstored"),
    ]


def test_the_database_is_right_about_a_number_that_both_know() -> None:
    """It was stored between the two questions."""
    assert merged(stored(1, 2), unstored(2, 3), "now", 9) == [*stored(1, 2), StoredFinal(3, b"unstored")]


def test_numbers_of_another_epoch_are_none() -> None:
    """Another owner has taken over, and has given them to other words."""
    assert merged(stored(1), unstored(2, 3, epoch="before"), "now", 9) == stored(1)
    assert merged([], unstored(1), None, 9) == []


@given(st.sets(st.integers(1, 50)), st.sets(st.integers(1, 50)), st.integers(1, 60))
def test_every_number_stands_once_and_in_order(one: set[int], two: set[int], limit: int) -> None:
    found = [final.seq for final in merged(stored(*sorted(one)), unstored(*sorted(two)), "now", limit)]
    assert found == sorted(one | two)[:limit]
