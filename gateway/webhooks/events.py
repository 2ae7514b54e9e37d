"""Which events there are, and what their bodies hold. Pure. The schemas are published in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.moment import timestamp

Moment = Annotated[str, Meta(description="ISO 8601, UTC, milliseconds, Z")]


class _OfSession(msgspec.Struct, rename="camel", kw_only=True):
    session_slug: str
    session_id: str
    space_id: str


class _OfTranscription(_OfSession, kw_only=True):
    transcription_id: str


class SessionCreatedData(_OfSession, kw_only=True):
    title: str | None
    created_by_user_id: str | None


class SessionStartedData(_OfSession, kw_only=True):
    """The first participant has joined."""


class SessionEndedData(_OfSession, kw_only=True):
    """EXPIRED: nobody ever joined. DELETED: it was deleted before its end."""

    status: Literal["ENDED", "EXPIRED", "DELETED"]
    started_at: Moment | None
    ended_at: Moment | None


class ParticipantJoinedData(_OfSession, kw_only=True):
    participant_identity: str
    participant_name: str | None
    user_id: str | None
    role: Literal["HOST", "GUEST"]


class ParticipantLeftData(ParticipantJoinedData, kw_only=True):
    pass


class TranscriptionStartedData(_OfTranscription, kw_only=True):
    source: str
    tags: list[str]


class TranscriptionDegradedData(_OfTranscription, kw_only=True):
    """Something is wrong, or something else than before; `reasons` say what to do."""

    reasons: list[str]


class TranscriptionRecoveredData(_OfTranscription, kw_only=True):
    reasons: list[str]


class TranscriptionStoppedData(_OfTranscription, kw_only=True):
    """`finalsComplete`: no final can be missing. `finals` is null for a session that was deleted."""

    reason: str | None
    finals_complete: bool
    finals: int | None


class TranscriptFinalData(_OfTranscription, kw_only=True):
    """Where a final is, not what was said: read it at `/api/sessions/{slug}/transcript?since=`."""

    seq: int
    epoch: str
    utterance_id: str
    participant_identity: str
    start_ms: int
    end_ms: int
    participant_name: str | None = None
    language: str | None = None


class TranscriptReadyData(_OfSession, kw_only=True):
    """`documentPath`: of the document at the gateway; told again when it was written anew."""

    document_path: str
    size_bytes: int


class UsageClosedData(_OfTranscription, kw_only=True):
    """What a transcription has used; nothing is added any more."""

    usage_rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    tags: list[str]


class UsageReconciledData(_OfTranscription, kw_only=True):
    """What the provider bills for it. `unbilledSessions`: of which no bill could be had."""

    billed_seconds: float | None
    sent_seconds: float
    provider_sessions: int
    unbilled_sessions: int


class AnalysisDoneData(_OfSession, kw_only=True):
    method: str | None
    reason: str | None


class AnalysisFailedData(AnalysisDoneData, kw_only=True):
    pass


class LimitReachedData(_OfSession, kw_only=True):
    """It ended the transcription, or refused a start: then `transcriptionId` is null. `reason` says which limit."""

    transcription_id: str | None
    reason: str | None


class WebhookTestData(msgspec.Struct, rename="camel"):
    webhook_id: str


EVENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "session.created": SessionCreatedData,
    "session.started": SessionStartedData,
    "session.ended": SessionEndedData,
    "participant.joined": ParticipantJoinedData,
    "participant.left": ParticipantLeftData,
    "transcription.started": TranscriptionStartedData,
    "transcription.degraded": TranscriptionDegradedData,
    "transcription.recovered": TranscriptionRecoveredData,
    "transcription.stopped": TranscriptionStoppedData,
    "transcript.final": TranscriptFinalData,
    "transcript.ready": TranscriptReadyData,
    "usage.closed": UsageClosedData,
    "usage.reconciled": UsageReconciledData,
    "analysis.done": AnalysisDoneData,
    "analysis.failed": AnalysisFailedData,
    "limit.reached": LimitReachedData,
    "webhook.test": WebhookTestData,
}
TEST: Final = "webhook.test"
BY_DEFAULT: Final = tuple(name for name in EVENTS if name not in ("transcript.final", TEST))
CHOSEN: Final = tuple(name for name in EVENTS if name != TEST)
"""What an endpoint may ask for; `webhook.test` comes when it is asked for."""


def body(kind: str, at: datetime, data: bytes) -> bytes:
    """What is sent and signed, the same in every attempt. `data`: JSON."""
    return msgspec.json.encode({"type": kind, "timestamp": timestamp(at), "data": msgspec.Raw(data)})


def envelope(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an event's whole body; `data`: that of its data."""
    return {
        "title": name,
        "type": "object",
        "properties": {"type": {"const": name}, "timestamp": {"type": "string", "format": "date-time"}, "data": data},
        "required": ["type", "timestamp", "data"],
    }
