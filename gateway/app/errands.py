"""What commands do that need no whole gateway: migrate, maintain, the local speech server."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.analysis.analyse import Analyses, AnalysisOptions
from gateway.analysis.analysts import OfflineAnalyst
from gateway.analysis.queue import PostgresAnalyses
from gateway.app.parts import (
    CONNECT_S,
    Place,
    StartFailed,
    open_database_url,
    start_failures,
)
from gateway.app.sessions import Service, open_sessions
from gateway.app.system_clock import SystemClock
from gateway.archive.retention import RetentionRefused
from gateway.live.hub import Hub
from gateway.outage import RecordsUnavailable
from gateway.sessions.infra.local_control import NoControl
from gateway.settings import Settings
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.transcriptions import STOP_MARGIN_S
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
            records = postgres_records(database, clock)
            service = Service(
                owner="maintain",
                database=database,
                clock=clock,
                records=records,
                hub=Hub(clock.now),
                place=Place(settings),
                analyses=Analyses(PostgresAnalyses(database, clock), OfflineAnalyst(), clock, AnalysisOptions()),
                control=NoControl(records, settings.drain_s + STOP_MARGIN_S),
                session_gone=lambda session_id: None,
                own_tables=prepared.ownership is Ownership.OWN,
            )
            sessions = await open_sessions(settings, service, rooms)
            try:
                done = await sessions.module.upkeep.round()
                done["cleared"] = await sessions.retention.sweep()
                done["documents"] = await sessions.finaliser.work()
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
