"""The provider's JSON becomes types; what is not its protocol is said to be so, and never anything else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt.errors import MalformedMessage
from stt.gladia import messages as wire

WORD = {"word": " Good", "start": 0.1, "end": 0.5, "confidence": 0.9}
SPOKEN = {
    "text": " Good morning.",
    "start": 0.1,
    "end": 1.0,
    "language": "en",
    "confidence": 0.97,
    "channel": 0,
    "words": [WORD],
}


def message(kind: str, data: Any = None, **more: Any) -> str:
    return json.dumps({"type": kind, "session_id": "s", "created_at": "2026-01-05T10:00:00.000Z", "data": data, **more})


def test_a_final_keeps_text_words_and_times() -> None:
    found = wire.parse(message("transcript", {"id": "00_00000003", "is_final": True, "utterance": SPOKEN}))
    assert isinstance(found, wire.Transcribed)
    assert (found.id, found.is_final) == ("00_00000003", True)
    assert found.utterance.text == " Good morning."
    assert (found.utterance.words[0].word, found.utterance.words[0].end) == (" Good", 0.5)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_acknowledgement_is_read_in_any_spacing(separators: tuple[str, str]) -> None:
    ack = {"type": "audio_chunk", "acknowledged": True, "error": None, "data": {"byte_range": [3200, 6400]}}
    assert wire.parse(json.dumps(ack, separators=separators)) == wire.AudioAcknowledged(3200, 6400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (message("speech_start", {"time": 1.5, "channel": 0}), wire.SpeechStarted(1.5)),
        (message("speech_end", {"time": 2, "channel": 0}), wire.SpeechEnded(2.0)),
        (message("stop_recording", {"recording_duration": 1}, acknowledged=True), wire.StopAcknowledged()),
        (message("stop_recording", acknowledged=False), wire.Complaint("stop_recording", "refused")),
        (message("stop_recording", {}, acknowledged=True), wire.StopAcknowledged()),
        (message("end_session"), wire.SessionEnded()),
        (message("start_recording"), wire.Ignored("start_recording")),
        (message("end_recording", {"recording_duration": 3}), wire.Ignored("end_recording")),
        (message("weather_report", {"sky": "clear"}), wire.Ignored("weather_report")),
        (message("audio_chunk", acknowledged=False, error={"message": "too late"}), wire.AudioRefused("too late")),
        (message("audio_chunk", acknowledged=False), wire.AudioRefused("no reason given")),
        (
            message("error", {"code": "internal_error", "message": "oh"}),
            wire.Complaint("error", "oh", "internal_error"),
        ),
        (
            message("error", {"code": "rate_limit_exceeded"}),
            wire.Complaint("error", "rate_limit_exceeded", "rate_limit_exceeded"),
        ),
        (message("error"), wire.Complaint("error", "unspecified")),
        (message("translation", error={"message": "no"}), wire.Complaint("translation", "no")),
        (
            message("translation", error={"status_code": 501, "exception": "X", "message": "no"}),
            wire.Complaint("translation", "no", "501"),
        ),
        (
            message(
                "translation",
                {
                    "utterance_id": 3,
                    "original_language": "en",
                    "target_language": "fr",
                    "utterance": SPOKEN,
                    "translated_utterance": {**SPOKEN, "text": " Bonjour."},
                },
            ),
            wire.Translated("3", 0, "en", "fr", "Bonjour."),
        ),
        (
            message("sentiment_analysis", {"utterance_id": "00_00000003", "results": [{"sentiment": "positive"}]}),
            wire.Noted("sentiment_analysis", "00_00000003", ({"sentiment": "positive"},)),
        ),
        (message("named_entity_recognition", {"utterance_id": "3"}), wire.Noted("named_entity_recognition", "3", ())),
    ],
)
def test_every_type_has_its_meaning(text: str, expected: wire.Message) -> None:
    """However it is written: the usual form of the most usual types is read by a shorter way."""
    compact = json.dumps(json.loads(text), separators=(",", ":"))
    for written in (text, compact, json.dumps(dict(reversed(json.loads(text).items())))):
        assert wire.parse(written) == expected
        assert wire.parse(written.encode()) == expected


def test_the_result_at_the_end_says_what_was_heard_and_how_much_was_counted() -> None:
    result = {"metadata": {"audio_duration": 3.4, "billing_time": 3.4}, "transcription": {"utterances": [SPOKEN]}}
    found = wire.parse(message("post_final_transcript", result))
    assert isinstance(found, wire.Concluded)
    assert (found.result.audio_seconds, found.result.billing_seconds) == (3.4, 3.4)
    assert [spoken.text for spoken in found.result.utterances] == [" Good morning."]


def test_a_result_may_be_empty() -> None:
    assert wire.parse_result(b'{"id":"x","status":"processing","result":null}').result is None
    empty = wire.parse_result(b'{"id":"x","status":"done","result":{}}').result
    assert empty is not None
    assert (empty.utterances, empty.audio_seconds, empty.billing_seconds) == ((), None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "null",
        "{}",
        '{"type":7}',
        b"\xff\xfe",
        '{"type":"transcript","data":{"id":',
        message("transcript"),
        message("transcript", {"id": "x", "is_final": True}),
        message("transcript", {"id": "x", "is_final": "yes", "utterance": SPOKEN}),
        message("transcript", {"id": "x", "is_final": True, "utterance": {**SPOKEN, "text": None}}),
        message("audio_chunk", acknowledged=True),
        "[" * 200_000,
        '{"type":"speech_start","data":{"time":NaN}}',
        '{"type":"speech_start","data":{"time":1e999}}',
        message("speech_end", {"time": 1e12}),
        message("audio_chunk", {"byte_range": [1]}, acknowledged=True),
        message("audio_chunk", {"byte_range": [1, 2, 3]}, acknowledged=True),
        message("audio_chunk", {"byte_range": ["a", "b"]}, acknowledged=True),
        message("translation", {"utterance_id": "3"}),
        message("translation"),
        message("post_final_transcript"),
    ],
)
def test_what_is_not_the_protocol_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedMessage):
        wire.parse(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_TYPES = st.sampled_from(
    [
        "audio_chunk",
        "transcript",
        "speech_start",
        "speech_end",
        "stop_recording",
        "translation",
        "named_entity_recognition",
        "sentiment_analysis",
        "post_final_transcript",
        "end_session",
        "error",
        "other",
    ]
)


@given(_TYPES, _JSON, _JSON, st.sampled_from([True, False]))
def test_any_json_is_a_message_or_malformed(kind: str, data: Any, error: Any, acknowledged: bool) -> None:
    """Nothing that a provider can write raises anything else."""
    said = {"type": kind, "data": data, "error": error, "acknowledged": acknowledged}
    for separators in ((", ", ": "), (",", ":")):
        with contextlib.suppress(MalformedMessage):
            wire.parse(json.dumps(said, separators=separators))


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_a_message_or_malformed(text: bytes | str) -> None:
    with contextlib.suppress(MalformedMessage):
        wire.parse(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message":"gladia user not found"}', "gladia user not found"),
        (b'{"message":"Bad Request","validation_errors":["a is wrong","b too"]}', "a is wrong; b too"),
        (b"<html>502</html>", "<html>502</html>"),
        (b"", "no message"),
        (b"{}", "no message"),
        (b"[1]", "[1]"),
    ],
)
def test_the_readable_part_of_an_error_is_found(body: bytes, text: str) -> None:
    assert wire.error_text(body) == text


def test_a_plain_request_names_format_and_messages_and_nothing_else() -> None:
    body = wire.session_request(wire.LiveConfig(endpointing_s=None, maximum_utterance_s=None))
    assert set(body) == {
        "encoding", "sample_rate", "bit_depth", "channels", "language_config", "messages_config",
    }  # fmt: skip
    assert (body["encoding"], body["sample_rate"], body["bit_depth"], body["channels"]) == ("wav/pcm", 16_000, 16, 1)
    assert all(body["messages_config"].values())


def test_every_option_is_sent_where_the_provider_expects_it() -> None:
    body = wire.session_request(
        wire.LiveConfig(
            languages=("en", "fr"),
            code_switching=True,
            model="solaria-1",
            region="eu-west",
            endpointing_s=0.2,
            maximum_utterance_s=20,
            speech_threshold=0.5,
            custom_vocabulary=("Gladia", {"value": "LiveKit", "intensity": 0.4}),
            custom_spelling={"SQL": ("sequel",)},
            translate_to=("de",),
            named_entities=True,
            sentiment=True,
            metadata={"identity": "anna"},
        )
    )
    assert "region" not in body  # it belongs in the query; in the body it is answered with 400
    assert body["language_config"] == {"languages": ["en", "fr"], "code_switching": True}
    assert (body["model"], body["endpointing"], body["maximum_duration_without_endpointing"]) == ("solaria-1", 0.2, 20)
    assert body["pre_processing"] == {"speech_threshold": 0.5}
    assert body["custom_metadata"] == {"identity": "anna"}
    assert body["realtime_processing"] == {
        "custom_vocabulary": True,
        "custom_vocabulary_config": {"vocabulary": ["Gladia", {"value": "LiveKit", "intensity": 0.4}]},
        "custom_spelling": True,
        "custom_spelling_config": {"spelling_dictionary": {"SQL": ["sequel"]}},
        "translation": True,
        "translation_config": {"target_languages": ["de"]},
        "named_entity_recognition": True,
        "sentiment_analysis": True,
    }
