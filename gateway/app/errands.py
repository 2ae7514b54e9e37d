"""What commands do that need no whole gateway: migrate, maintain, the local speech server."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.app.parts import (
    CONNECT_S,
    Place,
    StartFailed,
    blob_options,
    open_database_url,
    remote_control,
    sessions_module,
    start_failures,
)
from gateway.live.hub import Hub
from gateway.sessions.infra.analyses import PostgresAnalyses
from gateway.sessions.infra.analysts import OfflineAnalyst
from gateway.sessions.infra.clock import SystemClock
from gateway.sessions.infra.documents import PostgresDocuments, open_blobs
from gateway.sessions.infra.keepsakes import PostgresKeepsakes
from gateway.sessions.infra.records import PostgresRecords
from gateway.sessions.usecases.analyse import (
    Analyses,
    AnalysisOptions,
)
from gateway.sessions.usecases.erase import Eraser
from gateway.sessions.usecases.finalise import Finaliser
from gateway.sessions.usecases.local_control import NoControl
from gateway.sessions.usecases.ports import RecordsUnavailable
from gateway.sessions.usecases.retention import Retention, RetentionRefused
from gateway.sessions.usecases.session_ports import TranscriptionControl
from gateway.sessions.usecases.transcriptions import STOP_MARGIN_S
from gateway.settings import Settings
from storage.postgres.migrate import prepare
from storage.postgres.ownership import Ownership
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url
from stt.local.server import LocalOptions, LocalServer


async def migrate_database(settings: Settings) -> tuple[list[str], list[str]]:
    """What was applied, and warnings. Raises: StartFailed."""
    with start_failures():
        async with AsyncExitStack() as rooms:
            failed = asyncio.get_running_loop().create_future()
            url = await open_database_url(settings, rooms, failed)
            prepared = await prepare(
                parse_database_url(url), mode=settings.database_tables, connect_timeout_s=CONNECT_S
            )
    return prepared.applied, prepared.warnings


async def maintain(settings: Settings) -> dict[str, int]:
    """What a running gateway does by itself now and then, once. Returns: how much of each. Raises: StartFailed."""
    clock = SystemClock()
    with start_failures():
        async with AsyncExitStack() as rooms:
            failed = asyncio.get_running_loop().create_future()
            options = parse_database_url(await open_database_url(settings, rooms, failed))
            prepared = await prepare(
                options, mode=settings.database_tables, allow_gateway_ddl=False, connect_timeout_s=CONNECT_S
            )
            database = await rooms.enter_async_context(open_pool(options, connect_timeout_s=CONNECT_S))
            records = PostgresRecords(database, clock)
            blobs = await rooms.enter_async_context(open_blobs(blob_options(settings)))
            finaliser = Finaliser(PostgresDocuments(database), blobs, clock, Place(settings).document_url)
            keepsakes = PostgresKeepsakes(database, clock)
            control: TranscriptionControl = NoControl(records, settings.drain_s + STOP_MARGIN_S)
            if settings.ws_server_url:
                control = await remote_control(settings, rooms)
            module = sessions_module(
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
        with start_failures():
            server = await rooms.enter_async_context(LocalServer(options))
        yield server.url
