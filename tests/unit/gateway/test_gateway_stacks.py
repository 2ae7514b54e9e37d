"""Where the tasks of a process stand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

from gateway.stacks import tasks_now


async def outer(gate: asyncio.Event) -> None:
    await inner(gate)


async def inner(gate: asyncio.Event) -> None:
    await gate.wait()


async def items(gate: asyncio.Event) -> AsyncIterator[int]:
    yield 1
    await inner(gate)


async def reader(gate: asyncio.Event) -> None:
    async for _ in items(gate):
        pass


async def test_tasks_are_counted_and_shown_down_to_what_they_wait_for() -> None:
    gate = asyncio.Event()
    tasks = [asyncio.create_task(outer(gate), name=f"track {n}") for n in range(7)]
    tasks.append(asyncio.create_task(reader(gate), name="the reader"))
    await asyncio.sleep(0)
    told = await tasks_now()
    gate.set()
    await asyncio.wait(tasks)
    module = __name__
    assert f"     7 {module}:outer\n" in told
    first, *rest = told.split("\n\n")[1].splitlines()
    assert first == "7 x track 0, track 1, track 2, track 3, track 4 and 2 more"
    assert [line.strip().rpartition(":")[0] for line in rest][:2] == [f"{module}:outer", f"{module}:inner"]
    [read] = [part for part in told.split("\n\n") if part.startswith("1 x the reader")]
    assert f"{module}:items:" in read and f"{module}:inner:" in read


async def test_thousands_of_tasks_hold_nobody_up_and_threads_are_shown() -> None:
    gate, done, turns = asyncio.Event(), threading.Event(), 0

    async def others() -> None:
        nonlocal turns
        while not gate.is_set():
            turns += 1
            await asyncio.sleep(0)

    thread = threading.Thread(target=done.wait, name="a thread of ours")
    thread.start()
    tasks = [asyncio.create_task(gate.wait()) for _ in range(3_000)]
    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    before = turns
    try:
        told = await tasks_now()
        assert turns - before >= 5
        assert "3000 x Task-" in told and "thread a thread of ours" in told
    finally:
        done.set()
        gate.set()
        await asyncio.wait([*tasks, beside])
        thread.join()
