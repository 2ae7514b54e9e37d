"""The body of `POST /v2/live`: every field, its range, its default."""

from __future__ import annotations

from typing import Any

import pytest

from stt.local.request import LANGUAGES, TARGETS, BadRequest, SessionConfig, parse_request


def parse(body: Any, languages: frozenset[str] | None = None) -> SessionConfig:
    return parse_request(body, engine="test", languages=languages)[0]


def problems(body: Any, languages: frozenset[str] | None = None) -> list[str]:
    with pytest.raises(BadRequest) as caught:
        parse(body, languages)
    return caught.value.problems


def test_an_empty_body_means_the_documented_defaults() -> None:
    config = parse({})
    assert (config.encoding, config.sample_rate, config.sample_bytes, config.channels) == ("wav/pcm", 16_000, 2, 1)
    assert (config.endpointing_s, config.longest_s) == (0.05, 5.0)
    assert config.byte_rate == 32_000
    assert config.socket.finals and config.socket.acknowledgments and config.socket.speech
    assert not config.socket.partials and not config.socket.lifecycle
    assert config.callback.finals and config.callback.lifecycle
    assert not config.callback.acknowledgments and not config.callback.errors and not config.callback.speech
    assert config.callback_url is None and config.summary is None and config.targets == ()


def test_there_are_99_languages_and_one_more_to_translate_to() -> None:
    assert len(LANGUAGES) == 99
    assert {"wo"} == TARGETS - LANGUAGES


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "the body must be a JSON object"),
        ({"encoding": "mp3"}, "encoding must be one of the following values: wav/pcm, wav/alaw, wav/ulaw"),
        ({"bit_depth": 12}, "bit_depth must be one of the following values: 8, 16, 24, 32"),
        ({"sample_rate": 11025}, "sample_rate must be one of the following values: 8000, 16000, 32000, 44100, 48000"),
        ({"sample_rate": "16000"}, "sample_rate must be one of"),
        ({"channels": 0}, "channels must be between 1 and 8"),
        ({"channels": 9}, "channels must be between 1 and 8"),
        ({"channels": 1.5}, "channels must be an integer"),
        ({"channels": True}, "channels must be an integer"),
        ({"model": "solaria-3"}, "model must be one of the following values: solaria-1"),
        ({"endpointing": 0.001}, "endpointing must be between 0.01 and 10"),
        ({"endpointing": 10.1}, "endpointing must be between 0.01 and 10"),
        ({"endpointing": "fast"}, "endpointing must be a number"),
        ({"maximum_duration_without_endpointing": 4}, "must be between 5 and 60"),
        ({"maximum_duration_without_endpointing": 61}, "must be between 5 and 60"),
        ({"language_config": []}, "language_config must be an object"),
        ({"language_config": {"languages": "en"}}, "language_config.languages must be an array"),
        ({"language_config": {"languages": ["xx"]}}, "language_config.languages.0 must be a supported language code"),
        ({"language_config": {"code_switching": 1}}, "language_config.code_switching must be a boolean"),
        ({"pre_processing": {"speech_threshold": 1.1}}, "pre_processing.speech_threshold must be between 0 and 1"),
        ({"pre_processing": {"audio_enhancer": "yes"}}, "pre_processing.audio_enhancer must be a boolean"),
        ({"realtime_processing": {"translation_config": {}}}, "translation_config.target_languages is required"),
        (
            {"realtime_processing": {"translation_config": {"target_languages": []}}},
            "target_languages must contain at least 1 element",
        ),
        (
            {"realtime_processing": {"translation_config": {"target_languages": ["fr"], "model": "best"}}},
            "translation_config.model must be one of the following values: base, batch, enhanced",
        ),
        ({"realtime_processing": {"custom_vocabulary_config": {}}}, "custom_vocabulary_config.vocabulary is required"),
        (
            {"realtime_processing": {"custom_vocabulary_config": {"vocabulary": [{"intensity": 0.5}]}}},
            "vocabulary.0.value is required",
        ),
        (
            {"realtime_processing": {"custom_vocabulary_config": {"vocabulary": [{"value": "a", "intensity": 2}]}}},
            "vocabulary.0.intensity must be between 0 and 1",
        ),
        (
            {"realtime_processing": {"custom_spelling_config": {"spelling_dictionary": {"SQL": "sequel"}}}},
            "spelling_dictionary.SQL must be an array",
        ),
        ({"post_processing": {"summarization_config": {"type": "long"}}}, "summarization_config.type must be one of"),
        ({"messages_config": {"receive_errors": None}}, "messages_config.receive_errors must be a boolean"),
        ({"callback_config": {"url": "ftp://x"}}, "callback_config.url must be an http(s) URL"),
        ({"custom_metadata": []}, "custom_metadata must be an object"),
        ({"custom_metadata": {"a": "x" * 2000}}, "custom_metadata must be at most 2000 characters of JSON"),
        ({"region": "eu-west"}, "region must be given in the query string"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(body: Any, problem: str) -> None:
    found = problems(body)
    assert len(found) == 1
    assert problem in found[0]


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems({"channels": 0, "bit_depth": 1, "callback": "yes"})) == 3


def test_the_edges_of_every_range_are_allowed() -> None:
    for body in (
        {"channels": 8, "endpointing": 10, "maximum_duration_without_endpointing": 60},
        {"channels": 1, "endpointing": 0.01, "maximum_duration_without_endpointing": 5},
        {"custom_metadata": {"a": "x" * (2000 - len('{"a":""}'))}},
    ):
        parse(body)


def test_unknown_fields_are_accepted_and_named() -> None:
    body = {"pii_redaction": True, "realtime_processing": {"words_accurate_timestamps": False, "magic": 1}}
    assert parse_request(body, engine="test", languages=None)[1] == ("pii_redaction", "realtime_processing.magic")


def test_g711_has_one_byte_per_sample_whatever_the_bit_depth_says() -> None:
    assert parse({"encoding": "wav/ulaw", "sample_rate": 8000, "bit_depth": 16}).byte_rate == 8000
    assert parse({"bit_depth": 24, "channels": 2, "sample_rate": 48_000}).byte_rate == 288_000


def test_a_language_the_engine_cannot_hear_is_refused_by_name() -> None:
    english = frozenset({"en"})
    assert parse({"language_config": {"languages": ["en"]}}, english).languages == ("en",)
    (problem,) = problems({"language_config": {"languages": ["en", "fr"]}}, english)
    assert "understands en only, not fr" in problem


def test_a_switched_off_feature_leaves_its_configuration_unused() -> None:
    config = parse(
        {
            "realtime_processing": {"translation": False, "translation_config": {"target_languages": ["fr"]}},
            "post_processing": {"summarization": False, "summarization_config": {"type": "concise"}},
            "callback": False,
            "callback_config": {"url": "http://127.0.0.1:1/"},
        }
    )
    assert (config.targets, config.summary, config.callback_url) == ((), None, None)


def test_metadata_is_kept_out_of_the_request_parameters() -> None:
    config = parse({"custom_metadata": {"room": "a"}, "channels": 2})
    assert config.metadata == {"room": "a"}
    assert config.params == {"channels": 2}
