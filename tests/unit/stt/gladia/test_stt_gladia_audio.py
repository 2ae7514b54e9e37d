"""The bounded window, the map between two clocks, and the memory of words: each against a naive model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stt.gladia.retained import Retained, Span
from stt.gladia.seam import FURTHEST_S, Seam, keeping
from stt.gladia.timeline import Timeline
from stt.transcript import Utterance, Word

# --- the window -------------------------------------------------------------------------------------------------


def pcm(start: int, samples: int) -> bytes:
    """Samples that tell their own position."""
    return b"".join((position % 65_536).to_bytes(2, "little") for position in range(start, start + samples))


_STEPS = st.lists(
    st.tuples(st.just("append"), st.integers(0, 3) | st.just(40), st.integers(1, 12))
    | st.tuples(st.just("read"), st.integers(-5, 30), st.integers(1, 20))
    | st.tuples(st.just("forget"), st.integers(-5, 30), st.just(0)),
    max_size=60,
)


@given(_STEPS, st.integers(10, 40))
def test_the_window_holds_what_a_dictionary_of_samples_would(steps: list[tuple[str, int, int]], limit: int) -> None:
    window, model, end = Retained(limit), dict[int, bytes](), 0
    given_up: set[int] = set()
    for kind, a, b in steps:
        if kind == "append":
            start = end + a
            for span in window.append(start, pcm(start, b)):
                for position in range(span.start, span.end):
                    given_up.add(position)
                    del model[position]
            end = start + b
            model |= {position: pcm(position, 1) for position in range(start, end)}
            # Whole pieces are dropped, down to the newest.
            assert window.held <= max(limit, b)
        elif kind == "read":
            position = end - a
            found = window.read(position, b)
            here = sorted(at for at in model if at >= position)
            if found is None:
                assert not here
            else:
                at, audio = found
                assert at == here[0]
                assert 1 <= len(audio) // 2 <= b
                assert audio == b"".join(model[at + i] for i in range(len(audio) // 2))
                if len(audio) // 2 < b:
                    assert at + len(audio) // 2 not in model
        else:
            window.forget(end - a)
            model = {at: sample for at, sample in model.items() if at >= window.start}
            assert all(at in model for at in range(max(end - a, window.start), window.end) if at in model)
        assert window.held == len(model)
        assert window.end == end or not model
        assert not given_up & model.keys()


def test_the_very_bytes_of_a_chunk_come_out_again() -> None:
    """In steady state nothing is copied."""
    window, chunk = Retained(100_000), pcm(0, 1600)
    window.append(0, chunk)
    found = window.read(0, 16_000)
    assert found is not None
    assert found[1] is chunk


def test_a_full_window_gives_up_its_oldest_and_says_which() -> None:
    window = Retained(10)
    assert window.append(0, pcm(0, 6)) == []
    assert window.append(6, pcm(6, 6)) == [Span(0, 6)]
    assert window.append(100, pcm(100, 10)) == [Span(6, 12)]
    assert (window.start, window.end, window.held) == (100, 110, 10)


def test_audio_from_the_past_is_refused() -> None:
    window = Retained(10)
    window.append(5, pcm(5, 5))
    with pytest.raises(ValueError, match="backwards"):
        window.append(9, pcm(9, 1))


# --- the clock --------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.just("send"), st.integers(0, 2000), st.integers(1, 3000))
        | st.tuples(st.just("resume"), st.floats(0, 1), st.floats(0, 1)),
        max_size=40,
    )
)
def test_every_session_sample_maps_back_to_the_sample_that_was_sent(steps: list[tuple[str, float, float]]) -> None:
    """Whatever was sent, left out, forgotten and said again."""
    timeline, model, cursor = Timeline(), list[int](), 0
    for kind, a, b in steps:
        if kind == "send":
            cursor += int(a) if int(a) % 3 == 0 else 0
            timeline.sent(cursor, int(b))
            model += range(cursor, cursor + int(b))
            cursor += int(b)
        else:
            keep = round(a * len(model))
            del model[keep:]
            timeline.rewind(keep)
            cursor = round(b * cursor)
        assert timeline.end == len(model)
        assert timeline.started == bool(model)
    for session, track in list(enumerate(model))[:: max(len(model) // 50, 1)]:
        assert timeline.to_track(session) == track


def test_the_end_of_a_word_lies_with_its_middle() -> None:
    """A word that ends where a stretch was left out does not end behind that."""
    timeline = Timeline()
    timeline.sent(1000, 100)
    timeline.sent(9000, 100)
    assert timeline.to_track(100) == 9000
    assert timeline.to_track(100, within=60) == 1100
    assert timeline.to_track(95, within=130) == 8995
    assert timeline.to_track(500) == 9400
    assert timeline.to_track(-5000) == 0
    assert Timeline().to_track(77) == 0


# --- the memory of words ----------------------------------------------------------------------------------------


def utterance(*words: tuple[str, float, float], text: str | None = None) -> Utterance:
    said = tuple(Word(word, start, end, 0.9) for word, start, end in words)
    whole = "".join(word.text for word in said).strip() if text is None else text
    return Utterance("s:1", True, whole, "en", said[0].start, said[-1].end, 0.9, said)


def test_a_word_that_was_settled_is_not_fresh_even_when_heard_a_little_elsewhere() -> None:
    seam = Seam()
    seam.settle(utterance((" one", 1.0, 1.4), (" two", 1.5, 1.9)), 1)
    fresh = seam.fresh(utterance((" one", 0.9, 1.35), (" two", 1.55, 2.0), (" three", 2.0, 2.4)), 2)
    assert fresh is not None
    assert (fresh.text, fresh.start, fresh.end, len(fresh.words)) == ("three", 2.0, 2.4, 1)
    assert seam.fresh(utterance((" two", 1.5, 1.9)), 3) is None


def test_words_that_one_utterance_has_twice_are_heard_once() -> None:
    """The provider had kept what was sent again, and heard both as one utterance."""
    twice = utterance((" one", 1.0, 1.4), (" two", 1.5, 1.9), (" one", 1.0, 1.4), (" two", 1.52, 1.92))
    fresh = Seam().fresh(twice, 1)
    assert fresh is not None
    assert (fresh.text, fresh.end) == ("one two", 1.9)


def test_an_utterance_without_words_is_one_long_word() -> None:
    seam = Seam()
    bare = Utterance("s:1", True, "hello", "en", 1.0, 3.0, 0.9)
    assert seam.fresh(bare, 2) is bare
    seam.settle(bare, 1)
    assert seam.fresh(bare, 2) is None


def test_text_without_spaces_stays_so() -> None:
    kept = keeping(utterance(("你", 0.0, 0.2), ("好", 0.2, 0.4), ("吗", 0.4, 0.6)), [Word("好", 0.2, 0.4, 0.9)])
    assert kept is not None
    assert kept.text == "好"


def test_words_without_their_space_get_one() -> None:
    whole = utterance(("good", 0.0, 0.2), ("old", 0.2, 0.4), ("days", 0.4, 0.6), text="good old days")
    kept = keeping(whole, list(whole.words[1:]))
    assert kept is not None
    assert kept.text == "old days"
    assert keeping(whole, list(whole.words)) is whole
    assert keeping(whole, []) is None


@given(st.permutations(range(200)))
def test_words_are_remembered_in_whatever_order_they_come(order: list[int]) -> None:
    seam = Seam()
    for n in order:
        assert seam.fresh(utterance((f" w{n}", n * 0.3, n * 0.3 + 0.2)), 1) is not None
        seam.settle(utterance((f" w{n}", n * 0.3, n * 0.3 + 0.2)), 1)
    for n in order:
        assert seam.fresh(utterance((f" w{n}", n * 0.3, n * 0.3 + 0.2)), 2) is None
        assert seam.fresh(utterance((" other", n * 0.3 + 0.2, n * 0.3 + 0.3)), 2) is not None


_AT = st.floats(0, 3).map(lambda at: round(at, 2))
_LENGTH = st.sampled_from((0.0, 0.2, 1.5))
_WORDS = st.lists(st.tuples(st.sampled_from((" a", " b")), _AT, _LENGTH), min_size=1, max_size=6)


@given(_WORDS, _WORDS, st.floats(0, 1), st.booleans())
def test_what_ends_far_behind_all_that_was_told_is_never_all_told(
    settled: list[tuple[str, float, float]], said: list[tuple[str, float, float]], more_s: float, has_words: bool
) -> None:
    """So whoever asks whether a whole utterance was told need not ask of that one."""
    seam = Seam()
    seam.settle(utterance(*((text, at, at + length) for text, at, length in settled)), 1)
    last = max(at + length for _, at, length in settled) + FURTHEST_S + more_s
    again = utterance(*((text, at, at + length) for text, at, length in said), (" a", last, last + 0.2))
    if not has_words:
        again = replace(again, words=(), start=last)
    assert seam.fresh(again, 0, counts=False) is not None
