"""A PostgreSQL of its own for every test here, because they kill it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from faults_world import Database, open_database
from support.tools import missing

from storage.postgres.placement import EmbeddedFailed, bundled_binaries


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """In memory, and passable for every account: as root the server runs under another one."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="gateway-faults-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def needs_postgres() -> None:
    try:
        bundled_binaries()
    except EmbeddedFailed as error:
        missing(str(error))


@pytest.fixture
async def database(needs_postgres: None, open_folder: Path) -> AsyncIterator[Database]:
    async with open_database(open_folder) as database:
        yield database
