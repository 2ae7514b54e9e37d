"""A transcript as WebVTT, SubRip and plain text, read back by a strict reader."""

from __future__ import annotations

import re
import subprocess
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icu4py.breakers import CharacterBreaker, LineBreaker
from support.subtitles import Cue, read_srt, read_vtt
from support.tools import needs

from gateway.archive.breaking import columns, parts
from gateway.archive.export import (
    BRIEFEST_CUE_MS,
    HELD_BACK,
    LINE_COLUMNS,
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
    shown = [line.replace("\u2060", "") for cue in read_srt(exported("srt", said)) for line in cue.lines]
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


CHINESE = "我们今天讨论一下新服务器的迁移计划然后决定谁负责每一个步骤并且确认时间表和预算以及风险"
THAI = ["กำลัง", "ที่", "เรา", "พูด", "ถึง", "เรื่อง", "นี้", "อยู่", "นั้น", "ก็", "มี", "คำถาม", "เข้า", "มา", "อีก", "หลาย", "ข้อ"]
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


def letter_by_letter(text: str, start_ms: int, end_ms: int) -> SpokenLine:
    step = (end_ms - start_ms) / len(text)
    words = tuple((letter, int(start_ms + i * step), int(start_ms + (i + 1) * step)) for i, letter in enumerate(text))
    return SpokenLine(1, None, text, start_ms, end_ms, words)


def test_chinese_is_measured_in_columns_and_shown_as_long_as_it_is_spoken() -> None:
    found = read_vtt(exported("vtt", letter_by_letter(CHINESE, 500, 13_000)))
    assert "".join(line for cue in found for line in cue.lines) == CHINESE
    assert all(columns(line) <= LINE_COLUMNS for cue in found for line in cue.lines)
    assert (found[0].start_ms, found[-1].end_ms) == (500, 13_000)
    assert all(before.end_ms == after.start_ms for before, after in pairwise(found))


def test_no_last_letter_is_left_alone_for_a_blink() -> None:
    found = read_vtt(exported("vtt", letter_by_letter(CHINESE, 0, 6_000)))
    assert len(found) == 2
    assert min(cue.end_ms - cue.start_ms for cue in found) >= SHORTEST_CUE_MS


def test_thai_lines_end_where_words_end() -> None:
    """There are no spaces to go by: a dictionary knows the words."""
    text = "".join(THAI) * 4
    ends = [0]
    for word in THAI * 4:
        ends.append(ends[-1] + len(word))
    shown = 0
    lines = [line for cue in cues(letter_by_letter(text, 0, 20_000)) for line in cue.lines]
    assert len(lines) > 2
    for line in lines:
        shown += len(line)
        assert shown in ends


def test_a_word_too_long_for_a_line_is_cut_between_graphemes() -> None:
    for before in (34, 35, 40, 41):
        word = "a" * before + FAMILY + "b" * 10
        [cue] = cues(SpokenLine(1, None, word, 0, 6_000))
        assert "".join(cue.lines) == word
        assert FAMILY in cue.lines[0 if before == 34 else 1]  # eight columns where the font does not join it


def test_no_line_ends_at_a_no_break_space() -> None:
    [cue] = cues(SpokenLine(1, None, "It came to a whole sum total of a good 10\u00a0000 euros", 0, 6_000))
    assert cue.lines[1] == "10\u00a0000 euros"


def test_a_short_cue_ends_where_its_speaker_goes_on() -> None:
    said = [SpokenLine(1, "Anna", "Yes.", 1_000, 1_200), SpokenLine(2, "Anna", "I agree.", 1_500, 2_500)]
    meanwhile = SpokenLine(3, "Ben", "Me too.", 1_100, 1_300)
    assert [(cue.start_ms, cue.end_ms) for cue in read_vtt(exported("vtt", *said, meanwhile))] == [
        (1_000, 1_500),
        (1_100, 2_100),  # somebody else's cue may lie over it
        (1_500, 2_500),
    ]


def test_two_people_of_the_same_name_may_speak_at_once() -> None:
    lines = [SpokenLine(n, "Anna", "Yes, I do.", 0, 2_000, identity=f"anna-{n}") for n in (1, 2)]
    assert [(cue.start_ms, cue.end_ms) for cue in read_vtt(exported("vtt", *lines))] == [(0, 2_000)] * 2


MARKUP = r"<b>bold</b> {\an8}top <font color=red>x</font> {Y:i}y C:\New \hard &lt;i&gt; 00:00:01,000 --> 00:00:02,000"


def test_a_player_shows_subrip_markup_in_a_text_and_does_not_obey_it(tmp_path: Path) -> None:
    """Read by FFmpeg, which is what most players read SubRip with."""
    needs("ffmpeg")
    file = tmp_path / "markup.srt"
    file.write_text(exported("srt", SpokenLine(1, None, MARKUP, 0, 6_000)), "utf-8")
    read = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(file), "-f", "ass", "-"], capture_output=True, text=True, check=True
    ).stdout
    cues_read = [line.split(",", 9)[9] for line in read.splitlines() if line.startswith("Dialogue:")]
    shown = " ".join(cues_read).replace(r"\N", " ")
    assert letters_of(shown) == letters_of(MARKUP)
    assert not re.search(r"[<{\\]\w|\{\\", shown), "as ASS it would be obeyed"


SCRIPTS = (
    "abcdefghij ABC,.!?-/'0123456789 ", "àéîõü ÄÖß «»", "αβγδε ", "абвгде ", "אבגדה ", "ابتثج\u200d ",
    "हिन्दी क्ष त्र ", "தமிழ் ", "ไทยภาษาคำ", "ລາວພາສາ", "ភាសាខ្មែរ",
    "မြန်မာဘာသာ", "中文字，。「」", "日本語ひらがなカタカナー、。ｶﾞ\u3000", "한국어 낱말 ",
    "👨\u200d👩\u200d👧👍🏽🇩🇪🇫🇷e\u0301\ufe0f ", "<b>{\\an8}</b>&amp;--> ", "\u00a0\u200b\u2060\u200f\u0301",
)  # fmt: skip
anything = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=60)
in_one_script = st.sampled_from(SCRIPTS).flatmap(lambda letters: st.text(st.sampled_from(letters), max_size=100))
texts = st.lists(anything | in_one_script, max_size=8).map(" ".join)


@st.composite
def finals(draw: st.DrawFn) -> SpokenLine:
    text = draw(texts)
    start = draw(st.integers(0, 60_000))
    words: tuple[tuple[str, int, int], ...] = ()
    if draw(st.booleans()):
        words = words_of(text, start, draw(st.integers(0, 9000)))
    speaker = draw(st.none() | st.sampled_from(["Anna", "山田　太郎", "👩\u200d💻 Dana"]) | texts)
    return SpokenLine(1, speaker, text, start, start + draw(st.integers(-5, 60_000)), words)


def letters_of(text: str) -> str:
    return "".join(text.replace("\u2060", "").split())


@given(st.lists(finals(), max_size=3))
def test_every_word_is_there_once_in_order_and_fits_the_screen(said: list[SpokenLine]) -> None:
    """For any text and any times: all letters in order, at most two lines of 42 columns, for at most seven seconds."""
    vtt = read_vtt(exported("vtt", *said))
    srt = read_srt(exported("srt", *said))
    assert [cue.start_ms for cue in vtt] == sorted(cue.start_ms for cue in vtt)
    assert [cue.start_ms for cue in srt] == sorted(cue.start_ms for cue in srt)
    for one in said:
        shown = "".join("".join(cue.lines) for cue in read_vtt(exported("vtt", one)))
        assert letters_of(shown) == letters_of(one.text)
    assert sorted("".join(letters_of("".join(cue.lines)) for cue in vtt)) == sorted(
        "".join(letters_of(one.text) for one in said)
    )
    for cue in [*vtt, *srt]:
        assert len(cue.lines) <= LINES_PER_CUE
        assert all(columns(line) <= LINE_COLUMNS or is_grapheme(line) for line in cue.lines)
        assert BRIEFEST_CUE_MS <= cue.end_ms - cue.start_ms <= LONGEST_CUE_MS
    for speaker in {cue.speaker for cue in vtt}:
        own = [cue for cue in vtt if cue.speaker == speaker]
        for before, after in pairwise(own):
            assert before.end_ms <= after.start_ms
            assert before.end_ms - before.start_ms >= SHORTEST_CUE_MS or before.end_ms == after.start_ms
    for one in said:
        for cue in cues(one) if one.words else ():
            assert any(start <= cue.start_ms <= max(start, end) for _, start, end in one.words)


def is_grapheme(text: str) -> bool:
    return len(list(CharacterBreaker(text, "und"))) == 1


@given(texts)
def test_lines_end_where_unicode_allows_it(text: str) -> None:
    """A part that fits a line is never divided, and a grapheme never at all."""
    text = " ".join(re.split("[^\\S\u00a0\u2007\u202f]+", text)).strip(" ")
    graphemes, allowed = ends_of(CharacterBreaker(text, "und")), ends_of(LineBreaker(text, "und"))
    at = 0
    for part in parts(text, LINE_COLUMNS):
        at = text.index(part.text, at) + len(part.text)
        if at != len(text):
            assert at in graphemes or text[at] == " "
        if at not in allowed and text[at : at + 1] != " ":
            assert part.columns > LINE_COLUMNS - max(map(columns, CharacterBreaker(text, "und")))


def ends_of(breaker: CharacterBreaker | LineBreaker) -> set[int]:
    return set(accumulate(map(len, breaker)))
