"""The ear in front of PocketSphinx: where utterances begin and end, with a detector and a decoder that say why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stt.local.sphinx_listener import FRAME, FRAME_BYTES, PRE_ROLL, SHORTEST_ENDPOINTING_S, Listener
from stt.local.sphinx_wire import Ended, Open, Started, Text

LOUD, QUIET = b"\x10\x10" * FRAME, bytes(FRAME_BYTES)


class LoudnessDetector:
    def is_speech(self, frame: bytes) -> bool:
        return any(frame)


@dataclass
class Segment:
    word: str
    start_frame: int
    end_frame: int
    prob: float = 0.5


@dataclass
class Hypothesis:
    hypstr: str


@dataclass
class CountingDecoder:
    """Hears one word "w" per 300 ms of audio."""

    bytes_read: int = 0
    open: bool = False
    utterances: list[int] = field(default_factory=list)

    def start_utt(self) -> None:
        assert not self.open
        self.open, self.bytes_read = True, 0

    def process_raw(self, pcm: bytes) -> None:
        assert self.open
        self.bytes_read += len(pcm)

    def end_utt(self) -> None:
        assert self.open
        self.open = False
        self.utterances.append(self.bytes_read)

    def hyp(self) -> Hypothesis | None:
        count = self.bytes_read // 9600
        return Hypothesis("w " * count) if count else None

    def seg(self) -> list[Segment]:
        inner = [Segment("w(2)", 30 * i, 30 * i + 29) for i in range(self.bytes_read // 9600)]
        return [Segment("<s>", 0, 0), *inner, Segment("[NOISE]", 0, 0), Segment("</s>", 0, 0)]


class OneDecoder:
    def __init__(self) -> None:
        self.decoder = CountingDecoder()
        self.taken = 0

    def take(self) -> Any:
        self.taken += 1
        return self.decoder

    def give_back(self, decoder: Any) -> None:
        self.taken -= 1


def listener(decoders: OneDecoder, *, endpointing_s: float = 0.05, longest_s: float = 60.0) -> Listener:
    return Listener(Open(1, endpointing_s, longest_s), decoders, LoudnessDetector())


def test_an_utterance_starts_300_ms_before_the_voice_is_sure_and_ends_with_silence() -> None:
    decoders = OneDecoder()
    ear = listener(decoders)
    events = list(ear.push(QUIET * 50 + LOUD * 50 + QUIET * 50, partials=False))
    # Three voiced frames make it sure: frame 53 is the end of the ring.
    began = (53 - PRE_ROLL) * 0.02
    assert events[0] == Started(began, 0)
    assert events[1] == Ended(2.0)
    assert isinstance(events[2], Text) and events[2].is_final and events[2].utterance == 0
    assert events[2].words[0] == ("w", round(began, 3), round(began + 0.3, 3), 0.5)
    assert len(events) == 3


def test_no_decoder_is_taken_before_somebody_speaks() -> None:
    decoders = OneDecoder()
    ear = listener(decoders)
    list(ear.push(QUIET * 500, partials=True))
    assert decoders.taken == 0
    list(ear.push(LOUD * 5, partials=True))
    assert decoders.taken == 1
    ear.close()
    assert decoders.taken == 0


def test_clicks_and_the_first_120_ms_open_nothing() -> None:
    ear = listener(OneDecoder())
    assert list(ear.push(LOUD * 6 + QUIET * 20, partials=True)) == []
    assert list(ear.push((LOUD * 2 + QUIET * 10) * 20, partials=True)) == []


def test_very_short_endpointing_is_raised_to_what_the_decoder_can_bear() -> None:
    ear = listener(OneDecoder(), endpointing_s=0.05)
    pause = round(SHORTEST_ENDPOINTING_S / 0.02) - 1
    events = list(ear.push(QUIET * 20 + LOUD * 30 + QUIET * pause + LOUD * 30 + QUIET * 30, partials=False))
    assert sum(isinstance(e, Text) for e in events) == 1


def test_partials_come_when_the_text_changed() -> None:
    ear = listener(OneDecoder())
    events = list(ear.push(QUIET * 20 + LOUD * 60, partials=True))
    partials = [e for e in events if isinstance(e, Text)]
    assert [len(e.words) for e in partials] == [1, 2, 3, 4]  # the pre-roll is the first 300 ms
    assert not any(e.is_final for e in partials)


def test_a_long_utterance_is_closed_and_the_next_one_loses_no_audio() -> None:
    decoders = OneDecoder()
    ear = listener(decoders, longest_s=5)
    events = [*ear.push(QUIET * 20 + LOUD * 600, partials=False), *ear.finish()]
    finals = [e for e in events if isinstance(e, Text)]
    assert [e.utterance for e in finals] == [0, 1, 2]
    # Everything from the first pre-roll on went through the decoder once: 12 s of voice and 12 frames of silence.
    assert sum(decoders.decoder.utterances) == (600 + PRE_ROLL - 3) * FRAME_BYTES


def test_the_settled_place_allows_hearing_the_same_again() -> None:
    """What a fresh worker is given after a crash yields the same utterance, with the same times and number."""
    audio = QUIET * 50 + LOUD * 50 + QUIET * 50 + LOUD * 50 + QUIET * 50
    cut = 180 * FRAME_BYTES
    first = listener(OneDecoder())
    whole = [*first.push(audio[:cut], partials=False)]
    settled, number = first.settled, first.utterance
    rest = list(first.push(audio[cut:], partials=False))
    again = Listener(Open(1, 0.05, 60.0, settled, number), OneDecoder(), LoudnessDetector())
    repeated = list(again.push(audio[2 * settled :], partials=False))
    assert repeated[-2:] == rest[-2:]
    assert isinstance(whole[-1], Started) and isinstance(repeated[0], Started)
    assert repeated[0].utterance == whole[-1].utterance == 1


def test_odd_pieces_make_no_difference() -> None:
    audio = QUIET * 50 + LOUD * 50 + QUIET * 50
    whole = list(listener(OneDecoder()).push(audio, partials=True))
    ear = listener(OneDecoder())
    pieces = [e for i in range(0, len(audio), 502) for e in ear.push(audio[i : i + 502], partials=True)]
    assert pieces == whole
    assert ear.heard == len(audio) // 2
