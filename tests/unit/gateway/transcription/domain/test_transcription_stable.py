"""Which words under way hold still."""

from __future__ import annotations

import random
import subprocess
from math import inf

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.tools import needs

from gateway.transcription.domain.stable import HOLD_S, UNDER_WAY, StablePrefixes, utf16, words

LETTERS = [
    *"ab. ,",
    "é",
    "e\u0301",
    "私",
    "は",
    "か\u3099",
    "สวัสดี",
    "กำ",
    "한국",
    "😀",
    "👩‍👩‍👧",
    "👍🏽",
    "🇩🇪",
    "नमस्ते",
    "क्षि",
    "\u00a0",
]
TEXTS = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12).map("".join)


def test_a_word_is_stable_once_it_and_all_before_it_have_stood() -> None:
    prefixes = StablePrefixes()
    assert prefixes.hear("a", "we have", 0.0) == 0
    assert prefixes.hear("a", "we had to go", 0.2) == 0
    assert prefixes.stable("a", HOLD_S[1]) == len("we")
    assert prefixes.hear("a", "we had to be", 0.2 + HOLD_S[1]) == len("we had to")
    assert prefixes.stable("a", 0.2 + HOLD_S[1] + HOLD_S[0]) == len("we had to be")


def test_the_more_partials_say_a_word_the_sooner_it_is_stable() -> None:
    for partials, hold in enumerate((*HOLD_S, HOLD_S[-1]), start=1):
        prefixes = StablePrefixes()
        for number in range(partials):
            prefixes.hear("a", "we", number / 100)
        assert (prefixes.stable("a", hold - 0.01), prefixes.stable("a", hold)) == (0, 2)


def test_a_word_that_changes_takes_those_behind_it_along() -> None:
    prefixes = StablePrefixes()
    prefixes.hear("a", "he was here", 0.0)
    assert prefixes.hear("a", "she was here", 1.0) == 0
    assert prefixes.stable("a", 1.0 + HOLD_S[0]) == len("she was here")


def test_case_and_punctuation_may_change() -> None:
    prefixes = StablePrefixes()
    prefixes.hear("a", "good morning", 0.0)
    assert prefixes.hear("a", "Good morning, all", HOLD_S[1]) == len("Good morning,")


def test_the_next_moment_at_which_there_is_more_is_known() -> None:
    prefixes = StablePrefixes()
    prefixes.hear("a", "one", 1.0)
    prefixes.hear("b", "one", 1.1)
    prefixes.hear("a", "one two", 1.2)
    once, twice = HOLD_S[:2]
    assert (prefixes.next("a", 1.2), prefixes.next("b", 1.2), prefixes.soonest(1.2)) == (
        1.0 + twice,
        1.1 + once,
        1.0 + twice,
    )
    assert prefixes.soonest(1.0 + twice) == 1.1 + once
    prefixes.forget("b")
    assert prefixes.soonest(1.35) == prefixes.next("a", 1.35)
    assert prefixes.soonest(9.0) == prefixes.next("a", 9.0) == prefixes.next("b", 1.2) == inf


def test_only_so_many_utterances_are_remembered() -> None:
    prefixes = StablePrefixes()
    for number in range(UNDER_WAY + 1):
        prefixes.hear(str(number), "word", 0.0)
    assert prefixes.stable("0", 9.0) == 0
    assert prefixes.stable("1", 9.0) == len("word")


def test_javascript_counts_in_utf_16() -> None:
    assert (utf16("abc"), utf16("é私"), utf16("a😀")) == (3, 2, 3)


def test_languages_without_spaces_have_words_as_well() -> None:
    assert [word for word, _ in words("私は学生です")] == ["私", "は", "学生", "です"]
    assert [word for word, _ in words("สวัสดีครับ")] == ["สวัสดี", "ครับ"]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(st.floats(0, 0.9), min_size=6, max_size=6))
def test_what_is_stable_has_stood_that_long(texts: list[str], pauses: list[float]) -> None:
    """Whatever is said: every stable word was the same, letters and digits, in all texts for as long
    as one has to stand that so many of them say."""
    prefixes, now, history = StablePrefixes(), 0.0, []
    for text, pause in zip(texts, pauses, strict=False):
        now += pause
        history.append((now, text))
        index = prefixes.hear("a", text, now)
        stable = [letter for letter in text[:index].casefold() if letter.isalnum()]
        if not stable:
            continue
        since, seen = now, 0
        for at, said in reversed(history):
            if [letter for letter in said.casefold() if letter.isalnum()][: len(stable)] != stable:
                break
            since, seen = at, seen + 1
        assert now - since >= HOLD_S[min(seen, 3) - 1] - 1e-9


def test_no_letter_is_ever_cut() -> None:
    """By the word of another program: where JavaScript's own segmenter sees a letter end, and nowhere else."""
    needs("node")
    rng = random.Random(7)
    texts = ["".join(rng.choices(LETTERS, k=rng.randint(1, 12))) for _ in range(500)]
    cuts = [[text, [utf16(text[:end]) for _, end in words(text)]] for text in texts]
    script = """
      const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });
      const wrong = JSON.parse(require('fs').readFileSync(0)).filter(([text, ends]) => {
        const allowed = new Set([...graphemes.segment(text)].map(({ index, segment }) => index + segment.length));
        return !ends.every((end) => allowed.has(end));
      });
      console.log(JSON.stringify(wrong));
    """
    told = subprocess.run(["node", "-e", script], input=msgspec.json.encode(cuts), capture_output=True, check=True)
    assert msgspec.json.decode(told.stdout) == []
