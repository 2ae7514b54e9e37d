"""The database does not answer: the error for it, waiting for its end, and one log line at either end of an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

# How long a page or a request is kept waiting, seconds.
PROMPT_S: Final = 0.8
# Pauses between attempts, seconds; the last one is repeated.
RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)


class RecordsUnavailable(Exception):
    """The database cannot be reached now. The same call may succeed later; whether this one took effect is unknown."""


async def until_database_answers(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a database call until it raises no RecordsUnavailable, with pauses of RETRY_S.

    There is no deadline: the caller sets one by cancelling. `call` has to be repeatable.
    """
    tries = 0
    while True:
        try:
            return await call()
        except RecordsUnavailable as error:
            if tries == 0:
                log.warning("database: %s; trying again", error)
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1


class Prompt:
    """Reads for a request that waits: told or refused within PROMPT_S, however long the database takes.

    A server that hangs cannot be told to forget a query. So one that is late goes on by itself, and while there is
    one, nothing more is asked.
    """

    def __init__(self) -> None:
        self._late: set[asyncio.Task[Any]] = set()

    async def __call__(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises: RecordsUnavailable, and what `read` raises in time."""
        if self._late:
            raise RecordsUnavailable("a query that was asked before has no answer yet")
        asked = asyncio.create_task(read(), name="prompt read")
        try:
            await asyncio.wait({asked}, timeout=PROMPT_S)
        except asyncio.CancelledError:
            asked.cancel()
            raise
        if asked.done():
            return asked.result()
        self._late.add(asked)
        asked.add_done_callback(self._answered)
        raise RecordsUnavailable(f"no answer within {PROMPT_S:g} s")

    def _answered(self, asked: asyncio.Task[Any]) -> None:
        self._late.discard(asked)
        if not asked.cancelled():
            asked.exception()  # no other caller asks for it


class Outage:
    """One task's view of an outage: however many of its calls fail, the log has one line at the start, one at the end.

    `work`: what waits meanwhile, as the subject of a sentence. `facts`: fields of both log lines.
    """

    def __init__(self, work: str, **facts: str) -> None:
        self._work: Final = work
        self._facts: Final = facts
        self._lasts = False

    def noticed(self, error: Exception) -> None:
        """A call has failed."""
        if not self._lasts:
            self._lasts = True
            log.warning("database: %s; %s until it answers", error, self._work, extra=self._facts)

    def over(self) -> None:
        """A call has succeeded."""
        if self._lasts:
            self._lasts = False
            log.info("database: it answers again; %s no longer", self._work, extra=self._facts)
