from __future__ import annotations

import asyncio

import asyncpg
import pytest
from support.postgres import PostgresServer

from storage.postgres.errors import SchemaMismatch
from storage.postgres.history import Migration
from storage.postgres.migrate import bundled, prepare
from storage.postgres.ownership import Ownership
from storage.postgres.pool import connect, open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.url import ConnectOptions, parse_database_url

APP = next(m.text for m in bundled() if m.set == "app")
ALL = [m.label for m in bundled()]
GATEWAY = [label for label in ALL if label.startswith("gateway/")]


async def run(options: ConnectOptions, *statements: str) -> None:
    connection = await connect(options)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def value(options: ConnectOptions, query: str) -> object:
    connection = await connect(options)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_six_starts_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    options = parse_database_url(empty_database_url)
    prepared = await asyncio.gather(*(prepare(options) for _ in range(6)))
    assert sorted(label for p in prepared for label in p.applied) == sorted(ALL)
    assert {p.ownership for p in prepared} == {Ownership.OWN}
    assert await value(options, "SELECT count(*) FROM gateway.migration") == len(ALL)


async def test_a_second_start_finds_nothing_to_do(database_url: str) -> None:
    prepared = await prepare(parse_database_url(database_url))
    assert (prepared.ownership, prepared.applied, prepared.warnings) == (Ownership.OWN, [], [])


async def test_the_tables_are_made_in_the_schema_of_the_url(empty_database_url: str) -> None:
    options = parse_database_url(empty_database_url + "&schema=crm%22x&connection_limit=5")
    await run(options, 'CREATE SCHEMA "crm""x"')
    assert (await prepare(options)).applied == ALL
    async with open_pool(options) as db:
        assert await Sessions(db).ensure_default_space() == "default"
    assert await value(options, """SELECT count(*) FROM "crm""x"."Space" """) == 1
    assert await value(options, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_tables_that_prisma_made_are_checked_and_left_alone(empty_database_url: str) -> None:
    """Only our own schema is made; nothing appears in the app's, where Prisma would call it drift."""
    options = parse_database_url(empty_database_url)
    await run(options, APP, 'CREATE TABLE "_prisma_migrations" (id text)')
    objects = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    before = await value(options, objects)
    prepared = await prepare(options)
    assert (prepared.ownership, prepared.applied) == (Ownership.EXTERNAL, GATEWAY)
    assert await value(options, objects) == before
    assert (await prepare(options, mode="external")).applied == []


async def test_a_database_that_prisma_took_over_is_checked_only(database_url: str) -> None:
    options = parse_database_url(database_url)
    await run(options, 'CREATE TABLE "_prisma_migrations" (id text)')
    assert (await prepare(options)).ownership is Ownership.EXTERNAL


async def test_every_problem_of_foreign_tables_is_in_one_message_and_nothing_is_made(empty_database_url: str) -> None:
    options = parse_database_url(empty_database_url)
    await run(
        options,
        APP,
        'ALTER TABLE "TranscriptSegment" ALTER "startedAt" TYPE timestamptz, ADD tenant text NOT NULL',
        'DROP INDEX "TranscriptSegment_videoSessionId_utteranceId_key"',
        'CREATE UNIQUE INDEX partial ON "TranscriptSegment" ("videoSessionId", "utteranceId") WHERE "isFinal"',
        'ALTER TABLE "VideoSession" DROP "lastActivityAt"',
    )
    with pytest.raises(SchemaMismatch) as refused:
        await prepare(options, allow_gateway_ddl=False)
    assert len(refused.value.problems) == 5
    for part in ("startedAt", "tenant", "utteranceId", "lastActivityAt", "gateway migrate"):
        assert part in str(refused.value)
    with pytest.raises(SchemaMismatch):
        await prepare(options)
    assert await value(options, "SELECT to_regnamespace('gateway') IS NULL")


async def test_some_tables_are_refused_by_name(empty_database_url: str) -> None:
    options = parse_database_url(empty_database_url)
    await run(options, 'CREATE TABLE "User" (id text)')
    with pytest.raises(SchemaMismatch, match=r"missing: Space, VideoSession"):
        await prepare(options)


async def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    options = parse_database_url(database_url)
    broken = Migration("gateway", 99, "broken", "CREATE TABLE gateway.half (id int); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await prepare(options, migrations=[*bundled(), broken])
    assert await value(options, "SELECT to_regclass('gateway.half') IS NULL")
    assert (await prepare(options)).applied == []


async def test_a_later_migration_is_applied_and_an_older_build_goes_on_beside_it(database_url: str) -> None:
    options = parse_database_url(database_url)
    later = Migration("gateway", 99, "later", "CREATE TABLE later (id int)")
    assert (await prepare(options, migrations=[*bundled(), later])).applied == ["gateway/0099_later"]
    assert await value(options, "SELECT to_regclass('gateway.later') IS NOT NULL")
    for ddl in (True, False):
        prepared = await prepare(options, allow_gateway_ddl=ddl)
        assert prepared.applied == []
        [warning] = prepared.warnings
        assert "gateway/0099_later is a newer gateway's" in warning


async def test_an_older_build_refuses_a_later_migration_that_breaks_with_it(database_url: str) -> None:
    options = parse_database_url(database_url)
    later = Migration("gateway", 99, "breaking_later", "ALTER TABLE gateway.replica DROP COLUMN capacity")
    await prepare(options, migrations=[*bundled(), later])
    with pytest.raises(SchemaMismatch, match="gateway/0099_breaking_later was applied by a newer gateway"):
        await prepare(options)


async def test_a_changed_file_is_refused(database_url: str) -> None:
    changed = [Migration(m.set, m.version, m.name, m.text + "-- harmless?") for m in bundled()]
    with pytest.raises(SchemaMismatch, match="was changed after"):
        await prepare(parse_database_url(database_url), migrations=changed)


async def test_a_migration_does_not_queue_behind_a_long_lock(database_url: str) -> None:
    """Waiting for a table in use would block all its readers behind us; the lock is given up instead."""
    options = parse_database_url(database_url)
    text = "SET LOCAL lock_timeout = '50ms'; ALTER TABLE gateway.stream ADD extra int"
    alter = Migration("gateway", 99, "alter", text)
    reader = await connect(options)
    try:
        async with reader.transaction():
            await reader.execute("SELECT FROM gateway.stream")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await prepare(options, migrations=[*bundled(), alter])
    finally:
        await reader.close()


@pytest.fixture
def role(server: PostgresServer) -> str:
    """A role that may connect and no more."""
    server.execute(
        "DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN END $$",
    )
    return "clerk"


async def test_a_role_with_the_documented_rights_is_enough(empty_database_url: str, role: str) -> None:
    options = parse_database_url(empty_database_url)
    clerk = parse_database_url(empty_database_url.replace("postgres@", f"{role}@"))
    await run(options, APP)
    with pytest.raises(SchemaMismatch) as refused:
        await prepare(clerk)
    assert {p.split(";")[0] for p in refused.value.problems} == {
        'the role may not SELECT, UPDATE on "VideoSession"',
        'the role may not SELECT, INSERT, UPDATE on "Participant"',
        'the role may not SELECT, INSERT, UPDATE on "TranscriptSegment"',
        'the role may not SELECT, INSERT, UPDATE on "TranscriptionUsage"',
    }
    await run(
        options,
        f'GRANT SELECT, INSERT, UPDATE ON "TranscriptSegment", "TranscriptionUsage", "Participant" TO {role}',
        f'GRANT SELECT, UPDATE ON "VideoSession" TO {role}',
    )
    with pytest.raises(SchemaMismatch, match=f'CREATE SCHEMA gateway AUTHORIZATION "{role}"'):
        await prepare(clerk)
    await run(options, f"CREATE SCHEMA gateway AUTHORIZATION {role}")
    prepared = await prepare(clerk)
    assert prepared.applied == GATEWAY
    assert prepared.warnings  # the sessions module would need more


async def test_tables_that_another_role_migrated_must_be_granted(database_url: str, role: str) -> None:
    clerk = parse_database_url(database_url.replace("postgres@", f"{role}@"))
    with pytest.raises(SchemaMismatch, match='GRANT USAGE ON SCHEMA gateway TO "clerk"'):
        await prepare(clerk)


async def test_every_query_is_valid_sql(database_url: str) -> None:
    async with open_pool(parse_database_url(database_url)) as db, db.pool.acquire() as connection:
        for text in db.sql.values():
            await connection.prepare(text)
