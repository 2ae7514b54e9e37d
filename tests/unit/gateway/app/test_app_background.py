"""Tasks that run as long as the gateway does."""

from __future__ import annotations

import asyncio

import pytest

from gateway.app.running import background


async def test_jobs_end_with_the_block() -> None:
    ended: list[str] = []

    async def job(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with background(one=job("one"), other=job("other")):
        names = {task.get_name() for task in asyncio.all_tasks()}
        await asyncio.sleep(0)
    assert {"one", "other"} <= names
    assert sorted(ended) == ["one", "other"]


async def test_a_crash_interrupts_who_runs_the_gateway_and_ends_the_other_jobs() -> None:
    ended: list[str] = []

    async def crash() -> None:
        raise RuntimeError("a bug")

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    with pytest.raises(ExceptionGroup, match="unhandled errors") as caught:
        async with background(crash=crash(), other=other()):
            await asyncio.Event().wait()
    assert [str(error) for error in caught.value.exceptions] == ["a bug"]
    assert ended == ["other"]
