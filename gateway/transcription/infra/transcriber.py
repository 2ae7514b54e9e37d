"""The speech provider's client as a `Transcriber`: its events become the domain's words."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.transcription.domain.errors import ProviderRefusedKey
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.infra.traced import SessionSpans
from gateway.transcription.infra.voice import Voice, VoicedLink
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
from stt.errors import ProviderRefused, SttError
from stt.gladia import events as gladia
from stt.gladia.client import GladiaLink, Provider, SessionReport
from stt.gladia.messages import LiveConfig

log = logging.getLogger(__name__)

# How long a good answer about the key is believed before `start` asks again.
_TRUST_S: Final = 60.0
_KINDS: Final = {"named_entity_recognition": "namedEntities", "sentiment_analysis": "sentiment"}


class GladiaTranscriber:
    """One provider account. `engine` is what people are shown; `process` names this run of this replica.

    `endpointing_s`, `maximum_utterance_s`: for transcriptions that ask for none; None: the provider's choice.
    """

    def __init__(
        self,
        provider: Provider,
        engine: str,
        voice: Voice,
        *,
        process: str,
        endpointing_s: float | None,
        maximum_utterance_s: float | None,
    ) -> None:
        self._process = process
        self._provider = provider
        self._voice = voice
        self._engine = engine
        self._endpointing_s = endpointing_s
        self._maximum_utterance_s = maximum_utterance_s
        self._trusted = "", 0.0  # a key that was good, and until when that is taken for granted

    @property
    def engine(self) -> str:
        return self._engine

    @property
    def trouble(self) -> str | None:
        return self._provider.trouble

    @property
    def gate(self) -> str:
        return self._voice.options.gate

    async def check_key(self) -> None:
        """Raises: ProviderRefusedKey when the provider rejects our key; other trouble is left to the link."""
        key, (trusted, until) = self._provider.key, self._trusted
        if key == trusted and time.monotonic() < until:
            return
        try:
            await self._provider.check()
        except ProviderRefused as error:
            if error.status in (401, 403):
                raise ProviderRefusedKey(str(error)) from error
            return  # an emulator without the list route says nothing about the key
        except SttError as error:
            log.warning("the speech provider could not be asked: %s", error)
            return
        self._trusted = key, time.monotonic() + _TRUST_S

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> VoicedLink:
        """The link has the voice gate before it; `hear` is called after the gate has noticed the event."""
        config = self._config(options, labels)

        spans = SessionSpans()

        def note(session: SessionReport) -> None:
            spans.report(session)
            report(
                ProviderSession(
                    session.id,
                    session.over,
                    session.seconds_sent,
                    session.outcome,
                    session.seconds_resent,
                    session.url,
                    session.is_current,
                )
            )

        def open_link(first: Callable[[gladia.LinkEvent], None]) -> GladiaLink:
            def listen(event: gladia.LinkEvent) -> None:
                first(event)
                speech = _translate(event)
                if speech is not None:
                    hear(speech)

            link = self._provider.link(config, listen, note)
            link.on_line = spans.line
            return link

        voiced = self._voice.link(open_link, labels.get("identity", ""), config.endpointing_s)
        voiced.configure = lambda options: self._config(options, labels)
        return voiced

    def _config(self, options: SpeechOptions, labels: Mapping[str, str]) -> LiveConfig:
        """Options go to the client's fields of the same name; only what differs is told here."""
        asked = structs.asdict(options)
        del asked["participant_names"]  # they are among the words
        endpointing_s = _first(asked.pop("endpointing"), self._endpointing_s)
        maximum_s = _first(asked.pop("maximum_duration_without_endpointing"), self._maximum_utterance_s)
        # Inside these two the provider's names are ours in another spelling.
        asked["custom_vocabulary"] = tuple(
            word if isinstance(word, str) else msgspec.to_builtins(word) for word in options.custom_vocabulary
        )
        asked["translation"] = _snake(msgspec.to_builtins(options.translation)) if options.translation else {}
        # By the labels a session is known whose URL is not: see `usecases/sweep.py`.
        metadata = {**labels, "process": self._process}
        return LiveConfig(**asked, endpointing_s=endpointing_s, maximum_utterance_s=maximum_s, metadata=metadata)


def _translate(event: gladia.LinkEvent) -> Speech | None:
    match event:
        case gladia.Heard(heard):
            return heard
        case gladia.Retracted(utterance_id):
            return Withdrawn(utterance_id)
        case gladia.TranslationHeard(utterance_id, original, target, text):
            return Translation(utterance_id, original, target, text)
        case gladia.AudioGivenUp(start, end, kind):
            return SpeechLost(start, end, kind)
        case gladia.Complained(about, message, kind):
            return ProviderComplaint(f"{about}: {message}", kind)
        case gladia.Unusable(kind, may_be_final):
            return Unread(kind, may_be_final)
        case gladia.AnnotationHeard(kind, utterance_id, results):
            found = tuple(one for one in results if isinstance(one, dict))
            return Annotation(utterance_id, _KINDS.get(kind, kind), found)
        case gladia.SpeechChanged():
            return None


def _first(asked: float | None, setting: float | None) -> float | None:
    return setting if asked is None else asked


def _snake(names: Mapping[str, Any]) -> dict[str, Any]:
    """`contextAdaptation` → `context_adaptation`, of the keys."""
    return {re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", name): value for name, value in names.items()}
