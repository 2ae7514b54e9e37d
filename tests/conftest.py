"""Fixtures for every test: a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.postgres import PostgresServer, running_postgres  # pytest puts this file's folder on the path

from storage.postgres.placement import EmbeddedFailed, bundled_binaries

# A busy machine makes no example wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The embedded server, started at its first use in a run."""
    try:
        bundled_binaries()
    except EmbeddedFailed as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with running_postgres() as server:
        yield server


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
