"""What the provider is asked to do: kept with the run, and read again by whoever goes on with it."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from gateway.api.schemas import StartBody
from gateway.api.wishes import speech
from gateway.transcription.domain.annotations import on_session
from gateway.transcription.domain.speech import (
    PRESETS,
    SpeechOptions,
    TranslationStyle,
    VocabularyWord,
    with_preset,
)

ALL = SpeechOptions(
    languages=("de", "en"),
    code_switching=True,
    custom_vocabulary=("Zugspitze", VocabularyWord("Gladia", 0.4, ("gladja",), "de")),
    translate_to=("fr",),
    vocabulary_intensity=0.3,
    custom_spelling={"Anna": ("Ana", "Hannah")},
    translation=TranslationStyle("enhanced", False, False, True, "a call about alps", True),
    named_entities=True,
    sentiment=True,
    endpointing=0.7,
    maximum_duration_without_endpointing=12.0,
    speech_threshold=0.5,
    audio_enhancer=True,
    model="solaria-1",
    region="us-west",
    participant_names=False,
)


def test_an_adopter_reads_what_start_said() -> None:
    stored = ALL.stored()
    assert set(stored) == {field.encode_name for field in msgspec.structs.fields(SpeechOptions)}
    assert SpeechOptions.read({**stored, "costCapUsd": 3.0, "participantName": None}) == ALL
    assert SpeechOptions().stored() == {}


def test_runs_of_an_older_version_are_gone_on_with() -> None:
    older = {
        "languages": ["de"],
        "codeSwitching": True,
        "customVocabulary": ["x"],
        "translateTo": [],
        "costCapUsd": None,
    }
    assert SpeechOptions.read(older) == SpeechOptions(("de",), True, ("x",))


def test_every_option_can_be_said_to_start() -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(StartBody)}
    assert fields >= {field.encode_name for field in msgspec.structs.fields(SpeechOptions)}


def test_what_is_found_in_an_utterance_is_placed_on_the_sessions_clock() -> None:
    result = {"entity_type": "DATE", "text": "monday", "start": 1.5, "end": 1.75, "channel": 0}
    shown = on_session(result, timedelta(seconds=10))
    assert shown == {"entityType": "DATE", "text": "monday", "startMs": 11_500, "endMs": 11_750}


def test_a_preset_fills_what_a_start_leaves_open() -> None:
    """Within what the provider takes, and where names are not heard for others."""
    body = StartBody(session_slug="abc", language="de", preset="meeting", endpointing=0.8)
    asked = speech(body)
    assert (asked.endpointing, asked.maximum_duration_without_endpointing, asked.vocabulary_intensity) == (0.8, 60, 0.4)
    for preset in PRESETS.values():
        filled = msgspec.convert({"sessionSlug": "abc", **with_preset(SpeechOptions(), preset).stored()}, StartBody)
        assert filled.vocabulary_intensity == 0.4
