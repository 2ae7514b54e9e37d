from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
import pytest
from storage_world import NOW, World

from storage.postgres.errors import SessionOver
from storage.postgres.finals import Finals
from storage.postgres.pool import Database, open_pool
from storage.postgres.transcriptions import NewTranscription, Transcriptions, TranscriptionState

OPEN = """
    INSERT INTO "Space" VALUES ('default');
    INSERT INTO "VideoSession" (id, slug, "spaceId") VALUES ('s1', 'slug', 'default'), ('s2', 'other', 'default');
"""
NEW = NewTranscription("s1", "slug", "rtmp", {"languages": ["ru", "en"], "note": "a\x00b"}, "key-1")


@pytest.fixture
async def open_db(db: Database) -> Database:
    """With two sessions without participants."""
    await db.pool.execute(OPEN)
    return db


async def test_a_claim_starts_a_run_with_a_numbering_that_begins_at_one(open_db: Database) -> None:
    run, created = await Transcriptions(open_db).claim(NEW, "replica-1", 15, NOW)
    assert created
    assert (run.session_id, run.session_slug, run.source, run.stream_key) == ("s1", "slug", "rtmp", "key-1")
    assert run.state is TranscriptionState.STARTING
    assert run.options == {"languages": ["ru", "en"], "note": "ab"}
    assert (run.owner, run.fence, run.lease_until) == ("replica-1", 1, NOW + timedelta(seconds=15))
    assert (run.origin, run.last_seq, run.started_at) == (NOW, 0, NOW)
    assert len(run.epoch) >= 4
    assert await Transcriptions(open_db).by_session("s1") == run


async def test_of_twenty_claims_at_once_over_two_replicas_one_creates(database_url: str, open_db: Database) -> None:
    async with open_pool(open_db.options, size=8) as other:
        new = NewTranscription("s1", "slug", "livekit", {})
        claims = [Transcriptions((open_db, other)[n % 2]).claim(new, f"replica-{n % 2}", 15, NOW) for n in range(20)]
        results = await asyncio.gather(*claims)
    assert sum(created for _, created in results) == 1
    assert len({run.id for run, _ in results}) == 1
    assert await open_db.pool.fetchval("SELECT count(*) FROM gateway.transcription") == 1


async def test_claims_and_finishes_in_a_tangle_leave_at_most_one_running(open_db: Database) -> None:
    """A claim that meets a run that is just stopping starts the next one."""
    store = Transcriptions(open_db)

    async def churn(n: int) -> int:
        started = 0
        for _ in range(10):
            run, created = await store.claim(NewTranscription("s1", "slug", "livekit", {}), f"r{n}", 15, NOW)
            started += created
            await store.finish(run.id, run.fence, NOW, "stop", True)
        return started

    async with asyncio.timeout(60):
        started = sum(await asyncio.gather(*(churn(n) for n in range(6))))
    assert started == await open_db.pool.fetchval("SELECT count(*) FROM gateway.transcription")
    assert await store.list(active_only=True) == []
    assert len({run.epoch for run in await store.list(active_only=False)}) == 1


async def test_nothing_is_claimed_on_a_session_that_is_over(open_db: Database) -> None:
    """Not even at the moment of its end: the claim waits for it."""
    async with open_db.transaction() as link:
        await link.run("session_expire", "s1")
        claiming = asyncio.create_task(Transcriptions(open_db).claim(NEW, "replica-1", 15, NOW), name="claiming")
        while not await open_db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.005)
    with pytest.raises(SessionOver):
        await claiming
    assert await Transcriptions(open_db).by_session("s1") is None


async def test_the_next_run_of_a_session_numbers_on(world: World) -> None:
    store = Transcriptions(world.db)
    await Finals(world.db).append([world.final(1), world.final(2)])
    assert await store.finish(world.run.id, world.run.fence, NOW, "asked", True)
    later = NOW + timedelta(hours=1)
    new = NewTranscription(world.session.id, world.session.slug, "livekit", {})
    run, created = await store.claim(new, "replica-2", 15, later)
    assert created
    assert (run.epoch, run.origin, run.last_seq) == (world.run.epoch, NOW, 2)
    latest = await store.by_session(world.session.id)
    assert latest is not None
    assert latest.id == run.id


async def test_a_stream_key_belongs_to_one_run(open_db: Database) -> None:
    await Transcriptions(open_db).claim(NEW, "replica-1", 15, NOW)
    with pytest.raises(asyncpg.UniqueViolationError):
        await Transcriptions(open_db).claim(
            NewTranscription("s2", "other", "rtmp", {}, stream_key="key-1"), "replica-1", 15, NOW
        )
    assert await Transcriptions(open_db).by_session("s2") is None


async def test_a_finished_run_says_when_why_and_whether_complete_and_stays_so(world: World) -> None:
    store = Transcriptions(world.db)
    run = world.run
    assert await store.set_state(run.id, run.fence, TranscriptionState.RUNNING)
    assert [r.state for r in await store.list()] == [TranscriptionState.RUNNING]
    assert await store.finish(run.id, run.fence, NOW, "room empty", False)
    assert not await store.finish(run.id, run.fence, NOW, "again", True)
    assert not await store.set_state(run.id, run.fence, TranscriptionState.RUNNING)
    assert not await store.renew(run.id, run.owner, run.fence, 15, NOW)
    after = await store.by_session(run.session_id)
    assert after is not None
    assert (after.state, after.stopped_at, after.stop_reason) == (TranscriptionState.STOPPED, NOW, "room empty")
    assert after.finals_complete is False
    assert await store.list() == []
    with pytest.raises(ValueError, match="finish"):
        await store.set_state(run.id, run.fence, TranscriptionState.STOPPED)


async def test_a_lease_is_renewed_by_its_owner_only(world: World) -> None:
    store = Transcriptions(world.db)
    run = world.run
    assert await store.renew(run.id, "replica-1", run.fence, 30, NOW)
    assert not await store.renew(run.id, "replica-2", run.fence, 30, NOW)
    assert not await store.renew(run.id, "replica-1", run.fence + 1, 30, NOW)
    [after] = await store.list()
    assert after.lease_until == NOW + timedelta(seconds=30)


async def test_a_run_is_adopted_by_one_when_its_lease_ran_out(world: World) -> None:
    store = Transcriptions(world.db)
    await Finals(world.db).append([world.final(1)])
    assert await store.adopt("replica-2", 15, NOW + timedelta(seconds=14)) == []
    late = NOW + timedelta(seconds=16)
    rounds = await asyncio.gather(*(store.adopt(f"replica-{n}", 15, late) for n in range(2, 8)))
    [adopted] = [run for taken in rounds for run in taken]
    assert (adopted.id, adopted.fence, adopted.last_seq) == (world.run.id, world.run.fence + 1, 1)
    assert not await store.renew(world.run.id, "replica-1", world.run.fence, 15, late)
    assert not await store.set_state(world.run.id, world.run.fence, TranscriptionState.RUNNING)
    assert not await store.finish(world.run.id, world.run.fence, late, "stale", True)
    assert await store.renew(adopted.id, adopted.owner, adopted.fence, 15, late)


async def test_a_run_handed_over_can_be_adopted_at_once(world: World) -> None:
    store = Transcriptions(world.db)
    assert await store.renew(world.run.id, "replica-1", world.run.fence, 0, NOW)
    assert len(await store.adopt("replica-2", 15, NOW + timedelta(milliseconds=1))) == 1


async def test_a_run_is_not_adopted_while_finals_are_being_written_under_it(world: World) -> None:
    """The number the new owner goes on from is therefore exact."""
    store = Transcriptions(world.db)
    late = NOW + timedelta(minutes=1)
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(world.db.transaction())
        assert (await Finals(link).append([world.final(1)])).stored
        assert await store.adopt("replica-2", 15, late) == []
    [adopted] = await store.adopt("replica-2", 15, late)
    assert adopted.last_seq == 1


async def test_finals_that_meet_an_adoption_wait_for_it_and_are_fenced(world: World) -> None:
    """The other order: the adoption holds the row, the old owner's batch waits, looks again and is refused."""
    late = NOW + timedelta(minutes=1)
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(world.db.transaction())
        taken = await link.rows("transcription_adopt", "replica-2", late, late, 10, False)
        assert len(taken) == 1
        writing = asyncio.create_task(Finals(world.db).append([world.final(1)]), name="stale owner")
        while not await world.db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.005)
    outcome = await writing
    assert outcome.fenced == {world.run.id}
    assert await Finals(world.db).count(world.session.id) == 0
