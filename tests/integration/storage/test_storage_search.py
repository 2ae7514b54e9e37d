"""Finals that are found by their words: lines come and go with them, whoever writes, in every language."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import NOW, World, make_world

from gateway.archive.query import Query, combined, marks, parse
from gateway.archive.search import FIRST, LAST, Line, Place, Within
from gateway.archive.searches import PostgresIndex
from gateway.errors import WrongRequest
from gateway.sessions.domain.access import Caller, Kind, Reach, Verdict, What, decide, is_person, reach, to_session
from gateway.sessions.domain.video_session import Participant, VideoSession
from storage.postgres.finals import Finals
from storage.postgres.pool import Database
from storage.postgres.retention import Retention
from storage.postgres.segments import NewSegment, Segments, Stray
from storage.postgres.sessions import Participants, Sessions
from storage.postgres.transcriptions import Transcriptions

ALL = Reach(everything=True)
SAID = {
    "en": "We discussed the budgets at yesterday’s meeting – “really” hard.",
    "de-DE": "Über die Straßen: die Häuser wurden gebaut.",
    "fr": "Nous avons discuté des budgets.",
    "ja": "次は会議室で話します。",
    "zh": "我们开会讨论预算",
    "ko": "회의를 시작합니다",
    "th": "เราประชุมกันวันนี้",
    "xx": "Zorgle blip",
}


async def say(world: World, texts: Sequence[tuple[str | None, str]], first: int = 1) -> None:
    rows = [
        world.final(
            seq,
            text=text,
            language=language,
            data=json.dumps(
                {"text": text, "language": language, "startedAt": f"2026-01-05T10:00:{seq % 60:02}.000Z"}
            ).encode(),
        )
        for seq, (language, text) in enumerate(texts, first)
    ]
    assert len((await Finals(world.db).append(rows)).stored) == len(rows)


async def look(db: Database, text: str, who: Reach = ALL, **within: object) -> tuple[Query, list[Line]]:
    index, query = PostgresIndex(db), parse(text)
    read = await index.read(query.leaves)
    by_config = {config: query.assembled(leaves) or "" for config, leaves in read.leaves.items()}
    looked_for = combined(by_config)
    if looked_for is None:
        return query, []
    asked = Within(who, FIRST, LAST, **within)  # type: ignore[arg-type]
    part = await index.find(looked_for, by_config, asked, 100)
    return query, list(part.lines)


async def found(db: Database, text: str, who: Reach = ALL, **within: object) -> list[int]:
    return [line.place.seq for line in (await look(db, text, who, **within))[1]]


async def marked(db: Database, text: str) -> list[str]:
    """What is marked in all that is found."""
    query, lines = await look(db, text)
    return [line.text[one.start : one.end] for line in lines for one in marks(line.text, line.shown, query.runs)]


FOUND = {
    "budget": ["budgets", "budgets"],  # a Frenchman says them, too
    "Budgets": ["budgets", "budgets"],
    "discussing meetings": ["discussed", "meeting"],
    '"meeting really"': ["meeting", "really"],
    '"really meeting"': [],
    "yesterday really": ["yesterday", "really"],
    "meet* -nothing": ["meeting"],
    "budgets -meeting": ["budgets"],
    "haus OR meeting": ["meeting", "Häuser"],
    "strasse": ["Straßen"],
    "Straßen": ["Straßen"],
    "die": [],
    "die meeting": [],  # a stop word in German lines only
    "zorgle": ["Zorgle"],
    "会議": ["会議"],
    "会議室で": ["会議室で"],
    "室会": [],
    "会": ["会", "会"],
    "す": ["す"],
    "开会 预算": ["开会", "预算"],
    "회의": ["회의"],
    "ประชุม": ["ประชุม"],
    "nowhere": [],
}


async def test_words_are_found_as_their_language_reduces_them(world: World) -> None:
    await say(world, list(SAID.items()))
    assert {text: sorted(await marked(world.db, text)) for text in FOUND} == {
        text: sorted(expected) for text, expected in FOUND.items()
    }


async def test_a_final_without_a_language_is_read_in_that_of_its_transcription(world: World) -> None:
    said = [
        ('{"languages": ["en"]}', "walking"),
        ('{"languages": ["en", "de"]}', "running"),
        ('{"languages": "en"}', "x"),
        ("{}", "y"),
    ]
    for number, (options, word) in enumerate(said, 1):
        await world.db.pool.execute("UPDATE gateway.transcription SET options = $1", options.encode())
        await say(world, [(None, word)], number)
    assert (await found(world.db, "walks"), await found(world.db, "runs"), await found(world.db, "running")) == (
        [1],
        [],
        [2],
    )


async def test_a_line_goes_with_its_final_and_its_session(world: World) -> None:
    other = await make_world(world.db, "another1")
    for one in (world, other):
        await say(one, [("en", "budget")] * 3)
    assert len(await found(world.db, "budget")) == 6
    async with world.db.pool.acquire() as app:
        for table, column in (
            ("Participant", "videoSessionId"),
            ("TranscriptSegment", "videoSessionId"),
            ("VideoSession", "id"),
        ):
            await app.execute(f'DELETE FROM "{table}" WHERE "{column}" = $1', other.session.id)
    assert len(await found(world.db, "budget")) == 3
    await Sessions(world.db).delete(world.session.id, NOW)
    await world.db.pool.execute("UPDATE gateway.transcription SET state = 'STOPPED', stopped_at = now()")
    assert await Retention(world.db).sweep_up(NOW + timedelta(days=1000)) == 1
    assert await world.db.pool.fetchval("SELECT count(*) FROM gateway.search_line") == 0


async def test_a_stray_is_found_once_it_has_a_number(world: World) -> None:
    segment = NewSegment(world.session.id, None, "old:1", "zebra", "en", True, NOW, NOW, NOW)
    await Segments(world.db).keep_strays([Stray(segment, world.run.id, b'{"text": "zebra"}')])
    assert await found(world.db, "zebra") == []
    await Transcriptions(world.db).finish(world.run.id, world.run.fence, NOW, "over", True)
    await Transcriptions(world.db).number_strays(world.session.id, NOW)
    assert await found(world.db, "zebra") == [1]


async def test_a_final_is_stored_whatever_its_text(world: World) -> None:
    texts = ["", "x" * 300_000, "会" * 300_000, "a'b\\c 'd' :*&|!()", "w" * 3_000 + " end", "é" * 5_000]
    await say(world, [("en", text) for text in texts])
    await world.db.pool.execute(
        "INSERT INTO gateway.transcript_event VALUES ('s', 1, 'e', 'u', 't', '[1]', now()), "
        """('s', 2, 'e', 'v', 't', '{"text": 5, "language": {}, "startedAt": "soon"}', now())"""
    )
    assert await found(world.db, "end") == [5]
    assert await world.db.pool.fetchval("SELECT count(*) FROM gateway.search_line") == len(texts) + 2


async def test_older_finals_get_their_lines_some_at_a_time_while_others_come_and_go(world: World) -> None:
    """As after the update: what was stored before has no line."""
    index, db = PostgresIndex(world.db), world.db
    await say(world, [("en", f"budget {number}") for number in range(1, 121)])
    await db.pool.execute("DELETE FROM gateway.search_line; INSERT INTO gateway.search_backfill VALUES ('', 0)")
    assert not (await index.read(parse("budget").leaves)).is_complete
    assert await index.catch_up(50) == (50, True)
    await say(world, [("en", "budget 121")], 121)
    await db.pool.execute("DELETE FROM gateway.transcript_event WHERE seq IN (7, 77)")
    rounds = [await asyncio.gather(*(index.catch_up(50) for _ in range(3))) for _ in range(6)]
    assert rounds[-1] == [(0, False)] * 3
    assert (await index.read(parse("budget").leaves)).is_complete
    seqs = await db.pool.fetchval("SELECT array_agg(seq ORDER BY seq) FROM gateway.search_line")
    assert seqs == [seq for seq in range(1, 122) if seq not in (7, 77)]


async def test_what_is_deleted_while_its_line_is_made_leaves_none(world: World) -> None:
    await say(world, [("en", "budget")])
    await world.db.pool.execute("DELETE FROM gateway.search_line; INSERT INTO gateway.search_backfill VALUES ('', 0)")
    async with world.db.transaction() as link:
        assert (await link.rows("search_backfill", 50))[0]["lines"] == 1
        deleting = asyncio.create_task(world.db.run("session_delete_events", world.session.id))
        await asyncio.sleep(0.05)
        assert not deleting.done()
    await deleting
    assert await world.db.pool.fetchval("SELECT count(*) FROM gateway.search_line") == 0


async def test_a_role_that_is_not_granted_the_new_tables_yet_still_stores_finals(world: World) -> None:
    """`gateway migrate` may run as another role than the gateway, which is updated later."""
    role = f"clerk_{random.randrange(10**9)}"
    async with world.db.pool.acquire() as connection:
        await connection.execute(
            f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA gateway TO {role}; "
            f"GRANT SELECT, INSERT, DELETE ON gateway.transcript_event TO {role}"
        )
        try:
            await connection.execute(
                f"SET ROLE {role}; INSERT INTO gateway.transcript_event "
                """VALUES ('s', 1, 'e', 'u', 't', '{"text": "budget"}', now()), """
                "('s', 2, 'e', 'v', 't', '{}', now()); "
                "DELETE FROM gateway.transcript_event WHERE seq = 2"
            )
            await connection.execute("RESET ROLE")
            assert await connection.fetchval("SELECT array_agg(seq) FROM gateway.search_line") == [1]
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_results_are_in_order_within_their_time_and_behind_the_page_before(world: World) -> None:
    await say(world, [("en", "budget")] * 9)
    at = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
    assert await found(world.db, "budget") == await found(world.db, "budget", each=True) == list(range(9, 0, -1))
    behind = Place(at + timedelta(seconds=6), world.session.id, 6)
    assert await found(world.db, "budget", behind=behind) == [5, 4, 3, 2, 1]
    for sessions, expected in (([world.session.id], 9), ([], 0), (["other"], 0)):
        assert len(await found(world.db, "budget", sessions=sessions)) == expected
    assert await found(world.db, "budget", space_id="elsewhere") == []
    newest, start = (await PostgresIndex(world.db).behind(at + timedelta(seconds=6), 4)) or (None, None)
    assert (newest, start) == (at + timedelta(seconds=5), at + timedelta(seconds=1))
    assert await PostgresIndex(world.db).behind(at, 4) is None


PEOPLE = ("anna", "ben", "eve")
SPACES = ("team", "other")
_numbers = itertools.count()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(SPACES),
            st.none() | st.sampled_from(PEOPLE),
            st.dictionaries(st.sampled_from(PEOPLE), st.none() | st.sampled_from(PEOPLE), max_size=2),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(PEOPLE),
    st.frozensets(st.sampled_from(SPACES)),
    st.none() | st.sampled_from(SPACES),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_everybody_finds_what_the_access_table_lets_them_view(
    db: Database,
    sessions: list[tuple[str, str | None, dict[str, str | None]]],
    name: str,
    spaces: frozenset[str],
    space_id: str | None,
) -> None:
    """Both ways of looking: in the sessions that are listed first, and in all with a look at each."""
    caller = Caller(Kind.USER, name, spaces)
    await db.pool.execute(
        'DELETE FROM "Participant"; DELETE FROM "VideoSession"; DELETE FROM gateway.transcript_event; '
        """INSERT INTO "User" SELECT unnest('{anna,ben,eve}'::text[]) ON CONFLICT DO NOTHING; """
        """INSERT INTO "Space" SELECT unnest('{team,other}'::text[]) ON CONFLICT DO NOTHING"""
    )
    expected = set()
    for space, creator, people in sessions:
        row = await Sessions(db).create(f"slug{next(_numbers):05}", None, space, creator, NOW)
        there = []
        for identity, user_id in people.items():
            await Participants(db).join(row.id, identity, None, NOW, user_id=user_id)
            there.append(Participant("p", row.id, user_id, identity, None, "GUEST", NOW))
        await db.pool.execute(
            "INSERT INTO gateway.transcript_event VALUES ($1, 1, 'e', 'u', 't', $2, $3)",
            row.id,
            b'{"text": "budget"}',
            NOW,
        )
        session = VideoSession(row.id, row.slug, None, creator, space, "LIVE", NOW)
        mine = any(is_person(caller, one) for one in there)
        relations = to_session(caller, session, participates=mine, invited=True)
        if decide(What.VIEW, caller, relations, "LIVE") is Verdict.ALLOWED and space_id in (None, space):
            expected.add(row.id)
    who = reach(caller, What.VIEW)
    assert set(await PostgresIndex(db).sessions(who, space_id, 99)) == expected
    _, lines = await look(db, "budget", who, space_id=space_id)
    assert {line.place.session_id for line in lines} == expected


@given(
    st.lists(
        st.sampled_from([*"aé会ก'\"\\*:&|!()<->= ", " OR ", "=simple", "budget", "\u200d", "ß", "😀"]), max_size=14
    ).map("".join)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_typed_postgres_takes_it(world: World, text: str) -> None:
    if not await world.db.pool.fetchval("SELECT count(*) FROM gateway.search_line"):
        await say(world, list(SAID.items()))
    try:
        parse(text)
    except WrongRequest:
        return
    await look(world.db, text)


@given(st.text("会議室でกาประ한국회의ー々", min_size=1, max_size=12), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_part_of_a_text_without_spaces_is_found_and_marked(
    world: World, text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    await world.db.pool.execute("DELETE FROM gateway.transcript_event")
    await say(world, [("ja", f"OK {text}、fine")])
    assert part in await marked(world.db, part)


def test_the_parser_and_the_migration_mean_the_same_scripts() -> None:
    """Both name them, as ranges."""
    from gateway.archive import query
    from storage.postgres.migrate import bundled

    [migration] = [one for one in bundled() if one.name == "search"]
    sql = migration.text.partition("SELECT '[\\u0e01")[2].partition("]")[0]
    assert f"([\\u0e01{sql}]+)" == query._RUNS.pattern.encode("ascii", "backslashreplace").decode()
