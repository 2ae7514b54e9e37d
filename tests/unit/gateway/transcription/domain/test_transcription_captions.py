"""From an utterance on a track's clock to a numbered caption on the session's clock."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.transcription.domain.captions import Numberer, Speaker, Word, caption
from stt.transcript import Utterance
from stt.transcript import Word as SpokenWord

ORIGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ANNA = Speaker("anna", "Anna")

seconds = st.floats(min_value=0, max_value=4 * 3600, allow_nan=False)
offsets = st.integers(min_value=-3_600_000, max_value=3_600_000).map(lambda ms: timedelta(milliseconds=ms))


def utterance(start: float, end: float, words: tuple[SpokenWord, ...] = (), text: str = " Hi. ") -> Utterance:
    return Utterance("p:0", True, text, "en", start, end, 0.123456, words)


def test_an_utterance_is_placed_by_its_tracks_anchor() -> None:
    """A track that began 1.5 s into the session moves its words by 1,500 ms; texts lose the provider's spaces."""
    words = (SpokenWord(" Good", 0.38, 0.6, 1.0), SpokenWord(" morning.", 0.6, 1.01, 1.0))
    said = caption(utterance(0.38, 1.01, words, " Good morning. "), ANNA, ORIGIN + timedelta(seconds=1.5), ORIGIN)
    assert (said.start_ms, said.end_ms) == (1880, 2510)
    assert said.started_at == ORIGIN + timedelta(milliseconds=1880)
    assert said.ended_at == ORIGIN + timedelta(milliseconds=2510)
    assert said.words == (Word("Good", 1880, 2100), Word("morning.", 2100, 2510))
    assert (said.text, said.confidence, said.speaker) == ("Good morning.", 0.1235, ANNA)


def test_what_began_before_the_session_is_cut_at_its_origin() -> None:
    """A track anchored two seconds early has no negative times."""
    words = (SpokenWord("early", 0.5, 1.0, 1.0), SpokenWord("late", 2.5, 3.0, 1.0))
    said = caption(utterance(0.5, 3.0, words), ANNA, ORIGIN - timedelta(seconds=2), ORIGIN)
    assert (said.start_ms, said.end_ms, said.started_at) == (0, 1000, ORIGIN)
    assert said.words == (Word("early", 0, 0), Word("late", 500, 1000))


@given(st.lists(seconds, min_size=2, max_size=8), offsets)
def test_time_never_runs_backwards(moments: list[float], offset: timedelta) -> None:
    """Whatever the anchor: what was said later is shown no earlier, and wall clock and milliseconds agree."""
    moments = sorted(moments)
    said = [caption(utterance(start, end), ANNA, ORIGIN + offset, ORIGIN) for start, end in itertools.pairwise(moments)]
    edges = [edge for one in said for edge in (one.start_ms, one.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    for one in said:
        assert one.started_at == ORIGIN + timedelta(milliseconds=one.start_ms)
        assert one.ended_at == ORIGIN + timedelta(milliseconds=one.end_ms)


@given(seconds, offsets.filter(lambda offset: offset >= timedelta()))
def test_a_time_is_the_nearest_millisecond(start: float, offset: timedelta) -> None:
    said = caption(utterance(start, start), ANNA, ORIGIN + offset, ORIGIN)
    exact = (offset.total_seconds() + start) * 1000
    assert abs(said.start_ms - exact) <= 0.5 + 1e-6


@given(st.integers(0, 10**6), st.lists(st.integers(0, 12).map(str), max_size=60))
def test_numbers_have_no_hole_and_no_repeat(last: int, heard: list[str]) -> None:
    """Every utterance gets the next number the first time it is heard and none afterwards."""
    numberer = Numberer(last)
    given_ = [(utterance_id, numberer.number(utterance_id)) for utterance_id in heard]
    first = list(dict.fromkeys(heard))
    assert [(name, seq) for name, seq in given_ if seq is not None] == [
        (name, last + 1 + i) for i, name in enumerate(first)
    ]
    assert numberer.last == last + len(first)
    assert all(numberer.is_settled(name) for name in first)
    assert not numberer.is_settled("never heard")


def test_the_memory_of_repeats_is_bounded() -> None:
    """The newest ten thousand are known; the database's unique index covers the rest."""
    numberer = Numberer(0)
    for i in range(10_001):
        numberer.number(str(i))
    assert not numberer.is_settled("0")
    assert numberer.is_settled("1")
    assert numberer.number("10000") is None
