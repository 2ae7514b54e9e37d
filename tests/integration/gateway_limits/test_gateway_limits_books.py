"""What was used today, counted in the real database; limits over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from integration.gateway_api.in_process import InProcess, running, speech_server
from support.fakes import HandClock

from gateway.transcription.domain.limits import Overrides, Standing
from gateway.transcription.domain.meters import Meter, read
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.ledger import PostgresUsageLedger
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.records import Records
from storage.postgres.pool import Database, open_pool
from storage.postgres.sessions import Participants, Sessions
from storage.postgres.url import parse_database_url
from stt.local.server import LocalServer

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC)


@dataclass
class Books:
    db: Database
    records: Records
    ledger: PostgresUsageLedger
    clock: HandClock

    async def claimed(self, slug: str, user: str | None = "ada", space: str = "default") -> Claimed:
        await self.db.pool.execute('INSERT INTO "Space" (id) VALUES ($1) ON CONFLICT DO NOTHING', space)
        row = await Sessions(self.db).create(slug, None, space, user, self.clock.now())
        session = await self.records.sessions.by_slug(row.slug)
        assert session is not None
        claimed, _ = await self.records.leases.claim(session, "rtmp", {}, None, "me", 600)
        assert claimed is not None
        return claimed

    async def metered(self, claimed: Claimed, seconds: int, identity: str = "anna") -> None:
        meter = Meter(
            self.records.usage.row_id(claimed.lease, identity),
            identity,
            None,
            NOON,
            0.01,
            samples_sent=16_000 * seconds,
        )
        await self.records.usage.save(claimed, {}, [read(meter)])

    async def standing(self, claimed: Claimed, *, own: bool = False) -> Standing:
        asked = (claimed.session_id, claimed.lease.transcription_id if own else "")
        found = (await self.ledger.standings([asked], live_s=15)).get(claimed.session_id)
        assert found is not None
        return found


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with open_pool(parse_database_url(database_url)) as db:
        clock = HandClock(NOON)
        yield Books(db, postgres_records(db, clock), PostgresUsageLedger(db, clock), clock)


async def test_a_user_and_a_space_use_up_what_all_their_sessions_do(books: Books) -> None:
    one, two = await books.claimed("one"), await books.claimed("two")
    other_space = await books.claimed("three", space="elsewhere")
    other_user = await books.claimed("four", user="bob")
    nobody = await books.claimed("five", user=None)
    for claimed, seconds in ((one, 10), (two, 20), (other_space, 40), (other_user, 80), (nobody, 160)):
        await books.metered(claimed, seconds)
        await books.metered(claimed, seconds)  # a checkpoint again changes nothing
    seen = await books.standing(one)
    assert (seen.session_s, seen.user_s, seen.space_s) == (10, 70, 270)
    assert (seen.user_live, seen.space_live) == (3, 4)
    of_others = await books.standing(one, own=True)
    assert (of_others.session_s, of_others.user_s, of_others.space_s) == (0, 60, 260)
    nobodys = await books.standing(nobody)
    assert (nobodys.user_s, nobodys.space_s) == (0, 270)
    assert await books.ledger.spent_today("default") == 270


async def test_midnight_begins_a_new_day_in_the_middle_of_a_transcription(books: Books) -> None:
    books.clock.at = MIDNIGHT - timedelta(seconds=30)
    claimed, other = await books.claimed("one"), await books.claimed("two")
    await books.metered(claimed, 100)
    await books.metered(other, 1000)
    assert (await books.standing(claimed)).user_s == 1100
    books.clock.at = MIDNIGHT + timedelta(seconds=1)
    fresh = await books.standing(claimed, own=True)
    assert (fresh.user_s, fresh.own_before_s) == (0, 100)
    await books.metered(claimed, 130)
    await books.metered(claimed, 150)
    await books.metered(other, 1007)
    seen = await books.standing(claimed, own=True)
    assert (seen.user_s, seen.own_before_s, seen.session_s) == (7, 100, 0)
    assert (await books.standing(claimed)).user_s == 57
    assert (await books.standing(claimed)).session_s == 150


async def test_who_has_stopped_is_not_expected_to_use_more(books: Books) -> None:
    one, two = await books.claimed("one"), await books.claimed("two")
    await books.metered(two, 5)
    assert (await books.standing(one)).space_live == 1
    books.clock.at += timedelta(seconds=20)
    assert (await books.standing(one)).space_live == 0


async def test_deleting_a_session_gives_nothing_back(books: Books) -> None:
    one, two = await books.claimed("one"), await books.claimed("two")
    await books.metered(two, 50)
    await Sessions(books.db).delete(two.session_id, books.clock.now())
    assert (await books.standing(one)).space_s == 50


async def test_former_days_are_forgotten(books: Books) -> None:
    one = await books.claimed("one")
    await books.metered(one, 50)
    books.clock.at += timedelta(days=10)
    await books.ledger.override("default", Overrides(session_minutes=1.5))
    assert await books.db.pool.fetchval("SELECT count(*) FROM gateway.usage_day") == 0
    assert await books.ledger.overrides("default") == Overrides(session_minutes=1.5)
    assert (await books.standing(one)).overrides == Overrides(session_minutes=1.5)
    await books.ledger.override("default", Overrides())
    assert await books.ledger.overrides("default") == Overrides()


async def test_many_checkpoints_at_once_do_not_stand_in_each_others_way(books: Books) -> None:
    runs = [await books.claimed(f"s{n}") for n in range(4)]
    await asyncio.gather(*[books.metered(run, n, f"p{n % 3}") for n in range(1, 41) for run in runs])
    assert await books.ledger.spent_today("default") == 4 * (38 + 39 + 40)


async def test_the_bill_names_the_user_of_the_participant(books: Books) -> None:
    await books.db.pool.execute("INSERT INTO \"User\" (id) VALUES ('eve')")
    claimed = await books.claimed("one")
    joined = await Participants(books.db).join(claimed.session_id, "anna", "Anna", NOON, user_id="eve")
    assert joined is not None
    meter = Meter(books.records.usage.row_id(claimed.lease, "anna"), "anna", None, NOON, 0.01, samples_sent=16_000)
    await books.records.usage.save(claimed, {"anna": joined.participant.id}, [read(meter)])
    assert await books.db.pool.fetchval('SELECT "userId" FROM "TranscriptionUsage"') == "eve"


# --- over HTTP ------------------------------------------------------------------------------------------------


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path, user_minutes_per_day=2.0, session_minutes=5.0) as found:
        yield found


NOTHING = {"transcription": None, "sessionMinutes": None, "userMinutesPerDay": None, "spaceMinutesPerDay": None}


async def test_a_space_gets_limits_of_its_own(gateway: InProcess) -> None:
    path = "/api/spaces/default/limits"
    everywhere = {"transcription": True, "sessionMinutes": 5.0, "userMinutesPerDay": 2.0, "spaceMinutesPerDay": 0.0}
    assert await gateway.ok("GET", path) == {
        "spaceId": "default",
        "own": NOTHING,
        "effective": everywhere,
        "minutesToday": 0.0,
    }
    changed = await gateway.ok("PUT", path, {"spaceMinutesPerDay": 60, "sessionMinutes": 0})
    assert changed["own"] == {**NOTHING, "spaceMinutesPerDay": 60.0, "sessionMinutes": 0.0}
    assert changed["effective"] == {**everywhere, "spaceMinutesPerDay": 60.0, "sessionMinutes": 0.0}
    assert await gateway.ok("GET", path) == changed
    for wrong in ({"sessionMinutes": -1}, {"transcription": "no"}, [], b"{"):
        refused = await gateway.call("PUT", path, wrong)
        assert (refused.status, refused.kind) == (400, "application/problem+json")
    assert (await gateway.call("GET", path, token="nonsense")).status == 401


async def test_a_start_beyond_a_limit_is_refused_and_told_when_to_come_back(gateway: InProcess) -> None:
    slug = await gateway.session()
    body = {"sessionSlug": slug, "source": "rtmp"}
    await gateway.ok("PUT", "/api/spaces/default/limits", {"transcription": False})
    off = await gateway.call("POST", "/api/transcription/start", body)
    assert (off.status, off.json["title"]) == (409, "Transcription is switched off")
    await gateway.ok("PUT", "/api/spaces/default/limits", {"spaceMinutesPerDay": 0.01})
    daily = await gateway.call("POST", "/api/transcription/start", body)
    assert (daily.status, daily.kind) == (429, "application/problem+json")
    assert 0 < int(daily.headers["Retry-After"]) <= 86_400
    await gateway.ok("PUT", "/api/spaces/default/limits", {"sessionMinutes": 0.01})
    for_ever = await gateway.call("POST", "/api/transcription/start", body)
    assert (for_ever.status, "Retry-After" in for_ever.headers) == (429, False)
    await gateway.ok("PUT", "/api/spaces/default/limits", {})
    assert (await gateway.call("POST", "/api/transcription/start", body)).status == 201


async def test_a_running_transcription_notices_that_it_is_switched_off(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug)
    async with gateway.watch(slug) as stream:
        await gateway.ok("PUT", "/api/spaces/default/limits", {"transcription": False})
        async with asyncio.timeout(60):
            while not (told := [one for one in await stream.until("session.state") if "reason" in one["data"]]):
                await stream.next(20)
    assert told[0]["data"]["reason"] == "transcription is switched off in this space"
