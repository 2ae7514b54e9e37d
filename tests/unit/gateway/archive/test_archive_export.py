"""A transcript as WebVTT, SubRip and plain text, read back by a strict reader."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.subtitles import Cue, read_srt, read_vtt

from gateway.archive.export import (
    HELD_BACK,
    LINE_CHARACTERS,
    LINES_PER_CUE,
    LONGEST_CUE_MS,
    SHORTEST_CUE_MS,
    SpokenLine,
    cues,
    writer,
)

LONG = (
    "We looked at the figures of the last quarter, and although the number of calls has doubled, the cost of "
    "every single one of them has fallen so far that the whole bill is smaller than a year ago."
)


def exported(kind: Literal["vtt", "srt", "txt"], *finals: SpokenLine) -> str:
    out = writer(kind)
    return out.head + "".join(map(out.write, finals)) + out.finish()


def words_of(text: str, start_ms: int, each_ms: int) -> tuple[tuple[str, int, int], ...]:
    return tuple((word, start_ms + i * each_ms, start_ms + (i + 1) * each_ms) for i, word in enumerate(text.split()))


def test_webvtt_names_the_speaker_as_voice() -> None:
    said = SpokenLine(1, "Anna", "Good morning.", 1880, 3510)
    assert exported("vtt", said) == "WEBVTT\n\n00:00:01.880 --> 00:00:03.510\n<v Anna>Good morning.\n\n"


def test_subrip_names_the_speaker_when_it_changes() -> None:
    lines = [
        SpokenLine(1, "Anna", "One.", 0, 2000),
        SpokenLine(2, "Anna", "Two.", 2000, 4000),
        SpokenLine(3, "Ben", "Three.", 4000, 6000),
        SpokenLine(4, None, "Four.", 6000, 8000),
    ]
    assert [cue.lines for cue in read_srt(exported("srt", *lines))] == [
        ("Anna: One.",),
        ("Two.",),
        ("Ben: Three.",),
        ("Four.",),
    ]


def test_plain_text_is_one_line_a_final() -> None:
    lines = [SpokenLine(1, "Anna", " Good \n morning. ", 1880, 2510), SpokenLine(2, None, "Hm.", 3_600_000, 3_600_400)]
    assert exported("txt", *lines) == "[00:00:01.880] Anna: Good morning.\n[01:00:00.000] Hm.\n"


def test_nothing_said_is_a_valid_file() -> None:
    assert exported("vtt") == "WEBVTT\n\n"
    assert (exported("srt"), exported("txt")) == ("", "")
    assert list(cues(SpokenLine(1, "Anna", "", 0, 1000))) == []


@pytest.mark.parametrize("hostile", ["a --> b", "<b>bold</b> & <v Eve>x", "&amp; &lt;", "x\n\n2\n00:00 --> 00:01\ny"])
def test_no_text_can_break_out_of_its_cue(hostile: str) -> None:
    """Arrows, markup, references and empty lines come back as the words they are, in a text as in a name."""
    said = SpokenLine(1, f"{hostile}", hostile, 0, 3000)
    [vtt] = read_vtt(exported("vtt", said))
    assert " ".join(vtt.lines).split() == hostile.split()
    assert vtt.speaker == " ".join(hostile.split())
    shown = [line for cue in read_srt(exported("srt", said)) for line in cue.lines]
    assert " ".join(shown).split() == f"{hostile}:".split() + hostile.split()


def test_a_word_with_line_breaks_inside_cannot_break_a_cue() -> None:
    said = SpokenLine(
        1, None, "New\n\nYork is big", 0, 3000, (("New\n\nYork", 0, 900), ("is", 900, 1000), ("big", 1000, 3000))
    )
    assert read_vtt(exported("vtt", said)) == [Cue(0, 3000, ("New York is big",))]


def test_a_long_final_is_split_at_its_words_times() -> None:
    """Each cue begins when its first word is spoken and ends when its last one is."""
    said = SpokenLine(1, None, LONG, 10_000, 10_000 + 300 * len(LONG.split()), words_of(LONG, 10_000, 300))
    found = list(cues(said))
    spoken = 0
    for cue in found:
        count = len(" ".join(cue.lines).split())
        assert (cue.start_ms, cue.end_ms) == (10_000 + 300 * spoken, 10_000 + 300 * (spoken + count))
        spoken += count
    assert spoken == len(LONG.split())
    assert len(found) == 3


def test_slow_speech_is_split_by_time() -> None:
    said = SpokenLine(1, None, "one two three four", 0, 20_000, words_of("one two three four", 0, 5000))
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in cues(said)] == [
        (0, 5000, ("one",)),
        (5000, 10_000, ("two",)),
        (10_000, 15_000, ("three",)),
        (15_000, 20_000, ("four",)),
    ]


def test_words_that_do_not_spell_the_text_are_not_believed() -> None:
    """The text is what was said: a word missing from the provider's list is not lost."""
    said = SpokenLine(1, None, "all three words", 0, 3000, (("all", 0, 1000), ("words", 2000, 3000)))
    assert [cue.lines for cue in cues(said)] == [("all three words",)]


def test_writing_without_spaces_is_cut_but_not_spaced() -> None:
    """Japanese has no spaces between words; a cue must not invent any, nor be longer than its lines."""
    text = "私たちは先週の会議で来年の計画について長い時間をかけて話し合いましたが結論は出ませんでした" * 3
    words = tuple((text[i : i + 3], i * 100, i * 100 + 300) for i in range(0, len(text), 3))
    found = list(cues(SpokenLine(1, None, text, 0, len(text) * 100, words)))
    assert "".join(line for cue in found for line in cue.lines) == text
    assert len(found) > 1


def test_two_speakers_at_once_keep_their_own_cues() -> None:
    lines = [SpokenLine(1, "Anna", "I think so.", 0, 2000), SpokenLine(2, "Ben", "I do not.", 500, 2500)]
    assert read_vtt(exported("vtt", *lines)) == [
        Cue(0, 2000, ("I think so.",), "Anna"),
        Cue(500, 2500, ("I do not.",), "Ben"),
    ]


def test_cues_are_in_the_order_of_their_start_whoever_is_settled_first() -> None:
    """Anna speaks for fourteen seconds; Ben's yes in the middle of it is settled before."""
    anna = SpokenLine(2, "Anna", "one two three four five six seven", 0, 14_000,
                      words_of("one two three four five six seven", 0, 2000))  # fmt: skip
    ben = SpokenLine(1, "Ben", "Yes.", 5_000, 6_000)
    later = SpokenLine(3, "Anna", "eight", 20_000, 21_000)
    assert [(cue.start_ms, cue.speaker, *cue.lines) for cue in read_vtt(exported("vtt", ben, anna, later))] == [
        (0, "Anna", "one two three"),
        (5_000, "Ben", "Yes."),
        (6_000, "Anna", "four five six"),
        (12_000, "Anna", "seven"),
        (20_000, "Anna", "eight"),
    ]
    assert [cue.lines for cue in read_srt(exported("srt", ben, anna, later))] == [
        ("Anna: one two three",),
        ("Ben: Yes.",),
        ("Anna: four five six",),
        ("seven",),
        ("Anna: eight",),  # the final before it was Ben's
    ]
    assert exported("txt", ben, anna).splitlines()[0].endswith("Anna: one two three four five six seven")


def test_a_long_transcript_is_written_while_it_is_read() -> None:
    out = writer("vtt")
    written = [len(out.write(SpokenLine(n, "Anna", "Yes.", n * 2000, n * 2000 + 1000))) for n in range(3 * HELD_BACK)]
    assert sum(written[: HELD_BACK + 1]) == 0
    assert all(written[HELD_BACK + 1 :])


texts = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=100), max_size=40
).map(" ".join)


@st.composite
def finals(draw: st.DrawFn) -> SpokenLine:
    text = draw(texts)
    start = draw(st.integers(0, 4 * 3_600_000))
    words: tuple[tuple[str, int, int], ...] = ()
    if draw(st.booleans()):
        words = words_of(text, start, draw(st.integers(0, 9000)))
    return SpokenLine(1, draw(st.none() | texts), text, start, start + draw(st.integers(-5, 60_000)), words)


@given(st.lists(finals(), max_size=3))
def test_every_word_is_there_once_in_order_and_fits_the_screen(said: list[SpokenLine]) -> None:
    """For any text and any times: whole words in order, at most two lines of 42 characters, one to seven seconds."""
    vtt = read_vtt(exported("vtt", *said))
    srt = read_srt(exported("srt", *said))
    assert [cue.start_ms for cue in vtt] == sorted(cue.start_ms for cue in vtt)
    assert [cue.start_ms for cue in srt] == sorted(cue.start_ms for cue in srt)
    for one in said:
        shown = "".join("".join(cue.lines) for cue in read_vtt(exported("vtt", one)))
        assert "".join(shown.split()) == "".join(one.text.split())
    letters = "".join("".join(one.text.split()) for one in said)
    assert sorted("".join("".join("".join(cue.lines).split()) for cue in vtt)) == sorted(letters)
    for cue in [*vtt, *srt]:
        assert len(cue.lines) <= LINES_PER_CUE
        assert all(0 < len(line) <= LINE_CHARACTERS for line in cue.lines)
        assert SHORTEST_CUE_MS <= cue.end_ms - cue.start_ms <= LONGEST_CUE_MS
    for one in said:
        if not one.words:
            continue
        for cue in cues(one):
            assert any(start <= cue.start_ms <= max(start, end) for _, start, end in one.words)


@given(finals())
def test_short_words_are_never_cut(said: SpokenLine) -> None:
    """Only a word longer than a line is divided."""
    found = " ".join(line for cue in cues(said) for line in cue.lines).split()
    expected = [word for word in said.text.split() if len(word) <= LINE_CHARACTERS]
    left = iter(found)
    assert all(any(word == shown for shown in left) for word in expected)
