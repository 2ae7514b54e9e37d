"""Whoever is cancelled ends, whatever Redis is doing at that moment, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from redis_world import Notes, connected_bus, live
from support.redis_server import RedisServer
from support.waiting import until

from storage.redis.bus import Bus, open_bus
from storage.redis.errors import RedisAway
from storage.redis.throttle import Throttle, open_throttle

TASKS = 200
STATES = ("well", "frozen", "gone", "flapping")


@pytest.fixture(params=STATES)
async def troubled(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[RedisServer]:
    """A server in one of the states, while its tasks are cancelled."""
    flapping = None
    match request.param:
        case "frozen":
            server.freeze()
        case "gone":
            server.stop()
        case "flapping":
            flapping = asyncio.create_task(_flap(server))
    yield server
    if flapping is not None:
        flapping.cancel()
        with suppress(asyncio.CancelledError):
            await flapping
    if request.param == "frozen":
        server.thaw()


async def _flap(server: RedisServer) -> None:
    while True:
        for kind in ("pubsub", "normal"):
            await asyncio.to_thread(server.ask, "CLIENT", "KILL", "TYPE", kind)
        await asyncio.sleep(0.05)


async def _cancel_all(work: Callable[[], Coroutine[Any, Any, None]], seed: int) -> None:
    """Tasks begin at random moments, and each is cancelled, once, at another."""
    dice = random.Random(seed)
    tasks = []
    for _ in range(TASKS // 20):
        batch = [asyncio.create_task(work()) for _ in range(20)]
        await asyncio.sleep(dice.random() * 0.1)
        for task in batch:
            task.cancel()
            await asyncio.sleep(dice.random() * 0.004)
        tasks += batch
    done, running = await asyncio.wait(tasks, timeout=60)
    assert not running
    assert all(task.cancelled() for task in done)


async def test_calls_on_one_bus(troubled: RedisServer) -> None:
    async with open_bus(troubled.url, Notes()) as bus:
        await _cancel_all(lambda: _use(bus), 1)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= _flappers()


async def test_whole_buses(troubled: RedisServer) -> None:
    async def own() -> None:
        async with open_bus(troubled.url, Notes()) as bus:
            await _use(bus)

    await _cancel_all(own, 2)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= _flappers()


async def test_calls_on_one_throttle(troubled: RedisServer) -> None:
    async with open_throttle(troubled.url) as throttle:
        await _cancel_all(lambda: _take(throttle), 3)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= _flappers()


async def test_whole_throttles(troubled: RedisServer) -> None:
    async def own() -> None:
        async with open_throttle(troubled.url) as throttle:
            await _take(throttle)

    await _cancel_all(own, 4)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= _flappers()


async def test_nothing_of_them_is_left_at_the_server(server: RedisServer) -> None:
    async def own() -> None:
        async with open_bus(server.url, Notes()) as bus, open_throttle(server.url) as throttle:
            await asyncio.gather(_use(bus), _take(throttle))

    await _cancel_all(own, 5)
    await until(lambda: server.clients("normal") + server.clients("pubsub") == 0)


async def test_the_others_go_on_when_one_is_cancelled(server: RedisServer) -> None:
    """A call that was given up takes neither the connection nor anybody else's reply."""
    async with connected_bus(server.url) as (bus, notes), open_throttle(server.url) as throttle:
        await live(bus, "c")
        assert await throttle.take("k", 600) == 0
        for _ in range(50):
            given_up = [asyncio.create_task(bus.numsub(["c"])), asyncio.create_task(throttle.take("k", 60))]
            await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            assert await bus.numsub(["c", "d"]) == {"c": 1, "d": 0}
            assert await throttle.take("free", 1_000_000) == 0
        assert bus.counters.reconnects == 0 and not notes.has("lost")


async def _use(bus: Bus) -> None:
    """All that can be waited for, over and over."""
    number = 0
    while True:
        number += 1
        channel = f"c{number % 3}"
        subscription = bus.subscribe(channel)
        bus.publish(channel, b"x", "key")
        with suppress(RedisAway):
            await bus.numsub([channel])
        await bus.flush(0.05)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await subscription.confirmed()
        bus.unsubscribe(channel)
        await asyncio.sleep(0.001)


async def _take(throttle: Throttle) -> None:
    while True:
        with suppress(RedisAway):
            await throttle.take("k", 60)
        await asyncio.sleep(0.001)


def _flappers() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "_flap" in repr(task.get_coro())}
