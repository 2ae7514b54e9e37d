"""What every wing is opened with: this process's settings, clock, addresses, name and database."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway.app.addresses import Addresses
from gateway.app.database import POOL, open_database
from gateway.app.files import Files, divide, open_files
from gateway.app.secrets import HeldSecrets
from gateway.app.system_clock import SystemClock
from gateway.delays import Delays
from gateway.errors import StartFailed
from gateway.log_level import LogLevel
from gateway.settings import Settings
from gateway.transcription.infra.instance import FolderInUse, own_instance
from gateway.workers.worker import Worker
from storage.postgres.ownership import Ownership
from storage.postgres.pool import Database

log = logging.getLogger(__name__)

_SMALLEST_POOL: Final = 3


@dataclass(frozen=True, slots=True)
class Replica:
    """This process, one of any number on the same database."""

    settings: Settings
    files: Files
    """What the limit of open files leaves to the listeners."""
    secrets: HeldSecrets
    """Read at each use; what the settings hold of them may be out of force."""
    clock: SystemClock
    addresses: Addresses
    database: Database
    database_url: str
    own_tables: bool
    """The app's tables were made by the gateway's migrations, so that it may add spaces and users."""
    owner: str
    """Name under which it holds leases; kept in the data folder, so that a restart finds its own."""
    process: str = ""
    """This run of the owner: `OWNER/RANDOM`."""
    worker: Worker | None = None
    """None where it is not one of several workers of one machine."""
    account: str = ""
    """Names the account at the speech provider, whose sessions all its replicas count together."""
    delays: Delays = field(default_factory=Delays)
    log_level: LogLevel = field(default_factory=LogLevel)


@asynccontextmanager
async def open_replica(
    settings: Settings, held: HeldSecrets, failed: asyncio.Future[None], worker: Worker | None
) -> AsyncIterator[Replica]:
    """The data folder locked, the database migrated and connected.

    `failed` ends, with the reason as its exception, when an embedded PostgreSQL ends by itself.
    Raises: StartFailed, FolderInUse, BadDatabaseUrl, StorageError.
    """
    with _own_name(settings) as owner:
        size = POOL if worker is None else max(POOL // worker.of, _SMALLEST_POOL)
        delays = Delays()
        async with open_database(
            settings, failed, allow_gateway_ddl=settings.auto_migrate, pool=size, delays=delays
        ) as database:
            for warning in database.prepared.warnings:
                log.warning("database: %s", warning)
            for label in database.prepared.applied:
                log.info("database: applied migration %s", label)
            log_level = LogLevel(settings.log_level)
            replica = Replica(
                settings,
                divide(settings, open_files()),
                held,
                SystemClock(),
                Addresses(settings.public_url, settings.http_port),
                database.pool,
                database.url,
                own_tables=database.prepared.ownership is Ownership.OWN,
                owner=owner,
                process=f"{owner}/{secrets.token_hex(4)}",
                worker=worker,
                # Keys are rotated and the offline recogniser's port changes: neither names the account.
                account=settings.gladia_api_url if settings.engine == "gladia" else f"{settings.engine} of {owner}",
                delays=delays,
                log_level=log_level,
            )
            try:
                yield replica
            finally:
                log_level.restore()


@contextmanager
def _own_name(settings: Settings) -> Iterator[str]:
    with ExitStack() as held:
        try:
            name = held.enter_context(own_instance(settings.data_dir))
        except FolderInUse:
            raise
        except OSError as error:
            raise StartFailed(f"the data folder cannot be used ({error}); set GATEWAY_DATA_DIR") from error
        yield name
