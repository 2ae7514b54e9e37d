"""Background tasks: kept until they are done, ended together, and no error of theirs is lost or told twice."""

from __future__ import annotations

import asyncio
import gc

import pytest

from gateway.tasks import Tasks


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
