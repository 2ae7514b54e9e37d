"""What is asked of the provider's client, and what its events become: word for word."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.transcription.domain.speech import SpeechOptions, TranslationStyle, VocabularyWord
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import Voice, VoiceOptions
from gateway.transcription.usecases.speech import (
    Annotation,
    ProviderComplaint,
    ProviderSession,
    Speech,
    SpeechLost,
    Translation,
    Unread,
    Withdrawn,
)
from stt import transcript
from stt.gladia import events
from stt.gladia.client import Provider, SessionReport
from stt.gladia.messages import LiveConfig


class FakeProvider:
    """Opens one link, and hands out what it was given."""

    key = "k"
    config: LiveConfig
    say: Callable[[events.LinkEvent], None]
    note: Callable[[SessionReport], None]

    def link(
        self, config: LiveConfig, say: Callable[[events.LinkEvent], None], note: Callable[[SessionReport], None]
    ) -> object:
        self.config, self.say, self.note = config, say, note
        return SimpleNamespace()


class Opened:
    def __init__(self, options: SpeechOptions | None = None) -> None:
        self.provider = FakeProvider()
        self.heard: list[Speech] = []
        self.reports: list[ProviderSession] = []
        transcriber = GladiaTranscriber(
            cast(Provider, self.provider),
            "gladia",
            Voice(VoiceOptions(gate="off")),
            process="me/1",
            endpointing_s=0.3,
            maximum_utterance_s=15.0,
        )
        labels = {"transcription": "t", "identity": "anna"}
        transcriber.open(options or SpeechOptions(), labels, self.heard.append, self.reports.append)

    @property
    def config(self) -> LiveConfig:
        return self.provider.config


SPOKEN = transcript.Utterance(
    "p:1", True, "Good morning.", "en", 1.0, 2.0, 0.9, (transcript.Word("Good", 1.0, 1.4, 0.9),)
)


@pytest.mark.parametrize(
    ("event", "speech"),
    [
        (
            events.Heard(SPOKEN),
            SPOKEN,
        ),
        (events.Retracted("p:1"), Withdrawn("p:1")),
        (events.TranslationHeard("p:1", "en", "de", "Guten Morgen."), Translation("p:1", "en", "de", "Guten Morgen.")),
        (events.AudioGivenUp(1.0, 2.5), SpeechLost(1.0, 2.5)),
        (events.Complained("audio_chunk", "too long"), ProviderComplaint("audio_chunk: too long")),
        (events.Complained("close", "no credit", "quota"), ProviderComplaint("close: no credit", "quota")),
        (events.Unusable("transcript", True), Unread("transcript", True)),
        (
            events.AnnotationHeard("named_entity_recognition", "p:1", ({"text": "Anna"}, "no object")),
            Annotation("p:1", "namedEntities", ({"text": "Anna"},)),
        ),
        (events.AnnotationHeard("sentiment_analysis", "p:1", ()), Annotation("p:1", "sentiment", ())),
        (events.SpeechChanged(True, 1.0), None),
    ],
)
def test_every_event_becomes_what_a_run_hears(event: events.LinkEvent, speech: Speech | None) -> None:
    opened = Opened()
    opened.provider.say(event)
    assert opened.heard == ([speech] if speech is not None else [])


def test_a_session_is_reported_with_all_that_the_ledger_needs() -> None:
    opened = Opened()
    opened.provider.note(SessionReport("p", True, 1.5, "closed", 0.5, "wss://secret"))
    assert opened.reports == [ProviderSession("p", True, 1.5, "closed", 0.5, "wss://secret")]


def test_every_option_reaches_the_client() -> None:
    """Under the client's name, the rest of a translation's style under the provider's."""
    asked: dict[str, Any] = {
        "languages": ("en", "fr"),
        "code_switching": True,
        "translate_to": ("de",),
        "vocabulary_intensity": 0.3,
        "custom_spelling": {"Anna": ("Ana",)},
        "named_entities": True,
        "sentiment": True,
        "speech_threshold": 0.5,
        "audio_enhancer": True,
        "model": "solaria-1",
        "region": "us-west",
    }
    vocabulary = ("Zugspitze", VocabularyWord("Gladia", 0.4, ("gladja",), "de"))
    style = TranslationStyle("enhanced", match_original_utterances=False)
    config = Opened(
        SpeechOptions(
            custom_vocabulary=vocabulary,
            translation=style,
            endpointing=0.15,
            maximum_duration_without_endpointing=12.0,
            **asked,
        )
    ).config
    assert {name: getattr(config, name) for name in asked} == asked
    word = {"value": "Gladia", "intensity": 0.4, "pronunciations": ("gladja",), "language": "de"}
    assert config.custom_vocabulary == ("Zugspitze", word)
    assert config.translation == {"model": "enhanced", "match_original_utterances": False}
    assert (config.endpointing_s, config.maximum_utterance_s) == (0.15, 12.0)
    assert config.metadata == {"transcription": "t", "identity": "anna", "process": "me/1"}


def test_what_is_not_asked_for_is_the_settings_or_the_providers_choice() -> None:
    config = Opened().config
    assert (config.endpointing_s, config.maximum_utterance_s) == (0.3, 15.0)
    assert (config.model, config.translation, config.custom_vocabulary) == (None, {}, ())
