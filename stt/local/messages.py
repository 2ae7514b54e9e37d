"""Messages from the server, before they become JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from stt.local.recogniser import Word
from stt.local.request import Wants


class Topic(Enum):
    """Class of a message: the attribute of `Wants` that asks for it."""

    PARTIAL = "partials"
    FINAL = "finals"
    SPEECH = "speech"
    REALTIME = "realtime"
    POST = "post_processing"
    ACK = "acknowledgments"
    ERROR = "errors"
    LIFECYCLE = "lifecycle"

    def wanted(self, wants: Wants) -> bool:
        """Whether a receiver asked for messages of this class."""
        return bool(getattr(wants, self.value))


@dataclass(frozen=True, slots=True)
class Message:
    """`body` holds what stands beside type, session_id and created_at."""

    topic: Topic
    type: str
    body: dict[str, Any]

    def wire(self, session_id: str, created_at: datetime) -> dict[str, Any]:
        """The message as an object, ready for JSON."""
        return {"type": self.type, "session_id": session_id, "created_at": iso(created_at), **self.body}


def iso(moment: datetime) -> str:
    """ISO 8601 UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lifecycle(type_: str) -> Message:
    """`start_session`, `start_recording` or `end_session`, which have no data."""
    return Message(Topic.LIFECYCLE, type_, {})


def end_recording(duration: float) -> Message:
    """`duration`: seconds of audio in the whole session."""
    return Message(Topic.LIFECYCLE, "end_recording", {"data": {"recording_duration": round(duration, 3)}})


def ack(type_: str, data: dict[str, Any]) -> Message:
    """A message of the client was taken; `type_` is that of the client's message."""
    return Message(Topic.ACK, type_, {"acknowledged": True, "error": None, "data": data})


def refused(type_: str, reason: str) -> Message:
    """A message of the client was not taken: an acknowledgement with `acknowledged: false`."""
    body = {"acknowledged": False, "error": {"message": reason}, "data": None}
    return Message(Topic.ACK, type_, body)


def speech(type_: str, at: float, channel: int) -> Message:
    """`speech_start` or `speech_end`; `at` in seconds of the session."""
    return Message(Topic.SPEECH, type_, {"data": {"time": round(at, 3), "channel": channel}})


def transcript(id_: str, utterance: dict[str, Any], *, is_final: bool) -> Message:
    """`id_`: channel and counter, `00_00000000`; `utterance` as made by `utterance()`."""
    topic = Topic.FINAL if is_final else Topic.PARTIAL
    return Message(topic, "transcript", {"data": {"id": id_, "is_final": is_final, "utterance": utterance}})


def addon(type_: str, data: dict[str, Any] | None, error: str | None = None) -> Message:
    """A translation or an annotation of one final: `data`, or `error` when there is none."""
    body = {"error": {"message": error} if error else None, "data": data}
    return Message(Topic.REALTIME, type_, body)


def post(type_: str, data: dict[str, Any] | None) -> Message:
    """A result of the whole session, after its last final."""
    return Message(Topic.POST, type_, {"data": data})


def error(code: str, text: str) -> Message:
    """Second-hand shape: in one vendor guide and one plugin, in no specification."""
    return Message(Topic.ERROR, "error", {"data": {"code": code, "message": text}})


def utterance(words: tuple[Word, ...], channel: int, language: str) -> dict[str, Any]:
    """The provider's Utterance: text and words carry their leading space."""
    return {
        "text": "".join(f" {word.text}" for word in words),
        "start": round(words[0].start, 3),
        "end": round(words[-1].end, 3),
        "language": language,
        "confidence": round(sum(word.confidence for word in words) / len(words), 3),
        "channel": channel,
        "words": [
            {
                "word": f" {word.text}",
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 3),
            }
            for word in words
        ],
    }
