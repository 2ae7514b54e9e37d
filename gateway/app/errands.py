"""What commands do that need no whole gateway: migrate, maintain, the local speech server."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.analysis.analyse import Analyses, AnalysisOptions
from gateway.analysis.analysts import OfflineAnalyst
from gateway.analysis.queue import PostgresAnalyses
from gateway.app.addresses import Addresses
from gateway.app.database import CONNECT_S, database_url, open_database
from gateway.app.failures import binding, start_failures
from gateway.app.files import divide, open_files
from gateway.app.replica import Replica
from gateway.app.secrets import HeldSecrets
from gateway.app.sessions import Transcribing, open_sessions
from gateway.app.system_clock import SystemClock
from gateway.archive.retention import RetentionRefused
from gateway.errors import StartFailed
from gateway.live.hub import Hub
from gateway.outage import RecordsUnavailable
from gateway.sessions.infra.local_control import NoControl
from gateway.settings import Settings
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.transcriptions import STOP_MARGIN_S
from storage.postgres.migrate import prepare
from storage.postgres.ownership import Ownership
from storage.postgres.url import parse_database_url
from stt.local.server import LocalOptions, LocalServer


async def migrate_database(settings: Settings) -> tuple[list[str], list[str]]:
    """Apply what is pending, whatever GATEWAY_AUTO_MIGRATE says; idempotent.

    Returns: labels of what was applied, in order, and warnings. Raises: StartFailed.
    """
    failed = asyncio.get_running_loop().create_future()
    with start_failures():
        async with database_url(settings, failed) as url:
            options = parse_database_url(url)
            prepared = await prepare(options, mode=settings.database_tables, connect_timeout_s=CONNECT_S)
    return prepared.applied, prepared.warnings


async def maintain(settings: Settings) -> dict[str, int]:
    """What a running gateway does by itself now and then, once. Returns: how much of each. Raises: StartFailed."""
    failed = asyncio.get_running_loop().create_future()
    with start_failures():
        async with open_database(settings, failed, allow_gateway_ddl=False) as database:
            replica = Replica(
                settings,
                divide(settings, open_files()),
                HeldSecrets(settings),
                SystemClock(),
                Addresses(settings.public_url, settings.http_port),
                database.pool,
                database.url,
                own_tables=database.prepared.ownership is Ownership.OWN,
                owner="maintain",
            )
            return await _upkeep(replica)


async def _upkeep(replica: Replica) -> dict[str, int]:
    """Raises: StartFailed."""
    clock, database = replica.clock, replica.database
    records = postgres_records(database, clock)
    control = NoControl(records, replica.settings.drain_s + STOP_MARGIN_S)
    transcribing = Transcribing(records, Hub(clock.now), control, session_gone=lambda session_id: None)
    analyses = Analyses(PostgresAnalyses(database, clock), OfflineAnalyst(), clock, AnalysisOptions())
    async with open_sessions(replica, analyses, transcribing) as sessions:
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
        api_key=args.api_key or os.environ.get("GLADIA_API_KEY", "").strip() or None,
        allowed_origins=tuple(args.allow_origin),
        private_callbacks=args.private_callbacks,
        engine=args.engine,
        workers=args.workers,
        max_sessions=args.max_sessions,
        faults=faults,
        fault_control=faults is not None,
    )
    async with AsyncExitStack() as rooms:
        with start_failures(), binding(args.host, args.port, "--port"):
            server = await rooms.enter_async_context(LocalServer(options))
        yield server.url
