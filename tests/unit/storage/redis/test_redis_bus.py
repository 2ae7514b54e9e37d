"""The bus in virtual time, before a server in memory: when something is sent, asked, given up and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from memory_redis import MemoryRedis, memory_redis
from support.virtual_time import run_virtually

from storage.redis.bus import Bus, open_bus
from storage.redis.directory import Directory
from storage.redis.errors import RedisAway
from storage.redis.url import parse_redis_url


class Notes:
    """A listener that writes down what it was told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.at: list[float] = []

    def _note(self, *what: Any) -> None:
        self.told.append(what)
        self.at.append(asyncio.get_running_loop().time())

    def message(self, channel: str, data: bytes) -> None:
        self._note(channel, data)

    def live(self, channel: str, *, hole: bool) -> None:
        self._note("live", channel, hole)

    def lost(self, channel: str) -> None:
        self._note("lost", channel)

    def receivers(self, channel: str, number: int) -> None:
        self._note("receivers", channel, number)

    def changed(self, is_up: bool, why: str) -> None:
        self._note("up" if is_up else "down", why)

    def when(self, *what: Any) -> float:
        """Of the last time."""
        return max(at for at, told in zip(self.at, self.told, strict=True) if told[: len(what)] == what)


def played(scene: Callable[[Bus, MemoryRedis, Notes], Awaitable[None]]) -> None:
    async def play() -> None:
        notes = Notes()
        with memory_redis() as server:
            async with open_bus("redis://memory", notes) as bus:
                await asyncio.sleep(0.1)
                await scene(bus, server, notes)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert server.lines == []

    run_virtually(play())


def test_the_first_goes_at_once_and_the_rest_10_ms_apart_one_in_flight() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        for number in range(100):
            bus.publish("c", b"%d" % number)
            await asyncio.sleep(0.001)
        assert await bus.flush()
        times = [at for at, _ in server.pipelines]
        assert times[0] == pytest.approx(0.1)
        assert len(times) == pytest.approx(10, abs=2)
        assert all(b - a >= 0.0099 for a, b in pairwise(times))
        assert [int(data) for _, some in server.pipelines for data in some] == list(range(100))

        server.delay_s = 0.2  # slower than the spacing: the next waits for the answer
        server.pipelines.clear()
        for number in range(3):
            bus.publish("c", b"%d" % number)
            await asyncio.sleep(0.05)
        assert await bus.flush(1.0)
        (first, _), (second, rest) = server.pipelines
        assert second - first == pytest.approx(0.2) and rest == [b"1", b"2"]

    played(scene)


def test_of_one_turn_one_pipeline_and_overtaken_partials_are_not_in_it() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        for number in range(3):
            bus.publish("c", b"p%d" % number, "u")
        bus.publish("c", b"final")
        assert await bus.flush()
        assert [some for _, some in server.pipelines] == [[b"p2", b"final"]]
        assert notes.told[1:] == [("receivers", "c", 0)] * 2
        assert (bus.counters.overtaken, bus.counters.published, bus.counters.pipelines) == (2, 2, 1)

    played(scene)


def test_a_pipeline_without_an_answer_is_given_up_after_half_a_second_and_not_sent_again() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        server.is_frozen = True
        bus.publish("c", b"lost")
        await asyncio.sleep(0.49)
        assert bus.is_up
        await asyncio.sleep(0.02)
        assert not bus.is_up and "0.5 s" in bus.why
        assert bus.counters.unconfirmed == 1
        server.is_frozen = False
        await asyncio.sleep(3)
        bus.publish("c", b"next")
        assert await bus.flush()
        assert [some for _, some in server.pipelines] == [[b"next"]]

    played(scene)


def test_a_short_break_of_the_publisher_loses_nothing_and_a_long_one_keeps_nothing_old() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        server.drop()
        await asyncio.sleep(0.001)  # what is written before the break is noticed is lost
        bus.publish("c", b"in the break")
        assert await bus.flush()
        assert [some for _, some in server.pipelines] == [[b"in the break"]]
        server.kill()
        bus.publish("c", b"old")
        await asyncio.sleep(5)
        assert not await bus.flush(0.1)
        server.is_there = True
        bus.publish("c", b"new")
        assert await bus.flush(2)
        assert server.pipelines[1:] and server.pipelines[-1][1] == [b"new"]
        assert bus.counters.dropped == 1 and bus.counters.unconfirmed == 0

    played(scene)


def test_a_silent_server_is_noticed_within_a_second_and_everything_is_subscribed_anew() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        for channel in ("a", "b"):
            assert await bus.subscribe(channel).confirmed()
        await asyncio.sleep(5)
        gaps = [round(b - a, 2) for a, b in pairwise(sorted(server.pings)) if b - a > 0.01]
        assert set(gaps) == {0.3}
        server.is_frozen = True
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(20)
        assert 0.6 < notes.when("lost", "a") - began < 1.1
        assert 0.6 < notes.when("down") - began < 1.1
        assert not bus.subscribe("a").is_live
        server.is_frozen = False
        back = asyncio.get_running_loop().time()
        await asyncio.sleep(3)
        assert set(notes.told[-3:]) == {("up", ""), ("live", "a", True), ("live", "b", True)}
        assert notes.when("live") - back < 2.0  # an attempt under way, and a pause
        bus.publish("a", b"x")
        await asyncio.sleep(0.1)
        assert ("a", b"x") in notes.told
        assert bus.counters.reconnects == 2

    played(scene)


def test_attempts_grow_rare_and_stay_bounded() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        server.kill()
        server.dialled.clear()
        await asyncio.sleep(60)
        assert 3 * 55 < len(server.dialled) < 3 * 130  # three that try: to publish, to subscribe, and to look where
        assert [told[0] for told in notes.told].count("down") == 1

    played(scene)


def test_never_there() -> None:
    async def play() -> None:
        notes = Notes()
        with memory_redis() as server:
            server.is_there = False
            async with open_bus("redis://memory", notes) as bus:
                subscription = bus.subscribe("c")
                for number in range(10_000):
                    bus.publish("c", b"x" * 450, f"{number}")
                await asyncio.sleep(10)
                assert not bus.is_up and "refused" in bus.why
                with pytest.raises(RedisAway):
                    await bus.numsub(["c"])
                assert not await bus.flush(0.5)
                assert bus.counters.dropped > 8_000
                server.is_there = True
                assert await subscription.confirmed()
                assert notes.told == [("up", ""), ("live", "c", False)]
                waiting = asyncio.create_task(bus.subscribe("d").confirmed())
                bus.unsubscribe("d")
                assert not await waiting
                server.kill()
                waiting = asyncio.create_task(bus.subscribe("e").confirmed())
                await asyncio.sleep(1)
            assert not await waiting  # the end of the bus ends every wait

    run_virtually(play())


def test_wishes_are_idempotent_and_nothing_is_told_before_live_or_after_unsubscribe() -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        server.greets = True
        first = bus.subscribe("c")
        assert bus.subscribe("c") is first
        bus.unsubscribe("c")
        bus.unsubscribe("c")
        second = bus.subscribe("c")
        assert second is not first and first.is_over
        assert await second.confirmed()
        await asyncio.sleep(0.1)
        assert notes.told[1:] == [("live", "c", False), ("c", b"welcome")]  # the first welcome was not for it
        bus.publish("c", b"too late")
        await asyncio.sleep(0)
        bus.unsubscribe("c")
        await asyncio.sleep(0.1)
        assert not notes.told[3:] or notes.told[3:] == [("receivers", "c", 1)]

    played(scene)


def test_a_listener_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bus: Bus, server: MemoryRedis, notes: Notes) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ValueError("a bug")

        notes.live = notes.lost = notes.message = notes.receivers = notes.changed = fail  # type: ignore[method-assign]
        await bus.subscribe("c").confirmed()
        bus.publish("c", b"x")
        assert await bus.flush()
        server.drop()
        await asyncio.sleep(1)
        assert bus.is_up and bus.subscribe("c").is_live
        assert bus.counters.delivered == 1

    played(scene)
    assert [record.name for record in caplog.records if "a bug" in str(record.exc_info)] == ["storage.redis.bus"] * 7


class Deaf(asyncio.TaskGroup):
    """Cancellations of its tasks get lost."""

    def create_task(self, *args: Any, **more: Any) -> Any:
        super().create_task(*args, **more)
        return SimpleNamespace(cancel=lambda: None)


@pytest.mark.parametrize("state", ["well", "frozen", "gone", "never there"])
def test_everything_ends_even_when_cancellations_get_lost(state: str) -> None:
    async def play() -> None:
        with memory_redis() as server:
            server.is_there = state != "never there"
            async with Deaf() as tasks:
                bus = Bus(Directory(parse_redis_url("redis://memory")), Notes(), tasks)
                bus.subscribe("c")
                await asyncio.sleep(1)
                bus.publish("c", b"x")
                server.is_frozen = state == "frozen"
                if state == "gone":
                    server.kill()
                await asyncio.sleep(0.3)
                bus.end()
            assert asyncio.get_running_loop().time() < 4
            assert asyncio.all_tasks() == {asyncio.current_task()} and server.lines == []

    run_virtually(play())


def test_an_error_in_the_block_leaves_as_it_is() -> None:
    async def play() -> None:
        with memory_redis():
            async with open_bus("redis://memory", Notes()):
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtually(play())


def test_what_a_server_says_of_its_cluster_while_it_loads_is_not_believed() -> None:
    async def play() -> None:
        with memory_redis() as server:
            server.is_loading = True
            directory = Directory(parse_redis_url("redis://memory"))
            looking = asyncio.create_task(directory.run())
            await asyncio.sleep(1)
            assert directory.topology is None and "still reading its data from disk" in directory.why
            server.is_loading = False
            await asyncio.sleep(3)
            assert directory.topology is not None and directory.why == ""
            looking.cancel()

    run_virtually(play())
