"""Tasks that end with the block that owns them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group for the inside of a context manager: what the caller's block raises leaves as it is, not wrapped in
    an ExceptionGroup. A task that crashes still cancels the block and raises one: it is a bug.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure
