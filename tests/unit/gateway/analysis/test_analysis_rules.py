"""States and shapes of an analysis."""

from __future__ import annotations

import pytest

from gateway.analysis.rules import MOVES, AnalysisStatus, Conversation, Line, Risk, Task, fitting, may_move, one_line

S = AnalysisStatus
ALLOWED = {
    (S.PENDING, S.RUNNING),
    (S.RUNNING, S.PENDING),
    (S.RUNNING, S.DONE),
    (S.RUNNING, S.FAILED),
    (S.FAILED, S.PENDING),
}


@pytest.mark.parametrize("before", S)
@pytest.mark.parametrize("after", S)
def test_only_the_moves_of_the_table_are_allowed(before: S, after: S) -> None:
    assert may_move(before, after) is ((before, after) in ALLOWED)


def test_every_state_stands_in_the_table() -> None:
    assert set(MOVES) == set(S)


def test_the_main_language_is_the_one_of_most_letters() -> None:
    lines = (Line("A", "yes", "en", 0), Line("A", "ok", "en-US", 0), Line("B", "совершенно верно", "RU", 0))
    assert Conversation(lines).language == "ru"
    assert Conversation((Line(None, "hm", None, 0),)).language is None


def test_items_of_another_shape_are_left_out() -> None:
    """The app may have written the row."""
    stored = [{"title": "Ship", "assignee": "Anna", "extra": 1}, {"name": "?"}, "text", None]
    assert fitting(Task, stored) == [Task("Ship", "Anna")]
    assert fitting(Risk, [{"title": "x", "severity": "grave"}]) == []
    assert fitting(Task, {"title": "not a list"}) == fitting(Task, None) == []


@pytest.mark.parametrize(
    ("text", "limit", "flat"),
    [("a\nb\t c\x00\u2028d", 99, "a b c d"), ("abcdef", 4, "abc…"), ("abc  ", 3, "abc"), ("", 5, "")],
)
def test_a_text_on_one_line(text: str, limit: int, flat: str) -> None:
    assert one_line(text, limit) == flat
