"""The queue of analyses, in memory and on Postgres, with sessions to analyse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from support.memory_queue import MemoryAnalyses
from support.postgres import PostgresServer

from gateway.analysis.analyse import AnalysisQueue
from gateway.analysis.queue import PostgresAnalyses
from storage.postgres.pool import Database, open_pool
from storage.postgres.segments import NewSegment, Segments
from storage.postgres.sessions import Participants, Sessions
from storage.postgres.url import parse_database_url

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Shelf:
    """A queue, and how a test makes an ended (or live) session in which Anna said some sentences; returns its id."""

    queue: AnalysisQueue
    clock: HandClock
    session: Callable[..., Awaitable[str]]
    delete: Callable[[str], Awaitable[object]]
    database: Database | None

    async def wait(self, seconds: float) -> None:
        """Also by the database's clock, which leases go by, and what is due."""
        self.clock.pass_(seconds)
        if self.database is not None:
            past = "lease_until = lease_until - s, due_at = due_at - s"
            await self.database.pool.execute(
                f"UPDATE gateway.analysis_job SET {past} FROM (SELECT $1 * interval '1 second' AS s)", seconds
            )


async def spoken_session(database: Database, slug: str, *texts: str, end: bool = True) -> str:
    sessions = Sessions(database)
    session = await sessions.create(slug, "Standup", await sessions.ensure_default_space(), "user-1", BEGIN)
    joined = await Participants(database).join(session.id, "anna", "Anna", BEGIN)
    assert joined is not None
    await Segments(database).upsert(
        NewSegment(session.id, joined.participant.id, f"u{n}", text, "en", True, at, at, at)
        for n, text in enumerate(texts)
        for at in [BEGIN + timedelta(seconds=n)]
    )
    if end:
        await sessions.end(session.id, BEGIN)
    return session.id


@pytest.fixture(params=["memory", "postgres"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    clock = HandClock()
    if request.param == "memory":
        memory = MemoryAnalyses(clock)

        async def add(slug: str = "abc", *texts: str, end: bool = True) -> str:
            return memory.add(slug, *texts, status="ENDED" if end else "LIVE").id

        async def remove(session_id: str) -> None:
            memory.sessions.pop(session_id)
            memory.rows.pop(session_id, None)

        yield Shelf(memory, clock, add, remove, None)
        return
    server = request.getfixturevalue("postgres_server")
    assert isinstance(server, PostgresServer)
    opening = server.database()
    url = await asyncio.to_thread(opening.__enter__)
    try:
        async with open_pool(parse_database_url(url)) as database:

            async def create(slug: str = "abc", *texts: str, end: bool = True) -> str:
                return await spoken_session(database, slug, *texts, end=end)

            async def erase(session_id: str) -> bool:
                return await Sessions(database).delete(session_id, clock.now())

            yield Shelf(PostgresAnalyses(database, clock), clock, create, erase, database)
    finally:
        await asyncio.to_thread(opening.__exit__, None, None, None)
