from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import NOW, World, make_world
from support.postgres import PostgresServer

from storage.postgres.errors import retryable
from storage.postgres.finals import Appended, FinalRow, Finals
from storage.postgres.pool import Database
from storage.postgres.segments import NewSegment, Segments
from storage.postgres.sessions import Participants, Sessions

_slugs = (f"slug{n:04}" for n in itertools.count())


async def last_seq(world: World) -> int:
    seq = await world.db.pool.fetchval("SELECT last_seq FROM gateway.stream WHERE session_id = $1", world.session.id)
    assert isinstance(seq, int)
    return seq


async def test_a_batch_becomes_segments_events_and_the_highest_number(world: World) -> None:
    rows = [world.final(n) for n in (1, 2, 3)]
    outcome = await Finals(world.db).append(rows)
    assert outcome == Appended(stored={row.key for row in rows})
    events = await Finals(world.db).since(world.session.id)
    assert [e.seq for e in events] == [1, 2, 3]
    assert json.loads(events[0].data) == {"seq": 1}
    first = events[0]
    assert (first.epoch, first.utterance_id, first.transcription_id) == (world.run.epoch, "p:1", world.run.id)
    assert first.created_at == NOW + timedelta(seconds=3)
    segments = await Segments(world.db).by_session(world.session.id)
    assert [(s.utterance_id, s.text, s.is_final, s.identity) for s in segments] == [
        (f"p:{n}", f"Number {n}.", True, "anna") for n in (1, 2, 3)
    ]
    assert (segments[0].started_at, segments[0].ended_at) == (rows[0].started_at, rows[0].ended_at)
    assert segments[0].created_at == rows[0].created_at
    assert await last_seq(world) == 3


async def test_the_same_batch_twice_changes_nothing(world: World) -> None:
    rows = [world.final(n) for n in range(1, 11)]
    await Finals(world.db).append(rows)
    versions = 'SELECT array_agg((id, xmin)::text ORDER BY id) FROM "TranscriptSegment"'
    before = await world.db.pool.fetchval(versions)
    assert await Finals(world.db).append(rows) == Appended(repeated={row.key for row in rows})
    assert await world.db.pool.fetchval(versions) == before
    assert await Finals(world.db).count(world.session.id) == 10


async def test_a_repeat_does_not_undo_what_the_app_edited(world: World) -> None:
    await Finals(world.db).append([world.final(1)])
    await world.db.pool.execute('UPDATE "TranscriptSegment" SET text = $1', "Corrected.")
    await Finals(world.db).append([world.final(1)])
    assert [s.text for s in await Segments(world.db).by_session(world.session.id)] == ["Corrected."]


async def test_an_utterance_under_a_second_number_is_a_repeat_and_leaves_no_hole(world: World) -> None:
    await Finals(world.db).append([world.final(1, "u")])
    again = world.final(2, "u")
    assert (await Finals(world.db).append([again])).repeated == {again.key}
    assert await last_seq(world) == 1
    assert (await Finals(world.db).append([world.final(2, "v")])).stored


async def test_a_number_under_a_second_utterance_is_a_conflict_and_writes_no_segment(world: World) -> None:
    await Finals(world.db).append([world.final(1, "u")])
    clash = world.final(1, "v")
    outcome = await Finals(world.db).append([clash, world.final(2, "w")])
    assert outcome.conflicting == {clash.key}
    assert len(outcome.stored) == 1
    assert await Segments(world.db).by_utterance(world.session.id, "v") is None


async def test_one_number_twice_in_a_batch_is_stored_once(world: World) -> None:
    outcome = await Finals(world.db).append([world.final(1, "u"), world.final(1, "v")])
    assert outcome.stored == outcome.conflicting == {world.final(1).key}
    assert len(await Segments(world.db).by_session(world.session.id)) == 1


@pytest.mark.parametrize(
    "change", [{"fence": 2}, {"fence": 0}, {"transcription_id": "unknown"}, {"session_id": "another"}]
)
async def test_a_row_that_is_not_the_owners_is_fenced(world: World, change: dict[str, object]) -> None:
    stale = world.final(2, **change)
    outcome = await Finals(world.db).append([world.final(1), stale])
    assert outcome.stored == {world.final(1).key}
    assert outcome.fenced == {stale.transcription_id}
    assert await Finals(world.db).count(world.session.id) == 1


async def test_a_session_that_was_deleted_by_the_app_is_gone_and_others_are_stored(world: World) -> None:
    other = await make_world(world.db, "other")
    await world.db.pool.execute('DELETE FROM "Participant" WHERE "videoSessionId" = $1', other.session.id)
    await world.db.pool.execute('DELETE FROM "VideoSession" WHERE id = $1', other.session.id)
    outcome = await Finals(world.db).append([world.final(1), other.final(1)])
    assert (outcome.stored, outcome.gone) == ({world.final(1).key}, {other.session.id})


async def test_a_participant_who_was_deleted_or_is_of_another_session_becomes_unknown(world: World) -> None:
    other = await make_world(world.db, "other")
    rows = [
        world.final(1, participant_id="nobody"),
        world.final(2, participant_id=other.participant_id),
        world.final(3, participant_id=None),
    ]
    assert len((await Finals(world.db).append(rows)).stored) == 3
    assert {s.participant_id for s in await Segments(world.db).by_session(world.session.id)} == {None}


@pytest.mark.parametrize(
    "bad",
    [
        {"data": b"{not json"},
        {"data": b"\xff"},
        {"data": b'"\\u12"'},
        {"seq": 0},
        {"seq": 2**63},
        {"seq": 2.5},
        {"text": None},
        {"started_at": NOW.replace(tzinfo=None)},
        {"utterance_id": "".join(map(str, range(50_000)))},
        {"language": 7},
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_one_bad_row_never_takes_its_batch_with_it(world: World, bad: dict[str, object]) -> None:
    rows: list[FinalRow] = [world.final(n) for n in range(1, 9)]
    rows[3] = replace(rows[3], **bad)  # type: ignore[arg-type]
    outcome = await Finals(world.db).append(rows)
    assert len(outcome.stored) == 7
    assert list(outcome.refused) == [rows[3].key]
    assert "Number" not in str(outcome.refused)


async def test_text_that_postgres_cannot_hold_is_cleaned(world: World) -> None:
    row = world.final(
        1, text="a\x00b\ud83d", data=rb'{"text": "a\u0000b\ud83d"}', utterance_id="u\x00", language="\x00"
    )
    assert (await Finals(world.db).append([row])).stored
    [segment] = await Segments(world.db).by_session(world.session.id)
    assert (segment.text, segment.utterance_id, segment.language) == ("ab\ufffd", "u", "")
    [event] = await Finals(world.db).since(world.session.id)
    assert json.loads(event.data) == {"text": "ab\ufffd"}
    assert (await Finals(world.db).append([row])).repeated


async def test_a_final_replaces_the_partial_that_was_stored_and_stays(world: World) -> None:
    segments = Segments(world.db)
    partial = NewSegment(world.session.id, None, "p:1", "Num", None, False, NOW, None, NOW)
    await segments.upsert([partial])
    await Finals(world.db).append([world.final(1)])
    await segments.upsert([partial])
    [row] = await segments.by_session(world.session.id, finals_only=False)
    assert (row.text, row.is_final, row.participant_id) == ("Number 1.", True, world.participant_id)
    assert row.created_at == NOW  # of the first insert


async def test_reading_on_from_a_number_and_page_by_page(world: World) -> None:
    finals = Finals(world.db)
    await finals.append([world.final(n) for n in range(1, 26)])
    assert [e.seq for e in await finals.since(world.session.id, 20)] == [21, 22, 23, 24, 25]
    assert [e.seq for e in await finals.since(world.session.id, 5, limit=2)] == [6, 7]
    pages = [[e.seq for e in page] async for page in finals.pages(world.session.id, 3, page=10)]
    assert pages == [list(range(4, 14)), list(range(14, 24)), [24, 25]]


async def test_an_empty_batch_is_no_work(world: World) -> None:
    assert await Finals(world.db).append([]) == Appended()


async def test_sessions_written_crosswise_at_once_do_not_deadlock(world: World) -> None:
    worlds = [world, *[await make_world(world.db, f"w{n}") for n in range(4)]]

    async def write(n: int) -> None:
        for seq in range(n, 200, 8):
            rows = [w.final(seq + 1) for w in worlds]
            outcome = await Finals(world.db).append(rows if n % 2 else rows[::-1])
            assert len(outcome.stored) == len(worlds)

    async with asyncio.timeout(60):
        await asyncio.gather(*(write(n) for n in range(8)))
    for w in worlds:
        assert [e.seq for e in await Finals(w.db).since(w.session.id)] == list(range(1, 201))
        assert await last_seq(w) == 200


async def test_a_retry_after_a_cut_connection_stores_each_final_once(server: PostgresServer, world: World) -> None:
    """Backends are killed while batches are on their way; whatever fails is sent again."""
    finals = Finals(world.db)
    name = await world.db.pool.fetchval("SELECT current_database()")
    kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    cuts = 0

    async def send(rows: list[FinalRow]) -> None:
        nonlocal cuts
        while True:
            try:
                outcome = await finals.append(rows)
            except Exception as error:
                assert retryable(error), repr(error)
                cuts += 1
            else:
                assert outcome.stored | outcome.repeated == {row.key for row in rows}
                return

    async def cut() -> None:
        for _ in range(8):
            await asyncio.to_thread(server.execute, kill)

    async def work() -> None:
        for start in range(1, 1001, 10):
            await send([world.final(n) for n in range(start, start + 10)])

    async with asyncio.timeout(90):
        await asyncio.gather(work(), cut())
    assert cuts
    pages = [event.seq async for page in finals.pages(world.session.id) for event in page]
    assert pages == list(range(1, 1001))
    assert await world.db.pool.fetchval('SELECT count(*) FROM "TranscriptSegment"') == 1000


SENT = st.lists(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 1, 1, 2])), max_size=6), max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=SENT)
async def test_any_batches_in_any_order_with_repeats_and_stale_fences_keep_the_promises(
    db: Database, batches: list[list[tuple[int, int, int]]]
) -> None:
    """Against a model in a dictionary: (number, utterance, fence) rows, first come, first stored."""
    world = await make_world(db, next(_slugs))
    by_seq: dict[int, str] = {}
    by_utterance: dict[str, int] = {}
    for batch in batches:
        rows = [world.final(seq, f"u{utterance}", fence=fence) for seq, utterance, fence in batch]
        outcome = await Finals(db).append(rows)
        for row in sorted(rows, key=lambda row: row.key):
            if row.fence == 1 and row.seq not in by_seq and row.utterance_id not in by_utterance:
                by_seq[row.seq], by_utterance[row.utterance_id] = row.utterance_id, row.seq
                assert row.key in outcome.stored
        assert outcome.stored <= {(world.session.id, seq) for seq in by_seq}
        assert outcome.fenced == {row.transcription_id for row in rows if row.fence != 1}
        assert not outcome.refused
        assert not outcome.gone
        answered = outcome.stored | outcome.repeated | outcome.conflicting
        assert {row.key for row in rows if row.fence == 1} == answered
    events = await Finals(db).since(world.session.id)
    assert {event.seq: event.utterance_id for event in events} == by_seq
    segments = await Segments(db).by_session(world.session.id)
    assert {s.utterance_id: s.text for s in segments} == {u: f"Number {n}." for u, n in by_utterance.items()}
    assert await last_seq(world) == max(by_seq, default=0)


async def test_a_participant_row_made_late_serves_the_next_final(world: World) -> None:
    bob = await Participants(world.db).upsert(world.session.id, "bob", "Bob", NOW)
    await Finals(world.db).append([world.final(1, participant_id=bob.id)])
    [row] = await Segments(world.db).by_session(world.session.id)
    assert (row.identity, row.name) == ("bob", "Bob")
    assert await Sessions(world.db).by_id(world.session.id) is not None
