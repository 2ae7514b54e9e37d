"""One connection outside the pool: for what must be said in time, however busy the pool is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from storage.postgres.errors import StorageRefused, StorageUnavailable
from storage.postgres.pool import Link, Measured, connect
from storage.postgres.sql import Queries
from storage.postgres.url import ConnectOptions

_FAREWELL_S: Final = 1.0


class SingleConnection:
    """Opened when it is used, dropped after any error. One user at a time; the others wait within their deadline."""

    def __init__(
        self, options: ConnectOptions, timeout_s: float, measured: Measured = lambda name, seconds: None
    ) -> None:
        self._options = options
        self._measured = measured
        self._sql = Queries(options.schema)
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """At most `timeout_s`, connecting included. Raises: TimeoutError, StorageUnavailable."""
        async with asyncio.timeout(self._timeout_s), self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                yield Link(self._connection, self._sql, self._measured)
            except BaseException:
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
                raise

    async def _connect(self) -> asyncpg.Connection:
        try:
            return await connect(self._options, timeout_s=self._timeout_s)
        except StorageRefused as refused:  # the pool has been opened with these options: it may pass
            raise StorageUnavailable(str(refused)) from refused

    async def close(self) -> None:
        """Say goodbye to the server, which may not listen any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(_FAREWELL_S):
                    await connection.close()
            connection.terminate()
