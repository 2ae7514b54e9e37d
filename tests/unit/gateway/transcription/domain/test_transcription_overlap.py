"""Words near a cut: every one is somebody's, none is both's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.handover import SEAM_S, Heard
from gateway.transcription.domain.overlap import (
    APART_MS,
    EDGE_MS,
    OVERLAP_MS,
    SLACK_MS,
    Edges,
    after,
    before,
    counterparts,
    unheard,
)

ORIGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)


def said(*words: tuple[str, int, int], utterance: str = "u") -> Caption:
    found = tuple(Word(*word) for word in words)
    start, end = found[0].start_ms, found[-1].end_ms
    times = (ORIGIN + timedelta(milliseconds=start), ORIGIN + timedelta(milliseconds=end), start, end)
    text = " ".join(word.text for word in found)
    return Caption(utterance, text, "en", True, Speaker("anna", None), *times, 0.9, found)


def texts(caption: Caption | None) -> list[str]:
    return [] if caption is None else caption.text.split()


def test_the_half_word_is_left_to_the_heir_and_what_both_have_counts_once() -> None:
    owner = said(("good", 0, 300), ("mor", 400, 990))
    heir = said(("Good,", 40, 620), ("morning", 400, 1_200), ("all", 1_300, 1_500))
    kept = before(owner, 1_000)
    assert texts(kept) == ["good"] and kept is not None
    assert texts(after(heir, 1_000)) == ["Good,", "morning", "all"], "by time alone both would have it"
    edges = Edges([Heard("anna", ORIGIN + timedelta(milliseconds=1_000), is_cut=True)], ORIGIN)
    assert edges.once(kept, is_late=True) is kept
    rest = edges.once(structs.replace(heir, utterance_id="b"))
    assert texts(rest) == ["morning", "all"] and rest is not None
    assert (rest.start_ms, rest.started_at) == (400, ORIGIN + timedelta(milliseconds=400))
    assert (rest.end_ms, rest.ended_at) == (1_500, ORIGIN + timedelta(milliseconds=1_500))


@given(st.integers(-SLACK_MS + 50, SLACK_MS - 50), st.integers(0, 900), st.booleans())
def test_a_final_that_was_stored_before_the_cut_is_not_said_again(skew_ms: int, before_ms: int, goes_on: bool) -> None:
    """Whoever hands over has numbered it, so it does not come late; the heir, who listens back, hears it too."""
    until = 2_000 + before_ms
    stored = said(("november", 1_000, 1_400), ("zulu", 1_500, 1_800))
    edges = Edges([Heard("anna", ORIGIN + timedelta(milliseconds=until), is_cut=True)], ORIGIN, [stored])
    more = [("echo", until + 100, until + 500)] if goes_on else []
    heir = [
        (text, start + skew_ms, end + skew_ms)
        for text, start, end in [("november", 1_000, 1_400), ("zulu", 1_500, 1_800)]
    ]
    assert texts(edges.once(said(*heir, *more, utterance="heir"))) == [text for text, _, _ in more]


def test_what_lies_clear_of_the_cut_is_left_alone() -> None:
    early, late = said(("one", 0, 450)), said(("two", 2_000, 2_500))
    assert before(early, 1_000) is early
    assert after(late, 1_000) is late
    assert before(late, 1_000) is None and after(early, 1_000) is None
    assert counterparts(late.words, [Word("two", 1_000, 1_500)], 0) == {}, "said again"


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(50, 600)), min_size=1, max_size=12),
    st.integers(0, 6_000),
    st.integers(-SLACK_MS, SLACK_MS),
    st.booleans(),
)
def test_each_whole_word_counts_once(gaps: list[tuple[int, int]], cut_ms: int, skew_ms: int, owner_first: bool) -> None:
    """Whatever the skew of clocks, and whoever is heard first."""
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    mine = before(said(*words), cut_ms)
    heirs = after(said(*[(text, start + skew_ms, end + skew_ms) for text, start, end in words]), cut_ms)
    one, other = (mine, heirs) if owner_first else (heirs, mine)
    both = counterparts(other.words, one.words, 0) if one and other else {}
    rest = [word for n, word in enumerate(texts(other)) if n not in both]
    assert sorted(texts(one) + rest) == sorted(text for text, _, _ in words)


def told(
    words: list[tuple[str, int, int]], cut_ms: int, apart_ms: int, *, owner_first: bool, split: int = 0
) -> list[str]:
    """What is told in the end. The heir hears from OVERLAP_MS before the cut on, and places words `apart_ms` later.

    `split`: the heir's first words in an utterance of their own.
    """
    heard = [Heard("anna", ORIGIN + timedelta(milliseconds=cut_ms), is_cut=True)]
    owner, heir = Edges(heard, ORIGIN), Edges(heard, ORIGIN)
    owners = [word for word in words if word[1] < cut_ms]
    mine = owner.before(said(*owners, utterance="a")) if owners else None
    placed = [(text, start + apart_ms, end + apart_ms) for text, start, end in words]
    heirs = [word for word in placed if word[1] >= cut_ms - OVERLAP_MS]
    captions = [said(*part, utterance=f"b{n}") for n, part in enumerate((heirs[:split], heirs[split:])) if part]
    finals: list[Caption | None] = []
    for is_late in (True, False) if owner_first else (False, True):
        if not is_late:
            finals += [heir.once(caption) for caption in captions]
        elif mine is not None:
            finals.append(heir.once(mine, is_late=True))
    return sorted(text for final in finals for text in texts(final))


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(50, 400)), min_size=1, max_size=20),
    st.integers(1, 6_000),
    st.integers(-APART_MS, APART_MS),
    st.booleans(),
    st.integers(0, 3),
)
def test_each_word_counts_once_however_far_apart_the_two_place_it(
    gaps: list[tuple[int, int]], cut_ms: int, apart_ms: int, owner_first: bool, split: int
) -> None:
    """A busy machine holds audio back: by more than a word takes, and the word at the cut was in neither."""
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    assert told(words, cut_ms, apart_ms, owner_first=owner_first, split=split) == sorted(text for text, *_ in words)


def test_the_word_at_the_cut_of_a_late_machine_is_not_lost() -> None:
    """As it was on one that was busy: 230 ms a word, and half a second between the two."""
    digits = ["two", "three", "four", "four", "five", "six", "seven"]
    words = [(text, 230 * n, 230 * n + 200) for n, text in enumerate(digits)]
    for owner_first in (True, False):
        assert told(words, 1_060, -500, owner_first=owner_first) == sorted(digits)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(50, 850)), min_size=1, max_size=20),
    st.integers(1, 6_000),
    st.integers(-300, 300),
    st.booleans(),
)
def test_of_a_sender_who_was_not_heard_each_word_counts_once(
    gaps: list[tuple[int, int]], cut_ms: int, apart_ms: int, owner_first: bool
) -> None:
    """One telling has what the owner could not get heard and the seam behind it, the other begins at the cut.

    The longest word is one that begins at the cut and ends an edge before the middle of the seam.
    """
    seam_ms = round(SEAM_S * 1_000)
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    heir = Edges([Heard("anna", ORIGIN + timedelta(milliseconds=cut_ms + seam_ms // 2), is_cut=True)], ORIGIN)
    left = [word for word in words if word[2] <= cut_ms + seam_ms]
    here = [(text, start + apart_ms, end + apart_ms) for text, start, end in words if start >= cut_ms]
    finals: list[Caption | None] = []
    for is_late in (True, False) if owner_first else (False, True):
        if not is_late and here:
            finals.append(heir.once(said(*here, utterance="b")))
        elif is_late and left and (mine := heir.before(said(*left, utterance="a"))):
            finals.append(heir.once(mine, is_late=True))
    assert sorted(text for final in finals for text in texts(final)) == sorted(text for text, _, _ in words)


def test_what_the_heir_says_twice_by_itself_is_said_twice() -> None:
    heir = Edges([Heard("anna", ORIGIN + timedelta(milliseconds=1_000), is_cut=True)], ORIGIN)
    assert texts(heir.once(said(("no", 900, 1_100), utterance="b1"))) == ["no"]
    assert texts(heir.once(said(("no", 1_300, 1_500), utterance="b2"))) == ["no"]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(100, 400)), max_size=20),
    st.integers(1, 6_000),
    st.booleans(),
    st.integers(0, 3),
)
def test_the_same_word_said_again_at_the_cut_is_another(
    gaps: list[tuple[int, int]], cut_ms: int, owner_first: bool, split: int
) -> None:
    """Every word twice. One word alone, on and on, cannot be told apart."""
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number // 2}", at + gap, at + gap + length))
        at += gap + length
    assert told(words, cut_ms, 0, owner_first=owner_first, split=split) == sorted(text for text, *_ in words)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(50, 600)), min_size=1, max_size=12),
    st.integers(0, 6_000),
    st.integers(0, 6_000),
    st.integers(-40, 40),
)
def test_of_a_lost_owner_each_word_counts_once(
    gaps: list[tuple[int, int]], acknowledged_ms: int, lost_ms: int, skew_ms: int
) -> None:
    """It has heard whole words up to its end, its heir those from what was acknowledged on, by another clock."""
    lost_ms = max(acknowledged_ms, lost_ms)
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    former = [word for word in words if word[2] <= lost_ms]
    heirs = [(text, start + skew_ms, end + skew_ms) for text, start, end in words if start >= acknowledged_ms]
    heard = {text for text, _, _ in former + heirs}
    mine = said(*heirs) if heirs else None
    stray = unheard(said(*former), [mine] if mine else []) if former else None
    assert sorted(texts(stray) + texts(mine)) == sorted(heard)
    edges = Edges((), ORIGIN, [said(*former)] if former else [], ORIGIN + timedelta(milliseconds=6_000))
    once = edges.once(mine) if mine else None
    assert sorted([text for text, _, _ in former] + texts(once)) == sorted(heard)
    found = edges.once(structs.replace(said(*former), utterance_id="found"), is_late=True) if former else None
    assert texts(found) == [], "what is found of it later is known"


@given(
    st.lists(st.tuples(st.sampled_from(["no", "yes"]), st.integers(130, 900)), min_size=1, max_size=14),
    st.tuples(st.integers(0, 14), st.integers(0, 14), st.integers(0, 14)),
    st.integers(-60, 60),
    st.booleans(),
    st.integers(1, 4),
)
@example([("no", 250)] * 6, (4, 2, 5), 40, True, 3)
def test_a_word_that_is_known_stands_for_one_that_is_said_again(
    spoken: list[tuple[str, int]], ends: tuple[int, int, int], skew_ms: int, late_first: bool, size: int
) -> None:
    """ "No, no": what is stored of a lost owner, what its heir says and what is found later, in finals of `size`."""
    words, at = [], 0
    for text, length in spoken:
        words.append((text, at, at + length))
        at += length
    stored, begin, found = (min(one, len(words)) for one in ends)
    found = max(stored, found)
    known = min(stored, found)
    # Nobody can tell a word apart from another one within half a second that the other side has not heard.
    for left, right in ((begin, max(begin, known)), (begin, max(begin, found)), (min(begin, known), begin)):
        assume(not 0 < left <= right < len(words) or words[right][1] - words[left - 1][1] > EDGE_MS + SLACK_MS + 60)
    edges = Edges((), ORIGIN, [said(*words[:stored])] if stored else [], ORIGIN + timedelta(milliseconds=60_000))
    heirs = [(text, start + skew_ms, end + skew_ms) for text, start, end in words[begin:]]
    finals = [(heirs[n : n + size], False) for n in range(0, len(heirs), size)]
    late = [(words[n : min(n + size, found)], True) for n in range(0, found, size)]
    counted = [text for text, _, _ in words[:stored]]
    for n, (one, is_late) in enumerate(late + finals if late_first else finals + late):
        counted += texts(edges.once(said(*one, utterance=f"{n}"), is_late=is_late))
    heard = words[: max(stored, found)] + words[max(stored, found, begin) :]
    assert sorted(counted) == sorted(text for text, _, _ in heard)


def test_a_final_that_was_known_and_comes_again_is_still_known() -> None:
    edges = Edges((), ORIGIN, [said(("no", 0, 200))], ORIGIN)
    again = said(("no", 20, 220), utterance="b")
    assert edges.once(again) is None and edges.once(again) is None
    assert texts(edges.once(said(("no", 250, 450), utterance="c"))) == ["no"]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(100, 400)), min_size=2, max_size=8),
    st.integers(1, 7),
    st.integers(-400, 400),
)
def test_a_word_that_both_have_lies_over_no_other_one_however_far_apart_they_place_it(
    gaps: list[tuple[int, int]], first: int, skew_ms: int
) -> None:
    """A lost owner's final on its disk; its heir goes on in the middle of it, and places words by its own arrivals."""
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    first = min(first, len(words) - 1)
    heirs = [(text, start + skew_ms, end + skew_ms) for text, start, end in words[first:]]
    assert texts(unheard(said(*words), [said(*heirs)])) == [text for text, *_ in words[:first]]


def test_the_same_word_counts_as_often_as_the_lost_owner_has_heard_it() -> None:
    assert texts(unheard(said(("no", 0, 200), ("no", 300, 500)), [said(("no", 310, 500))])) == ["no"]


def test_without_words_the_heir_counts_where_both_overlap() -> None:
    plain, other = said(("one", 0, 500)), said(("other", 400, 900))
    wordless = structs.replace(plain, words=())
    assert unheard(wordless, [other]) is None
    assert unheard(wordless, [said(("later", 500, 900))]) is wordless
    assert unheard(plain, [structs.replace(other, words=())]) is plain, "its middle is not in there"
    assert unheard(plain, [structs.replace(said(("other", 200, 900)), words=())]) is None


def test_what_was_said_after_the_loss_is_left_alone() -> None:
    edges = Edges((), ORIGIN, [said(("one", 0, 500))], ORIGIN + timedelta(milliseconds=600))
    again = structs.replace(said(("one", 1_700, 2_000)), utterance_id="v")
    assert edges.once(again) is again


@given(st.integers(65, 3_000), st.integers(65, 3_000), st.integers(0, 3))
@settings(max_examples=10)
def test_thousands_of_equal_words_are_paired_in_order(ours: int, theirs: int, apart_ms: int) -> None:
    """One for one within what they may differ by, without a look at each pair."""
    words = [Word("no", n, n + 1) for n in range(ours)]
    others = [Word("No.", n + apart_ms, n + apart_ms + 1) for n in range(theirs)]
    both = counterparts(words, others, -apart_ms)
    assert len({id(other) for other in both.values()}) == len(both) >= min(ours, theirs) - EDGE_MS - SLACK_MS
    assert all(abs(words[n].start_ms + apart_ms - other.start_ms) <= EDGE_MS + SLACK_MS for n, other in both.items())
