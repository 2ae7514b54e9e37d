from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
import pytest
from storage_world import NOW, World

from storage.postgres.errors import SessionOver
from storage.postgres.finals import Finals
from storage.postgres.places import Asked, ProviderPlaces
from storage.postgres.pool import Database, open_pool
from storage.postgres.replicas import Replicas, Report
from storage.postgres.sessions import Sessions
from storage.postgres.transcriptions import Heir, NewTranscription, Transcriptions, TranscriptionState

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
    assert (run.owner, run.fence) == ("replica-1", 1)
    lasts_s = await open_db.pool.fetchval(
        "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 FROM gateway.transcription"
    )
    assert 0 < lasts_s <= 15, "by the database's clock, whatever ours says"
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
    assert await store.finish(run.id, run.fence, NOW + timedelta(hours=1), "again", True), "it is stopped, and was ours"
    assert not await store.set_state(run.id, run.fence, TranscriptionState.RUNNING)
    assert await store.renew(run.owner, 15) == set()
    after = await store.by_session(run.session_id)
    assert after is not None
    assert (after.state, after.stopped_at, after.stop_reason) == (TranscriptionState.STOPPED, NOW, "room empty")
    assert after.finals_complete is False
    assert await store.list() == []
    with pytest.raises(ValueError, match="finish"):
        await store.set_state(run.id, run.fence, TranscriptionState.STOPPED)


async def test_a_lease_is_renewed_by_its_owner_only(world: World) -> None:
    store, run = Transcriptions(world.db), world.run
    [before] = await store.list()
    assert await store.renew("replica-2", 30) == set()
    assert await store.renew("replica-1", 30, "another run of it") == set()
    assert (await store.list())[0].lease_until == before.lease_until
    assert await store.renew("replica-1", 30) == {(run.id, run.fence)}
    assert (await store.list())[0].lease_until > before.lease_until


async def test_a_run_is_adopted_by_one_when_its_lease_ran_out(world: World) -> None:
    store = Transcriptions(world.db)
    await Finals(world.db).append([world.final(1)])
    assert await store.orphans(10, thorough=True) == []
    assert (await store.adopt(Heir("replica-2"), 15)).runs == ()
    await lapse(world.db)
    assert await store.orphans(10, thorough=False) == [world.run.id]
    assert (await store.adopt(Heir("replica-2"), 15, only=["another"])).runs == ()
    rounds = await asyncio.gather(*(store.adopt(Heir(f"replica-{n}"), 15) for n in range(2, 8)))
    [adopted] = [run for taken in rounds for run in taken.runs]
    assert (adopted.id, adopted.fence, adopted.last_seq) == (world.run.id, world.run.fence + 1, 1)
    assert await store.renew("replica-1", 15) == set()
    assert not await store.set_state(world.run.id, world.run.fence, TranscriptionState.RUNNING)
    assert not await store.finish(world.run.id, world.run.fence, NOW, "stale", True)
    assert await store.renew(adopted.owner, 15) == {(adopted.id, adopted.fence)}


async def test_a_run_handed_over_can_be_adopted_at_once(world: World) -> None:
    store = Transcriptions(world.db)
    assert not await store.release(world.run.id, "replica-2", world.run.fence)
    assert await store.release(world.run.id, "replica-1", world.run.fence)
    assert await store.orphans(10, thorough=False) == [world.run.id]
    [taken] = (await store.adopt(Heir("replica-2"), 15)).runs
    assert taken.epoch == world.run.epoch


async def test_a_run_is_not_adopted_while_finals_are_being_written_under_it(world: World) -> None:
    """The number the new owner goes on from is therefore exact."""
    store = Transcriptions(world.db)
    await lapse(world.db)
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(world.db.transaction())
        assert (await Finals(link).append([world.final(1)])).stored
        assert (await store.adopt(Heir("replica-2"), 15)).runs == ()
    [adopted] = (await store.adopt(Heir("replica-2"), 15)).runs
    assert adopted.last_seq == 1


async def test_finals_that_meet_an_adoption_wait_for_it_and_are_fenced(world: World) -> None:
    """The other order: the adoption holds the row, the old owner's batch waits, looks again and is refused."""
    await lapse(world.db)
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(world.db.transaction())
        taken = await link.rows("transcription_adopt", "replica-2", None, 15.0, False, None, 10)
        assert len(taken) == 1
        writing = asyncio.create_task(Finals(world.db).append([world.final(1)]), name="stale owner")
        while not await world.db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.005)
    outcome = await writing
    assert outcome.fenced == {world.run.id}
    assert await Finals(world.db).count(world.session.id) == 0


# --- owners that beat ---------------------------------------------------------------------------------------


async def enter(db: Database, name: str, run: str) -> None:
    await Replicas(db).enter(name, run, f"{name}/{run}", "1.0", None, 6, Report(False, 0, 0, 0, 10))


async def find_lapsed(db: Database, name: str) -> None:
    """The replica has not beaten for ten minutes, and that is found out."""
    await db.pool.execute("UPDATE gateway.replica SET beat_at = beat_at - interval '10 minutes' WHERE id = $1", name)
    async with asyncio.timeout(30):
        while not await Replicas(db).lose_lapsed():  # the server of the tests may be younger than a lease
            await asyncio.sleep(0.1)


async def test_a_run_lasts_as_long_as_its_owner_beats(open_db: Database) -> None:
    """Whatever `lease_until` says, which is there for a version that does not look at replicas."""
    store = Transcriptions(open_db)
    await enter(open_db, "a", "r1")
    run, _ = await store.claim(NEW, "a", 90, NOW, "r1")
    await lapse(open_db)
    assert await store.orphans(10, thorough=True) == []
    assert (await store.adopt(Heir("b"), 90)).runs == ()
    await store.renew("a", 90, "r1")
    await find_lapsed(open_db, "a")
    assert await store.orphans(10, thorough=False) == [run.id]
    await Replicas(open_db).forget()
    [taken] = (await store.adopt(Heir("b", "r2"), 90)).runs
    assert (taken.owner, taken.fence) == ("b", 2)
    assert await store.renew("b", 90, "r2") == {(run.id, 2)}


async def test_what_a_lost_run_held_is_not_the_next_runs(open_db: Database) -> None:
    """A replica that was cut off and comes back has nothing, and hinders nobody."""
    store = Transcriptions(open_db)
    await enter(open_db, "a", "r1")
    run, _ = await store.claim(NEW, "a", 90, NOW, "r1")
    await find_lapsed(open_db, "a")
    await Replicas(open_db).let_go("a", "r1")
    await enter(open_db, "a", "r2")
    assert await store.renew("a", 90, "r2") == set()
    assert await store.orphans(10, thorough=False) == [run.id]
    [taken] = (await store.adopt(Heir("a", "r2"), 90)).runs
    assert taken.epoch != run.epoch, "watchers of the lost run may have seen more"


async def test_a_restart_takes_its_own_before_anybody_else_may(open_db: Database) -> None:
    store = Transcriptions(open_db)
    await enter(open_db, "a", "r1")
    run, _ = await store.claim(NEW, "a", 90, NOW, "r1")
    await enter(open_db, "a", "r2")
    assert await store.orphans(10, thorough=True) == []
    [taken] = (await store.adopt(Heir("a", "r2"), 90, own=True)).runs
    assert (taken.id, taken.fence, taken.epoch) == (run.id, 2, run.epoch)


async def test_a_version_without_beats_lives_beside_one_with_them(open_db: Database) -> None:
    """It takes what it finds lapsed and knows no `owner_run`; both keep off what the other one holds."""
    store = Transcriptions(open_db)
    await enter(open_db, "new", "r1")
    mine, _ = await store.claim(NEW, "new", 90, NOW, "r1")
    theirs, _ = await store.claim(NewTranscription("s2", "other", "rtmp", {}), "old", 30, NOW)
    assert await store.orphans(10, thorough=True) == []
    old_look = "SELECT id FROM gateway.transcription WHERE state <> 'STOPPED' AND lease_until < clock_timestamp()"
    assert await open_db.pool.fetch(old_look) == []
    # The new one's row is gone, and the old version takes over as ever.
    await Replicas(open_db).leave("new", "r1")
    await lapse(open_db)
    await store.renew("old", 30)
    await open_db.pool.execute(
        "UPDATE gateway.transcription SET owner = 'old', fence = fence + 1, "
        "lease_until = clock_timestamp() + interval '30 seconds' WHERE id = $1",
        mine.id,
    )
    assert await store.orphans(10, thorough=True) == [], "it has taken the row with the run of its former owner in it"
    await lapse(open_db)
    assert set(await store.orphans(10, thorough=True)) == {mine.id, theirs.id}


async def test_a_former_epoch_is_good_up_to_its_last_durable_final(world: World) -> None:
    store = Transcriptions(world.db)
    await Finals(world.db).append([world.final(1), world.final(2)])
    await lapse(world.db)
    [second] = (await store.adopt(Heir("b"), 15)).runs
    await Finals(world.db).append([world.final(3, epoch=second.epoch, fence=second.fence)])
    await lapse(world.db)
    [third] = (await store.adopt(Heir("c"), 15)).runs
    rows = await world.db.pool.fetch("SELECT epoch, until_seq FROM gateway.stream_epoch ORDER BY until_seq")
    assert [tuple(row) for row in rows] == [(world.run.epoch, 2), (second.epoch, 3)]
    await store.release(third.id, "c", third.fence)
    await store.adopt(Heir("d"), 15)
    assert await world.db.pool.fetchval("SELECT count(*) FROM gateway.stream_epoch") == 2
    await Sessions(world.db).delete(world.session.id, NOW)
    assert await world.db.pool.fetchval("SELECT count(*) FROM gateway.stream_epoch") == 0


async def test_places_at_the_provider_come_with_their_run(world: World) -> None:
    """Nobody who waits gets them meanwhile, and the heir's first session stands before all others."""
    dead, heir = ProviderPlaces(world.db, "acc", "dead/1"), ProviderPlaces(world.db, "acc", "heir/1")
    await dead.turn(1, [Asked("old", None, False, world.run.id)], [], 30)
    other = ProviderPlaces(world.db, "acc", "other/1")
    await other.turn(1, [Asked("waits", None, False, "elsewhere")], [], 30)
    await lapse(world.db)
    adopted = await Transcriptions(world.db).adopt(Heir("heir", None, "heir/1"), 15)
    assert adopted.places == {world.run.id: ["old"]}
    turn = await heir.turn(1, [Asked("new", "old", False, world.run.id)], ["old"], 30)
    assert (turn.granted, turn.held, turn.waiting) == ({"new"}, 1, 1)


async def lapse(db: Database) -> None:
    """Ten minutes go by, in which nobody renews a lease."""
    await db.pool.execute(
        "UPDATE gateway.transcription SET lease_until = lease_until - interval '10 minutes' "
        "WHERE lease_until > to_timestamp(1)"
    )
