"""Composition root: opens the parts, starts the tasks, owns the shutdown. The only place that knows every room."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.analysis.analyse import Analyses, AnalysisOptions
from gateway.analysis.queue import PostgresAnalyses
from gateway.api.analysis import AnalysisApi
from gateway.api.host import HostApi
from gateway.api.limits import LimitsApi
from gateway.api.routes import Api
from gateway.api.sessions import SessionsApi
from gateway.app.gauges import (
    analysis_gauges,
    audio_gauges,
    document_gauges,
    gateway_gauges,
    provider_gauges,
    sessions_gauges,
    voice_gauges,
)
from gateway.app.http import serve_http
from gateway.app.parts import (
    CONNECT_S,
    Place,
    StartFailed,
    analyst,
    decoder_threads,
    livekit_server,
    open_database_url,
    own_name,
    provider_options,
    spending_limits,
    start_failures,
)
from gateway.app.sessions import Service, open_sessions
from gateway.app.system_clock import SystemClock
from gateway.availability import DatabaseProbe, available
from gateway.garbage import collect_garbage
from gateway.live.audio import AudioEndpoint, AudioOptions
from gateway.live.credentials import NO_KEYS, Access, Secrets, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions
from gateway.live.hub import Hub
from gateway.live.jwks import open_key_ring
from gateway.live.places import Limits
from gateway.outage import RecordsUnavailable
from gateway.sessions.infra.local_control import LocalControl
from gateway.sessions.infra.rate_limits import MemoryLimiter, RedisLimiter
from gateway.sessions.usecases.rates import RateOptions, Rates
from gateway.sessions.usecases.upkeep import WATCH_S, stop_what_is_over
from gateway.settings import Settings
from gateway.transcription.infra.account import GladiaAccount
from gateway.transcription.infra.journal import open_journal
from gateway.transcription.infra.ledger import PostgresUsageLedger
from gateway.transcription.infra.provider_sessions import PostgresSessionLedger
from gateway.transcription.infra.provider_slots import SharedSlots
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.infra.sources import Sources
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import MARGIN_S, Voice, VoiceOptions
from gateway.transcription.usecases.attend import Attendance, WebhookRefused
from gateway.transcription.usecases.context import RunContext, RunOptions
from gateway.transcription.usecases.feed import Feeding
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.host import Hosts
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.provider_erasure import ProviderErasure
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.sweep import Sweeper
from gateway.transcription.usecases.transcriptions import Transcriptions
from gateway.transcription.usecases.watch import Watching
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.server import RtmpServer
from storage.postgres.migrate import prepare
from storage.postgres.ownership import Ownership
from storage.postgres.places import ProviderPlaces
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url
from storage.redis.throttle import open_throttle
from stt.gladia.client import Provider

log = logging.getLogger(__name__)

# A full spool of 256 MB holds 180,000 finals; the database takes about 6,500 a second.
_RECOVER_S = 60.0


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
            with start_failures():
                gateway = await _open(settings, rooms)
        except StartFailed as error:
            failure = error  # raised when the rooms are closed: a task group would wrap it into a group
        else:
            yield gateway
            log.info("gateway stopping")
    if failure is not None:
        raise failure


async def _open(settings: Settings, rooms: AsyncExitStack) -> Gateway:
    clock = SystemClock()
    owner = own_name(settings, rooms)
    failed = asyncio.get_running_loop().create_future()
    database_url = await open_database_url(settings, rooms, failed)
    options = parse_database_url(database_url)
    prepared = await prepare(
        options,
        mode=settings.database_tables,
        allow_gateway_ddl=settings.auto_migrate,
        connect_timeout_s=CONNECT_S,
    )
    for warning in prepared.warnings:
        log.warning("database: %s", warning)
    for label in prepared.applied:
        log.info("database: applied migration %s", label)
    database = await rooms.enter_async_context(open_pool(options, connect_timeout_s=CONNECT_S))
    process = f"{owner}/{secrets.token_hex(4)}"
    # Keys are rotated and the offline recogniser's port changes: neither names the account.
    account = settings.gladia_api_url if settings.engine == "gladia" else f"{settings.engine} of {owner}"
    records = postgres_records(database, clock, account, process)

    table = ProviderPlaces(database, account, process)
    places: SharedSlots | None = None
    if settings.stt_max_sessions:
        places = SharedSlots(table, settings.stt_max_sessions, settings.lease_s)
        await rooms.enter_async_context(places.serving())
    provider = await rooms.enter_async_context(Provider(await provider_options(settings, rooms), places))
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
    finals = FinalReader(records, recorder.unstored)
    await _recover(recorder)
    run_options = RunOptions(
        owner=owner,
        drain_s=settings.drain_s,
        lease_s=settings.lease_s,
        cost_per_minute=settings.cost_per_minute,
        store_partials=settings.store_partials,
        maximum_s=settings.max_transcription_s,
    )
    place = Place(settings)
    decoders = rooms.enter_context(decoder_threads())
    livekit = await livekit_server(settings, rooms)
    listen = (lambda room: livekit.listen(room, clock)) if livekit else None
    sources = Sources(decoders, clock, lambda: place.rtmp_base, lambda: place.http_url, listen)
    keeper = LimitKeeper(spending_limits(settings), PostgresUsageLedger(database, clock), clock)
    transcriptions = Transcriptions(
        RunContext(records, recorder, hub, transcriber, clock, run_options, keeper), sources
    )
    provider_account, ledger = GladiaAccount(provider), PostgresSessionLedger(database, account, process)
    erasure = ProviderErasure(provider_account, ledger, clock)
    sweeper = Sweeper(
        provider_account,
        ledger,
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
    watching = Watching(records, finals)
    endpoint = LiveEndpoint(hub, watching, check_credential, lambda: place.http_url, live_options)
    hosts = Hosts(records, hub, lambda: transcriptions.runs)
    senders = Limits(settings.max_senders, settings.max_senders_per_address, settings.max_senders_per_session)
    audio = AudioEndpoint(Feeding(records, sources), watching, check_credential, endpoint, AudioOptions(senders))
    rtmp = RtmpServer(RtmpOptions(settings.rtmp_host, max(settings.rtmp_port, 0)), sources)
    analyses = Analyses(
        PostgresAnalyses(database, clock),
        await analyst(settings, rooms),
        clock,
        AnalysisOptions(workers=settings.analysis_workers, attempts=settings.analysis_attempts),
    )
    service = Service(
        owner=owner,
        database=database,
        clock=clock,
        records=records,
        hub=hub,
        place=place,
        analyses=analyses,
        control=LocalControl(transcriptions, records, settings.drain_s + WATCH_S + 3),
        session_gone=transcriptions.session_gone,
        own_tables=prepared.ownership is Ownership.OWN,
    )
    sessions = await open_sessions(settings, service, rooms)
    module, finaliser, retention = sessions.module, sessions.finaliser, sessions.retention
    metrics = gateway_gauges(transcriptions, recorder, journal, hub, endpoint, rtmp, settings.engine)
    voice_gauges(metrics, voice)
    audio_gauges(metrics, audio)
    analysis_gauges(metrics, analyses)
    provider_gauges(metrics, provider, places, sweeper.counts, erasure.counts)
    document_gauges(metrics, finaliser, retention)

    probe = DatabaseProbe(database)

    async def ready() -> list[str]:
        reasons = ["shutting down"] if transcriptions.draining else []
        try:
            await probe.ping()
        except RecordsUnavailable:
            reasons.append("the database does not answer")
        return reasons

    limiter: MemoryLimiter | RedisLimiter = MemoryLimiter(clock)
    if settings.redis_url:
        limiter = RedisLimiter(await rooms.enter_async_context(open_throttle(settings.redis_url)), clock)
    rates = Rates(limiter, RateOptions(settings.create_per_minute, settings.list_per_minute, settings.join_per_minute))
    sessions_gauges(metrics, module, rates, limiter)
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
        finals,
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
    if settings.provider_delete:
        await rooms.enter_async_context(_background(erasure=erasure.run()))
    place.http_port = await serve_http(settings, api, metrics, rooms)
    rooms.push_async_callback(endpoint.close)
    rooms.push_async_callback(audio.close)
    log.info(
        "gateway ready",
        extra={"http": place.http_url, "rtmp": place.rtmp_base, "engine": settings.engine},
    )
    return Gateway(place.http_url, place.rtmp_base, database_url, settings.engine, failed)


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
