"""How much is logged, for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from gateway import logs
from gateway.log_level import LogLevel


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", *logs.OWN)]
    before = [one.level for one in loggers]
    logs.set_level("info")
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


async def test_a_change_ends_by_itself() -> None:
    level = LogLevel("info")
    level.change("debug", 0.02)
    assert level.now == "debug" and level.left_s is not None
    async with asyncio.timeout(10):
        while level.now != "info":
            await asyncio.sleep(0.01)
    assert level.left_s is None


async def test_the_last_change_counts_and_restoring_ends_it() -> None:
    level = LogLevel("info")
    level.change("debug", 0.02)
    level.change("error", 60)
    await asyncio.sleep(0.05)
    assert level.now == "error"
    level.restore()
    assert level.now == "info" and level.left_s is None


async def test_libraries_stay_at_info() -> None:
    """At `debug` some of them print every message that they carry."""
    level = LogLevel("info")
    level.change("debug", 60)
    assert logging.getLogger("gateway.x").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("websockets").isEnabledFor(logging.DEBUG)
    level.change("error", 60)
    assert not logging.getLogger("websockets").isEnabledFor(logging.INFO)
    level.restore()


async def test_a_signal_goes_to_and_fro() -> None:
    level = LogLevel("warning")
    level.flip()
    assert level.now == "debug"
    level.flip()
    assert level.now == "warning" and level.left_s is None
