from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg
import pytest
from storage_world import NOW, World
from support.waiting import until

from storage.postgres.analyses import Analyses
from storage.postgres.audit import AuditRows, NewAuditRow
from storage.postgres.errors import SessionGone, SlugTaken
from storage.postgres.finals import Appended, Finals
from storage.postgres.places import Asked, ProviderPlaces
from storage.postgres.pool import Database
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.replicas import Replicas, Report
from storage.postgres.segments import NewSegment, Segments, Stray
from storage.postgres.sessions import DEFAULT_SPACE, Participants, SessionRow, Sessions, SessionStatus
from storage.postgres.transcriptions import Heir, NewTranscription, Transcriptions
from storage.postgres.usage import Usage, UsageRow, usage_id

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
async def session(db: Database) -> SessionRow:
    sessions = Sessions(db)
    await sessions.ensure_default_space()
    return await sessions.create("abc12345", "Stand\x00up", DEFAULT_SPACE, "user-1", NOW)


async def test_a_new_session_is_created_and_nobody_has_come(session: SessionRow) -> None:
    assert (session.slug, session.title, session.created_by_user_id) == ("abc12345", "Standup", "user-1")
    assert session.status == SessionStatus.CREATED
    assert session.created_at == NOW
    assert session.started_at is session.ended_at is session.last_activity_at is None


async def test_a_session_is_found_by_slug_by_id_and_by_space(db: Database, session: SessionRow) -> None:
    sessions = Sessions(db)
    assert await sessions.by_slug("abc12345") == session
    assert await sessions.by_id(session.id) == session
    assert await sessions.by_slug("nothing") is None
    newer = await sessions.create("zzz", None, DEFAULT_SPACE, None, LATER)
    assert await sessions.list_by_space(DEFAULT_SPACE) == [newer, session]
    assert await sessions.list_by_space("elsewhere") == []


async def test_a_slug_is_given_once(db: Database, session: SessionRow) -> None:
    with pytest.raises(SlugTaken):
        await Sessions(db).create(session.slug, None, DEFAULT_SPACE, None, NOW)


async def test_a_session_needs_its_space(db: Database) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await Sessions(db).create("abc", None, "nowhere", None, NOW)


async def test_of_many_joins_at_once_one_makes_the_session_live(db: Database, session: SessionRow) -> None:
    joins = [Participants(db).join(session.id, f"p{n % 4}", None, NOW + timedelta(seconds=n)) for n in range(12)]
    joined = [j for j in await asyncio.gather(*joins) if j is not None]
    assert len(joined) == 12
    assert sum(j.went_live for j in joined) == 1
    assert len({j.participant.id for j in joined}) == 4
    after = await Sessions(db).by_id(session.id)
    assert after is not None
    assert after.status == "LIVE"
    assert after.last_activity_at == NOW + timedelta(seconds=11)


async def test_joining_again_clears_the_leave_and_keeps_role_name_and_first_join(
    db: Database, session: SessionRow
) -> None:
    people = Participants(db)
    first = await people.join(session.id, "anna", None, NOW, role="HOST")
    assert first is not None
    assert await people.leave(session.id, "anna", LATER)
    assert not await people.leave(session.id, "anna", LATER)  # the first leave counts
    assert await people.by_session(session.id, active_only=True) == []
    again = await people.join(session.id, "anna", "Anna", LATER, role="GUEST")
    assert again is not None
    assert not again.went_live
    row = again.participant
    assert (row.id, row.role, row.name, row.joined_at, row.left_at) == (first.participant.id, "HOST", "Anna", NOW, None)
    assert await people.by_identity(session.id, "anna") == row
    assert await people.by_session(session.id, active_only=True) == [row]


@pytest.mark.parametrize("status", ["ENDED", "EXPIRED"])
async def test_nobody_joins_what_is_over(db: Database, session: SessionRow, status: str) -> None:
    await db.pool.execute(f"UPDATE \"VideoSession\" SET status = '{status}'")
    assert await Participants(db).join(session.id, "anna", None, NOW) is None
    assert await Participants(db).by_session(session.id) == []
    assert await Participants(db).join("nothing", "anna", None, NOW) is None


async def test_an_unknown_user_does_not_keep_a_participant_out(db: Database, session: SessionRow) -> None:
    joined = await Participants(db).join(session.id, "anna", None, NOW, user_id="who")
    assert joined is not None
    assert joined.participant.user_id is None


async def test_a_participant_of_a_deleted_session_is_refused(db: Database) -> None:
    with pytest.raises(SessionGone):
        await Participants(db).upsert("nothing", "anna", None, NOW)


async def test_the_end_of_a_session_closes_everybody(db: Database, session: SessionRow) -> None:
    """And what is said after it brings nobody back."""
    people, sessions = Participants(db), Sessions(db)
    for identity in ("anna", "ben"):
        await people.join(session.id, identity, None, NOW)
    await people.leave(session.id, "ben", NOW)
    assert await sessions.end(session.id, LATER)
    for identity in ("anna", "carol"):
        await people.upsert(session.id, identity, None, LATER)
    left = {one.identity: one.left_at for one in await people.by_session(session.id)}
    assert left == {"anna": LATER, "ben": NOW, "carol": LATER}


async def test_each_move_is_made_once_and_only_from_the_right_state(db: Database, session: SessionRow) -> None:
    sessions = Sessions(db)
    assert not await sessions.end(session.id, LATER)
    assert not await sessions.touch(session.id, LATER)
    assert [await sessions.go_live(session.id, NOW), await sessions.go_live(session.id, LATER)] == [True, False]
    assert await sessions.touch(session.id, LATER)
    assert await sessions.touch(session.id, NOW)  # late, and does not turn time back
    assert await sessions.expire_created(LATER) == []
    assert [await sessions.end(session.id, LATER), await sessions.end(session.id, NOW)] == [True, False]
    after = await sessions.by_id(session.id)
    assert after is not None
    assert (after.status, after.started_at, after.ended_at, after.last_activity_at) == ("ENDED", NOW, LATER, LATER)


async def test_old_created_sessions_expire_and_are_no_longer_listed(db: Database, session: SessionRow) -> None:
    sessions = Sessions(db)
    young = await sessions.create("young", None, DEFAULT_SPACE, None, LATER)
    assert [s.slug for s in await sessions.expire_created(NOW + timedelta(seconds=1))] == [session.slug]
    assert await sessions.list_by_space(DEFAULT_SPACE) == [young]


async def test_inactive_sessions_are_the_live_ones_without_recent_activity(db: Database, session: SessionRow) -> None:
    sessions = Sessions(db)
    assert await sessions.list_inactive(LATER) == []
    await sessions.go_live(session.id, NOW)
    assert [s.id for s in await sessions.list_inactive(LATER)] == [session.id]
    await sessions.touch(session.id, LATER)
    assert await sessions.list_inactive(LATER) == []


def usage(world: World, **changes: object) -> UsageRow:
    values: dict[str, object] = {
        "id": usage_id(world.run.id, "anna"),
        "transcription_id": world.run.id,
        "identity": "anna",
        "session_id": world.session.id,
        "participant_id": world.participant_id,
        "user_id": None,
        "started_at": NOW,
        "ended_at": None,
        "duration_seconds": 61,
        "duration_minutes": 2,
        "audio_chunks_sent": 610,
        "transcripts_received": 9,
        "final_transcripts": 4,
        "partial_transcripts": 5,
        "cost_per_minute": 0.01,
        "total_cost": 0.02,
        "errors_count": 0,
        "created_at": NOW,
        "updated_at": LATER,
    }
    return UsageRow(**{**values, **changes})  # type: ignore[arg-type]


async def test_deleting_removes_everything_but_the_billing_records(world: World) -> None:
    db = world.db
    await Finals(db).append([world.final(1)])
    await Usage(db).save([usage(world)])
    await ProviderSessions(db).opened("g-1", world.run.id, world.session.id, "anna", NOW)
    await end(world)
    await Analyses(db).ensure(world.session.id, LATER)
    assert await Analyses(db).take(LATER, 60) is not None
    assert await Sessions(db).delete(world.session.id, LATER)
    assert not await Sessions(db).delete(world.session.id, LATER)
    counts = {
        table: await db.pool.fetchval(f"SELECT count(*) FROM {table}")
        for table in (
            '"VideoSession"',
            '"Participant"',
            '"TranscriptSegment"',
            '"TranscriptionUsage"',
            '"SessionAnalysis"',
            "gateway.stream",
            "gateway.transcription",
            "gateway.transcript_event",
            "gateway.transcription_usage",
            "gateway.analysis_job",
            "gateway.provider_session",
            "gateway.usage_archive",
        )
    }
    assert {t: n for t, n in counts.items() if n} == {"gateway.provider_session": 1, "gateway.usage_archive": 1}
    kept = await db.pool.fetchrow("SELECT * FROM gateway.usage_archive")
    assert (kept["session_slug"], kept["space_id"], kept["identity"]) == ("abc12345", DEFAULT_SPACE, "anna")
    assert (kept["duration_seconds"], kept["started_at"], kept["archived_at"]) == (61, NOW, LATER)


async def test_finals_and_a_deletion_at_once_end_in_nothing_left(world: World) -> None:
    """Whichever comes first; neither fails, and no row of the session survives."""
    finals = Finals(world.db)

    async def append() -> None:
        for seq in range(1, 30):
            await finals.append([world.final(seq)])

    async def delete() -> None:
        await asyncio.sleep(0.005)
        assert await Sessions(world.db).delete(world.session.id, LATER)

    async with asyncio.timeout(60):
        await asyncio.gather(append(), delete())
    assert await finals.count(world.session.id) == 0
    assert await world.db.pool.fetchval('SELECT count(*) FROM "TranscriptSegment"') == 0


async def test_a_usage_row_read_back_is_the_row_written(world: World) -> None:
    row = usage(world)
    saved = await Usage(world.db).save([row])
    assert saved.saved == {row.id}
    assert await Usage(world.db).by_session(world.session.id) == [row]
    assert await Usage(world.db).by_transcription(world.run.id) == [row]


async def test_usage_is_the_users_whose_participant_spoke(world: World) -> None:
    people = Participants(world.db)
    await people.ensure_user("anna-id")
    await people.enter(world.session.id, "anna", None, NOW, role=None, user_id="anna-id", trusted=False)
    await Usage(world.db).save([usage(world)])
    [row] = await Usage(world.db).by_session(world.session.id)
    assert row.user_id == "anna-id"


async def test_usage_counters_only_grow_and_a_late_checkpoint_does_not_reopen(world: World) -> None:
    store = Usage(world.db)
    last = usage(world, duration_seconds=125, duration_minutes=3, total_cost=0.03, ended_at=LATER)
    await store.save([last])
    await store.save([usage(world, updated_at=NOW, errors_count=1)])
    [row] = await store.by_session(world.session.id)
    assert (row.duration_seconds, row.duration_minutes, row.total_cost, row.errors_count) == (125, 3, 0.03, 1)
    assert (row.ended_at, row.updated_at) == (LATER, LATER)
    later = LATER + timedelta(minutes=1)
    await store.save([usage(world, updated_at=later)])  # another owner continued the run
    [row] = await store.by_session(world.session.id)
    assert (row.ended_at, row.duration_seconds) == (None, 125)


async def test_usage_outlives_a_missing_user_participant_or_session(world: World) -> None:
    row = usage(world, user_id="who", participant_id="nobody")
    orphan = usage(world, id="orphan", session_id="gone", identity="bob")
    saved = await Usage(world.db).save([row, orphan])
    assert (saved.saved, saved.gone) == ({row.id}, {"gone"})
    [kept] = await Usage(world.db).by_session(world.session.id)
    assert (kept.user_id, kept.participant_id) == (None, None)


@pytest.mark.parametrize(
    "wrong", [{"duration_seconds": 61.5}, {"total_cost": float("nan")}, {"started_at": datetime(2026, 1, 5)}]
)
async def test_a_usage_value_that_would_be_bent_is_refused(world: World, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|time zone"):
        await Usage(world.db).save([usage(world, **wrong)])


async def test_provider_sessions_are_open_until_closed_and_then_billed(world: World) -> None:
    store = ProviderSessions(world.db, "account", "us/1")
    for _ in range(2):
        await store.opened("g-1", world.run.id, world.session.id, "anna", NOW, "wss://host/live?token=t")
    [row] = await store.by_transcription(world.run.id)
    assert (row.id, row.identity, row.opened_at, row.closed_at) == ("g-1", "anna", NOW, None)
    assert await store.to_audit(LATER, LATER, 10) == []
    assert await store.closed("g-1", LATER, 12.5, "stopped", 0.5)
    assert await store.closed("g-1", LATER + timedelta(1), 11.0, "lost")  # the first end counts
    [due] = await store.to_audit(LATER, LATER + timedelta(minutes=1), 10)
    assert (due.id, due.url, due.audits) == ("g-1", "wss://host/live?token=t", 1)
    assert "token" not in repr(due)
    assert await store.to_audit(LATER, LATER, 10) == []  # it is taken
    await store.audit_again("g-1", LATER)
    assert [again.audits for again in await store.to_audit(LATER, LATER, 10)] == [2]
    assert await store.audited("g-1", 13.0)
    assert not await store.audited("g-2", 1.0)
    await store.audit_again("g-1", LATER)
    assert await store.to_audit(LATER + timedelta(1), LATER, 10) == []
    [row] = await store.by_transcription(world.run.id)
    assert (row.closed_at, row.seconds_sent, row.seconds_resent) == (LATER, 12.5, 0.5)
    assert (row.billing_seconds, row.outcome) == (13.0, "stopped")
    assert await store.known(["g-1", "g-2"]) == {"g-1"}


async def test_what_the_provider_keeps_of_a_deleted_session_is_queued_behind_its_bill(world: World) -> None:
    """One that is closed and billed, one that runs on for a while, one of another account; what is wanted stays."""
    store, other = ProviderSessions(world.db, "a", "us/1"), ProviderSessions(world.db, "b", "us/1")
    for name in ("g-1", "g-2"):
        await store.opened(name, world.run.id, world.session.id, "anna", NOW)
    await other.opened("g-3", world.run.id, world.session.id, "anna", NOW)
    await store.closed("g-1", NOW, 1.0, "closed")
    await store.audited("g-1", 1.0)
    assert await store.to_erase(LATER, LATER, 10) == []
    assert await Sessions(world.db).delete(world.session.id, NOW)
    again = LATER + timedelta(minutes=1)
    assert await store.to_erase(LATER, again, 10) == [("g-1", 1)]
    assert await store.to_erase(LATER, again, 10) == []  # it is taken
    assert await store.to_erase(again, again, 10) == [("g-1", 2)]  # the replica that took it has died
    await store.erased("g-1", LATER)
    await store.erase_again("g-1", NOW)  # too late
    assert await store.to_erase(again, again, 10) == []

    await store.closed("g-2", LATER, 1.0, "closed")
    assert await store.to_erase(again, again, 10) == []
    await store.audited("g-2", None)
    assert await store.to_erase(again, again, 10) == [("g-2", 1)]
    await store.erase_again("g-2", NOW)
    assert await store.to_erase(NOW, again, 10) == [("g-2", 2)]
    await store.erased("g-2", None)
    assert await store.to_erase(again, again, 10) == []

    await other.opened("g-4", world.run.id, world.session.id, "anna", NOW)  # noted after the deletion
    for name in ("g-3", "g-4"):
        await other.closed(name, NOW, 1.0, "closed")
        await other.audited(name, 1.0)
    assert sorted(await other.to_erase(again, again, 10)) == [("g-3", 1), ("g-4", 1)]


async def test_a_session_is_left_open_when_its_process_does_not_answer_for_it(world: World) -> None:
    """Mine are my own affair, those of a living replica are its; a dead one's are the adopter's."""
    runs = Transcriptions(world.db)
    dead, mine = ProviderSessions(world.db, "a", "dead/1"), ProviderSessions(world.db, "a", "mine/1")
    await dead.opened("g-1", world.run.id, world.session.id, "anna", NOW)
    await mine.opened("g-2", world.run.id, world.session.id, "anna", NOW)
    await ProviderSessions(world.db, "b", "dead/1").opened("g-3", world.run.id, world.session.id, "anna", NOW)
    assert await mine.left_open("mine", 10, ["g-2"]) == []
    assert [(row.id, row.is_own) for row in await mine.left_open("mine", 10)] == [("g-2", True)]
    await runs.release(world.run.id, "replica-1", world.run.fence)
    await runs.adopt(Heir("mine"), 60.0)
    assert [row.id for row in await mine.left_open("mine", 10, ["g-2"])] == ["g-1"]
    assert [row.id for row in await dead.left_open("dead", 10, ["g-1"])] == []
    # A former owner that lives may still wait for what it has sent.
    await Replicas(world.db).enter("replica-1", "run", "dead/1", "1", None, 60.0, Report(False, 0, 0, 0, 0))
    assert await mine.left_open("mine", 10, ["g-2"]) == []
    await world.db.pool.execute("UPDATE gateway.replica SET lost_at = now()")
    [run] = await runs.list()
    await runs.finish(run.id, run.fence, LATER, "stopped", True)
    assert [row.id for row in await dead.left_open("dead", 10, ["g-1"])] == ["g-2"]
    assert await runs.owners([run.id, "nobody's"]) == {run.id: (world.session.id, None)}


async def test_places_are_granted_in_the_order_of_asking_over_all_processes(world: World) -> None:
    one, two = ProviderPlaces(world.db, "a", "one/1"), ProviderPlaces(world.db, "a", "two/1")

    def ask(*names: str, granted: bool = False) -> list[Asked]:
        return [Asked(name, None, granted) for name in names]

    turn = await one.turn(2, ask("a", "b", "c"), [], 60)
    assert (turn.granted, turn.held, turn.waiting) == ({"a", "b"}, 2, 1)
    assert (await two.turn(2, ask("d"), [], 60)).granted == frozenset()
    assert (await two.turn(2, ask("d", "e"), [], 60)).waiting == 3
    assert (await one.turn(2, ask("c"), ["a"], 60)).granted == {"b", "c"}
    assert (await ProviderPlaces(world.db, "other", "x/1").turn(1, ask("x"), [], 60)).granted == {"x"}
    # An heir comes before those who asked after its senior.
    assert (await one.turn(2, [Asked("b2", "b", False)], [], 60)).granted == {"b", "c"}
    assert (await one.turn(2, [], ["b"], 60)).granted == {"b2", "c"}
    assert (await two.turn(3, [], [], 60)).granted == {"d"}


async def test_places_of_a_dead_process_come_back(world: World) -> None:
    dead, alive = ProviderPlaces(world.db, "a", "dead/1"), ProviderPlaces(world.db, "a", "alive/1")
    await dead.turn(1, [Asked("a", None, False)], [], 0.0)
    assert (await alive.turn(1, [Asked("b", None, False)], [], 60)).granted == {"b"}
    # It lives after all, and still has its session: it comes back above the limit, and no other gets one.
    assert (await dead.turn(1, [Asked("a", None, True)], [], 60)).granted == {"a"}
    again = ProviderPlaces(world.db, "a", "dead/2")
    assert await again.drop_former("dead") == 1
    assert (await again.turn(1, [], [], 60)).held == 1


async def test_many_processes_never_hold_more_than_the_limit(world: World) -> None:
    stores = [ProviderPlaces(world.db, "a", f"p{n}/1") for n in range(6)]
    turns = await asyncio.gather(
        *(store.turn(4, [Asked(f"x{n}", None, False)], [], 60) for n, store in enumerate(stores))
    )
    assert max(turn.held for turn in turns) == 4
    assert (await stores[0].turn(4, [], [], 60)).waiting == 2


async def end(world: World) -> None:
    await Transcriptions(world.db).finish(world.run.id, world.run.fence, NOW, "stopped", True)
    await Sessions(world.db).end(world.session.id, NOW)


async def test_an_analysis_waits_is_taken_once_and_done(world: World) -> None:
    store = Analyses(world.db)
    assert await store.ensure(world.session.id, NOW) is None  # still live
    await end(world)
    made = await asyncio.gather(*(store.ensure(world.session.id, NOW) for _ in range(5)))
    assert len({row.id for row in made if row}) == 1
    taken = [row for row in await asyncio.gather(*(store.take(LATER, 60) for _ in range(5))) if row]
    assert len(taken) == 1
    assert await store.done(taken[0], "model", "All\x00 well.", [{"do": "\ud83d"}], [], LATER)
    assert not await store.failed(taken[0], "late", LATER)
    row = await store.by_session(world.session.id)
    assert row is not None
    assert (row.status, row.summary, row.tasks_json, row.risks_json) == ("DONE", "All well.", [{"do": "\ufffd"}], [])


async def test_a_lost_analysis_is_taken_again_and_a_failed_one_can_be(world: World) -> None:
    store = Analyses(world.db)
    await end(world)
    await store.ensure(world.session.id, NOW)
    first = await store.take(NOW, lease_s=60)
    assert first is not None
    assert await store.take(NOW, lease_s=60) is None
    await world.db.pool.execute("UPDATE gateway.analysis_job SET lease_until = lease_until - interval '1 minute'")
    second = await store.take(LATER, lease_s=1)
    assert second is not None
    assert not await store.failed(first, "late", LATER)
    assert await store.failed(second, "because", LATER)
    assert await store.take(LATER + timedelta(days=1), lease_s=1) is None
    assert await store.retry(world.session.id, LATER)
    assert await store.take(LATER, lease_s=1) is not None


def segment(world: World, utterance: str, text: str, is_final: bool, at: int = 0, **changes: object) -> NewSegment:
    when = NOW + timedelta(seconds=at)
    person = changes.get("participant_id", world.participant_id)
    session = str(changes.get("session_id", world.session.id))
    assert person is None or isinstance(person, str)
    return NewSegment(session, person, utterance, text, "en", is_final, when, None, when)


async def test_a_late_partial_never_replaces_a_final(world: World) -> None:
    store = Segments(world.db)
    for text, is_final in (("Good", False), ("Good mor", False), ("Good morning.", True), ("Good m", False)):
        await store.upsert([segment(world, "u1", text, is_final)])
    row = await store.by_utterance(world.session.id, "u1")
    assert row is not None
    assert (row.text, row.is_final, row.identity, row.name) == ("Good morning.", True, "anna", "Anna")


async def test_a_repeated_segment_is_not_written_again(world: World) -> None:
    store = Segments(world.db)
    batch = [segment(world, f"u{n}", "x", n % 2 == 0) for n in range(10)]
    assert (await store.upsert(batch)).written == 10
    assert (await store.upsert(batch)).written == 0


async def test_segments_are_listed_in_spoken_order(world: World) -> None:
    store = Segments(world.db)
    await store.upsert([segment(world, "b", "second", True, 2), segment(world, "a", "first", True, 1)])
    await store.upsert([segment(world, "c", "still", False, 3)])
    assert [row.text for row in await store.by_session(world.session.id)] == ["first", "second"]
    assert len(await store.by_session(world.session.id, finals_only=False)) == 3


async def test_segments_of_the_missing_are_dropped_or_nameless_and_a_bad_one_stands_alone(world: World) -> None:
    outcome = await Segments(world.db).upsert(
        [
            segment(world, "u1", "kept", True),
            segment(world, "u2", "nameless", True, participant_id="nobody"),
            segment(world, "u3", "dropped", True, session_id="gone"),
            segment(world, "".join(map(str, range(50_000))), "its key fits in no index", True),
        ]
    )
    assert (outcome.written, outcome.gone) == (2, {"gone"})
    assert [row.participant_id for row in await Segments(world.db).by_session(world.session.id)] == [
        world.participant_id,
        None,
    ]


async def test_a_run_of_a_deleted_session_is_lost(world: World) -> None:
    await Sessions(world.db).delete(world.session.id, LATER)
    assert await Transcriptions(world.db).renew("replica-1", 15) == set()


async def blocked(db: Database) -> None:
    """Until some statement waits for another's lock."""
    await until(lambda: db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_the_second_of_two_joins_waits_and_then_sees_the_session_live(db: Database, session: SessionRow) -> None:
    async with db.transaction() as link:
        first = await Participants(link).join(session.id, "anna", None, NOW)
        second = asyncio.create_task(Participants(db).join(session.id, "bob", None, LATER), name="second")
        await blocked(db)
    joined = await second
    assert first is not None
    assert joined is not None
    assert (first.went_live, joined.went_live) == (True, False)


async def test_a_join_that_meets_an_ending_does_not_reopen_the_session(db: Database, session: SessionRow) -> None:
    await Sessions(db).go_live(session.id, NOW)
    async with db.transaction() as link:
        await link.run("session_end", session.id, LATER.replace(tzinfo=None))
        joining = asyncio.create_task(Participants(db).join(session.id, "anna", None, NOW), name="joining")
        await blocked(db)
    assert await joining is None
    after = await Sessions(db).by_id(session.id)
    assert after is not None
    assert after.status == "ENDED"


async def test_a_final_that_meets_the_apps_deletion_is_gone_without_an_error(world: World) -> None:
    async with world.db.pool.acquire() as app, app.transaction():
        await app.execute('DELETE FROM "Participant"')
        await app.execute('DELETE FROM "VideoSession"')
        writing = asyncio.create_task(Finals(world.db).append([world.final(1)]), name="writing")
        await blocked(world.db)
    assert await writing == Appended(gone={world.session.id})
    assert await Finals(world.db).count(world.session.id) == 0


async def test_a_final_that_meets_the_deletion_of_its_speaker_is_stored_nameless(world: World) -> None:
    async with world.db.pool.acquire() as app, app.transaction():
        await app.execute('DELETE FROM "Participant"')
        writing = asyncio.create_task(Finals(world.db).append([world.final(1)]), name="writing")
        await blocked(world.db)
    assert await writing == Appended(stored={world.final(1).key})
    [row] = await Segments(world.db).by_session(world.session.id)
    assert row.participant_id is None


async def test_a_stray_gives_way_to_what_the_new_owner_heard_of_the_same_speaker(
    db: Database, session: SessionRow
) -> None:
    """Words of the same person at the same time would be there twice; of another person, or another time, not."""
    people = Participants(db)
    anna = (await people.upsert(session.id, "anna", "Anna", NOW)).id
    ben = (await people.upsert(session.id, "ben", "Ben", NOW)).id

    def said(who: str | None, name: str, start_s: float, end_s: float, text: str = "words") -> NewSegment:
        at = [NOW + timedelta(seconds=second) for second in (start_s, end_s)]
        return NewSegment(session.id, who, name, text, None, True, at[0], at[1], NOW)

    segments = Segments(db)
    await segments.upsert([said(anna, "new:1", 10, 14)])
    rows = [
        said(ben, "old:2", 8, 11),
        said(anna, "old:3", 5, 8),
        said(anna, "old:4", 14, 15),
        said(None, "old:5", 10, 11),
        said(anna, "new:1", 10, 14, "other words"),
        said(anna, "old:6", 20, 21),
    ]
    # A partial that was stored while it was spoken is no other words.
    await segments.upsert([replace(said(anna, "old:6", 20, 21, "word"), is_final=False)])
    assert await segments.keep_strays(stray(row) for row in rows) == 5
    assert await segments.keep_strays([]) == 0
    kept = await segments.by_session(session.id)
    assert {row.utterance_id for row in kept} == {"new:1", "old:2", "old:3", "old:4", "old:5", "old:6"}
    assert {row.text for row in kept} == {"words"}
    gone = NewSegment("nowhere", None, "x", "x", None, True, NOW, NOW, NOW)
    assert await segments.keep_strays([stray(gone)]) == 0


async def test_whoever_begins_while_strays_are_numbered_goes_on_behind_them(world: World) -> None:
    """And the other order: strays wait for a run that is just beginning, and leave the numbering to it."""
    runs = Transcriptions(world.db)
    strays = [NewSegment(world.session.id, None, f"old:{n}", "words", None, True, NOW, NOW, NOW) for n in (1, 2)]
    assert await runs.finish(world.run.id, world.run.fence, NOW, "stopped", True)
    assert await Segments(world.db).keep_strays(stray(row) for row in strays) == 2
    new = NewTranscription(world.session.id, world.session.slug, "rtmp", {})
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(world.db.transaction())
        assert await link.value("session_hold", world.session.id)
        assert len(await link.rows("stray_number", world.session.id, NOW)) == 2
        claiming = asyncio.create_task(runs.claim(new, "replica-2", 15, NOW), name="claim")
        await blocked(world.db)
    begun, _ = await claiming
    assert begun.last_seq == 2
    third = NewSegment(world.session.id, None, "old:3", "words", None, True, NOW, NOW, NOW)
    assert await Segments(world.db).keep_strays([stray(third)]) == 1
    assert await runs.finish(begun.id, begun.fence, NOW, "stopped", True)
    async with world.db.pool.acquire() as claim, claim.transaction():
        await claim.execute('SELECT FROM "VideoSession" FOR SHARE')  # what a claim does first
        await claim.execute("UPDATE gateway.transcription SET state = 'STARTING' WHERE id = $1", begun.id)
        numbering = asyncio.create_task(runs.number_strays(world.session.id, NOW), name="number")
        await blocked(world.db)
    assert await numbering == []
    assert await Finals(world.db).count(world.session.id) == 2


def stray(row: NewSegment) -> Stray:
    return Stray(row, "transcription", b'{"text": "words"}')


async def test_of_the_audit_the_oldest_rows_are_forgotten_and_no_more_than_asked(db: Database) -> None:
    audit = AuditRows(db)
    for minute in (3, 1, 2, 4):
        at = NOW + timedelta(minutes=minute)
        await audit.add(NewAuditRow(at, "service", f"at {minute}", "stop", None, None, "192.0.2.1"))
    assert await audit.prune(NOW + timedelta(minutes=4), 2) == 2
    assert [row.who for row in await audit.listed(None, None, None, None, 10)] == ["at 4", "at 3"]
    assert await audit.prune(NOW + timedelta(minutes=4), 2) == 1
    assert await audit.prune(NOW + timedelta(minutes=4), 2) == 0
