"""Members of one database, each on a connection and with a clock of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.outage import RecordsUnavailable
from gateway.replicas.membership import Identity, Membership
from gateway.replicas.replica import Load
from gateway.replicas.roster import PostgresRoster
from storage.postgres.pool import Database
from storage.postgres.replicas import Replicas, Report
from storage.postgres.single import SingleConnection


@asynccontextmanager
async def member(db: Database, name: str, lease_s: float = 6, skew_s: float = 0) -> AsyncIterator[Membership]:
    connection = SingleConnection(db.options, 20)
    identity = Identity(name, f"{name}/1", "1.0", f"http://{name}")
    one = Membership(PostgresRoster(connection), identity, lease_s, clock=lambda: time.monotonic() + skew_s)
    await one.enter()
    try:
        yield one
    finally:
        await connection.close()


async def lapse(db: Database, name: str) -> None:
    """As if its last beat were ten minutes old."""
    await db.pool.execute("UPDATE gateway.replica SET beat_at = beat_at - interval '10 minutes' WHERE id = $1", name)
    # The server of the tests may be younger than a lease.
    async with asyncio.timeout(30):
        while not await Replicas(db).lose_lapsed():
            await asyncio.sleep(0.1)


async def test_members_see_each_other_whatever_their_clocks_say(db: Database) -> None:
    async with AsyncExitStack() as stack:
        fast = await stack.enter_async_context(member(db, "fast", skew_s=5))
        slow = await stack.enter_async_context(member(db, "slow", skew_s=-5))
        fast.load = lambda: Load(1, 2, 3, 10)
        slow.drain()
        for one in (fast, slow, fast):
            await one.beat()
        seen = {one.id: one for one in await slow.members()}
        assert set(seen) == {"fast", "slow"}
        assert (seen["fast"].load, seen["fast"].url, seen["fast"].version) == (Load(1, 2, 3, 10), "http://fast", "1.0")
        assert {one.id: one.is_draining for one in await fast.members()} == {"fast": False, "slow": True}
        assert await Replicas(db).lose_lapsed() == 0
        assert fast.may_act()
        assert slow.may_act()
        await slow.leave()
        await fast.beat()
        assert [one.id for one in await fast.members()] == ["fast"]


async def test_whoever_is_found_lapsed_is_lost_for_good_and_comes_back_as_another_run(db: Database) -> None:
    async with member(db, "a") as a, member(db, "b") as b:
        run = a.run_id
        await lapse(db, "a")
        await b.beat()
        assert [one.id for one in await b.members()] == ["b"]
        await a.beat()
        assert a.lapsed.is_set()
        await a.enter()
        assert a.run_id != run
        await b.beat()
        assert {one.run for one in await b.members()} == {a.run_id, b.run_id}


async def test_who_is_late_and_was_not_found_lapsed_stays(db: Database) -> None:
    """A laptop that slept: nobody has taken anything."""
    async with member(db, "a") as a:
        await db.pool.execute("UPDATE gateway.replica SET beat_at = beat_at - interval '10 minutes'")
        await a.beat()
        assert not a.lapsed.is_set()


async def test_a_beat_under_way_and_the_one_who_finds_the_row_lapsed(db: Database) -> None:
    """Whoever comes first wins, and the other one knows."""
    async with member(db, "a") as a:
        await lapse_without_finding(db)
        async with db.transaction() as link:
            await Replicas(link).beat("a", a.run_id, a_report())
            assert await Replicas(db).lose_lapsed() == 0, "the row is locked by a beat"
        assert await Replicas(db).lose_lapsed() == 0
        await lapse_without_finding(db)
        async with db.transaction() as link:
            async with asyncio.timeout(30):
                while not await Replicas(link).lose_lapsed():
                    await asyncio.sleep(0.1)
            beating = asyncio.create_task(a.beat())
            while not await db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.005)
        assert await beating
        assert a.lapsed.is_set()


async def test_a_server_that_hangs_delays_no_beat_beyond_its_deadline(db: Database) -> None:
    connection = SingleConnection(db.options, 0.3)
    one = Membership(PostgresRoster(connection), Identity("a", "a/1", "1.0"), 6)
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    await one.enter()
                    break
                except RecordsUnavailable:  # connecting may take longer on a busy machine
                    await asyncio.sleep(0.1)
        async with db.transaction() as link:
            await Replicas(link).beat("a", one.run_id, a_report())
            async with asyncio.timeout(30):
                assert not await one.beat()
        async with asyncio.timeout(30):
            while not await one.beat():
                pass
        assert not one.lapsed.is_set()
    finally:
        await connection.close()


async def lapse_without_finding(db: Database) -> None:
    await db.pool.execute("UPDATE gateway.replica SET beat_at = beat_at - interval '10 minutes'")


def a_report() -> Report:
    return Report(False, 0, 0, 0, 10)


@pytest.mark.parametrize("rows", [3])
async def test_a_beat_rewrites_the_row_on_its_page(db: Database, rows: int) -> None:
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(member(db, f"r{n}")) for n in range(rows)]
        for one in members * 20:
            await one.beat()
        # Statistics of a session are told when it is idle.
        async with asyncio.timeout(30):
            while True:
                updated, hot = await db.pool.fetchrow(
                    "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'replica'"
                )
                if updated >= 20 * rows:
                    break
                for one in members:
                    await one.beat()
                await asyncio.sleep(0.2)
        assert hot >= updated * 0.9
