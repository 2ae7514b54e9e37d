"""Fixtures for every test: a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import PostgresServer, running_postgres  # pytest puts this file's folder on the path

from storage.postgres.placement import EmbeddedFailed, bundled_binaries


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The embedded server, started at its first use in a run."""
    try:
        bundled_binaries()
    except EmbeddedFailed as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    # Not tmp_path: it is private, and as root the server runs under another account.
    data_dir = Path(tempfile.mkdtemp(prefix="gateway-test-postgres-"))
    data_dir.chmod(0o755)
    try:
        with running_postgres(data_dir) as server:
            yield server
    finally:
        shutil.rmtree(data_dir)


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with all tables."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any table."""
    with postgres_server.database(migrated=False) as url:
        yield url
