from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest
from support.postgres import PostgresServer
from support.waiting import until

from storage.postgres.errors import StorageRefused, StorageUnavailable, retryable
from storage.postgres.pool import TRANSACTION, connect, open_pool
from storage.postgres.single import SingleConnection
from storage.postgres.url import parse_database_url

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def pretender(answer: Handler) -> AsyncIterator[str]:
    """Something on a port that is not PostgreSQL; yields a URL of it, with a password."""
    calls: list[asyncio.Task[None]] = []

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.create_task(call(reader, writer), name="pretender"))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://app:hunter2@127.0.0.1:{port}/main?sslmode=disable"
        async with asyncio.timeout(60):
            await asyncio.gather(*calls)


async def test_an_absent_server_is_reported_within_the_stated_time() -> None:
    url = "postgresql://app:hunter2@127.0.0.1:1/main?sslmode=disable"
    with pytest.raises(StorageUnavailable, match=r"connection refused.*DATABASE_URL") as refused:
        async with open_pool(parse_database_url(url), connect_timeout_s=0.4):
            pytest.fail("it opened")
    assert "hunter2" not in str(refused.value)
    assert retryable(refused.value)


async def test_a_server_that_never_answers_is_reported_within_the_stated_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with pretender(silent) as url:
        with pytest.raises(StorageUnavailable, match="no answer"):
            await connect(parse_database_url(url), timeout_s=0.3)


async def test_a_missing_socket_is_reported() -> None:
    with pytest.raises(StorageUnavailable, match="no socket there"):
        await connect(parse_database_url("postgresql://app@/main?host=/nonexistent"), timeout_s=0.1)


async def test_a_server_that_comes_late_is_waited_for(postgres_server: PostgresServer) -> None:
    """The first answers are resets; then a proxy leads to the real server."""
    folder = postgres_server.url.partition("host=")[2].partition("&")[0]
    tries = 0

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        await asyncio.gather(_pipe(reader, up_writer), _pipe(up_reader, writer))
        await up_writer.wait_closed()

    async with pretender(late) as url:
        options = parse_database_url(url.replace("app:hunter2", "postgres").replace("/main", "/postgres"))
        connection = await connect(options, timeout_s=20)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert tries == 3


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def test_an_unknown_database_is_named(postgres_server: PostgresServer) -> None:
    with pytest.raises(StorageRefused, match=r"no such database: postgres@.*/nothing"):
        await connect(parse_database_url(postgres_server.url_of("nothing")))


async def test_an_unknown_role_is_a_refusal(postgres_server: PostgresServer) -> None:
    url = postgres_server.url.replace("postgres@", "ghost:hunter2@")
    with pytest.raises(StorageRefused, match="ghost@") as refused:
        await connect(parse_database_url(url))
    assert "hunter2" not in str(refused.value)


async def test_a_server_without_tls_is_named_when_tls_is_asked_for() -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"N")
        await reader.read()

    async with pretender(no_tls) as url:
        with pytest.raises(StorageRefused, match="offers no TLS"):
            await connect(parse_database_url(url.replace("disable", "require")))


async def test_a_wrong_password_is_named_and_not_shown() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        body = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0"
        writer.write(b"E" + (len(body) + 4).to_bytes(4) + body)

    async with pretender(refuse) as url:
        with pytest.raises(StorageRefused, match="refuses the password of app@127") as refused:
            await connect(parse_database_url(url))
    assert "hunter2" not in str(refused.value)


async def test_a_parameter_that_the_server_does_not_know_is_named(postgres_server: PostgresServer) -> None:
    with pytest.raises(StorageRefused, match="nonsense"):
        await connect(parse_database_url(postgres_server.url + "&nonsense=1"))


async def test_connections_are_in_utc_named_and_jsonb_is_bytes(database_url: str) -> None:
    async with open_pool(parse_database_url(database_url + "&application_name=test-gateway")) as db:
        assert await db.pool.fetchval("SHOW timezone") == "UTC"
        assert await db.pool.fetchval("SHOW application_name") == "test-gateway"
        assert await db.pool.fetchval("SELECT $1::jsonb", b'{"a":  1}') == b'{"a": 1}'
        assert await db.pool.fetchval("SELECT $1::jsonb[]", [b"1", None]) == [b"1", None]
        moment = datetime(2026, 1, 5, 10, tzinfo=UTC)
        assert await db.pool.fetchval("SELECT $1::timestamptz", moment) == moment


async def test_the_pool_works_without_prepared_statements(database_url: str) -> None:
    """As behind a transaction pooler."""
    async with open_pool(parse_database_url(database_url + "&pgbouncer=true")) as db:
        for _ in range(3):
            assert await db.value("final_count", "nobody") == 0


async def test_a_failed_transaction_leaves_nothing(database_url: str) -> None:
    async with open_pool(parse_database_url(database_url)) as db:
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as link:
                await link.run("space_ensure", "lost")
                raise ZeroDivisionError
        assert await db.pool.fetchval('SELECT count(*) FROM "Space"') == 0


async def test_every_statement_is_measured_by_its_name(database_url: str) -> None:
    """Also one that fails, those in transactions, and pages of a cursor; nothing else is a name."""
    seen: list[tuple[str, float]] = []

    def names() -> list[str]:
        found = [name for name, _ in seen]
        seen.clear()
        return found

    options = parse_database_url(database_url)
    async with open_pool(options, size=2, measured=lambda *told: seen.append(told)) as db:
        assert await db.value("final_count", "nobody") == 0
        assert all(0 < seconds < 60 for _, seconds in seen)
        names()
        with pytest.raises(asyncpg.DataError):
            await db.row("final_count", 5)
        assert names() == ["final_count"]
        with pytest.raises(KeyError):
            await db.run("no_such_statement")
        assert names() == []
        async with db.transaction() as link:
            await link.run("space_ensure", "team")
            pages = [page async for page in link.stream("usage_by_session", 10, "nobody")]
            assert pages == []
        assert names() == ["space_ensure", "usage_by_session", TRANSACTION]
        assert dict(db.connections())["busy"] == 0
        async with db.pool.acquire():
            assert dict(db.connections())["busy"] == 1
    single = SingleConnection(options, 20, lambda *told: seen.append(told))
    async with single.link() as link:
        assert await link.value("final_count", "nobody") == 0
    await single.close()
    assert names() == ["final_count"]


async def test_a_stream_is_one_step_ahead_of_its_reader(database_url: str) -> None:
    told: list[str] = []
    async with open_pool(parse_database_url(database_url), measured=lambda name, seconds: told.append(name)) as db:
        async with db.transaction() as link:
            link.sql = {"numbers": "SELECT 6 / (9 - n) AS n FROM generate_series(1, $1::int) n"}
            async with contextlib.aclosing(link.stream("numbers", 2, 8)) as steps:
                assert [row["n"] for row in await anext(steps)] == [0, 0]
                await until(lambda: len(told) == 2)
                await asyncio.sleep(0.05)
                assert len(told) == 2  # the third is not asked for before the second is taken
            assert [len(step) async for step in link.stream("numbers", 3, 7)] == [3, 3, 1]
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with db.transaction() as link:
                link.sql = {"numbers": "SELECT 6 / (9 - n) AS n FROM generate_series(1, $1::int) n"}
                assert [len(step) async for step in link.stream("numbers", 4, 9)] == [4, 4]
        async with db.transaction() as link:
            link.sql = {"asleep": "SELECT pg_sleep(n * 60) FROM generate_series(0, 1) n"}
            await anext(steps := link.stream("asleep", 1))
            await asyncio.sleep(0.05)
            await steps.aclose()  # does not wait for the minute
        assert await db.value("final_count", "nobody") == 0 == dict(db.connections())["busy"]


async def test_a_query_that_hangs_does_not_hang_the_stop(server: PostgresServer, database_url: str) -> None:
    hanging = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
    async with open_pool(parse_database_url(database_url), close_timeout_s=0.2) as db:
        sleeping = asyncio.create_task(db.pool.execute("SELECT pg_sleep(60)"), name="sleeping")
        while not await db.pool.fetchval(f"SELECT count(*) {hanging}"):
            await asyncio.sleep(0.01)
    with pytest.raises(Exception) as ended:
        await sleeping
    assert retryable(ended.value)
    await asyncio.to_thread(server.execute, f"SELECT pg_terminate_backend(pid) {hanging}")


async def test_after_the_server_dropped_its_connections_the_pool_recovers(
    server: PostgresServer, database_url: str
) -> None:
    """The first call may fail with something that is to be tried again; the next one works."""
    async with open_pool(parse_database_url(database_url), size=2) as db:
        assert await db.value("final_count", "x") == 0
        name = await db.pool.fetchval("SELECT current_database()")
        await asyncio.to_thread(
            server.execute, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        for _ in range(3):
            try:
                assert await db.value("final_count", "x") == 0
                break
            except Exception as error:
                assert retryable(error), repr(error)
        else:
            pytest.fail("it did not recover")


SHUT, OPEN = "ALTER DATABASE {db} ALLOW_CONNECTIONS false", "ALTER DATABASE {db} ALLOW_CONNECTIONS true"
END = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = '{role}'"
CLOSED = {
    "closed by an operator": ([SHUT, END], [OPEN]),
    "moved away, as while it is restored": (
        [SHUT, END, "ALTER DATABASE {db} RENAME TO {db}_away"],
        ["ALTER DATABASE {db}_away RENAME TO {db}", OPEN],
    ),
    "a role without LOGIN": (["ALTER ROLE {role} NOLOGIN", END], ["ALTER ROLE {role} LOGIN"]),
    "a right taken": (
        ["REVOKE CONNECT ON DATABASE {db} FROM PUBLIC", END],
        ["GRANT CONNECT ON DATABASE {db} TO PUBLIC"],
    ),
    "no place for the role": (
        ["ALTER ROLE {role} CONNECTION LIMIT 0", END],
        ["ALTER ROLE {role} CONNECTION LIMIT -1"],
    ),
}


@pytest.mark.parametrize("case", CLOSED)
async def test_what_refuses_connections_later_may_pass(
    case: str, server: PostgresServer, empty_database_url: str
) -> None:
    """The settings were right when the pool was opened: nothing of it is a bug, and nobody gives up."""
    db = urlsplit(empty_database_url).path.strip("/")
    role = f"role_of_{db}"
    close, reopen = ([line.format(db=db, role=role) for line in lines] for lines in CLOSED[case])
    server.execute(f"CREATE ROLE {role} LOGIN")
    options = parse_database_url(empty_database_url.replace("//postgres@", f"//{role}@"))
    try:
        async with open_pool(options, size=2) as database:

            async def asks(within_s: float = 0.3) -> None:
                single = SingleConnection(options, within_s)
                async with single.link() as link:
                    await link.value("catalogue_table_exists", "gateway", "migration")
                await single.close()

            await database.pool.fetchval("SELECT 1")
            await asyncio.to_thread(server.execute, *close)
            for ask in (lambda: database.pool.fetchval("SELECT 1"), asks):
                for _ in range(3):  # the first may meet what is left of a connection
                    with pytest.raises(Exception) as refused:
                        await ask()
                    assert retryable(refused.value), repr(refused.value)
            await asyncio.to_thread(server.execute, *reopen)
            await database.pool.fetchval("SELECT 1")
            await asks(10)
    finally:
        server.execute(f"DROP ROLE {role}")
