"""PgBouncer in transaction mode between us and the server: every statement may land on another connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from support.pgbouncer import Bouncer, running_bouncer
from support.postgres import PostgresServer

from storage.postgres.errors import StorageRefused, StorageUnavailable, retryable
from storage.postgres.finals import FinalRow, Finals
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, connect, open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.transcriptions import NewTranscription, TranscriptionRow, Transcriptions
from storage.postgres.url import parse_database_url

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@pytest.fixture
def bouncer(postgres_server: PostgresServer, database_url: str, empty_database_url: str) -> Iterator[Bouncer]:
    with running_bouncer(postgres_server) as bouncer:
        yield bouncer


async def run_of(db: Database) -> TranscriptionRow:
    sessions = Sessions(db)
    session = await sessions.create("pooled12", None, await sessions.ensure_default_space(), None, NOW)
    new = NewTranscription(session.id, session.slug, "rtmp", {})
    return (await Transcriptions(db).claim(new, "me", 600, NOW))[0]


def final(run: TranscriptionRow, seq: int) -> FinalRow:
    utterance, text = f"p:{seq}", f"Number {seq}."
    return FinalRow(
        run.id, run.fence, run.session_id, run.epoch, seq, None, utterance, text, "en", NOW, NOW, b"{}", NOW
    )


async def test_everything_works_through_a_transaction_pooler(bouncer: Bouncer, empty_database_url: str) -> None:
    """Migrations, transactions and a burst of writers on more connections than the server gives."""
    options = parse_database_url(bouncer.url(empty_database_url))
    assert (await prepare(options)).applied
    async with open_pool(options, size=8) as db:
        run = await run_of(db)
        finals = Finals(db)
        await asyncio.gather(*(finals.append([final(run, seq)]) for seq in range(1, 201)))
        assert [row.seq for row in await finals.since(run.session_id)] == list(range(1, 201))
        assert await Transcriptions(db).renew("me", 60) == {(run.id, run.fence)}


async def insist(finals: Finals, rows: list[FinalRow]) -> int:
    """Returns how many tries it took. Fails on an error that is not known to pass."""
    for tries in range(1, 200):
        try:
            appended = await finals.append(rows)
        except Exception as error:
            if not retryable(error):
                raise
            await asyncio.sleep(0.02)
        else:
            assert {row.key for row in rows} == appended.stored | appended.repeated
            return tries
    raise AssertionError("it never went through")


async def test_a_refused_prepared_statement_costs_a_try_not_the_connection(bouncer: Bouncer, database_url: str) -> None:
    """Without pgbouncer=true statements are prepared on one server connection and used on another.

    The server refuses them, in the middle of everything; all is stored once even so.
    """
    async with open_pool(parse_database_url(bouncer.url(database_url, flag=False)), size=8) as db:
        run = None
        while run is None:
            try:
                run = await run_of(db)
            except Exception as error:
                assert retryable(error), error
        finals = Finals(db)
        stored, tries = 0, [1]
        while max(tries) == 1 and stored < 2_000:  # which server connection one gets is the pooler's choice
            batch = range(stored + 1, stored + 101)
            tries = await asyncio.gather(*(insist(finals, [final(run, seq)]) for seq in batch))
            stored = batch[-1]
        assert max(tries) > 1, "the pooler refused nothing: this test proves nothing"
        while True:
            try:
                rows = await finals.since(run.session_id, limit=stored + 1)
                assert [row.seq for row in rows] == list(range(1, stored + 1))
                break
            except Exception as error:
                assert retryable(error), error


async def test_a_connection_that_lost_its_statements_is_replaced(database_url: str) -> None:
    """The first try fails, the second gets a new connection and works."""
    async with open_pool(parse_database_url(database_url), size=1) as db:
        assert await Finals(db).count("nobody") == 0
        await db.pool.execute("DEALLOCATE ALL")
        with pytest.raises(Exception, match="does not exist") as caught:
            await Finals(db).count("nobody")
        assert retryable(caught.value)
        assert await Finals(db).count("nobody") == 0


async def test_a_server_that_became_a_standby_is_left(database_url: str, postgres_server: PostgresServer) -> None:
    """After a failover the old connections still lead to the demoted server; the next ones to the new primary."""
    async with open_pool(parse_database_url(database_url), size=2) as db:
        run = await run_of(db)
        await db.pool.execute("SET default_transaction_read_only = on")
        name = urlsplit(database_url).path.strip("/")
        postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        assert await insist(Finals(db), [final(run, 1)]) <= 2


async def test_a_killed_pooler_is_waited_for(bouncer: Bouncer, database_url: str) -> None:
    """Writers fail with what may pass, and go on by themselves when it is back."""
    async with open_pool(parse_database_url(bouncer.url(database_url)), size=4) as db:
        run = await run_of(db)
        finals = Finals(db)
        writing = [asyncio.create_task(insist(finals, [final(run, seq)])) for seq in range(1, 51)]
        bouncer.kill()
        writing += [asyncio.create_task(insist(finals, [final(run, seq)])) for seq in range(51, 101)]
        await asyncio.sleep(0.1)
        bouncer.start()
        await asyncio.gather(*writing)
        assert [row.seq for row in await finals.since(run.session_id)] == list(range(1, 101))


async def test_tls_that_the_server_does_not_offer_is_told(bouncer: Bouncer, database_url: str) -> None:
    """At once, with what to do."""
    url = bouncer.url(database_url).replace("sslmode=disable", "sslmode=require")
    with pytest.raises(StorageRefused, match="offers no TLS"):
        await connect(parse_database_url(url))


async def test_an_absent_pooler_is_unavailable(bouncer: Bouncer, database_url: str) -> None:
    bouncer.kill()
    with pytest.raises(StorageUnavailable, match="connection refused"):
        await connect(parse_database_url(bouncer.url(database_url)), timeout_s=0.5)
