"""Tasks that run beside their owner: referenced until they are done, ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    """The background tasks of one owner, who closes them before it goes.

    An error that no one else hears of is logged, once. Others do when a task belongs to a `group`, which it cancels as
    any task of a group does, or when the owner reads every outcome itself (`log_errors=False`).
    """

    def __init__(self, group: asyncio.TaskGroup | None = None, *, log_errors: bool = True) -> None:
        self._create = asyncio.create_task if group is None else group.create_task
        self._log_errors = log_errors and group is None
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many still run."""
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` from the next turn of the loop on. `name` is for logs and debuggers."""
        task = self._create(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the tasks that run now are done, at most `timeout_s`. Returns: whether they are."""
        if not self._running:
            return True
        return not (await asyncio.wait(self._running, timeout=timeout_s))[1]

    def cancel(self) -> None:
        """Ask every task to end."""
        for task in self._running:
            task.cancel()

    async def close(self, grace_s: float) -> None:
        """Let the tasks, also those that others of them start, end by themselves within `grace_s`; then cancel them."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace_s
        while self._running and (left_s := deadline - clock()) > 0:
            await self.wait(left_s)
        self.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if self._log_errors and not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)


@asynccontextmanager
async def meanwhile(opening: AbstractAsyncContextManager[T], name: str) -> AsyncIterator[Callable[[], Awaitable[T]]]:
    """`opening` is entered, held and left by a task of its own, while the block goes on. Yields what waits for it.

    That gives what was opened, or raises why it could not be. At the end of the block it is closed, or given up.
    """
    opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        async with opening as value:
            opened.set_result(value)
            await over.wait()

    async def wait() -> T:
        either: set[asyncio.Future[Any]] = {holding, opened}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            holding.result()
        return opened.result()

    holding = asyncio.create_task(hold(), name=name)
    try:
        yield wait
    finally:
        over.set()
        if not opened.done():
            holding.cancel()
        await asyncio.wait({holding})
        failed = None if holding.cancelled() else holding.exception()
        if failed is not None and opened.done():
            raise failed
