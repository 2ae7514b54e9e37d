"""Finals in the database and finals that only this process holds, read as one row of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.transcription.domain.finals import StoredFinal, UnstoredFinal, Window, around, before, merged


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


numbers = st.integers(0, 60)


def read(newest: int, part: Window) -> list[int]:
    """A window of a transcript whose numbers have no hole."""
    return list(range(1, newest + 1))[part.after :][: part.limit]


@given(numbers, numbers, st.integers(1, 20))
def test_going_backwards_page_by_page_finds_everything_once(newest: int, seq: int, limit: int) -> None:
    found: list[int] = []
    reached = seq
    while page := read(newest, before(reached, limit, newest)):
        assert len(page) <= limit
        found = page + found
        reached = page[0]
    assert found == [one for one in range(1, newest + 1) if one < seq]


@given(numbers, numbers, st.integers(1, 20))
def test_a_window_holds_its_number_and_is_full_where_there_is_so_much(newest: int, seq: int, limit: int) -> None:
    page = read(newest, around(seq, limit, newest))
    assert len(page) == min(limit, newest)
    assert seq in page or not 1 <= seq <= newest
