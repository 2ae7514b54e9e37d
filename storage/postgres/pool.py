"""Connections: one pool per process, opened with a deadline, and a message that says what to do when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import asyncpg

from storage.postgres.errors import STALE, StorageRefused, StorageUnavailable, retryable
from storage.postgres.sql import Queries
from storage.postgres.url import ConnectOptions

Record: TypeAlias = Mapping[str, Any]
Measured: TypeAlias = Callable[[str, float], None]
"""Told of each statement, also one that failed: its name, and how long it took with the wait for a connection, s."""
TRANSACTION: Final = "transaction"
"""The name of a whole one, from the wait for a connection to its commit."""


class Link:
    """Runs named queries on a pool or, inside a transaction, on one connection.

    A repository that takes a Link works on either, so several can share a transaction.
    """

    def __init__(self, executor: Any, sql: Queries, measured: Measured) -> None:
        self._executor = executor
        self.sql = sql
        self._measured = measured

    async def rows(self, query: str, *args: object) -> list[Record]:
        """All rows of the named query. Raises: what asyncpg raises; `errors.retryable` sorts it."""
        return list(await self._do("fetch", query, args))

    async def row(self, query: str, *args: object) -> Record | None:
        """The first row; None when there is none. Raises: as `rows`."""
        record: Record | None = await self._do("fetchrow", query, args)
        return record

    async def value(self, query: str, *args: object) -> Any:
        """The first column of the first row; None when there is none. Raises: as `rows`."""
        return await self._do("fetchval", query, args)

    async def run(self, query: str, *args: object) -> int:
        """Returns how many rows were touched."""
        status: str = await self._do("execute", query, args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def stream(self, query: str, step: int, *args: object) -> AsyncGenerator[list[Record]]:
        """All rows, `step` at a time, in constant memory. Only inside a transaction. Raises: as `rows`.

        While the reader has some, the next ones are fetched: the server works on them meanwhile.
        """
        cursor = await self._executor.cursor(self.sql[query], *args)

        async def fetch() -> list[Record]:
            with self._measuring(query):
                return list(await cursor.fetch(step))

        ahead = asyncio.create_task(fetch(), name=query)
        try:
            while records := await ahead:
                ahead = asyncio.create_task(fetch(), name=query)
                yield records
        finally:
            ahead.cancel()
            await asyncio.wait((ahead,))

    async def _do(self, how: str, query: str, args: tuple[object, ...]) -> Any:
        text = self.sql[query]
        with self._measuring(query):
            async with self._renewing():
                return await getattr(self._executor, how)(text, *args)

    @contextlib.contextmanager
    def _measuring(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._measured(name, time.perf_counter() - began)

    def _renewing(self) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()


class Database(Link):
    """An open pool. Every repository is made from one."""

    def __init__(self, pool: asyncpg.Pool, options: ConnectOptions, measured: Measured) -> None:
        super().__init__(pool, Queries(options.schema), measured)
        self.pool = pool
        self.options = options

    def connections(self) -> list[tuple[str, int]]:
        """How many are `busy` and `idle`. While none is idle and no other may be opened, statements wait."""
        size, idle = self.pool.get_size(), self.pool.get_idle_size()
        return [("busy", size - idle), ("idle", idle)]

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Link]:
        """READ COMMITTED: each statement sees what was committed before it began."""
        with self._measuring(TRANSACTION):
            async with self._renewing(), self.pool.acquire() as connection, connection.transaction():
                yield Link(connection, self.sql, self._measured)

    @contextlib.asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """After an error that shows a connection to be stale, open all anew: a retry would get the same one again."""
        try:
            yield
        except STALE:
            await self.pool.expire_connections()
            raise


@contextlib.asynccontextmanager
async def open_pool(
    options: ConnectOptions,
    *,
    size: int = 8,
    connect_timeout_s: float = 8.0,
    command_timeout_s: float = 30.0,
    close_timeout_s: float = 5.0,
    measured: Measured = lambda name, seconds: None,
) -> AsyncIterator[Database]:
    """A pool of at most `size` connections, opened one by one as they are needed.

    A server that is absent or still starting is tried again until `connect_timeout_s` is over.
    Raises: StorageUnavailable then; StorageRefused at once when trying again cannot help.
    """
    first = await connect(options, timeout_s=connect_timeout_s)  # its errors are clear; a pool's are not
    await first.close()
    pool = await asyncpg.create_pool(
        min_size=1,
        max_size=size,
        command_timeout=command_timeout_s,
        timeout=connect_timeout_s,
        connect=_connect_again,
        init=_prepare_connection,
        reset=_leave,
        **_arguments(options),
    )
    try:
        yield Database(pool, options, measured)
    finally:
        try:
            async with asyncio.timeout(close_timeout_s):
                await pool.close()
        except TimeoutError:  # a connection is still in use: a query that hangs must not hang the shutdown
            pool.terminate()


async def connect(options: ConnectOptions, *, timeout_s: float = 8.0) -> asyncpg.Connection:
    """One connection outside any pool. Raises as `open_pool`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left):
                # ssl may fall back from TLS to plain in here, so the outer timeout is the one that counts
                connection = await asyncpg.connect(timeout=timeout_s, **_arguments(options))
                await _prepare_connection(connection)
                return connection
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            refusal = _refusal(options, error)
            if refusal is not None:
                raise refusal from error
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0.25:
                raise StorageUnavailable(
                    f"PostgreSQL at {options.place} did not answer within {timeout_s:g} s "
                    f"({_reason(error)}); start it, or correct DATABASE_URL"
                ) from error
            await asyncio.sleep(0.25)


async def _connect_again(*args: Any, **options: Any) -> asyncpg.Connection:
    """For a pool that has been opened, so its settings are right: what refuses its connections later may pass.

    An operator has closed the database or is restoring it, a role is being changed. Raises: StorageUnavailable then.
    """
    try:
        return await asyncpg.connect(*args, **options)
    except asyncpg.PostgresError as error:
        if retryable(error):
            raise
        raise StorageUnavailable(f"PostgreSQL refuses new connections ({error})") from error


def _arguments(options: ConnectOptions) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dsn": options.dsn,
        "statement_cache_size": options.statement_cache_size,
        "server_settings": {"timezone": "UTC", "application_name": options.application_name},
    }
    if options.system_trust:
        arguments["ssl"] = ssl.create_default_context()
    return arguments


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    # jsonb travels as the bytes of its JSON text; the binary format is that text after one version byte.
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )


async def _leave(connection: asyncpg.Connection) -> None:
    """Nothing of ours outlives a transaction: no setting, cursor, lock or LISTEN of the connection itself.

    asyncpg's own reset is a second round trip after every statement; an open transaction it ends before it comes here.
    """


def _encode_jsonb(document: bytes) -> bytes:
    return b"\x01" + document


def _decode_jsonb(wire: bytes) -> bytes:
    return bytes(wire[1:])


def _refusal(options: ConnectOptions, error: Exception) -> StorageRefused | None:
    """The message for an error that waiting cannot cure, else None. Never quotes the URL."""
    where = options.place
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            if "no pg_hba.conf entry" in str(error) or "encryption" in str(error):
                return StorageRefused(
                    f"PostgreSQL refuses {where} from this address or without TLS ({error}); "
                    "try sslmode=require in DATABASE_URL, or ask for an entry in pg_hba.conf"
                )
            return StorageRefused(f"PostgreSQL refuses the password of {where}; correct it in DATABASE_URL")
        case asyncpg.InvalidCatalogNameError():
            return StorageRefused(f"PostgreSQL has no such database: {where}; create it, or correct DATABASE_URL")
        case ssl.SSLCertVerificationError():
            return StorageRefused(
                f"the certificate of PostgreSQL at {where} cannot be verified ({error.verify_message}); "
                "give its authority with sslrootcert=FILE in DATABASE_URL"
            )
        case ssl.SSLError():
            return StorageRefused(
                f"TLS with PostgreSQL at {where} failed ({error.reason}); check sslmode in DATABASE_URL"
            )
        case ConnectionError() if "SSL upgrade" in str(error):
            return StorageRefused(
                f"PostgreSQL at {where} offers no TLS, but DATABASE_URL asks for it; "
                "use sslmode=prefer or turn TLS on in the server"
            )
        case asyncpg.InsufficientPrivilegeError():
            return StorageRefused(f"the role may not connect to {where}; GRANT CONNECT ON DATABASE to it")
        case asyncpg.CantChangeRuntimeParamError() | asyncpg.UndefinedObjectError() | asyncpg.ProtocolViolationError():
            return StorageRefused(
                f"PostgreSQL at {where} refuses a parameter of DATABASE_URL ({error}); "
                "remove it (with PgBouncer, add pgbouncer=true)"
            )
        case asyncpg.ClientConfigurationError() | ValueError():
            return StorageRefused(f"DATABASE_URL for {where} cannot be used: {type(error).__name__}: {error}")
    return None


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer"
        case socket.gaierror():
            return "its host name is not known"
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return "no socket there"
    return str(error) or type(error).__name__
