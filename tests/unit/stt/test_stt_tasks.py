"""The owner of background tasks: none is lost, none outlives it, a failure is said once."""

from __future__ import annotations

import asyncio

import pytest

from stt.tasks import TaskOwner


async def test_drain_waits_for_all_also_for_those_that_a_task_starts() -> None:
    owner, ended = TaskOwner(), []

    async def work(name: str, then: str | None) -> None:
        await asyncio.sleep(0)
        if then is not None:
            owner.start(work(then, None), then)
        ended.append(name)

    owner.start(work("first", "second"), "first")
    await owner.drain()
    assert ended == ["first", "second"]


async def test_cancel_ends_what_runs_and_returns_when_it_has_ended() -> None:
    owner = TaskOwner()
    task = owner.start(asyncio.sleep(3600), "forever")
    await owner.cancel()
    assert task.cancelled()
    await owner.drain()


async def test_a_failure_is_logged_by_name_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    owner, go = TaskOwner(), asyncio.Event()

    async def fail() -> None:
        raise ValueError("no")

    async def wait() -> None:
        await go.wait()

    other = owner.start(wait(), "other")
    owner.start(fail(), "broken")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["task broken failed"]
    assert not other.done()
    go.set()
    await owner.drain()
    assert not other.cancelled()
