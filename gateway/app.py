"""Composition root: opens the rooms, starts the tasks, owns the shutdown. The only place that knows every room."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from gateway.api.analysis import AnalysisApi
from gateway.api.errors import problems
from gateway.api.host import HostApi
from gateway.api.limits import LimitsApi
from gateway.api.routes import BODY_LIMIT, Api
from gateway.api.sessions import SessionsApi
from gateway.api.web import CrossOrigin, access_log, no_server_header
from gateway.console.pages import register as register_pages
from gateway.garbage import collect_garbage
from gateway.live.audio import AudioEndpoint
from gateway.live.credentials import NO_KEYS, Access, Secrets, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions
from gateway.live.hub import Hub
from gateway.live.jwks import open_key_ring
from gateway.live.places import Limits
from gateway.metrics import Metrics, by, plain
from gateway.sessions.domain.limits import Limits as SpendingLimits
from gateway.sessions.infra.analyses import PostgresAnalyses
from gateway.sessions.infra.analysts import ModelAnalyst, OfflineAnalyst
from gateway.sessions.infra.assembly import SessionsModule, assemble
from gateway.sessions.infra.availability import available
from gateway.sessions.infra.chat import ChatOptions, open_chat
from gateway.sessions.infra.clock import SystemClock
from gateway.sessions.infra.documents import BlobOptions, PostgresDocuments, open_blobs
from gateway.sessions.infra.instance import FolderInUse, own_instance
from gateway.sessions.infra.journal import SpoolJournal, open_journal
from gateway.sessions.infra.keepsakes import PostgresKeepsakes
from gateway.sessions.infra.ledger import PostgresLedger
from gateway.sessions.infra.places import SharedPlaces
from gateway.sessions.infra.provider_account import GladiaAccount, PostgresBooks
from gateway.sessions.infra.rate_limits import MemoryLimiter, RedisLimiter
from gateway.sessions.infra.records import PostgresRecords
from gateway.sessions.infra.remote_control import RemoteOptions, open_remote_control
from gateway.sessions.infra.sources import Sources
from gateway.sessions.infra.transcriber import GladiaTranscriber
from gateway.sessions.infra.voice import MARGIN_S, Voice, VoiceOptions
from gateway.sessions.usecases.analyse import (
    Analyses,
    AnalysisImpossible,
    AnalysisOptions,
    AnalysisTrouble,
    Analyst,
)
from gateway.sessions.usecases.attend import Attendance, RoomsUnavailable, WebhookRefused
from gateway.sessions.usecases.closing import Erase
from gateway.sessions.usecases.erase import Eraser
from gateway.sessions.usecases.feed import Feeding
from gateway.sessions.usecases.finalise import Finaliser
from gateway.sessions.usecases.host import Hosts
from gateway.sessions.usecases.limits import LimitKeeper
from gateway.sessions.usecases.local_control import LocalControl, NoControl
from gateway.sessions.usecases.ports import Clock, JournalTrouble, RecordsUnavailable
from gateway.sessions.usecases.rates import RateOptions, Rates
from gateway.sessions.usecases.record import Recorder
from gateway.sessions.usecases.retention import Retention, RetentionRefused
from gateway.sessions.usecases.run import Run, RunOptions, World
from gateway.sessions.usecases.session_ports import RoomTokens, TranscriptionControl
from gateway.sessions.usecases.sweep import SweepCounts, Sweeper
from gateway.sessions.usecases.transcriptions import STOP_MARGIN_S, Transcriptions
from gateway.sessions.usecases.upkeep import WATCH_S, UpkeepOptions, stop_what_is_over
from gateway.sessions.usecases.watch import Watching
from gateway.settings import Settings
from ingest.errors import IngestError
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.server import RtmpServer
from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.errors import MigrationsPending, StorageError
from storage.postgres.migrate import prepare
from storage.postgres.ownership import Ownership
from storage.postgres.places import ProviderPlaces
from storage.postgres.pool import Database, open_pool
from storage.postgres.url import BadDatabaseUrl, parse_database_url
from storage.redis.throttle import open_throttle
from stt.errors import SttError
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.session import LinkOptions
from stt.local.server import LocalOptions, LocalServer

if TYPE_CHECKING:
    from gateway.sessions.infra.livekit_server import LivekitServer

log = logging.getLogger(__name__)

# Postgres absent at start has to be said within ten seconds, the shutdown included.
_CONNECT_S = 5.0
# A full spool of 256 MB holds 180,000 finals; the database takes about 6,500 a second.
_RECOVER_S = 60.0


class StartFailed(Exception):
    """A part that is needed cannot be had; the text says which and what to do."""


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists: measured 9 to 15 % less CPU over the whole gateway."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, for whoever started it."""

    http_url: str
    rtmp_url: str | None
    database_url: str
    engine: str
    failed: asyncio.Future[None]
    """Ends, with the reason as exception, when a part that cannot be restarted has died."""


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Everything that `gateway serve` runs. On leaving, live work is drained within GATEWAY_DRAIN_S.

    Raises: StartFailed.
    """
    failure: StartFailed | None = None
    async with AsyncExitStack() as rooms:
        try:
            with _start_failures():
                gateway = await _open(settings, rooms)
        except StartFailed as error:
            failure = error  # raised when the rooms are closed: a task group would wrap it into a group
        else:
            yield gateway
            log.info("gateway stopping")
    if failure is not None:
        raise failure


@contextmanager
def _start_failures() -> Iterator[None]:
    """One class for the caller, one clear text for the operator."""
    try:
        yield
    except (StorageError, SttError, IngestError, BadDatabaseUrl) as error:
        raise StartFailed(str(error)) from error
    except (FolderInUse, JournalTrouble) as error:
        raise StartFailed(str(error)) from error
    except OSError as error:
        raise StartFailed(f"cannot listen: {error.strerror or error}; free the port, or choose another one") from error


async def _open(settings: Settings, rooms: AsyncExitStack) -> Gateway:
    clock = SystemClock()
    owner = _owner(settings, rooms)
    failed = asyncio.get_running_loop().create_future()
    database_url = await _database(settings, rooms, failed)
    options = parse_database_url(database_url)
    prepared = await prepare(
        options,
        mode=settings.database_tables,  # type: ignore[arg-type]
        allow_gateway_ddl=settings.auto_migrate,
        connect_timeout_s=_CONNECT_S,
    )
    for warning in prepared.warnings:
        log.warning("database: %s", warning)
    for label in prepared.applied:
        log.info("database: applied migration %s", label)
    database = await rooms.enter_async_context(open_pool(options, connect_timeout_s=_CONNECT_S))
    process = f"{owner}/{secrets.token_hex(4)}"
    # Keys are rotated and the offline recogniser's port changes: neither names the account.
    account = settings.gladia_api_url if settings.engine == "gladia" else f"{settings.engine} of {owner}"
    records = PostgresRecords(database, clock, account, process)

    table = ProviderPlaces(database, account, process)
    places: SharedPlaces | None = None
    if settings.stt_max_sessions:
        places = SharedPlaces(table, settings.stt_max_sessions, settings.lease_s)
        await rooms.enter_async_context(places.serving())
    provider = await rooms.enter_async_context(Provider(await _provider(settings, rooms), places))
    voice = Voice(VoiceOptions(settings.vad_mode, settings.stt_endpointing_s + MARGIN_S, settings.stt_mute_s))
    transcriber = GladiaTranscriber(
        provider,
        settings.engine,
        voice,
        process=process,
        endpointing_s=settings.stt_endpointing_s,
        maximum_utterance_s=settings.stt_max_utterance_s,
    )

    hub = Hub(clock.now)
    journal = await rooms.enter_async_context(open_journal(settings.data_dir / "spool", settings.spool_mb * 1_000_000))
    recorder = Recorder(records, hub, clock, journal)
    records.unsaved = recorder.unsaved
    await _recover(recorder)
    run_options = RunOptions(
        owner=owner,
        drain_s=settings.drain_s,
        lease_s=settings.lease_s,
        cost_per_minute=settings.cost_per_minute,
        store_partials=settings.store_partials,
        maximum_s=settings.max_transcription_s,
    )
    place = _Place(settings)
    blobs = await rooms.enter_async_context(open_blobs(_blob_options(settings)))
    finaliser = Finaliser(PostgresDocuments(database), blobs, clock, place.document_url)
    retention = Retention(PostgresKeepsakes(database, clock), finaliser, clock, settings.retention_days)
    decoders = rooms.enter_context(_decoders())
    livekit = await _livekit(settings, rooms)
    listen = (lambda room: livekit.listen(room, clock)) if livekit else None
    sources = Sources(decoders, clock, lambda: place.rtmp_base, lambda: place.http_url, listen)
    keeper = LimitKeeper(_spending_limits(settings), PostgresLedger(database, clock), clock)
    transcriptions = Transcriptions(World(records, recorder, hub, transcriber, clock, run_options, keeper), sources)
    sweeper = Sweeper(
        GladiaAccount(provider),
        PostgresBooks(database, account, process),
        clock,
        owner=owner,
        process=process,
        swept=partial(available(table.drop_former), owner),
        salvage=transcriptions.salvage,
    )

    secrets_ = Secrets(settings.api_tokens, settings.jwt_secret, settings.livekit_api_key, settings.livekit_api_secret)
    key_ring = await rooms.enter_async_context(open_key_ring(settings.jwks_url)) if settings.jwks_url else None

    async def check_credential(token: str | None) -> Access:
        return check(token, secrets_, await key_ring.keys_for(token) if key_ring else NO_KEYS)

    limits = Limits(settings.max_watchers, settings.max_watchers_per_address, settings.max_watchers_per_session)
    live_options = LiveOptions(settings.allowed_origins, limits, settings.trusted_proxies)
    watching = Watching(records)
    endpoint = LiveEndpoint(hub, watching, check_credential, lambda: place.http_url, live_options)
    hosts = Hosts(records, hub, lambda: transcriptions.runs)
    audio = AudioEndpoint(Feeding(records, sources), watching, check_credential, endpoint)
    rtmp = RtmpServer(RtmpOptions(settings.rtmp_host, max(settings.rtmp_port, 0)), sources)
    analyses = Analyses(
        PostgresAnalyses(database, clock),
        await _analyst(settings, rooms),
        clock,
        AnalysisOptions(workers=settings.analysis_workers, attempts=settings.analysis_attempts),
    )
    metrics = _metrics(transcriptions, recorder, journal, hub, endpoint, rtmp, settings.engine)
    _voice_metrics(metrics, voice)
    _audio_metrics(metrics, audio)
    _analysis_metrics(metrics, analyses)
    _provider_metrics(metrics, provider, places, sweeper.counts)
    _document_metrics(metrics, finaliser, retention)

    async def ready() -> list[str]:
        reasons = ["shutting down"] if transcriptions.draining else []
        try:
            await records.ping()
        except RecordsUnavailable:
            reasons.append("the database does not answer")
        return reasons

    control: TranscriptionControl = LocalControl(transcriptions, records, settings.drain_s + WATCH_S + 3)
    if settings.ws_server_url:
        control = await _remote_control(settings, rooms)
    module = _sessions(
        settings,
        database,
        clock,
        control,
        records,
        owner,
        finaliser,
        analyses,
        Eraser(PostgresKeepsakes(database, clock), hub, finaliser, transcriptions.session_gone).erase,
        own_tables=prepared.ownership is Ownership.OWN,
    )
    limiter: MemoryLimiter | RedisLimiter = MemoryLimiter(clock)
    if settings.redis_url:
        limiter = RedisLimiter(await rooms.enter_async_context(open_throttle(settings.redis_url)), clock)
    rates = Rates(limiter, RateOptions(settings.create_per_minute, settings.list_per_minute, settings.join_per_minute))
    _sessions_metrics(metrics, module, rates, limiter)
    sessions_api = SessionsApi(
        module.sessions,
        module.attendees,
        module.transcripts,
        rates,
        check_credential,
        settings.trusted_proxies,
    )
    attendance = Attendance(transcriptions, records, livekit) if livekit and settings.livekit_auto_start else None

    async def webhook(body: bytes, authorization: str) -> None:
        if livekit is None:
            raise WebhookRefused("this gateway has no LiveKit server; set LIVEKIT_URL and its keys")
        event = livekit.webhook(body, authorization)
        if event.of_person and event.kind == "participant_joined":
            await module.attendees.came(event.room, event.identity, event.name)
        elif event.of_person and event.kind == "participant_left":
            await module.attendees.went(event.room, event.identity)
        if attendance is not None:
            await attendance.told(event)

    api = Api(
        transcriptions,
        records,
        recorder,
        transcriber,
        hub,
        endpoint,
        audio,
        secrets_,
        ready,
        None if settings.metrics_port else metrics.text,
        lambda: place.http_url,
        webhook,
        finaliser.document,
        (
            *sessions_api.routes(),
            *AnalysisApi(analyses, module.admission, check_credential).routes(),
            *HostApi(hosts, watching, check_credential).routes(),
            *LimitsApi(keeper).routes(),
        ),
    )
    # From here on tasks run; leaving the block drains in the reverse order of entering.
    await rooms.enter_async_context(
        _background(
            recorder=recorder.run(),
            sweep=hub.sweep(),
            beat=endpoint.beat(),
            endings=endpoint.end_finished(),
            garbage=collect_garbage(lambda: hub.counts.connected),
            documents=finaliser.run(),
            analyses=analyses.work(),
            retention=retention.run(),
            hosts=hosts.look_for_ever(),
        )
    )
    if settings.rtmp_port:
        await rtmp.start()
        place.rtmp_port = rtmp.port
    rooms.push_async_callback(rtmp.close)
    await rooms.enter_async_context(transcriptions.serving())
    await rooms.enter_async_context(module.transcription.serving())

    def runs() -> dict[str, Run]:
        return {run.claimed.session_id: run for run in transcriptions.runs}

    await rooms.enter_async_context(
        _background(upkeep=module.upkeep.run(), over=stop_what_is_over(module.repository, runs))
    )
    if attendance is not None:
        await rooms.enter_async_context(_background(attend=attendance.look_for_ever()))
    await rooms.enter_async_context(_background(sweeper=sweeper.run()))
    place.http_port = await _serve_http(settings, api, metrics, rooms)
    rooms.push_async_callback(endpoint.close)
    rooms.push_async_callback(audio.close)
    log.info(
        "gateway ready",
        extra={"http": place.http_url, "rtmp": place.rtmp_base, "engine": settings.engine},
    )
    return Gateway(place.http_url, place.rtmp_base, database_url, settings.engine, failed)


def _owner(settings: Settings, rooms: AsyncExitStack) -> str:
    try:
        return rooms.enter_context(own_instance(settings.data_dir))
    except FolderInUse:
        raise
    except OSError as error:
        raise StartFailed(f"the data folder cannot be used ({error}); set GATEWAY_DATA_DIR") from error


async def _recover(recorder: Recorder) -> None:
    """What a former process left on disk comes first: adopting a transcription reads the numbering it continues."""
    try:
        async with asyncio.timeout(_RECOVER_S):
            count = await recorder.recover()
    except TimeoutError:
        raise StartFailed(
            f"the database did not take within {_RECOVER_S:g} s the finals that were kept on disk; "
            "nothing is lost: look after the database and start again"
        ) from None
    if count:
        log.warning("finals and meter readings of the former process brought to the database: %d", count)


class _Place:
    """Where this gateway is reached, known once the ports are bound."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.public_url
        self.http_port = settings.http_port
        self.rtmp_port: int | None = None

    @property
    def http_url(self) -> str:
        return self._public or f"http://localhost:{self.http_port}"

    def document_url(self, slug: str) -> str:
        """Where a session's transcript document is read, for stores that have no URL of their own."""
        return f"{self.http_url}/api/sessions/{quote(slug, safe='')}/document"

    @property
    def rtmp_base(self) -> str | None:
        if self.rtmp_port is None:
            return None
        host = urlsplit(self.http_url).hostname or "localhost"
        return f"rtmp://{f'[{host}]' if ':' in host else host}:{self.rtmp_port}"


async def _livekit(settings: Settings, rooms: AsyncExitStack) -> LivekitServer | None:
    """The LiveKit server, if there is one; its SDK takes half a second to load, and others need not wait for it."""
    if settings.livekit_url is None:
        return None
    from gateway.sessions.infra.livekit_server import LivekitOptions, open_livekit
    from gateway.sessions.infra.livekit_tokens import Keys

    options = LivekitOptions(
        settings.livekit_url,
        Keys(settings.livekit_api_key or "", settings.livekit_api_secret or ""),
        screen_share=settings.livekit_screen_share,
        captions=settings.livekit_captions,
        empty_room_s=settings.empty_room_s,
        hang_over_s=settings.stt_endpointing_s + 0.5,
        unsubscribe_muted_s=settings.livekit_unsubscribe_muted_s,
    )
    return await rooms.enter_async_context(open_livekit(options))


async def _remote_control(settings: Settings, rooms: AsyncExitStack) -> TranscriptionControl:
    options = RemoteOptions(
        settings.ws_server_url or "",
        settings.ws_server_token or next(iter(settings.api_tokens), ""),
        stop_s=settings.drain_s + STOP_MARGIN_S,
    )
    return await rooms.enter_async_context(open_remote_control(options))


def _sessions(
    settings: Settings,
    database: Database,
    clock: Clock,
    control: TranscriptionControl,
    records: PostgresRecords,
    owner: str,
    finaliser: Finaliser,
    analyses: Analyses,
    erase: Erase,
    *,
    own_tables: bool,
) -> SessionsModule:
    return assemble(
        database,
        clock,
        control,
        records,
        _room_tokens(settings),
        UpkeepOptions(owner, settings.inactive_minutes, settings.expire_hours, settings.upkeep_s),
        join_starts=settings.join_source,
        own_tables=own_tables,
        follow_ups={"document": finaliser.finalise, "analysis": analyses.schedule},
        erase=erase,
    )


def _room_tokens(settings: Settings) -> RoomTokens | None:
    if settings.livekit_url is None:
        return None
    from gateway.sessions.infra.livekit_tokens import Keys
    from gateway.sessions.infra.room_tokens import LivekitPasses

    url = settings.livekit_public_url or settings.livekit_url
    return LivekitPasses(
        url.replace("http", "ws", 1) if url.startswith("http") else url,
        Keys(settings.livekit_api_key or "", settings.livekit_api_secret or ""),
        timedelta(hours=settings.room_token_hours),
    )


def _sessions_metrics(
    metrics: Metrics, module: SessionsModule, rates: Rates, limiter: MemoryLimiter | RedisLimiter
) -> None:
    transcription, closing = module.transcription, module.closing
    metrics.counter("requests_limited", "Requests refused for being too many, by kind", by("kind", rates.refused.items))
    metrics.gauge(
        "rate_limits_alone",
        "1 while REDIS_URL is set and does not answer, so that each replica counts for itself",
        plain(lambda: isinstance(limiter, RedisLimiter) and limiter.away),
    )
    metrics.gauge(
        "sessions_beginning", "Sessions whose transcription is being begun", plain(lambda: transcription.beginning)
    )
    metrics.counter(
        "sessions_not_begun", "Joins after which no transcription could be begun", plain(lambda: transcription.refused)
    )
    metrics.counter(
        "session_endings_failed", "Attempts to complete a session's end that failed", plain(lambda: closing.failed)
    )


async def _database(settings: Settings, rooms: AsyncExitStack, failed: asyncio.Future[None]) -> str:
    if settings.database_url is not None:
        return settings.database_url
    embedded = await rooms.enter_async_context(EmbeddedPostgres(settings.data_dir))
    watch = asyncio.create_task(embedded.wait_failed(), name="embedded-postgres")

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
            failed.set_exception(error)

    watch.add_done_callback(tell)
    rooms.callback(watch.cancel)
    log.info("embedded PostgreSQL runs", extra={"dataDir": str(settings.data_dir)})
    return embedded.url


def _spending_limits(settings: Settings) -> SpendingLimits:
    return SpendingLimits(
        settings.transcription,
        settings.session_minutes,
        settings.user_minutes_per_day,
        settings.space_minutes_per_day,
    )


def _blob_options(settings: Settings) -> BlobOptions:
    access: Any = settings.blob_access
    return BlobOptions(
        url=settings.blob_store,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
        s3_key_id=settings.s3_key_id,
        s3_secret=settings.s3_secret,
        vercel_token=settings.blob_token,
        vercel_access=access,
        vercel_api_url=settings.blob_api_url,
    )


async def _provider(settings: Settings, rooms: AsyncExitStack) -> ProviderOptions:
    """Gladia, or the offline recogniser behind the same protocol. Which of them is never a matter of luck."""
    link = LinkOptions(rest_s=settings.stt_idle_s, hush_s=settings.stt_endpointing_s + MARGIN_S)
    if settings.engine == "gladia":
        return ProviderOptions(settings.gladia_api_key or "", settings.gladia_api_url, link=link)
    key = secrets.token_urlsafe(16)
    local = await rooms.enter_async_context(LocalServer(LocalOptions(api_key=key, engine=settings.engine)))
    log.warning(
        "transcribing OFFLINE with %s: English only, two to three words in ten are wrong; "
        "set GLADIA_API_KEY for the real service",
        settings.engine,
    )
    return ProviderOptions(key, local.url, link=link)


async def _analyst(settings: Settings, rooms: AsyncExitStack) -> Analyst:
    """A language model where one is configured: a model that fails is never silently replaced by word statistics."""
    if settings.analysis_url is None:
        return OfflineAnalyst()
    chat = await rooms.enter_async_context(open_chat(_chat_options(settings, settings.analysis_url)))
    return ModelAnalyst(chat, settings.analysis_part_characters)


def _chat_options(settings: Settings, url: str) -> ChatOptions:
    return ChatOptions(url, settings.analysis_model or "", settings.analysis_key, settings.analysis_timeout_s)


@asynccontextmanager
async def _background(**jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Jobs that run as long as the gateway does; a crash of one interrupts the gateway."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job, name=name) for name, job in jobs.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _decoders() -> ThreadPoolExecutor:
    """Codecs release the interpreter's lock, so threads are enough; one a core, and one to spare."""
    return ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1, thread_name_prefix="decode")


async def _serve_http(settings: Settings, api: Api, metrics: Metrics, rooms: AsyncExitStack) -> int:
    app = web.Application(client_max_size=BODY_LIMIT)
    CrossOrigin(settings.allowed_origins).register(app)
    app.middlewares.append(problems)
    app.on_response_prepare.append(no_server_header)
    api.register(app)
    register_pages(app)
    port = await _listen(app, settings.http_host, settings.http_port, rooms)
    if settings.metrics_port:
        side = web.Application()

        async def scrape(request: web.Request) -> web.Response:
            return web.Response(body=metrics.text(), content_type="text/plain")

        side.router.add_get("/metrics", scrape)
        await _listen(side, settings.http_host, settings.metrics_port, rooms)
    return port


async def _listen(app: web.Application, host: str, port: int, rooms: AsyncExitStack) -> int:
    runner = web.AppRunner(app, access_log_class=access_log(), shutdown_timeout=5.0, handle_signals=False)
    await runner.setup()
    rooms.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port, backlog=4096)
    await site.start()
    bound: int = runner.addresses[0][1]
    return bound


def _metrics(
    transcriptions: Transcriptions,
    recorder: Recorder,
    journal: SpoolJournal,
    hub: Hub,
    endpoint: LiveEndpoint,
    rtmp: RtmpServer,
    engine: str,
) -> Metrics:
    """Every number an operator may want at night, by the name it has in docs/metrics.md."""
    metrics = Metrics()

    def runs() -> list[Run]:
        return transcriptions.runs

    metrics.gauge("info", "Constant 1; the label says which recogniser is used", by("engine", lambda: [(engine, 1)]))
    metrics.gauge(
        "transcriptions",
        "Transcriptions on this replica, by state",
        by(
            "state",
            lambda: [
                (state, len([run for run in runs() if run.state.shown == state]))
                for state in ("starting", "running", "waiting", "stopping")
            ],
        ),
    )
    metrics.gauge("tracks", "Tracks being transcribed", plain(lambda: sum(len(run.tracks) for run in runs())))
    metrics.gauge(
        "provider_backlog_seconds",
        "Audio waiting to be sent to the provider, worst track",
        plain(lambda: max((live.link.backlog_s for run in runs() for live in run.tracks), default=0)),
    )
    metrics.counter("finals_kept", "Finals written to the database", plain(lambda: recorder.kept))
    metrics.gauge("finals_pending", "Finals and meter readings not in the database", plain(lambda: recorder.pending))
    metrics.counter(
        "finals_refused",
        "Finals shown and then not stored: lease or session were gone",
        plain(lambda: recorder.refused),
    )
    metrics.gauge("database_behind_seconds", "Time since the database had everything", plain(lambda: recorder.behind_s))
    metrics.gauge("spool_bytes", "Disk taken by what the database has not got", plain(lambda: journal.size))
    metrics.gauge("spool_records", "Finals and meter readings kept on disk", plain(lambda: len(journal)))
    metrics.gauge("spool_oldest_seconds", "Age of the oldest of them", plain(lambda: journal.oldest_age))
    metrics.gauge(
        "spool_failing",
        "1 while the disk refuses what the database has not taken",
        plain(lambda: bool(recorder.trouble)),
    )
    metrics.gauge("watchers", "Open streams", plain(lambda: hub.counts.watchers))
    metrics.counter("watcher_connections", "Streams ever opened", plain(lambda: hub.counts.connected))
    metrics.counter("messages_delivered", "Messages written to watchers", plain(lambda: hub.counts.delivered))
    metrics.counter("partials_coalesced", "Partials skipped for slow watchers", plain(lambda: hub.counts.coalesced))
    metrics.counter("watchers_refused", "Streams refused, by reason", by("reason", endpoint.counts.refused.items))
    metrics.counter("watchers_closed", "Streams ended, by reason", by("reason", endpoint.counts.closed.items))
    counters = rtmp.counters
    metrics.gauge("rtmp_publishing", "RTMP publishers now", plain(lambda: counters.publishing))
    metrics.counter("rtmp_connections", "RTMP connections", plain(lambda: counters.connections))
    metrics.counter("rtmp_publishes", "Publishes accepted", plain(lambda: counters.publishes))
    metrics.counter("rtmp_refused_keys", "Publishes refused for their key", plain(lambda: counters.refused_key))
    metrics.counter("rtmp_pauses", "Times a publisher was held back", plain(lambda: counters.pauses))
    metrics.counter("rtmp_audio_bytes", "Audio received", plain(lambda: counters.audio_bytes))
    metrics.counter("rtmp_video_bytes", "Video skipped", plain(lambda: counters.video_bytes_skipped))
    metrics.counter(
        "rtmp_protocol_errors",
        "Connections closed for breaking the protocol or a limit",
        by("reason", counters.protocol_errors.items),
    )
    return metrics


def _voice_metrics(metrics: Metrics, voice: Voice) -> None:
    metrics.counter("audio_heard_seconds", "Audio that came in", plain(lambda: voice.counts.heard / 16_000))
    metrics.counter("speech_seconds", "Speech in it", plain(lambda: voice.counts.speech / 16_000))
    metrics.counter("audio_sent_seconds", "Audio sent to the provider", plain(lambda: voice.sent_samples / 16_000))
    metrics.counter(
        "silence_seconds",
        "Silence that the gate keeps back, or would in shadow mode",
        plain(lambda: voice.counts.withheld / 16_000),
    )
    metrics.counter("gate_openings", "Times that somebody began to speak", plain(lambda: voice.counts.openings))
    metrics.counter("gate_failures", "Tracks whose voice detection failed", plain(lambda: voice.counts.failures))
    metrics.gauge(
        "unanswered_speech_seconds", "Speech without any text, worst track", plain(lambda: voice.unanswered_s)
    )
    metrics.counter(
        "provider_renewals", "Provider sessions renewed because no text came", plain(lambda: voice.counts.renewals)
    )


def _audio_metrics(metrics: Metrics, audio: AudioEndpoint) -> None:
    counts = audio.counts
    metrics.gauge("audio_connections", "Open connections that bring audio", plain(lambda: audio.connections))
    metrics.counter("audio_bytes", "Audio taken over WebSockets", plain(lambda: counts.bytes))
    metrics.counter("audio_refused", "Audio connections refused, by reason", by("reason", counts.refused.items))
    metrics.counter("audio_closed", "Audio connections ended, by reason", by("reason", counts.closed.items))


def _document_metrics(metrics: Metrics, finaliser: Finaliser, retention: Retention) -> None:
    counts = finaliser.counts
    metrics.counter("documents_made", "Transcript documents written", plain(lambda: counts.made))
    metrics.counter("documents_removed", "Transcript documents removed", plain(lambda: counts.removed))
    metrics.counter("sessions_cleared", "Sessions whose words were removed", plain(lambda: retention.cleared))
    metrics.counter("documents_failed", "Times the blob store did not do it", plain(lambda: counts.failed))


def _analysis_metrics(metrics: Metrics, analyses: Analyses) -> None:
    counts = analyses.counts
    states = ("pending", "running", "failed")
    metrics.gauge(
        "analyses",
        "Analyses in the database that are not done, by state",
        by("state", lambda: [(state, counts.waiting.get(state.upper(), 0)) for state in states]),
    )
    metrics.gauge("analyses_here", "Analyses that this process works on", plain(lambda: counts.running))
    metrics.counter(
        "analysis_attempts", "Attempts that this process has ended, by outcome", by("outcome", counts.finished.items)
    )
    metrics.counter("analysis_seconds", "Time spent on them", plain(lambda: counts.seconds))


def _provider_metrics(metrics: Metrics, provider: Provider, places: SharedPlaces | None, counts: SweepCounts) -> None:
    """The account at the speech provider."""
    metrics.gauge(
        "provider_circuit_open", "1 while the provider answers nobody", plain(lambda: provider.breaker.is_open)
    )
    metrics.gauge("provider_sessions", "Provider sessions this replica has open", plain(lambda: len(provider.mine)))
    metrics.gauge("provider_places_held", "Places in use on all replicas", plain(lambda: places.held if places else 0))
    metrics.gauge(
        "provider_places_waiting", "Tracks waiting on all replicas", plain(lambda: places.waiting if places else 0)
    )
    metrics.counter(
        "provider_orphans_ended", "Provider sessions ended for a dead process", plain(lambda: counts.orphans_ended)
    )
    metrics.counter(
        "provider_orphans_unended", "Attempts at that without success", plain(lambda: counts.orphans_unended)
    )
    metrics.counter("provider_bills", "Bills read, one a provider session", plain(lambda: counts.billed))
    metrics.counter("provider_bills_missing", "Sessions without a bill", plain(lambda: counts.unbilled))
    metrics.counter(
        "provider_bills_differing", "Bills more than 0.5 % off our own count", plain(lambda: counts.differing)
    )
    metrics.counter(
        "provider_seconds",
        "Audio of sessions that both sides have counted, by who counted it",
        by(
            "counted",
            lambda: [
                ("sent", counts.seconds_sent),
                ("resent", counts.seconds_resent),
                ("billed", counts.seconds_billed),
            ],
        ),
    )


# --- single parts, for the commands that need no whole gateway --------------------------------------------------


async def migrate_database(settings: Settings) -> tuple[list[str], list[str]]:
    """What was applied, and warnings. Raises: StartFailed."""
    with _start_failures():
        async with AsyncExitStack() as rooms:
            failed = asyncio.get_running_loop().create_future()
            url = await _database(settings, rooms, failed)
            mode: Any = settings.database_tables
            prepared = await prepare(parse_database_url(url), mode=mode, connect_timeout_s=_CONNECT_S)
    return prepared.applied, prepared.warnings


async def maintain(settings: Settings) -> dict[str, int]:
    """What a running gateway does by itself now and then, once. Returns: how much of each. Raises: StartFailed."""
    clock = SystemClock()
    with _start_failures():
        async with AsyncExitStack() as rooms:
            failed = asyncio.get_running_loop().create_future()
            options = parse_database_url(await _database(settings, rooms, failed))
            mode: Any = settings.database_tables
            prepared = await prepare(options, mode=mode, allow_gateway_ddl=False, connect_timeout_s=_CONNECT_S)
            database = await rooms.enter_async_context(open_pool(options, connect_timeout_s=_CONNECT_S))
            records = PostgresRecords(database, clock)
            blobs = await rooms.enter_async_context(open_blobs(_blob_options(settings)))
            finaliser = Finaliser(PostgresDocuments(database), blobs, clock, _Place(settings).document_url)
            keepsakes = PostgresKeepsakes(database, clock)
            control: TranscriptionControl = NoControl(records, settings.drain_s + STOP_MARGIN_S)
            if settings.ws_server_url:
                control = await _remote_control(settings, rooms)
            module = _sessions(
                settings,
                database,
                clock,
                control,
                records,
                "maintain",
                finaliser,
                Analyses(PostgresAnalyses(database, clock), OfflineAnalyst(), clock, AnalysisOptions()),
                Eraser(keepsakes, Hub(clock.now), finaliser, lambda session_id: None).erase,
                own_tables=prepared.ownership is Ownership.OWN,
            )
            try:
                done = await module.upkeep.round()
                done["cleared"] = await Retention(keepsakes, finaliser, clock, settings.retention_days).sweep()
                done["documents"] = await finaliser.work()
            except (RecordsUnavailable, RetentionRefused) as error:
                raise StartFailed(str(error)) from error
    return done


@asynccontextmanager
async def open_speech_server(args: argparse.Namespace, faults: bytes | None) -> AsyncIterator[str]:
    """The local Gladia-compatible server. Yields its URL. Raises: StartFailed."""
    options = LocalOptions(
        host=args.host,
        port=args.port,
        api_key=args.api_key,
        engine=args.engine,
        workers=args.workers,
        max_sessions=args.max_sessions,
        faults=faults,
        fault_control=faults is not None,
    )
    async with AsyncExitStack() as rooms:
        with _start_failures():
            server = await rooms.enter_async_context(LocalServer(options))
        yield server.url


async def check_parts(settings: Settings) -> AsyncIterator[tuple[str, bool, str]]:
    """(part, whether it works, what to know or do), one after the other."""
    yield "settings", True, f"engine {settings.engine}, data in {settings.data_dir}"
    if settings.database_url is None:
        yield "database", True, "embedded PostgreSQL (for anything kept, set DATABASE_URL)"
    else:
        try:
            mode: Any = settings.database_tables
            options = parse_database_url(settings.database_url)
            prepared = await prepare(options, mode=mode, allow_gateway_ddl=False, connect_timeout_s=_CONNECT_S)
            yield "database", True, "; ".join([f"tables are {prepared.ownership}", *prepared.warnings])
        except MigrationsPending as error:
            told = "its migrations will be applied at start" if settings.auto_migrate else str(error)
            yield "database", settings.auto_migrate, told
        except (StorageError, BadDatabaseUrl) as error:
            yield "database", False, str(error)
    if settings.engine == "gladia":
        options_ = ProviderOptions(api_key=settings.gladia_api_key or "", url=settings.gladia_api_url)
        async with Provider(options_) as provider:
            try:
                await provider.check()
                yield "speech provider", True, f"{settings.gladia_api_url} accepts the key"
            except SttError as error:
                yield "speech provider", False, str(error)
    else:
        yield "speech provider", True, f"offline recogniser {settings.engine}: English only, faulty text"
    if settings.analysis_url is None:
        yield "analysis", True, "no language model configured: summaries are extractive"
    else:
        async with open_chat(_chat_options(settings, settings.analysis_url)) as chat:
            try:
                yield "analysis", True, await chat.check()
            except (AnalysisTrouble, AnalysisImpossible) as error:
                yield "analysis", False, str(error)
    async with AsyncExitStack() as rooms:
        livekit = await _livekit(settings, rooms)
        if livekit is None:
            yield "LiveKit", True, "not configured"
            return
        try:
            yield "LiveKit", True, f"{settings.livekit_url} accepts the key; {len(await livekit.rooms())} rooms now"
        except RoomsUnavailable as error:
            yield "LiveKit", False, str(error)
