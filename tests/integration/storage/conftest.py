"""Tests that ask for a database run on the embedded PostgreSQL, and on the system's own where there is one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.postgres import PostgresServer, running_postgres

from storage.postgres.finals import FinalRow
from storage.postgres.pool import Database, open_pool
from storage.postgres.sessions import Participants, SessionRow, Sessions
from storage.postgres.transcriptions import NewTranscription, TranscriptionRow, Transcriptions
from storage.postgres.url import parse_database_url

NOW = datetime(2026, 1, 5, 10, 0, 0, 120_000, UTC)


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


@dataclass
class World:
    """A live session with one participant and one running transcription."""

    db: Database
    session: SessionRow
    participant_id: str
    run: TranscriptionRow

    def final(self, seq: int, utterance: str | None = None, **changes: object) -> FinalRow:
        row = FinalRow(
            transcription_id=self.run.id,
            fence=self.run.fence,
            session_id=self.session.id,
            epoch=self.run.epoch,
            seq=seq,
            participant_id=self.participant_id,
            utterance_id=utterance or f"p:{seq}",
            text=f"Number {seq}.",
            language="en",
            started_at=NOW + timedelta(seconds=seq),
            ended_at=NOW + timedelta(seconds=seq + 1),
            data=b'{"seq": %d}' % seq,
            created_at=NOW + timedelta(seconds=seq + 2),
        )
        return replace(row, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def world(db: Database) -> World:
    return await make_world(db, "abc12345")


async def make_world(db: Database, slug: str) -> World:
    sessions = Sessions(db)
    space = await sessions.ensure_default_space()
    session = await sessions.create(slug, "Standup", space, "user-1", NOW)
    joined = await Participants(db).join(session.id, "anna", "Anna", NOW)
    assert joined is not None
    new = NewTranscription(session.id, session.slug, "livekit", {"language": "en"})
    run, created = await Transcriptions(db).claim(new, "replica-1", 15, NOW)
    assert created
    return World(db, session, joined.participant.id, run)
