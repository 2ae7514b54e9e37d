"""PostgreSQL's errors that may pass as RecordsUnavailable, and a probe for readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from gateway.outage import RecordsUnavailable
from storage.postgres import errors
from storage.postgres.pool import Database

_PROBE_S: Final = 2.0

P = ParamSpec("P")
T = TypeVar("T")


def available(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorates an adapter's method: an error that a retry may not meet is raised as RecordsUnavailable.

    Any other error is a bug, and is raised as it is.
    """

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            if not errors.retryable(error):
                raise
            raise RecordsUnavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    return call


class DatabaseProbe:
    """Whether the database answers, for `/readyz`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking: asyncio.Task[Any] | None = None

    @available
    async def ping(self) -> None:
        """Returns within two seconds. Raises: RecordsUnavailable.

        At most one query is open: a server that hangs cannot be told to forget it.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._database.pool.fetchval("SELECT 1"), name="ping")
        done, _ = await asyncio.wait({self._asking}, timeout=_PROBE_S)
        if not done:
            self._asking.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TimeoutError
        self._asking.result()
