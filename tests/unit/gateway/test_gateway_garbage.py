"""Full collections come by plan."""

from __future__ import annotations

import asyncio
import gc
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.virtual_time import run_virtually

from gateway.garbage import CLOSED, GIVE_BACK_S, OLDEST_S, collect_garbage


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep what they like")
def test_what_is_freed_between_blocks_in_use_goes_back_to_the_system() -> None:
    """As after a burst, of which a part stays in use."""

    async def scene() -> None:
        job = asyncio.create_task(collect_garbage(lambda: 0))
        await asyncio.sleep(0)
        blocks = [bytes(32 * 1024) for _ in range(2_000)]
        full = resident_kb()
        del blocks[::2]
        await asyncio.sleep(GIVE_BACK_S + 2)
        assert full - resident_kb() > 20_000
        assert len(blocks) == 1_000
        job.cancel()

    run_virtually(scene())
