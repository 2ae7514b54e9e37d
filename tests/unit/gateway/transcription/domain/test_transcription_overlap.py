"""Words near a cut: every one is somebody's, none is both's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.overlap import EDGE_MS, after, before

ORIGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)


def said(*words: tuple[str, int, int]) -> Caption:
    found = tuple(Word(*word) for word in words)
    start, end = found[0].start_ms, found[-1].end_ms
    times = (ORIGIN + timedelta(milliseconds=start), ORIGIN + timedelta(milliseconds=end), start, end)
    text = " ".join(word.text for word in found)
    return Caption("u", text, "en", True, Speaker("anna", None), *times, 0.9, found)


def texts(caption: Caption | None) -> list[str]:
    return [] if caption is None else caption.text.split()


def test_the_half_word_is_left_to_the_heir() -> None:
    owner = said(("good", 0, 300), ("mor", 400, 990))
    heir = said(("good", 10, 310), ("morning", 400, 1_200), ("all", 1_300, 1_500))
    assert texts(before(owner, 1_000)) == ["good"]
    kept = after(heir, 1_000)
    assert texts(kept) == ["morning", "all"]
    assert kept is not None
    assert (kept.start_ms, kept.started_at) == (400, ORIGIN + timedelta(milliseconds=400))
    assert (kept.end_ms, kept.ended_at) == (1_500, ORIGIN + timedelta(milliseconds=1_500))


def test_what_lies_clear_of_the_cut_is_left_alone() -> None:
    early, late = said(("one", 0, 500)), said(("two", 2_000, 2_500))
    assert before(early, 1_000) is early
    assert after(late, 1_000) is late
    assert before(late, 1_000) is None and after(early, 1_000) is None


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(50, 600)), min_size=1, max_size=12),
    st.integers(0, 6_000),
    st.integers(-EDGE_MS // 2, EDGE_MS // 2),
)
def test_each_whole_word_is_kept_once(gaps: list[tuple[int, int]], cut_ms: int, skew_ms: int) -> None:
    """Clocks that differ leave a word near the edge to both or to none: only then."""
    words, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", at + gap, at + gap + length))
        at += gap + length
    owner = texts(before(said(*words), cut_ms))
    heir = texts(after(said(*[(text, start + skew_ms, end + skew_ms) for text, start, end in words]), cut_ms))
    near = {text for text, _, end in words if abs(end - (cut_ms - EDGE_MS)) <= abs(skew_ms)}
    for text, _, _ in words:
        assert owner.count(text) + heir.count(text) == 1 or text in near
    assert owner + heir == [text for text, _, _ in words] or near
