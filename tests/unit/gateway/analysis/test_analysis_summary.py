"""The summary without a model."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.analysis import cues
from gateway.analysis.rules import NOTHING_SAID, Line
from gateway.analysis.summary import HEADINGS, sentences, summarise, words

STANDUP = [
    Line("Anna", "Good morning. How was the weekend?", "en", 0),
    Line("Bob", "Fine, thanks.", "en", 3_000),
    Line("Anna", "The release depends on the database migration. The migration has to finish on Friday.", "en", 5_000),
    Line(
        "Bob", "The database migration is slow. Yesterday the migration of the invoices took nine hours.", "en", 12_000
    ),
    Line("Carol", "We could split the migration of the invoices into two parts before the release.", "en", 20_000),
    Line("Anna", "Hm.", "en", 26_000),
    Line("Bob", "Splitting the migration makes the release possible on Friday.", "en", 28_000),
    Line("Carol", "See you tomorrow.", "en", 33_000),
]


def body(lines: list[Line]) -> list[str]:
    heading, *rest = summarise(lines).split("\n")
    assert heading in HEADINGS.values()
    return rest


def test_it_says_what_it_is_and_takes_what_the_talk_is_about() -> None:
    told = summarise(STANDUP)
    assert told.startswith(HEADINGS["en"] + "\n")
    assert "migration" in told
    assert "weekend" not in told
    assert "Hm." not in told


def test_sentences_stand_in_spoken_order_with_their_speakers() -> None:
    found = body(STANDUP)
    whole = " ".join(f"{line.speaker}: {line.text}" for line in STANDUP)
    speakers = [turn.removeprefix("– ").partition(":")[0] for turn in found]
    assert set(speakers) <= {"Anna", "Bob", "Carol"}
    said = [sentence for turn in found for sentence in [turn.partition(": ")[2]]]
    places = [whole.index(sentence.split(". ")[0]) for sentence in said]
    assert places == sorted(places)


def test_the_same_is_not_said_twice() -> None:
    said = "The budget of the project is spent completely."
    lines = [Line("Anna", said, "en", n) for n in range(20)] + [
        Line("Bob", "The project needs another budget.", "en", 99)
    ]
    assert summarise(lines).count(said) == 1


def test_russian_has_its_own_heading_and_languages_without_spaces_work() -> None:
    russian = [Line("Анна", "Релиз зависит от миграции базы. Миграция базы идёт медленно.", "ru", 0)]
    assert summarise(russian).startswith(HEADINGS["ru"])
    japanese = [Line("Aiko", "データベースの移行が遅いです。移行は金曜日に終わります。天気がいい。", "ja", 0)]
    assert len(sentences(japanese)) == 3
    assert "移行" in summarise(japanese)
    assert list(words("移行は slow")) == ["移行", "行は", "slow"]


@pytest.mark.parametrize("lines", [[], [Line("Anna", "   ", "en", 0)], [Line("Anna", "…!?", "en", 0)]])
def test_where_nothing_was_said_it_says_so(lines: list[Line]) -> None:
    assert summarise(lines) == NOTHING_SAID


def test_one_sentence_is_its_own_summary() -> None:
    assert body([Line(None, "We ship.", None, 0)]) == ["– We ship."]


def test_three_hours_are_told_in_a_page() -> None:
    """4,000 sentences with the spread of words that speech has."""
    draw = random.Random(7)
    vocabulary = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 9))) for _ in range(6_000)]

    def sentence() -> str:
        return " ".join(vocabulary[min(int(draw.paretovariate(0.7)), 5_999)] for _ in range(9)).capitalize() + "."

    lines = [Line(draw.choice("ABC"), sentence(), "en", n * 2_700) for n in range(4_000)]
    told = summarise(lines)
    assert told == summarise(list(lines))
    assert 200 < len(told) < 3_500


@given(st.lists(st.text(max_size=60), max_size=12))
def test_any_text_has_a_summary_of_bounded_size(texts: list[str]) -> None:
    lines = [Line(text[:5] or None, text, "en", n) for n, text in enumerate(texts)]
    assert len(summarise(lines)) < 4_500
    cues.tasks(lines)
    cues.risks(lines)
