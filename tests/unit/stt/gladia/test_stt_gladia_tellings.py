"""The provider tells the same words in two ways: each comes out once, and what was said twice comes out twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt.gladia import messages as wire
from stt.gladia.events import Heard
from stt.gladia.link import Link
from stt.gladia.options import LinkOptions
from stt.gladia.session import Session

RATE = 16_000
TALK_S = 30


@dataclass(frozen=True)
class Said:
    """A word as it was spoken: seconds of the track."""

    text: str
    start: float
    end: float


class Track:
    """Half a minute of a track at a provider that says what it is told to."""

    def __init__(self) -> None:
        self.link = Link(LinkOptions(), lambda: 0.0)
        self.link.audio(0, bytes(TALK_S * RATE * 2), 0.0)
        self.words: list[str] = []
        self.session = self._opened()

    def _opened(self) -> Session:
        session = self.link.sessions[-1]
        session.created(f"s{id(session)}", "ws://x", 0.0)
        self.link.opened(session, 0.0)
        while session.take(0.0) is not None:
            pass
        self._hear(session, wire.AudioAcknowledged(0, session.feed.timeline.end * 2))
        return session

    def _hear(self, session: Session, message: wire.Message) -> None:
        for event in self.link.received(session, message, 0.0):
            if isinstance(event, Heard) and event.utterance.is_final:
                self.words += event.utterance.text.lower().replace(".", "").split()

    def tell(self, number: int, spoken: wire.SpokenUtterance) -> None:
        self._hear(self.session, wire.Transcribed(f"00_{number:08d}", False, spoken))
        self._hear(self.session, wire.Transcribed(f"00_{number:08d}", True, spoken))

    def cut(self) -> None:
        """The connection ends, and the next one hears again what has no final."""
        self.session.dropped(None, 0.0)
        self.link.opened(self.session, 10.0)
        while self.session.take(10.0) is not None:
            pass

    def rest(self, result: list[wire.SpokenUtterance]) -> None:
        """The session ends, and has said this all in all."""
        self.link.finish(0.0, 100.0)
        while self.session.take(0.0) is not None:
            pass
        seconds = self.session.feed.timeline.end / RATE
        self._hear(self.session, wire.Concluded(wire.Result(
            wire._Metadata(audio_duration=seconds), wire._Transcription(tuple(result))
        )))  # fmt: skip

    def renew(self) -> float:
        """Another session hears again what has no final. Returns: where it begins, seconds."""
        assert self.link.renew(0.0)
        self.session = self._opened()
        return self.session.feed.begin / RATE


def told(words: list[Said], shift: float, shape: str, since: float = 0.0) -> wire.SpokenUtterance:
    """One utterance, its times moved by `shift`, on the clock of a session that begins at `since`."""
    found = []
    for word in words:
        start = max(word.start + shift - since, 0.0)
        end = {"no length": start, "end first": start - 0.2}.get(shape, word.end + shift - since)
        found.append(wire._Word(f" {word.text}", start, end, 0.9))
    text = " ".join(word.text for word in words).capitalize() + "."
    last = found[-1].end
    return wire.SpokenUtterance(text, found[0].start, last, 0.9, 0, "en", () if shape == "no words" else tuple(found))


@st.composite
def talks(draw: st.DrawFn, shortest: float = 0.2, pause: float = 0.3) -> list[list[Said]]:
    """Utterances of few different words, many of them said again at once; each takes at least its own time."""
    at, talk = 1.0, []
    for _ in range(draw(st.integers(1, 5))):
        words = []
        for _ in range(draw(st.integers(1, 5))):
            length = draw(st.floats(shortest, 0.5))
            words.append(Said(draw(st.sampled_from(["yes", "no", "one"])), at, at + length))
            at += length + draw(st.sampled_from([0.0, 0.05]))
        talk.append(words)
        at += pause + draw(st.floats(0, 0.7))
    return talk


SHAPES = st.sampled_from(["as it was", "no length", "end first", "no words"])
SHIFTS = st.floats(-0.3, 0.3)


@given(
    talk=talks(), final=SHAPES, result=SHAPES, shift=SHIFTS,
    missing=st.sampled_from(["nothing", "from finals", "from the result", "words of finals"]),
    ids=st.sampled_from([1, 2, 100]), dice=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_result_repeats_what_finals_said_and_adds_what_they_did_not(
    talk: list[list[Said]], final: str, result: str, shift: float, missing: str, ids: int, dice: object
) -> None:
    track = Track()
    whole = []
    for number, words in enumerate(talk):
        odd = dice.random() < 0.4  # type: ignore[attr-defined]
        kept = words[1:] if odd and missing == "words of finals" else words
        if kept and not (odd and missing == "from finals"):
            track.tell(number % ids, told(kept, 0.0, final))
        if not (odd and missing == "from the result"):
            whole.append(told(words, shift, result))
    track.rest(whole)
    assert Counter(track.words) == Counter(word.text for words in talk for word in words)


@given(talk=talks(0.3, pause=0.8), final=SHAPES, again=SHAPES, shift=st.floats(-0.29, 0.29), data=st.data())
def test_what_another_session_says_again_is_no_news(
    talk: list[list[Said]], final: str, again: str, shift: float, data: st.DataObject
) -> None:
    """It begins within what has been said already. The same word alone, nearer than it may move, could be either."""
    track = Track()
    end = data.draw(st.integers(1, len(talk)))
    for number, words in enumerate(talk[:end]):
        track.tell(number, told(words, 0.0, final))
    since = track.renew()
    first = data.draw(st.integers(end - 1, end))
    for number, words in enumerate(talk[first:]):
        if sent := [word for word in words if word.end > since]:
            track.tell(number, told(sent, shift, again, since))
    assert Counter(track.words) == Counter(word.text for words in talk for word in words)


@pytest.mark.parametrize("final", ["as it was", "no length", "end first", "no words"])
@pytest.mark.parametrize("shift", [-0.29, 0.0, 0.29])
def test_a_word_in_which_another_session_begins_is_no_news(final: str, shift: float) -> None:
    """Told without words it lies behind that session's begin; its first telling may have no length to reach there."""
    track = Track()
    words = [Said("no", 1.0, 1.5), Said("yes", 1.5, 2.0), Said("one", 2.05, 2.55)]
    track.tell(0, told(words, 0.0, final))
    since = track.renew()
    track.tell(0, told([word for word in words if word.end > since], shift, "no words", since))
    assert track.words == ["no", "yes", "one"]


@pytest.mark.parametrize("shape", ["as it was", "no length", "end first", "no words"])
def test_the_whole_under_a_new_id_after_its_parts_is_said_once(shape: str) -> None:
    track = Track()
    parts = [[Said("my", 0.5, 0.8), Said("order", 0.9, 1.4)], [Said("is", 1.5, 1.7), Said("four", 1.8, 2.2)]]
    for number, words in enumerate(parts):
        track.tell(number, told(words, 0.0, shape))
    track.tell(2, told([*parts[0], *parts[1]], 0.0, shape))
    assert track.words == ["my", "order", "is", "four"]


def test_ids_that_begin_again_and_a_revision_are_told_apart() -> None:
    track = Track()
    first = told([Said("first", 0.5, 0.9), Said("in", 1.0, 1.1), Said("time", 1.2, 1.5)], 0.0, "as it was")
    track.tell(0, first)
    track.tell(0, told([Said("first", 0.5, 0.9), Said("in", 1.0, 1.1), Said("rhyme", 1.2, 1.5)], 0.1, "as it was"))
    track.tell(0, told([Said("second", 1.4, 2.0)], 0.0, "as it was"))
    assert track.words == ["first", "in", "time", "second"]


@pytest.mark.parametrize("shape", ["as it was", "no length", "no words"])
def test_what_one_telling_says_twice_right_behind_a_seam_stays_twice(shape: str) -> None:
    """The second is not the first told again: one connection tells each word once."""
    track = Track()
    track.tell(0, told([Said("one", 0.2, 0.5)], 0.0, shape))
    since = track.renew()
    track.tell(0, told([Said("yes", 0.55, 0.65)], 0.0, shape, since))
    track.tell(1, told([Said("yes", 0.7, 0.8)], 0.0, shape, since))
    assert track.words == ["one", "yes", "yes"]


def test_what_one_telling_says_in_the_time_of_another_word_of_it_is_news() -> None:
    """Two speakers at once, or a provider whose word ends late: not the same word heard differently."""
    track = Track()
    track.tell(0, told([Said("one", 0.2, 0.5)], 0.0, "as it was"))
    since = track.renew()
    track.tell(0, told([Said("yes", 0.55, 0.95)], 0.0, "as it was", since))
    track.tell(1, told([Said("no", 0.7, 0.8)], 0.0, "as it was", since))
    assert track.words == ["one", "yes", "no"]


@pytest.mark.parametrize("at", [wire.UNPLACED, 5e5])
def test_a_final_without_times_behind_a_cut_is_kept_whole(at: float) -> None:
    """Its place is a guess behind the cut, not in what was said before it, and no word is taken for another by it."""
    track = Track()
    track.tell(0, told([Said("one", 0.2, 0.5), Said("two", 0.6, 0.9)], 0.0, "as it was"))
    track.cut()
    words = tuple(wire._Word(text, at, at, 0.9) for text in ("three", "four"))
    track.tell(1, wire.SpokenUtterance("Three four.", at, at, 0.9, 0, "en", words))
    assert track.words == ["one", "two", "three", "four"]
