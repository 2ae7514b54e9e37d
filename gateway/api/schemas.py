"""What goes in and out over HTTP: the types check requests and are the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Slug = Annotated[str, Meta(min_length=1, max_length=128, description="the session's slug, also its room name")]
Language = Annotated[str, Meta(min_length=2, max_length=16, description="language code, for example en")]
Moment = Annotated[str, Meta(description="ISO 8601, UTC, milliseconds, Z")]
State = Literal["starting", "running", "waiting", "stopping", "stopped"]


class StartBody(msgspec.Struct, rename="camel"):
    """`language` and `languages` add up; none at all lets the provider detect the language."""

    session_slug: Slug
    session_id: str | None = None
    source: Literal["livekit", "rtmp", "websocket"] = "livekit"
    language: Language | None = None
    languages: list[Language] = []
    code_switching: bool = False
    custom_vocabulary: list[Annotated[str, Meta(min_length=1, max_length=200)]] = []
    translate_to: Language | list[Language] | None = None
    cost_cap_usd: Annotated[float, Meta(gt=0)] | None = None
    participant_identity: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    participant_name: Annotated[str, Meta(max_length=256)] | None = None


class IngestView(msgspec.Struct, rename="camel", omit_defaults=True):
    """`rtmpUrl` has the stream key at its end; encoders with two fields take `rtmp://HOST:PORT/live` and the key."""

    rtmp_url: str | None = None
    stream_key: str | None = None
    websocket_url: str | None = None


class StartAnswer(msgspec.Struct, rename="camel"):
    transcription_id: str
    session_slug: str
    state: State
    source: str
    created: bool
    started_at: Moment
    ingest: IngestView | None = None


class StopBody(msgspec.Struct, rename="camel"):
    session_slug: Slug
    wait: bool = True


class UsageRowView(msgspec.Struct, rename="camel"):
    participant_identity: str
    started_at: Moment
    ended_at: Moment | None
    duration_seconds: int
    duration_minutes: int
    audio_chunks_sent: int
    transcripts_received: int
    final_transcripts: int
    partial_transcripts: int
    cost_per_minute: float
    total_cost: float
    errors_count: int


class UsageTotals(msgspec.Struct, rename="camel"):
    duration_seconds: int
    duration_minutes: int
    audio_chunks_sent: int
    transcripts_received: int
    final_transcripts: int
    partial_transcripts: int
    total_cost: float
    errors_count: int


class UsageView(msgspec.Struct, rename="camel"):
    """One row a participant; the totals are their sums."""

    transcription_id: str
    session_slug: str
    rows: list[UsageRowView]
    totals: UsageTotals


class StopAnswer(msgspec.Struct, rename="camel", omit_defaults=True):
    """`finalsComplete`: every provider session confirmed its end, so that no final can be missing."""

    state: Literal["stopping", "stopped"]
    finals_complete: bool | None = None
    usage: UsageView | None = None


class TrackView(msgspec.Struct, rename="camel"):
    participant_identity: str
    participant_name: str | None
    provider: str
    seconds_heard: float
    seconds_sent: float
    backlog_seconds: float
    facts: dict[str, Any]


class HealthView(msgspec.Struct):
    status: Literal["ok", "degraded"]
    reasons: list[str]


class TranscriptionView(msgspec.Struct, rename="camel"):
    """`tracks`, `health` and `lag` are known only to the replica that runs it."""

    transcription_id: str
    session_slug: str
    session_id: str
    state: State
    source: str
    engine: str
    started_at: Moment
    stopped_at: Moment | None
    reason: str | None
    finals_complete: bool | None
    finals: int
    partials: int
    last_seq: int
    watchers: int
    lost_audio_seconds: float
    cost: float
    health: HealthView
    lag: dict[str, float]
    tracks: list[TrackView]


class TranscriptionList(msgspec.Struct):
    transcriptions: list[TranscriptionView]


class NewSession(msgspec.Struct, rename="camel"):
    title: Annotated[str, Meta(max_length=500)] | None = None
    space_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class SessionCreated(msgspec.Struct):
    slug: str


class Ready(msgspec.Struct, rename="camel"):
    status: Literal["ready", "not ready"]
    engine: str
    reasons: list[str]


class WordView(msgspec.Struct, rename="camel"):
    text: str
    start_ms: int
    end_ms: int


class FinalView(msgspec.Struct, rename="camel"):
    """As in the stream. `startMs` and `endMs` count from the start of the session's first transcription."""

    seq: int
    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    participant_identity: str
    participant_name: str | None
    started_at: Moment
    ended_at: Moment
    start_ms: int
    end_ms: int
    confidence: float
    words: list[WordView]


class Transcript(msgspec.Struct, rename="camel"):
    """`epoch` names the numbering, null before the first transcription; EPOCH:SEQ is where a stream goes on."""

    session_slug: str
    epoch: str | None
    finals: list[FinalView]


class Health(msgspec.Struct):
    status: Literal["ok"]
