"""What goes in and out over HTTP: the types check requests and are the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.transcription.domain import languages
from gateway.transcription.domain.preferences import MOST_WORDS
from gateway.transcription.domain.speech import Language, Share, TranslationStyle, VocabularyWord, Word
from gateway.transcription.domain.timing import Timing

Slug = Annotated[str, Meta(min_length=1, max_length=128, description="the session's slug, also its room name")]
Moment = Annotated[str, Meta(description="ISO 8601, UTC, milliseconds, Z")]
Gate = Literal["off", "shadow", "on"]
State = Literal["starting", "running", "waiting", "stopping", "stopped"]


Tag = Annotated[str, Meta(min_length=1, max_length=64)]
"""A word of the caller's own for the bill: a customer, a project."""


Languages = Annotated[list[Language], Meta(max_length=len(languages.TARGETS))]
Vocabulary = Annotated[list[Word | VocabularyWord], Meta(max_length=MOST_WORDS)]


class PersonalBody(msgspec.Struct, rename="camel"):
    """What is asked for one participant. `language` and `languages` add up. Absent: as before, at a start as for
    everybody; null: as for everybody. `customVocabulary` is added to everybody's."""

    language: Language | UnsetType | None = UNSET
    languages: Languages | UnsetType | None = UNSET
    custom_vocabulary: Vocabulary | UnsetType | None = UNSET
    translate_to: Language | Languages | UnsetType | None = UNSET


Preset = Literal["meeting", "subtitles"]
"""The provider's advice for a use: fills what the start leaves open."""


class StartOptions(msgspec.Struct, rename="camel"):
    """`language` and `languages` add up; none at all lets the provider detect the language.

    From `vocabularyIntensity` to `region` they are the provider's own options under its own names; times in seconds.
    Every final has the times of its words, whatever is asked for.
    """

    language: Language | None = None
    languages: Languages = []
    code_switching: bool = False
    custom_vocabulary: Vocabulary = []
    translate_to: Language | Languages | None = None
    preset: Preset | None = None
    participant_names: bool = True
    vocabulary_intensity: Share | None = None
    custom_spelling: dict[Word, list[Word]] = {}
    translation: TranslationStyle | None = None
    named_entities: bool = False
    sentiment: bool = False
    endpointing: Annotated[float, Meta(ge=0.01, le=10)] | None = None
    maximum_duration_without_endpointing: Annotated[float, Meta(ge=5, le=60)] | None = None
    speech_threshold: Share | None = None
    audio_enhancer: bool | None = None
    model: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    region: Literal["eu-west", "us-west"] | None = None
    cost_cap_usd: Annotated[float, Meta(gt=0)] | None = None
    participant_identity: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    participant_name: Annotated[str, Meta(max_length=256)] | None = None
    participants: dict[str, PersonalBody] = {}
    tags: Annotated[list[Tag], Meta(max_length=20)] = []


class StartBody(StartOptions, kw_only=True):
    """The options of `StartOptions`, of a session named by its slug."""

    session_slug: Slug
    session_id: str | None = None
    source: Literal["livekit", "rtmp", "websocket"] = "livekit"


class IngestView(msgspec.Struct, rename="camel", omit_defaults=True):
    """`rtmpUrl` has the stream key at its end; encoders with two fields take `rtmp://HOST:PORT/live` and the key."""

    rtmp_url: str | None = None
    stream_key: str | None = None
    websocket_url: str | None = None


class StartAnswer(msgspec.Struct, rename="camel"):
    """`warnings`: fields of the request that have no effect; absent when there are none."""

    transcription_id: str
    session_slug: str
    state: State
    source: str
    created: bool
    started_at: Moment
    ingest: IngestView | None = None
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


class StopBody(msgspec.Struct, rename="camel"):
    session_slug: Slug
    wait: bool = True


class UsageRowView(msgspec.Struct, rename="camel"):
    """`tags`: those of the start. Name and user are null where the app's `Participant` has none."""

    participant_identity: str
    participant_name: str | None
    user_id: str | None
    tags: list[str]
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


class ProviderSessionView(msgspec.Struct, rename="camel"):
    """One session at the provider, in seconds of audio. `resentSeconds` is part of `sentSeconds`.

    `billedSeconds` is null until the provider told it; `difference` is billed minus sent, null while it cannot be told.
    """

    id: str
    participant_identity: str
    opened_at: Moment
    closed_at: Moment | None
    outcome: str | None
    sent_seconds: float
    resent_seconds: float
    billed_seconds: float | None
    difference: float | None


class BillingView(msgspec.Struct, rename="camel"):
    """What the provider bills, beside what was sent; the sums are over sessions that both sides have counted.

    `open` sessions go on; `unbilled` ones are over, and their bill has not been told, yet.
    """

    sent_seconds: float
    resent_seconds: float
    billed_seconds: float
    difference_percent: float | None
    open: int
    unbilled: int
    provider_sessions: list[ProviderSessionView]


class ReceiptView(msgspec.Struct, rename="camel"):
    """What the voice-activity gate spared, all participants together. Money at the price of a minute, in USD.

    `secondsHeard`: audio that came in. `secondsSaved`: what of it was not sent, because it was silence.
    `secondsSaveable`: what it saves when it is on, so that `shadow` shows what `on` would bring.
    """

    gate: Gate
    seconds_heard: float
    seconds_speech: float
    seconds_sent: float
    seconds_saved: float
    cost_saved: float
    seconds_saveable: float
    cost_saveable: float


FiguresState = Literal["live", "stored"]
"""`live`: of the replica that runs it, now. `stored`: the last ones in the database, at most ten seconds older: it has
stopped, or that replica has not answered within a second."""


class UsageView(msgspec.Struct, rename="camel"):
    """One row a participant; the totals are their sums. `billing` is null in the answer to a stop: it comes later.
    `lostAudioSeconds`: audio that was given up unheard, by every replica that has run it."""

    transcription_id: str
    session_slug: str
    rows: list[UsageRowView]
    totals: UsageTotals
    receipt: ReceiptView
    billing: BillingView | None = None
    figures: FiguresState = "stored"
    lost_audio_seconds: float = 0.0


class TimelineView(msgspec.Struct, rename="camel"):
    """The newest 200 finals since the replica that runs it has begun; none once it has stopped. `lostAudioSeconds`: as
    in the usage, kept then."""

    transcription_id: str
    session_slug: str
    finals: list[Timing]
    lost_audio_seconds: float = 0.0


class StopAnswer(msgspec.Struct, rename="camel", omit_defaults=True):
    """`finalsComplete`: every provider session confirmed its end, so that no final can be missing."""

    state: Literal["stopping", "stopped"]
    finals_complete: bool | None = None
    usage: UsageView | None = None


class TrackView(msgspec.Struct, rename="camel"):
    """`languages` and `translateTo`: of the provider session that hears it; null before the first."""

    participant_identity: str
    participant_name: str | None
    provider: str
    seconds_heard: float
    seconds_sent: float
    backlog_seconds: float
    paused: bool
    languages: list[str] | None
    translate_to: list[str] | None
    facts: dict[str, Any]


class HealthView(msgspec.Struct):
    status: Literal["ok", "degraded"]
    reasons: list[str]


DatabaseState = Literal["ok", "unavailable"]
"""`unavailable`: it did not answer in time, so that this is what the replica itself knows."""


class PausedView(msgspec.Struct, rename="camel"):
    """`everybody`: nobody is heard. `participants`: who is paused by themselves, or has opted out in the room."""

    everybody: bool
    participants: list[str]


class TranscriptionView(msgspec.Struct, rename="camel"):
    """`tracks`, `health` and `lag` are known only to `replica`, which runs it: empty while `figures` are stored.

    `watchers` are those on that replica.
    """

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
    database: DatabaseState
    replica: str | None
    figures: FiguresState
    paused: PausedView
    languages: list[str]
    translate_to: list[str]


class TranscriptionList(msgspec.Struct):
    """While `database` is unavailable, only those that run on the replica that answers."""

    transcriptions: list[TranscriptionView]
    database: DatabaseState


class Ready(msgspec.Struct, rename="camel"):
    """`full` is there, and true, while no further transcription begins here; all else goes on."""

    status: Literal["ready", "not ready"]
    engine: str
    reasons: list[str]
    full: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    notes: list[str] | msgspec.UnsetType = msgspec.UNSET


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
    """`epoch` names the numbering, null before the first transcription; EPOCH:SEQ is where a stream goes on. `lastSeq`:
    the newest number, which is how many there are, whatever part is asked for. `translatedTo`: languages that somebody
    has asked translations into."""

    session_slug: str
    epoch: str | None
    last_seq: int
    translated_to: list[str]
    finals: list[FinalView]


class Health(msgspec.Struct):
    status: Literal["ok"]
