"""The sessions and archive wings, with what follows a session's end: for the whole gateway and for `maintain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gateway.analysis.analyse import Analyses
from gateway.app.replica import Replica
from gateway.app.secrets import HeldSecrets
from gateway.app.traces import trace_of
from gateway.archive.audit import Audit
from gateway.archive.audits import PostgresTrail
from gateway.archive.deletions import PostgresDeletions
from gateway.archive.documents import BlobOptions, PostgresDocuments, open_blobs
from gateway.archive.erase import Eraser
from gateway.archive.finalise import Finaliser
from gateway.archive.report import Reports
from gateway.archive.reports import PostgresLedger
from gateway.archive.retention import Retention
from gateway.archive.search import Search
from gateway.archive.searches import PostgresIndex
from gateway.live.hub import Hub
from gateway.sessions.infra.assembly import SessionsModule, assemble
from gateway.sessions.infra.rate_limits import MemoryLimiter, RedisLimiter
from gateway.sessions.infra.remote_control import RemoteControl, RemoteOptions, open_remote_control
from gateway.sessions.usecases.ports import RoomTokens, TranscriptionControl
from gateway.sessions.usecases.rates import RateOptions, Rates
from gateway.sessions.usecases.upkeep import UpkeepOptions
from gateway.settings import Settings
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.transcriptions import STOP_MARGIN_S
from storage.redis.throttle import open_throttle


@dataclass(frozen=True, slots=True)
class Transcribing:
    """What sessions need of the transcriptions in this process.

    `control` starts and stops them, unless WS_SERVER_URL names another gateway that does. `session_gone` is told the
    id of a session that was deleted: its run ends and writes nothing more.
    """

    records: Records
    hub: Hub
    control: TranscriptionControl
    session_gone: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SessionsWing:
    """`finaliser` makes and removes transcript documents; `retention` removes transcripts whose time is over."""

    module: SessionsModule
    finaliser: Finaliser
    retention: Retention
    audit: Audit
    reports: Reports
    search: Search


@asynccontextmanager
async def open_sessions(
    replica: Replica, analyses: Analyses, transcribing: Transcribing
) -> AsyncIterator[SessionsWing]:
    """Sessions, and what follows their end: first the document, then the analysis.

    Raises: ValueError for a blob store's URL or token that cannot be used.
    """
    settings, database, clock = replica.settings, replica.database, replica.clock
    async with (
        open_blobs(_blob_options(settings)) as blobs,
        _open_control(replica, transcribing.control) as control,
    ):
        finaliser = Finaliser(
            PostgresDocuments(database), blobs, clock, replica.addresses.document_url, trace_of(database)
        )
        deletions = PostgresDeletions(database, clock)
        module = assemble(
            database,
            clock,
            control,
            transcribing.records.transcriptions,
            _room_tokens(settings, replica.secrets),
            UpkeepOptions(replica.owner, settings.inactive_minutes, settings.expire_hours, settings.upkeep_s),
            join_starts=settings.join_source,
            own_tables=replica.own_tables,
            most_participants=settings.max_participants,
            audio=_audio_tokens(replica),
            follow_ups={"document": finaliser.finalise, "analysis": analyses.schedule},
            erase=Eraser(deletions, transcribing.hub, finaliser, transcribing.session_gone).erase,
            over=transcribing.hub.over,
        )
        retention = Retention(deletions, finaliser, clock, settings.retention_days)
        audit = Audit(PostgresTrail(database), clock, settings.audit_days)
        search = Search(PostgresIndex(database), module.admission)
        yield SessionsWing(module, finaliser, retention, audit, Reports(PostgresLedger(database)), search)


@asynccontextmanager
async def open_control(settings: Settings, held: HeldSecrets) -> AsyncIterator[RemoteControl]:
    """The gateway at WS_SERVER_URL, over its HTTP API. Nothing is asked of it yet."""
    options = RemoteOptions(
        settings.ws_server_url or "",
        held.gateway_token,
        stop_s=settings.drain_s + STOP_MARGIN_S,
    )
    async with open_remote_control(options) as control:
        yield control


@dataclass(frozen=True, slots=True)
class RateLimits:
    """`limiter` counts for `rates`; it says whether Redis is away."""

    rates: Rates
    limiter: MemoryLimiter | RedisLimiter


@asynccontextmanager
async def open_rates(replica: Replica) -> AsyncIterator[RateLimits]:
    """Counted over all replicas where REDIS_URL is set, else in this process."""
    settings = replica.settings
    options = RateOptions(
        settings.create_per_minute,
        settings.list_per_minute,
        settings.join_per_minute,
        settings.search_per_minute,
        settings.steer_per_minute,
    )
    if not settings.redis_url:
        memory = MemoryLimiter(replica.clock)
        yield RateLimits(Rates(memory, options), memory)
        return
    async with open_throttle(settings.redis_url) as throttle:
        shared = RedisLimiter(throttle, replica.clock)
        yield RateLimits(Rates(shared, options), shared)


@asynccontextmanager
async def _open_control(replica: Replica, here: TranscriptionControl) -> AsyncIterator[TranscriptionControl]:
    if not replica.settings.ws_server_url:
        yield here
        return
    async with open_control(replica.settings, replica.secrets) as elsewhere:
        yield elsewhere


def _room_tokens(settings: Settings, held: HeldSecrets) -> RoomTokens | None:
    if settings.livekit_url is None:
        return None
    from gateway.sessions.infra.room_tokens import LivekitPasses
    from gateway.transcription.infra.livekit_tokens import Keys

    url = settings.livekit_public_url or settings.livekit_url
    return LivekitPasses(
        url.replace("http", "ws", 1) if url.startswith("http") else url,
        lambda: Keys(*held.livekit_keys()[0]),
        timedelta(hours=settings.room_token_hours),
    )


def _audio_tokens(replica: Replica) -> RoomTokens | None:
    settings = replica.settings
    if not settings.api_tokens:
        return None  # `gateway maintain` needs none
    from gateway.sessions.infra.room_tokens import AudioPasses

    lifetime = timedelta(hours=settings.room_token_hours)
    return AudioPasses(
        replica.addresses.http_url, lambda: replica.secrets.credentials().service_tokens, replica.clock, lifetime
    )


def _blob_options(settings: Settings) -> BlobOptions:
    return BlobOptions(
        url=settings.blob_store,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
        s3_key_id=settings.s3_key_id,
        s3_secret=settings.s3_secret,
        vercel_token=settings.blob_token,
        vercel_access=settings.blob_access,
        vercel_api_url=settings.blob_api_url,
    )
