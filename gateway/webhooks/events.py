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


class SessionCreated(_OfSession, kw_only=True):
    title: str | None
    created_by_user_id: str | None


class SessionStarted(_OfSession, kw_only=True):
    """The first participant has joined."""


class SessionEnded(_OfSession, kw_only=True):
    """EXPIRED: nobody ever joined. DELETED: it was deleted before its end."""

    status: Literal["ENDED", "EXPIRED", "DELETED"]
    started_at: Moment | None
    ended_at: Moment | None


class ParticipantJoined(_OfSession, kw_only=True):
    participant_identity: str
    participant_name: str | None
    user_id: str | None
    role: Literal["HOST", "GUEST"]


class ParticipantLeft(ParticipantJoined, kw_only=True):
    pass


class TranscriptionStarted(_OfTranscription, kw_only=True):
    source: str
    tags: list[str]


class TranscriptionDegraded(_OfTranscription, kw_only=True):
    """Something is wrong, or something else than before; `reasons` say what to do."""

    reasons: list[str]


class TranscriptionRecovered(_OfTranscription, kw_only=True):
    reasons: list[str]


class TranscriptionStopped(_OfTranscription, kw_only=True):
    """`finalsComplete`: no final can be missing. `finals` is null for a session that was deleted."""

    reason: str | None
    finals_complete: bool
    finals: int | None


class TranscriptFinal(_OfTranscription, kw_only=True):
    """Where a final is, not what was said: read it at `/api/sessions/{slug}/transcript?since=`."""

    seq: int
    epoch: str
    utterance_id: str
    participant_identity: str
    start_ms: int
    end_ms: int
    participant_name: str | None = None
    language: str | None = None


class TranscriptReady(_OfSession, kw_only=True):
    """`documentPath`: of the document at the gateway; told again when it was written anew."""

    document_path: str
    size_bytes: int


class UsageClosed(_OfTranscription, kw_only=True):
    """What a transcription has used; nothing is added any more."""

    usage_rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    tags: list[str]


class UsageReconciled(_OfTranscription, kw_only=True):
    """What the provider bills for it. `unbilledSessions`: of which no bill could be had."""

    billed_seconds: float | None
    sent_seconds: float
    provider_sessions: int
    unbilled_sessions: int


class AnalysisDone(_OfSession, kw_only=True):
    method: str | None
    reason: str | None


class AnalysisFailed(AnalysisDone, kw_only=True):
    pass


class LimitReached(_OfTranscription, kw_only=True):
    """It ended the transcription; `reason` says which limit."""

    reason: str | None


class WebhookTest(msgspec.Struct, rename="camel"):
    webhook_id: str


EVENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "session.created": SessionCreated,
    "session.started": SessionStarted,
    "session.ended": SessionEnded,
    "participant.joined": ParticipantJoined,
    "participant.left": ParticipantLeft,
    "transcription.started": TranscriptionStarted,
    "transcription.degraded": TranscriptionDegraded,
    "transcription.recovered": TranscriptionRecovered,
    "transcription.stopped": TranscriptionStopped,
    "transcript.final": TranscriptFinal,
    "transcript.ready": TranscriptReady,
    "usage.closed": UsageClosed,
    "usage.reconciled": UsageReconciled,
    "analysis.done": AnalysisDone,
    "analysis.failed": AnalysisFailed,
    "limit.reached": LimitReached,
    "webhook.test": WebhookTest,
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
