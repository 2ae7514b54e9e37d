"""A real PostgreSQL for tests: one embedded server per test run, one fresh database per test.

The server runs on an event loop of its own, in a thread, so that fixtures of any scope can use it from any test.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.migrate import prepare
from storage.postgres.pool import connect
from storage.postgres.url import parse_database_url

T = TypeVar("T")

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


class LoopThread:
    """An event loop in a thread; the thread also forks the server, and must outlive it (see `launch.py`)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres-fixture", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class PostgresServer:
    """A running server. `url` is its maintenance database; tests use `database()`."""

    def __init__(self, url: str, thread: LoopThread) -> None:
        self.url = url
        self._thread = thread

    def url_of(self, database: str) -> str:
        return self.url.replace("/postgres?", f"/{database}?")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser."""
        self._thread.run(self._execute(database, statements))

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a database of one's own, with all tables or empty; dropped afterwards.

        Fails the test that leaves a connection open.
        """
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'} STRATEGY file_copy")
        try:
            yield self.url_of(name)
            left = self._thread.run(self._connections_left(name))
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")
        assert not left, f"connections left open: {left}"

    async def _execute(self, database: str, statements: tuple[str, ...]) -> None:
        connection = await connect(parse_database_url(self.url_of(database)))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def _connections_left(self, database: str) -> list[str]:
        """A backend needs a moment to go after its client has."""
        connection = await connect(parse_database_url(self.url))
        try:
            for _ in range(200):
                rows = await connection.fetch(
                    "SELECT application_name || ': ' || query AS last FROM pg_stat_activity WHERE datname = $1",
                    database,
                )
                if not rows:
                    break
                await asyncio.sleep(0.01)
            return [row["last"] for row in rows]
        finally:
            await connection.close()


@contextlib.contextmanager
def running_postgres(binaries: Path | None = None) -> Iterator[PostgresServer]:
    """Start a server that forgets on power loss, make the template database, stop it at the end."""
    with _fast_folder() as folder, contextlib.closing(LoopThread()) as thread:
        embedded = EmbeddedPostgres(folder, durable=False, binaries=binaries)
        thread.run(embedded.__aenter__(), timeout=120)
        try:
            server = PostgresServer(embedded.url, thread)
            server.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
            thread.run(_migrate(server.url_of(_TEMPLATE)))
            yield server
        finally:
            thread.run(embedded.__aexit__(None, None, None))


@contextlib.contextmanager
def _fast_folder() -> Iterator[Path]:
    """In memory where there is room: a fresh database is 300 files, 20 ms there and up to 400 ms on a disk.

    Not pytest's tmp_path: that is private, and as root the server runs under another account.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-postgres-", dir=memory if roomy else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


async def _migrate(url: str) -> None:
    await prepare(parse_database_url(url))
