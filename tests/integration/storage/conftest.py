"""Tests that ask for a database run on the embedded PostgreSQL, and on the system's own where there is one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from storage_world import World, make_world
from support.postgres import PostgresServer, running_postgres

from storage.postgres.pool import Database, open_pool
from storage.postgres.url import parse_database_url


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that every account may pass through; pytest's tmp_path is private."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def system_postgres() -> Iterator[PostgresServer]:
    """The machine's own PostgreSQL, an older one than ours."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL under /usr/lib/postgresql to try the SQL on an older version")
    with running_postgres(binaries=found[0].parent.parent) as server:
        yield server


@pytest.fixture(params=["embedded", "system"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    name = "postgres_server" if request.param == "embedded" else "system_postgres"
    found = request.getfixturevalue(name)
    assert isinstance(found, PostgresServer)
    return found


@pytest.fixture
def database_url(server: PostgresServer) -> Iterator[str]:
    with server.database() as url:
        yield url


@pytest.fixture
def empty_database_url(server: PostgresServer) -> Iterator[str]:
    with server.database(migrated=False) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with open_pool(parse_database_url(database_url), size=8) as database:
        yield database


@pytest.fixture
async def world(db: Database) -> World:
    return await make_world(db, "abc12345")
