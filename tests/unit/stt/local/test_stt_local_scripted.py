"""The made-up language: words in are words out, wherever the audio is cut, and no word is ever invented."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt.local.recogniser import Event, Finished, Heard, Listening, SpeechEnded, SpeechStarted, Word
from stt.local.scripted import VOCABULARY, JitteryRecogniser, ScriptedRecogniser, speak

words = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8)
LONG = Listening(endpointing_s=0.05, longest_s=60)


def listen(
    pcm: bytes,
    sizes: list[int] | None = None,
    how: Listening = LONG,
    recognise: type[ScriptedRecogniser] = ScriptedRecogniser,
) -> list[Event]:
    """Feed `pcm` in pieces of `sizes` samples, over and over; finish."""
    events: list[Event] = []
    recogniser = recognise(how, events.append)
    at = 0
    for size in itertools.cycle(sizes or [1600]):
        if at >= len(pcm):
            break
        recogniser.feed(pcm[at : at + 2 * size])
        at += 2 * size
    recogniser.finish()
    return events


def finals(events: list[Event]) -> list[Word]:
    return [word for e in events if isinstance(e, Heard) and e.is_final for word in e.words]


def heard(pcm: bytes) -> list[str]:
    return [word.text for word in finals(listen(pcm))]


def test_every_word_has_its_own_sound() -> None:
    assert len(VOCABULARY) >= 64
    assert len({speak(word)[0] for word in VOCABULARY}) == len(VOCABULARY)
    assert heard(speak(VOCABULARY)[0]) == list(VOCABULARY)


@given(words, st.lists(st.integers(1, 4000), min_size=1, max_size=10), st.integers(0, 3200))
def test_words_come_back_exactly_with_their_times(said: list[str], sizes: list[int], lead: int) -> None:
    """For any chunk sizes and any alignment, to within 20 ms."""
    pcm, places = speak(said, lead_s=lead / 16_000, tail_s=0.2)
    got = finals(listen(pcm, sizes))
    assert [word.text for word in got] == said
    for word, (_, start, end) in zip(got, places, strict=True):
        assert abs(word.start - start) <= 0.02
        assert abs(word.end - end) <= 0.02


@given(words, st.integers(0, 32_000), st.integers(0, 32_000))
def test_a_cut_anywhere_costs_only_the_words_it_touches(said: list[str], one: int, other: int) -> None:
    """Samples between the two places are gone: whole words left of it and right of it remain, none is made up."""
    pcm, places = speak(said, lead_s=0.05, tail_s=0.1)
    a, b = sorted((one, other))
    got = heard(pcm[: 2 * a] + pcm[2 * b :])
    whole = [word for word, start, end in places if end * 16_000 <= a or start * 16_000 >= b]
    assert is_subsequence(whole, got)
    assert is_subsequence(got, said)


@given(words, st.integers(0, 40_000))
def test_listening_may_begin_in_the_middle(said: list[str], start: int) -> None:
    pcm, places = speak(said)
    got = heard(pcm[2 * start :])
    assert is_subsequence([word for word, begin, _ in places if begin * 16_000 >= start], got)
    assert is_subsequence(got, said)


@given(words, st.data())
def test_audio_sent_twice_is_heard_twice(said: list[str], data: st.DataObject) -> None:
    """As at the provider when acknowledgements are lost: whole repeated words double, also across the seam."""
    pcm, places = speak(said, lead_s=0.05, tail_s=0.1)
    back, seam = sorted(data.draw(st.tuples(*[st.integers(0, len(pcm) // 2)] * 2)))
    got = heard(pcm[: 2 * seam] + pcm[2 * back :])
    first = [word for word, _, end in places if end * 16_000 <= seam]
    second = [word for word, start, _ in places if start * 16_000 >= back]
    assert is_subsequence(first + second, got)
    assert set(got) <= set(said)


@given(st.binary(min_size=2, max_size=60_000).map(lambda raw: raw[: len(raw) // 2 * 2]))
@settings(max_examples=20)
def test_noise_holds_no_words(noise: bytes) -> None:
    assert heard(noise) == []


def test_words_survive_noise_and_half_volume() -> None:
    """10 dB of white noise, as a codec or a microphone may add it."""
    said = list(VOCABULARY[:20])
    pcm, _ = speak(said, amplitude=4000)
    noise = np.random.default_rng(1).normal(0, 900, len(pcm) // 2)
    mixed = (np.frombuffer(pcm, "<i2") + noise).astype("<i2").tobytes()
    assert heard(mixed) == said


def test_silence_as_long_as_endpointing_closes_the_utterance() -> None:
    pcm, _ = speak("alpha bravo charlie", gap_s=0.03, pauses=[0.0, 0.3])
    for endpointing, expected in ((0.05, [["alpha", "bravo"], ["charlie"]]), (0.5, [["alpha", "bravo", "charlie"]])):
        events = listen(pcm, how=Listening(endpointing_s=endpointing, longest_s=60))
        closed = [[w.text for w in e.words] for e in events if isinstance(e, Heard) and e.is_final]
        assert closed == expected


def test_an_utterance_grows_word_by_word_and_ends_in_one_final() -> None:
    events = listen(speak("alpha bravo", lead_s=0.5, tail_s=0.5)[0])
    assert isinstance(events[0], SpeechStarted) and abs(events[0].at - 0.5) < 0.02
    shown = [(e.is_final, len(e.words)) for e in events if isinstance(e, Heard)]
    assert shown == [(False, 1), (False, 2), (True, 2)]
    assert [type(e) for e in events[-3:]] == [SpeechEnded, Heard, Finished]


def test_no_partials_come_when_nobody_wants_them() -> None:
    events = listen(speak("alpha bravo")[0], how=Listening(longest_s=60, partials=False))
    assert [e.is_final for e in events if isinstance(e, Heard)] == [True]


def test_speech_without_a_pause_is_closed_at_the_longest_utterance_and_loses_nothing() -> None:
    said = list(VOCABULARY[:60])
    events = listen(speak(said)[0], how=Listening(longest_s=5))
    utterances = [e for e in events if isinstance(e, Heard) and e.is_final]
    assert len(utterances) == 3
    assert [w.text for e in utterances for w in e.words] == said
    assert all(e.words[-1].end - e.words[0].start < 5.3 for e in utterances)


def test_an_unknown_word_cannot_be_said() -> None:
    with pytest.raises(KeyError):
        speak("supercalifragilistic")


def is_subsequence(few: list[str], many: list[str]) -> bool:
    rest = iter(many)
    return all(item in rest for item in few)


@given(words, st.data())
def test_what_a_jitter_buffer_does_to_a_word_does_not_hide_it(said: list[str], data: st.DataObject) -> None:
    """In each word 20 ms of one tone come twice, or are left out: whole waves, as such a buffer fits them."""
    pcm, places = speak(said, lead_s=0.05, tail_s=0.1)
    samples = np.frombuffer(pcm, "<i2")
    pieces, done = [], 0
    for _, start, _ in places:
        slot, within = data.draw(st.integers(0, 3)), data.draw(st.integers(32, 800 - 32 - 320))
        at = round(start * 16_000) + 800 * slot + within
        is_twice = data.draw(st.booleans())
        pieces += [samples[done : at + 320], samples[at : at + 320]] if is_twice else [samples[done:at]]
        done = at + 320
    pieces.append(samples[done:])
    jittered = np.concatenate(pieces).astype("<i2").tobytes()
    assert [word.text for word in finals(listen(jittered, recognise=JitteryRecogniser))] == said


@given(words, st.integers(0, 32_000), st.integers(0, 32_000))
def test_no_word_is_made_up_for_a_jitter_buffer_either(said: list[str], one: int, other: int) -> None:
    pcm, _ = speak(said, lead_s=0.05, tail_s=0.1)
    a, b = sorted((one, other))
    cut = pcm[: 2 * a] + pcm[2 * b :]
    assert is_subsequence([word.text for word in finals(listen(cut, recognise=JitteryRecogniser))], said)
