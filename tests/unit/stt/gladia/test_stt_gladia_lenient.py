"""Odd values cost themselves: what stands beside them is read, placed, and told apart from errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stt.errors import MalformedMessage
from stt.gladia import belief, lenient
from stt.gladia import messages as wire
from stt.gladia.complaints import kind_of

WORDS = [{"word": " hi", "start": 0.5, "end": 0.8}, {"word": " there", "start": 0.9, "end": 1.4}]
SPOKEN = {"text": " hi there", "start": 0.5, "end": 1.4, "confidence": 0.9, "channel": 0, "language": "en"}

FINAL = '{"type":"transcript","data":{"id":"1","is_final":true,"utterance":{"text":TEXT,"start":0,"end":1}}}'


def final(**changed: Any) -> wire.SpokenUtterance:
    spoken = {**SPOKEN, "words": WORDS, **changed}
    found = wire.parse(json.dumps({"type": "transcript", "data": {"id": "1", "is_final": True, "utterance": spoken}}))
    assert isinstance(found, wire.Transcribed)
    return found.utterance


@pytest.mark.parametrize("name", ["start", "end", "confidence", "channel", "language", "words"])
@pytest.mark.parametrize("value", [None, "x", [], {}, -1e308, 1e308, True])
def test_a_final_with_any_odd_field_keeps_its_text(name: str, value: Any) -> None:
    spoken = final(**{name: value})
    assert spoken.visible_text == "hi there"
    assert 0 <= spoken.share <= 1
    placed, _ = belief.corrected(spoken, 0.2, 2.0)
    assert belief.is_credible(placed, 2.0) and 0 <= placed.start <= placed.end <= 2.0


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('"a\\ud83d b"', "a\ufffd b"),
        ('"a\\u0000b"', "ab"),
        ('"a\x01b"', "a\x01b"),
        ("not text", None),
    ],
)
def test_text_is_read_as_far_as_it_can_be(raw: str, text: str | None) -> None:
    written = FINAL.replace("TEXT", raw)
    if text is None:
        with pytest.raises(MalformedMessage) as raised:
            wire.parse(written)
        assert (raised.value.kind, raised.value.may_be_final) == ("transcript", True)
        return
    for told in (written, written.encode()):
        found = wire.parse(told)
        assert isinstance(found, wire.Transcribed) and found.utterance.text == text


def test_bytes_that_are_not_utf_8_become_replacement_characters() -> None:
    found = wire.parse(FINAL.encode().replace(b"TEXT", b'"a \xff\xc3( b"'))
    assert isinstance(found, wire.Transcribed) and found.utterance.text == "a \ufffd\ufffd( b"


def test_what_is_nested_without_end_is_null_and_the_rest_is_read() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    found = lenient.decode('{"a":DEEP,"b":[1,{"c":NaN}]}'.replace("DEEP", deep))
    assert found["b"] == [1, {"c": None}] and str(found["a"]).count("[") == lenient.MAX_DEPTH - 2


def test_one_bad_utterance_of_a_result_hides_no_other() -> None:
    told = [{**SPOKEN, "words": WORDS}, {**SPOKEN, "text": None}, 7, {**SPOKEN, "start": None, "words": WORDS}]
    for found in (
        wire.parse(json.dumps({"type": "post_final_transcript", "data": {"transcription": {"utterances": told}}})),
        wire.parse_result(json.dumps({"id": "1", "result": {"transcription": {"utterances": told}}}).encode()),
    ):
        assert isinstance(found, wire.Concluded | wire.SessionResult) and found.result is not None
        assert [one.visible_text for one in found.result.utterances] == ["hi there", "hi there"]
        assert found.result.unread == 2


@pytest.mark.parametrize("text", ["", "  ", "\u200b", "\ufeff\u2060", "\u2028", "\u3164", "\ufe0f", "\x07"])
def test_what_cannot_be_seen_is_no_text(text: str) -> None:
    assert final(text=text).visible_text == ""
    assert final(text=f"{text}.{text}").visible_text != ""


def test_unknown_times_lie_between_their_neighbours() -> None:
    words = [{"word": "a", "start": 1.0, "end": 1.2}, {"word": "b"}, {"word": "c", "start": 2.0, "end": 2.4}]
    placed, is_guess = belief.corrected(final(start=None, end=9e5, words=words), 0.0, 3.0)
    assert not is_guess and (placed.start, placed.end) == (1.0, 2.4)
    assert 1.2 < placed.words[1].start < placed.words[1].end < 2.0
    placed, is_guess = belief.corrected(final(start=90_000.5, end=90_002.0, words=[]), 1.0, 3.0)
    assert is_guess and (placed.start, placed.end) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("about", "code", "message", "kind"),
    [
        ("audio_chunk", "402", "no", "quota"),
        ("error", "", "Quota exceeded, add credit", "quota"),
        ("close", "4402", "closed", "quota"),
        ("close", "1008", "closed: quota exceeded", "quota"),
        ("connection", "429", "HTTP 429", "limit"),
        ("error", "rate_limit_exceeded", "slow down", "limit"),
        ("error", "", "invalid API key", "credential"),
        ("error", "session_timeout", "gone", "session"),
        ("audio_chunk", "", "too late", "audio"),
        ("translation", "500", "failed", "add_on"),
        ("error", "internal", "engine is down", "engine"),
    ],
)
def test_an_error_is_of_a_kind(about: str, code: str, message: str, kind: str) -> None:
    assert kind_of(about, code, message) == kind
