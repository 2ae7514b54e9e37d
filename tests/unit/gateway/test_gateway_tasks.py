"""Background tasks: kept until they are done, ended together, and no error of theirs is lost or told twice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.tasks import Tasks, meanwhile


async def bug() -> None:
    raise ZeroDivisionError("a bug")


async def test_a_task_is_kept_until_it_is_done() -> None:
    """The loop itself holds tasks weakly."""
    tasks, done = Tasks(), asyncio.Event()
    tasks.start(done.wait(), "waits")
    await asyncio.sleep(0)
    gc.collect()
    assert len(tasks) == 1
    done.set()
    assert await tasks.wait(1)
    assert len(tasks) == 0


async def test_an_error_is_logged_once_with_the_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    tasks.start(bug(), "careful work")
    await tasks.wait(1)
    [record] = caplog.records
    assert record.getMessage() == "task careful work failed"
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError


async def test_an_outcome_that_its_owner_reads_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    task = Tasks(log_errors=False).start(bug(), "read")
    await asyncio.wait({task})
    assert isinstance(task.exception(), ZeroDivisionError)
    assert not caplog.records


async def test_in_a_group_an_error_is_the_groups(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            Tasks(group).start(bug(), "grouped")
    assert not caplog.records


async def test_closing_lets_tasks_end_and_cancels_those_that_do_not() -> None:
    tasks, ended = Tasks(), []

    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    quick, slow = tasks.start(work(0), "quick"), tasks.start(work(3600), "slow")
    await tasks.close(0.05)
    await asyncio.wait({quick, slow})
    assert (ended, slow.cancelled(), len(tasks)) == ([0], True, 0)


async def test_what_begins_while_the_owner_closes_ends_as_well() -> None:
    tasks = Tasks()
    late: list[asyncio.Task[None]] = []

    async def begin() -> None:
        await asyncio.sleep(0.01)
        late.append(tasks.start(asyncio.sleep(3600), "late"))

    tasks.start(begin(), "begins another")
    await tasks.close(0.05)
    await asyncio.wait(late)
    assert late[0].cancelled() and not len(tasks)


async def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    assert await Tasks().wait(0)
    await Tasks().close(3600)


@asynccontextmanager
async def room(told: list[str], fails: str = "") -> AsyncIterator[str]:
    await asyncio.sleep(0)
    if fails == "opening":
        raise OSError("it cannot be opened")
    told.append("opened")
    try:
        yield "room"
    finally:
        told.append("closed")
        if fails == "closing":
            raise OSError("it cannot be closed")


async def test_what_is_opened_meanwhile_is_there_when_it_is_waited_for_and_closed_at_the_end() -> None:
    told: list[str] = []
    async with meanwhile(room(told), "room") as opened:
        told.append("block")
        assert await opened() == await opened() == "room"
    assert told == ["block", "opened", "closed"]


async def test_why_it_could_not_be_opened_is_told_to_who_waits_and_to_nobody_else() -> None:
    told: list[str] = []
    async with meanwhile(room(told, "opening"), "room") as opened:
        with pytest.raises(OSError, match="opened"):
            await opened()
    async with meanwhile(room(told, "opening"), "room"):
        await asyncio.sleep(0.01)
    assert told == []


async def test_what_is_still_being_opened_at_the_end_is_given_up() -> None:
    told: list[str] = []
    with pytest.raises(ValueError, match="block"):
        async with meanwhile(room(told), "room"):
            raise ValueError("block")
    assert told == []


async def test_an_error_of_closing_is_raised() -> None:
    with pytest.raises(OSError, match="closed"):
        async with meanwhile(room([], "closing"), "room") as opened:
            await opened()
