"""Which facts write which events, on a real PostgreSQL: with the fact, once, and not when it did not happen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import msgspec
import pytest

from gateway.app.system_clock import SystemClock
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.records import SessionRecord
from gateway.webhooks.addresses import Allowed
from gateway.webhooks.endpoints import Endpoint, Endpoints
from gateway.webhooks.events import CHOSEN, EVENTS
from gateway.webhooks.outbox import PostgresOutbox
from storage.postgres.analyses import Analyses
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.sessions import Participants, SessionRow, Sessions
from storage.postgres.url import parse_database_url

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@dataclass
class World:
    database: Database
    sessions: Sessions
    participants: Participants
    endpoint: Endpoint

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What was written since the last call, in order; each fits its schema."""
        rows = await self.database.pool.fetch("DELETE FROM gateway.webhook_delivery RETURNING id, type, lane, data")
        found = [(row["type"], json.loads(row["data"])) for row in sorted(rows, key=lambda row: row["id"])]
        for name, data in found:
            jsonschema.validate(data, msgspec.json.schema(EVENTS[name]))
        return found

    async def types(self) -> list[str]:
        return [name for name, _ in await self.told()]

    async def session(self, slug: str = "abc") -> SessionRow:
        return await self.sessions.create(slug, "Weekly", "space", None, NOW)

    async def claimed(self, row: SessionRow) -> Claimed:
        record = SessionRecord(row.id, row.slug, "LIVE", None, "space", NOW)
        claimed, _ = await postgres_records(self.database, SystemClock()).leases.claim(
            record, "rtmp", {"tags": ["acme"]}, None, "me", 600
        )
        assert claimed is not None
        return claimed


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    options = parse_database_url(database_url)
    await prepare(options)
    async with open_pool(options, size=3) as database:
        await database.pool.execute("INSERT INTO \"Space\" (id) VALUES ('space')")
        endpoints = Endpoints(PostgresOutbox(database), SystemClock(), Allowed())
        made = await endpoints.create("https://app.example.com/", CHOSEN, None, None)
        yield World(database, Sessions(database), Participants(database), made)


async def test_people_come_and_go_and_are_told_once(world: World) -> None:
    row = await world.session()
    join = world.participants.join
    await join(row.id, "anna", "Anna", NOW)
    await join(row.id, "anna", "Anna", NOW)  # she is there already
    assert await world.participants.leave(row.id, "anna", NOW)
    assert not await world.participants.leave(row.id, "anna", NOW)
    again = await world.participants.enter(row.id, "anna", None, NOW, role="HOST", user_id=None, trusted=True)
    assert again is not None and again.participant.role == "HOST" and not again.went_live
    told = await world.told()
    assert [name for name, _ in told] == [
        "session.created",
        "session.started",
        "participant.joined",
        "participant.left",
        "participant.joined",
    ]
    assert told[-1][1]["role"] == "HOST" and told[-1][1]["spaceId"] == "space"
    assert await world.sessions.end(row.id, NOW)
    assert not await world.sessions.end(row.id, NOW)
    assert await join(row.id, "bob", None, NOW) is None
    assert await world.types() == ["session.ended", "participant.left"]


async def test_what_is_rolled_back_is_not_told(world: World) -> None:
    with pytest.raises(RuntimeError):
        async with world.database.transaction() as link:
            await link.row("session_create", "id-1", "abc", None, None, NOW.replace(tzinfo=None), "space")
            raise RuntimeError
    assert await world.told() == []


async def test_sessions_expire_and_are_deleted_before_their_end(world: World) -> None:
    one, other, third = await world.session("a"), await world.session("b"), await world.session("c")
    await world.told()
    assert await world.sessions.expire(one.id)
    assert await world.sessions.delete(other.id, NOW)
    assert [row.slug for row in await world.sessions.expire_created(NOW + timedelta(hours=1))] == ["c"]
    assert await world.sessions.delete(third.id, NOW)
    ended = [(data["sessionSlug"], data["status"]) for _, data in await world.told()]
    assert ended == [("a", "EXPIRED"), ("b", "DELETED"), ("c", "EXPIRED")]


async def test_a_transcription_gets_ill_and_well_and_reaches_a_limit(world: World) -> None:
    row = await world.session()
    claimed = await world.claimed(row)
    leases = postgres_records(world.database, SystemClock()).leases
    await world.told()
    for reasons in ((), ("no text comes",), ("no text comes",), (), ()):
        await leases.set_health(claimed.lease, reasons)
    stale = replace(claimed.lease, fence=claimed.lease.fence - 1)
    await leases.set_health(stale, ("not ours",))
    assert [(name, data["reasons"]) for name, data in await world.told()] == [
        ("transcription.degraded", ["no text comes"]),
        ("transcription.recovered", []),
    ]
    await leases.finish(stale, "not ours", True)
    for _ in range(2):
        await leases.finish(claimed.lease, "cost cap of 1.00 USD reached", True, is_limited=True)
    told = await world.told()
    assert [name for name, _ in told] == ["transcription.stopped", "limit.reached", "usage.closed"]
    assert told[1][1]["reason"] == "cost cap of 1.00 USD reached" and told[2][1]["tags"] == ["acme"]


async def test_usage_is_reconciled_once_when_the_last_bill_is_there(world: World) -> None:
    row = await world.session()
    claimed = await world.claimed(row)
    run, leases = claimed.lease.transcription_id, postgres_records(world.database, SystemClock()).leases
    bills = ProviderSessions(world.database, "account", "me/1")
    for name in ("g-1", "g-2"):
        await bills.opened(name, run, row.id, "anna", NOW)
        await bills.closed(name, NOW, 60.0, "ended")
    await bills.audited("g-1", 61.0)
    await leases.finish(claimed.lease, "stopped by request", True)
    assert "usage.reconciled" not in await world.types()
    await bills.audited("g-2", None)
    await bills.audited("g-2", None)
    [(name, data)] = await world.told()
    assert name == "usage.reconciled"
    assert (data["billedSeconds"], data["providerSessions"], data["unbilledSessions"]) == (61.0, 2, 1)


async def test_an_analysis_is_told_as_it_ends(world: World) -> None:
    row = await world.session()
    await world.sessions.go_live(row.id, NOW)
    await world.sessions.end(row.id, NOW)
    await world.told()
    analyses = Analyses(world.database)
    await analyses.ensure(row.id, NOW)
    job = await analyses.take(NOW, 60)
    assert job is not None
    assert await analyses.put_back(job, "later", 0.0, NOW)
    job = await analyses.take(NOW, 60)
    assert job is not None
    assert await analyses.failed(job, "the model refuses", NOW)
    assert not await analyses.failed(job, "the model refuses", NOW)
    assert await world.told() == [
        (
            "analysis.failed",
            {
                "sessionSlug": "abc",
                "sessionId": row.id,
                "spaceId": "space",
                "method": None,
                "reason": "the model refuses",
            },
        )
    ]


async def test_the_lane_waits_with_its_oldest_and_a_late_outcome_changes_nothing(world: World) -> None:
    outbox = PostgresOutbox(world.database)
    row = await world.session()
    await world.sessions.go_live(row.id, NOW)
    other = await world.session("other")
    taken = await outbox.take({}, 60, 4)
    assert [(one.type, one.lane) for one, _ in taken] == [("session.created", row.id), ("session.created", other.id)]
    assert await outbox.take({}, 60, 4) == []
    head = taken[0][0]
    await outbox.settle(replace(head, attempts=head.attempts - 1), "delivered", 204, None)
    assert await outbox.take({}, 60, 4) == [], "the second was sent before the first was taken"
    await outbox.again(head, -1.0, 500, "it answered 500")
    [(again, _)] = await outbox.take({}, 60, 4)
    assert (again.event_id, again.attempts) == (head.event_id, 2)
    await outbox.settle(head, "failed", None, None)  # of the first attempt, whose lease is over
    await outbox.settle(again, "delivered", 204, None)
    assert await outbox.take({world.endpoint.id: 4}, 60, 4) == [], "more at once than it may"
    [(after, _)] = await outbox.take({world.endpoint.id: 3}, 60, 4)
    assert after.type == "session.started"
