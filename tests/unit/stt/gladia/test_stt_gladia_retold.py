"""What is told again without times comes once, however it is divided; what was said twice comes twice."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stt.gladia.retold import _FAR, _MOST_LOOKS, Pass, Told

SEEDS = range(300)


def divided(words: list[int], dice: random.Random) -> list[list[int]]:
    """Into utterances, as a provider might."""
    borders = sorted({0, len(words), *(dice.randrange(len(words) + 1) for _ in range(dice.randrange(5)))})
    return [words[begin:end] for begin, end in pairwise(borders)]


class Track:
    """`heard`: what was news, in order."""

    def __init__(self) -> None:
        self.told = Told()
        self.now = Pass(self.told, 0)
        self.heard: list[int] = []

    def tell(self, utterance: list[int], by: int, through: Pass | None = None) -> None:
        is_news = (through or self.now).news(utterance, by)
        self.heard += [word for word, new in zip(utterance, is_news, strict=True) if new]

    def cut(self, again_from: int, is_open: list[int] | None) -> None:
        self.now = self.now.cut(self.told.since(again_from), is_open)


def said(dice: random.Random) -> list[int]:
    """Words, some of them twice on end and some again later; the first ones are none of the others."""
    words = [1, 2, 3]
    for _ in range(dice.randint(3, 20)):
        words += [dice.randint(4, 40)] * dice.choice((1, 1, 1, 2))
    return words


@pytest.mark.parametrize("goes_on", [True, False], ids=["the utterance goes on", "another session"])
def test_what_is_heard_again_after_a_cut_is_no_news(goes_on: bool) -> None:
    for seed in SEEDS:
        dice = random.Random(seed)
        words, track = said(dice), Track()
        settled = dice.randint(0, len(words))
        begun = min(settled + dice.randint(0, 3), len(words))
        for utterance in divided(words[:settled], dice):
            track.tell(utterance, 10)
        track.cut(0, words[settled:begun] if goes_on else None)
        again = words[settled:begun] + words if goes_on else words
        for utterance in divided(again, dice):
            track.tell(utterance, 20)
        assert track.heard == words, f"seed {seed}"


def test_a_result_repeats_all_passes_and_brings_what_was_lost() -> None:
    for seed in SEEDS:
        dice = random.Random(seed)
        words, track = list(range(dice.randint(3, 30))), Track()
        settled = dice.randint(1, len(words))
        lost = dice.randrange(len(words))
        utterances = divided(words[:settled], dice)
        for utterance in utterances:
            track.tell(utterance, 10)
        track.cut(0, [])
        later = [[word for word in one if word != lost or lost < settled] for one in divided(words, dice)]
        for utterance in later:
            track.tell(utterance, 20)
        whole = Pass(track.told, 0, restarts=1, patience=100)
        for utterance in [*utterances, *divided(words, dice)]:
            track.tell(utterance, 20, whole)
        assert sorted(track.heard) == words, f"seed {seed}"


def test_only_audio_that_is_sent_again_is_told_again() -> None:
    """All that was spoken before is settled: the same words are said once more."""
    track = Track()
    track.tell([1, 2, 3], 100)
    track.cut(100, [])
    track.tell([1, 2, 3], 200)
    assert track.heard == [1, 2, 3, 1, 2, 3]


def test_the_same_words_long_after_the_cut_are_news() -> None:
    track = Track()
    track.tell([1, 2, 3], 100)
    track.cut(0, [])
    track.tell([1, 2, 3, 4], 200)
    track.tell([1, 2, 3], 200)
    assert track.heard == [1, 2, 3, 4, 1, 2, 3]


def test_what_was_told_long_ago_is_forgotten_and_numbers_stay() -> None:
    told = Told()
    for n in range(30_000):
        told.add([n], n)
    assert told.count == 30_000
    assert told.key(0) is None and told.key(29_999) == 29_999 and told.key(30_000) is None
    assert told.since(29_990) == 29_991


class CountedKeys(list[int]):
    """`looks`: how often one of them was compared."""

    looks = 0

    def __getitem__(self, at: Any) -> Any:
        self.looks += 1
        return super().__getitem__(at)


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=60), min_size=1, max_size=7), st.integers(1, 40), st.integers(0, 2)
)
@example([[1] * 50] * 3, 40, 0)
@example([[1] * 50 + [2]], 40, 0)
@settings(max_examples=settings.default.max_examples // 10, deadline=None)
def test_generated_finals_of_equal_words_are_compared_a_bounded_number_of_times(
    finals: list[list[int]], longer: int, restarts: int
) -> None:
    """Thousands of words in one final, whatever repeats in them."""
    told = Told()
    told.add([1] * (50 * longer), 16_000)
    one = Pass(told, 0, restarts=restarts)
    for number, words in enumerate(finals):
        keys = CountedKeys(words * longer)
        one.news(keys, 16_000 * (number + 2))
        assert keys.looks <= 3 * (_MOST_LOOKS + _FAR + 2 * len(keys))


@given(
    st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(0, 3)
)
def test_generated_words_find_the_longest_run_that_was_told_before(told: list[int], keys: list[int], at: int) -> None:
    """As a search of everything would: of runs that are as long the first, one word alone at an edge only."""
    before = Told()
    before.add(told, 1)

    def run(first: int, number: int) -> int:
        length = 0
        while (
            first + length < len(keys) and number + length < len(told) and keys[first + length] == told[number + length]
        ):
            length += 1
        return length

    best: tuple[int, int, int] | None = None
    for first in range(at, len(keys)):
        for number in range(len(told)):
            length = run(first, number)
            is_edge = number == 0 or (first == at and number + length == len(told))
            if (length > 1 or (length and is_edge)) and (best is None or length > best[2]):
                best = first, number, length
    assert Pass(before, 0)._longest(keys, at, 0) == best
