"""Gladia Live v2 on the wire: JSON to types and back. No I/O, no clock.

Source of the shapes: the vendor's OpenAPI document of 2026-08-23. Where its sources disagree we accept both;
unknown types and unknown fields pass by. Of what has text in it an odd field is taken as left out (`lenient`); a
message that lacks what it is for raises MalformedMessage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from stt.errors import MalformedMessage
from stt.gladia import lenient
from stt.gladia.complaints import reason
from stt.reading import MALFORMED

STOP: Final = '{"type":"stop_recording"}'
# An empty chunk keeps an idle connection: the service drops one after 30 s without audio.
KEEPALIVE: Final = '{"type":"audio_chunk","data":{"chunk":""}}'

# Longer than any session; keeps arithmetic on what a confused provider sends within bounds.
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
UNPLACED: Final = 1e6
"""The time of what has none: later than any audio, so it is not believed."""

# Nearly all messages are of two types, which are told by their prefix and read in one go. In another order of fields
# they are understood as well.
_ACK_PREFIX: Final = '{"type":"audio_chunk"'
_TRANSCRIPT_PREFIX: Final = '{"type":"transcript"'
_ESCAPED_NUL: Final = rb"\u0000"

_LONGEST_CODE: Final = 35  # of a language, with script and region


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """What one provider session is asked to do. The audio format is always 16 kHz mono s16le."""

    languages: tuple[str, ...] = ()
    code_switching: bool = False
    model: str | None = None
    region: str | None = None
    endpointing_s: float | None = 0.3
    maximum_utterance_s: float | None = 15.0
    speech_threshold: float | None = None
    audio_enhancer: bool | None = None
    custom_vocabulary: tuple[str | Mapping[str, Any], ...] = ()
    vocabulary_intensity: float | None = None
    custom_spelling: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    translate_to: tuple[str, ...] = ()
    translation: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of `translation_config`, under the provider's names."""
    named_entities: bool = False
    sentiment: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


def session_request(config: LiveConfig) -> dict[str, Any]:
    """Body of `POST /v2/live`. Only what is asked for is sent: some unknown fields are answered with 400."""
    realtime: dict[str, Any] = {}
    if config.custom_vocabulary:
        realtime["custom_vocabulary"] = True
        words: dict[str, Any] = {"vocabulary": list(config.custom_vocabulary)}
        if config.vocabulary_intensity is not None:
            words["default_intensity"] = config.vocabulary_intensity
        realtime["custom_vocabulary_config"] = words
    if config.custom_spelling:
        realtime["custom_spelling"] = True
        realtime["custom_spelling_config"] = {
            "spelling_dictionary": {word: list(forms) for word, forms in config.custom_spelling.items()}
        }
    if config.translate_to:
        realtime["translation"] = True
        realtime["translation_config"] = {"target_languages": list(config.translate_to), **config.translation}
    if config.named_entities:
        realtime["named_entity_recognition"] = True
    if config.sentiment:
        realtime["sentiment_analysis"] = True
    body: dict[str, Any] = {
        "encoding": "wav/pcm",
        "sample_rate": 16_000,
        "bit_depth": 16,
        "channels": 1,
        "language_config": {"languages": list(config.languages), "code_switching": config.code_switching},
        "messages_config": {
            "receive_partial_transcripts": True,
            "receive_final_transcripts": True,
            "receive_speech_events": True,
            "receive_acknowledgments": True,
            "receive_errors": True,
            "receive_lifecycle_events": True,
            # The whole result comes once more at the end: no final can be missing then.
            "receive_post_processing_events": True,
        },
    }
    if config.model:
        body["model"] = config.model
    if config.endpointing_s is not None:
        body["endpointing"] = config.endpointing_s
    if config.maximum_utterance_s is not None:
        body["maximum_duration_without_endpointing"] = config.maximum_utterance_s
    given = {"speech_threshold": config.speech_threshold, "audio_enhancer": config.audio_enhancer}
    if asked := {name: value for name, value in given.items() if value is not None}:
        body["pre_processing"] = asked
    if realtime:
        body["realtime_processing"] = realtime
    if config.metadata:
        body["custom_metadata"] = dict(config.metadata)
    return body


# --- REST answers ---------------------------------------------------------------------------------------------


class SessionCreated(msgspec.Struct, frozen=True):
    """Answer of `POST /v2/live`. `url` is opaque and carries the only credential the socket needs."""

    id: str
    url: str


class ListedSession(msgspec.Struct, frozen=True):
    """One item of `GET /v2/live`. `custom_metadata` is what `POST` was given."""

    id: str
    status: str = ""
    custom_metadata: dict[str, Any] | None = None


class SessionList(msgspec.Struct, frozen=True):
    """A page of `GET /v2/live`, newest first. `next`: where the next one is, None on the last."""

    items: tuple[ListedSession, ...] = ()
    next: str | None = None


class _Word(msgspec.Struct, frozen=True):
    """One word, its times as those of its utterance."""

    word: str
    start: Seconds = UNPLACED
    end: Seconds = UNPLACED
    confidence: float = 0.0


class SpokenUtterance(msgspec.Struct, frozen=True):
    """An utterance on the *session's* timeline: `start` and `end` in seconds of audio received, or UNPLACED."""

    text: str
    start: Seconds = UNPLACED
    end: Seconds = UNPLACED
    confidence: float = 0.0
    channel: int = 0
    language: str | None = None
    words: tuple[_Word, ...] = ()

    @property
    def visible_text(self) -> str:
        """Without space at either end; empty when there is nothing to see."""
        text = self.text.strip()
        return text if "!" <= text[:1] <= "~" or not lenient.is_blank(text) else ""

    @property
    def known_language(self) -> str | None:
        """None also for what is no code of a language."""
        code = self.language
        return (
            code if code is not None and len(code) <= _LONGEST_CODE and code.isascii() and code.isprintable() else None
        )

    @property
    def share(self) -> float:
        """The confidence, 0 to 1."""
        return min(max(self.confidence, 0.0), 1.0)


class _Transcription(msgspec.Struct, frozen=True):
    utterances: tuple[SpokenUtterance | None, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    billing_time: float | None = None
    audio_duration: Seconds | None = None


class Result(msgspec.Struct, frozen=True):
    """All that was heard in one session."""

    metadata: _Metadata | None = None
    transcription: _Transcription | None = None
    translation: Any = None

    @property
    def utterances(self) -> tuple[SpokenUtterance, ...]:
        """Every final of the session that can be read; none when the provider left them out."""
        return tuple(one for one in self._told if one is not None)

    @property
    def unread(self) -> int:
        """How many there are besides whose text cannot be read."""
        return sum(one is None for one in self._told)

    @property
    def _told(self) -> tuple[SpokenUtterance | None, ...]:
        return self.transcription.utterances if self.transcription else ()

    @property
    def audio_seconds(self) -> float | None:
        """How much audio the provider counted; None when it does not say."""
        return self.metadata.audio_duration if self.metadata else None

    @property
    def billing_seconds(self) -> float | None:
        """What the provider bills, in seconds of audio; None when it does not say."""
        return self.metadata.billing_time if self.metadata else None


class SessionResult(msgspec.Struct, frozen=True):
    """Answer of `GET /v2/live/{id}`; `result` is there once `status` is `done`."""

    id: str = ""
    status: str = ""
    result: Result | None = None

    @property
    def is_running(self) -> bool:
        """Whether the session has not ended yet, or the answer does not say: asking again can help."""
        return self.status in ("queued", "processing", "")

    @property
    def final_result(self) -> Result | None:
        """The result of a session that ended well; None for one that runs or has failed."""
        return self.result if self.status == "done" else None


def error_text(body: bytes) -> str:
    """The readable part of an error answer, whatever its shape."""
    try:
        data = msgspec.json.decode(body, type=dict[str, Any])
    except MALFORMED:
        return body[:200].decode("utf-8", "replace") or "no message"
    problems = data.get("validation_errors")
    if isinstance(problems, list) and problems:
        return "; ".join(str(problem) for problem in problems)
    return str(data.get("message") or "no message")


# --- WebSocket messages ---------------------------------------------------------------------------------------


class AudioAcknowledged(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes of the session from `begin` to `end` (exclusive) were received, counted over the whole session.

    On the wire a pair.
    """

    begin: int
    end: int


class AudioRefused(msgspec.Struct, frozen=True):
    """The service takes no more audio in this session. `code`: its own word for why, or an HTTP status."""

    reason: str
    code: str = ""


class StopAcknowledged(msgspec.Struct, frozen=True):
    """`stop_recording` was received; finals may still follow."""


class Transcribed(msgspec.Struct, frozen=True):
    """A partial or a final. `id` counts the session's utterances and may restart when it is resumed."""

    id: str
    is_final: bool
    utterance: SpokenUtterance


class SpeechStarted(msgspec.Struct, frozen=True):
    """Speech began at `time`, in seconds of the session."""

    time: float


class SpeechEnded(msgspec.Struct, frozen=True):
    """Speech ended at `time`, in seconds of the session."""

    time: float


class Translated(msgspec.Struct, frozen=True):
    """A final's text in another language. `utterance_id` is the final's id, or only the counter in it."""

    utterance_id: str
    channel: int
    original_language: str | None
    target_language: str
    text: str


class Noted(msgspec.Struct, frozen=True):
    """Named entities or sentiments, passed through as the provider sent them."""

    kind: str
    utterance_id: str
    results: tuple[Any, ...]


class Concluded(msgspec.Struct, frozen=True):
    """After the last final: the result of the whole session."""

    result: Result


class SessionEnded(msgspec.Struct, frozen=True):
    """Nothing more will come."""


class Complaint(msgspec.Struct, frozen=True):
    """The service reports an error of its own, in any of its three forms. `code` as in AudioRefused."""

    about: str
    message: str
    code: str = ""


class Ignored(msgspec.Struct, frozen=True):
    """A type that this client has no use for, known or unknown."""

    type: str


Message = (
    AudioAcknowledged
    | AudioRefused
    | StopAcknowledged
    | Transcribed
    | SpeechStarted
    | SpeechEnded
    | Translated
    | Noted
    | Concluded
    | SessionEnded
    | Complaint
    | Ignored
)


class _AckData(msgspec.Struct, frozen=True):
    byte_range: AudioAcknowledged


class _Ack(msgspec.Struct, frozen=True):
    acknowledged: bool = True
    error: Any = None
    data: _AckData | None = None


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    acknowledged: bool = True
    message: Any = None
    code: Any = None


class _Transcript(msgspec.Struct, frozen=True):
    data: Transcribed | None = None


class _SpeechData(msgspec.Struct, frozen=True):
    time: Seconds


class _TranslationData(msgspec.Struct, frozen=True):
    utterance_id: str | int
    target_language: str
    translated_utterance: SpokenUtterance
    original_language: str | None = None


class _AnnotationData(msgspec.Struct, frozen=True):
    utterance_id: str | int
    results: list[Any] | None = None


_ack = msgspec.json.Decoder(_Ack).decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_transcript = msgspec.json.Decoder(_Transcript).decode
parse_created = msgspec.json.Decoder(SessionCreated).decode
parse_list = msgspec.json.Decoder(SessionList).decode
_result = msgspec.json.Decoder(SessionResult).decode


def parse_result(body: bytes) -> SessionResult:
    """Read the answer of `GET /v2/live/{id}`, as far as it can be read. Raises: ValueError, RecursionError."""
    if _ESCAPED_NUL not in body:
        with suppress(ValueError, RecursionError):
            return _result(body)
    found: SessionResult = lenient.read(lenient.decode(body), SessionResult)
    return found


def parse(text: str | bytes) -> Message:
    """Read one message of the service.

    Raises: MalformedMessage when it is not JSON, or a type we use lacks what we need.
    """
    try:
        if isinstance(text, str):
            if text.startswith(_ACK_PREFIX):
                ack = _ack(text)
                return ack.data.byte_range if ack.data is not None and ack.acknowledged else _acknowledged(ack)
            if text.startswith(_TRANSCRIPT_PREFIX) and "\\u0000" not in text and (found := _transcript(text).data):
                return found
        return _any(text)
    except MALFORMED:
        pass
    try:
        return _odd(text)
    except MALFORMED as error:
        kind, may_be_final = lenient.told_by(text)
        raise MalformedMessage(kind, str(error), may_be_final=may_be_final) from error


def _any(text: str | bytes) -> Message:
    """A message of any type, its values as documented. Raises: ValueError, RecursionError."""
    if (_ESCAPED_NUL if isinstance(text, bytes) else "\\u0000") in text:  # type: ignore[operator]
        raise ValueError("a NUL in a text")
    envelope = _envelope(text)
    is_empty = bytes(envelope.data) == b"null"
    return _message(envelope, is_empty, lambda wanted: msgspec.json.decode(envelope.data, type=wanted))


def _odd(text: str | bytes) -> Message:
    """A message with odd values in it. Raises: ValueError, RecursionError."""
    tree = lenient.decode(text)
    if not isinstance(tree, dict):
        raise ValueError("not an object")
    data = tree.pop("data", None)
    if isinstance(data, dict) and not isinstance(data.get("id"), str):
        data["id"] = ""  # of a transcript: without an id it is still said
    envelope: _Envelope = lenient.read(tree, _Envelope)

    def read(wanted: Any) -> Any:
        # Where there is no text that could be lost, half a message is none.
        is_strict = wanted in (_AckData, _SpeechData)
        return msgspec.convert(data, wanted) if is_strict else lenient.read(data, wanted)

    return _message(envelope, data is None, read)


def _message(envelope: _Envelope, is_empty: bool, read: Callable[[Any], Any]) -> Message:
    """`read` reads its data as a type. Raises: ValueError, RecursionError."""
    match envelope.type:
        case "audio_chunk":
            return _acknowledged(_Ack(envelope.acknowledged, envelope.error, None if is_empty else read(_AckData)))
        case _ if envelope.error is not None and is_empty:
            return Complaint(envelope.type, *reason(envelope.error))
        case "transcript":
            found: Transcribed = read(Transcribed)
            return found
        case "speech_start":
            return SpeechStarted(read(_SpeechData).time)
        case "speech_end":
            return SpeechEnded(read(_SpeechData).time)
        case "stop_recording":
            return StopAcknowledged() if envelope.acknowledged else Complaint("stop_recording", "refused")
        case "translation":
            said: _TranslationData = read(_TranslationData)
            spoken = said.translated_utterance
            about, text = str(said.utterance_id), spoken.visible_text
            return Translated(about, spoken.channel, said.original_language, said.target_language, text)
        case "named_entity_recognition" | "sentiment_analysis":
            note: _AnnotationData = read(_AnnotationData)
            return Noted(envelope.type, str(note.utterance_id), tuple(note.results or ()))
        case "post_final_transcript":
            return Concluded(read(Result))
        case "end_session":
            return SessionEnded()
        case "error":
            told = None if is_empty else read(Any)
            return Complaint("error", *reason(told or {"message": envelope.message, "code": envelope.code}))
        case other:
            return Ignored(other)


def _acknowledged(ack: _Ack) -> Message:
    if ack.data is not None and ack.acknowledged:
        return ack.data.byte_range
    if ack.acknowledged and ack.error is None:
        raise ValueError("an acknowledgement of nothing")
    return AudioRefused(*reason(ack.error, "no reason given"))
