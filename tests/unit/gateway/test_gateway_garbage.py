"""Full collections come by plan."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from support.virtual_time import run_virtually

from gateway.garbage import CLOSED, OLDEST_S, collect_garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.parametrize(("came", "after_s"), [(CLOSED, 2), (0, OLDEST_S + 2)])
def test_what_connections_leave_is_collected(came: int, after_s: float) -> None:
    """After so many of them, or after so long; not before."""

    async def scene() -> None:
        count = 0
        job = asyncio.create_task(collect_garbage(lambda: count))
        await asyncio.sleep(0)
        found: list[int] = []
        gc.callbacks.append(watch := lambda phase, info: found.append(info["generation"]) if phase == "stop" else None)
        try:
            count = CLOSED - 1
            await asyncio.sleep(3)
            assert 2 not in found
            count = came or count
            await asyncio.sleep(after_s)
            assert 2 in found
        finally:
            gc.callbacks.remove(watch)
            job.cancel()

    run_virtually(scene())
