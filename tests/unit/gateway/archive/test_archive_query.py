"""What is typed into a search, and where it is found in a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.archive.query import LONGEST, Kind, Leaf, Mark, combined, marks, parse
from gateway.errors import WrongRequest

WORDS, PHRASE, PREFIX, PAIRS = Kind.WORDS, Kind.PHRASE, Kind.PREFIX, Kind.PAIRS
TYPED = st.lists(st.sampled_from([*"ab éß会議ก\"*-|&!()\\':<> \t", " OR ", ' -"', "* "]), max_size=30).map("".join)


def leaves(text: str) -> list[tuple[Kind, str]]:
    return [(leaf.kind, leaf.text) for leaf in parse(text).leaves]


def assembled(text: str, **stops: bool) -> str | None:
    """With each leaf as its text, but for stop words."""
    query = parse(text)
    return query.assembled({leaf: "" if leaf.text in stops else leaf.text for leaf in query.leaves})


def test_words_phrases_and_beginnings_are_told_apart() -> None:
    assert leaves('budget "next year" meet*') == [(WORDS, "budget"), (PHRASE, "next year"), (PREFIX, "meet")]
    assert leaves('"not closed') == [(PHRASE, "not closed")]
    assert leaves('two"words"') == [(WORDS, "two"), (PHRASE, "words")]


def test_all_are_needed_unless_one_or_another_will_do() -> None:
    for text, expected in (
        ("a b", {"&": 1, "|": 0, "!": 0}),
        ("a b -c", {"a": 1, "b": 1, "!": 1, "&": 2}),
        ("a OR b c", {"|": 1, "&": 1}),
        ("OR a", {"|": 0}),
        ("a OR", {"|": 0}),
        ("a OR OR b", {"|": 1}),
    ):
        found = assembled(text) or ""
        assert {sign: found.count(sign) for sign in expected} == expected, text


def test_stop_words_are_left_out_and_alone_find_nothing() -> None:
    assert assembled("the budget", the=True) == assembled("budget")
    assert assembled("the OR budget", the=True) == assembled("budget")
    assert assembled("budget -the", the=True) == assembled("budget")
    assert assembled("the", the=True) is None
    assert assembled("the -budget", the=True) is None


def test_scripts_without_spaces_are_looked_for_by_two_letters_that_stand_together() -> None:
    assert leaves("会議室") == [(PAIRS, "'会議' <-> '議室'")]
    assert leaves("会") == [(PAIRS, "'会':*")]
    assert leaves('"会議 room"') == [(PAIRS, "'会議'"), (PHRASE, " room")]
    assert leaves("Q3の会議*") == [(WORDS, "Q3"), (PAIRS, "'の会' <-> '会議'")]
    assert parse("Q3の会議 -後").runs == ("の会議",)


@pytest.mark.parametrize(
    "text",
    ["", "  ", "-", "*", '""', '"', "-budget", "!&|", "OR", "a*", "x" * (LONGEST + 1), "a\x00b", "\ud800", "a " * 21],
)
def test_what_cannot_be_looked_for_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(WrongRequest) as refused:
        parse(text)
    assert len(str(refused.value)) < 120


@given(TYPED)
def test_whatever_is_typed_is_understood_or_refused(text: str) -> None:
    try:
        query = parse(text)
    except WrongRequest:
        return
    found = query.assembled(dict.fromkeys(query.leaves, "x"))
    assert found is not None and found.count("(") == found.count(")")
    assert query.assembled(dict.fromkeys(query.leaves, "")) is None
    assert Leaf(PHRASE, "") not in query.leaves


def test_languages_are_kept_apart_where_they_read_a_query_differently() -> None:
    assert combined({"english": "a", "german": "a"}) == "a"
    assert combined({"english": "a", "german": "b", "simple": "a"}) == (
        "((a) & ('=english' | '=simple')) | ((b) & ('=german'))"
    )
    assert combined({"english": "", "german": "b"}) == "((b) & ('=german'))"
    assert combined({"english": ""}) is None
    assert combined({}) is None


def test_marks_count_as_javascript_does() -> None:
    text = "😀 We meet, 会議と会議"
    shown = "😀 we \ue000meet\ue001, 会議と会議"
    found = marks(text, shown, ["会議"])
    assert found == [Mark(6, 10), Mark(12, 14), Mark(15, 17)]
    units = text.encode("utf-16-le")
    assert [units[2 * one.start : 2 * one.end].decode("utf-16-le") for one in found] == ["meet", "会議", "会議"]


def test_marks_that_do_not_fit_the_text_are_left_out() -> None:
    """A capital letter that becomes two small ones."""
    assert marks("İ met", "i̇ \ue000met\ue001", []) == []


@given(st.text("ab会😀", max_size=12), st.lists(st.text("ab会😀", min_size=1, max_size=3), max_size=3))
def test_marks_are_in_order_and_apart(text: str, runs: list[str]) -> None:
    found = marks(text, text, runs)
    ends = [0, *(bound for one in found for bound in (one.start, one.end))]
    assert ends == sorted(ends) and all(one.start < one.end for one in found)
    assert ends[-1] <= len(text.encode("utf-16-le")) // 2
