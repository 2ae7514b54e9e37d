"""The database at start: an embedded PostgreSQL where DATABASE_URL is not set, migrations, the connection pool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.delays import Delays
from gateway.settings import Settings
from storage.postgres.migrate import Prepared, prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.url import parse_database_url

log = logging.getLogger(__name__)

# Postgres absent at start has to be said within ten seconds, the shutdown included.
CONNECT_S = 5.0
STATEMENT_S = 30.0
"""How long a statement may take; then the database does not answer."""
POOL = 8
"""Connections of one process."""


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """`prepared`: what the migrations did, and whose the app's tables are."""

    url: str
    pool: Database
    prepared: Prepared


@asynccontextmanager
async def open_database(
    settings: Settings,
    failed: asyncio.Future[None],
    *,
    allow_gateway_ddl: bool,
    pool: int = POOL,
    delays: Delays | None = None,
) -> AsyncIterator[OpenDatabase]:
    """The database, checked and with every migration applied. `failed`: as for `database_url`.

    `delays`: told how long statements take. Without `allow_gateway_ddl` nothing is created or changed, and a pending
    migration is an error.
    Raises: BadDatabaseUrl, StorageError.
    """
    async with database_url(settings, failed) as url:
        options = parse_database_url(url)
        prepared = await prepare(
            options,
            mode=settings.database_tables,
            allow_gateway_ddl=allow_gateway_ddl,
            connect_timeout_s=CONNECT_S,
        )
        measured = (delays or Delays()).statement
        async with open_pool(
            options, size=pool, connect_timeout_s=CONNECT_S, command_timeout_s=STATEMENT_S, measured=measured
        ) as database:
            yield OpenDatabase(url, database, prepared)


@asynccontextmanager
async def database_url(settings: Settings, failed: asyncio.Future[None]) -> AsyncIterator[str]:
    """DATABASE_URL, or the URL of an embedded PostgreSQL that runs until the end of the block.

    `failed` ends with EmbeddedFailed as its exception when that server ends by itself. Raises: EmbeddedFailed.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    from storage.postgres.embedded import EmbeddedPostgres  # the others have a server

    async with EmbeddedPostgres(settings.data_dir) as embedded:
        watch = asyncio.create_task(embedded.wait_failed(), name="embedded-postgres")

        def tell(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
                log.critical("%s", error)  # at once: the shutdown that follows waits for what is being said
                failed.set_exception(error)

        watch.add_done_callback(tell)
        log.info("embedded PostgreSQL runs", extra={"dataDir": str(settings.data_dir), "url": embedded.url})
        try:
            yield embedded.url
        finally:
            watch.cancel()
