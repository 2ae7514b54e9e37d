"""What the wire between replicas costs: CPU of the process for each message, beside bare redis-py in the same run.

    python bench/bus.py                # three interleaved rounds, two minutes
    python bench/bus.py --rounds 5

A real redis-server on loopback; publisher and subscriber are processes of their own on uvloop, as in the gateway. Each
figure is the median of the rounds. The machine is never quiet: compare ratios within one run.

    pipelines     as many as go, of 1, 5 and 20 messages
    singly        1,250 messages a second that come one by one over 250 channels, as from 250 sessions
    under way     the same, from `publish` to the listener's call, both in one process
    hearing       500 and 5,000 messages a second, 5 and 50 each 10 ms

"bus" in the first group is its connection alone, since the bus itself never sends more often than each 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from storage.redis.bus import open_bus
from storage.redis.connection import connect
from storage.redis.url import Address, Login

DATA: Final = b"x" * 450
CHANNELS: Final = [f"gw:{{session-{number}}}" for number in range(250)]
SECONDS: Final = 4.0
RATE: Final = 1_250


class Silent:
    """A listener that counts."""

    def __init__(self) -> None:
        self.count = 0
        self.live_channels = 0

    def message(self, channel: str, data: bytes) -> None:
        self.count += 1

    def live(self, channel: str, *, hole: bool) -> None:
        self.live_channels += 1

    def lost(self, channel: str) -> None:
        raise AssertionError("the connection broke; the machine is too busy for this")

    def receivers(self, channel: str, number: int) -> None:
        pass

    def changed(self, is_up: bool, why: str) -> None:
        pass


def library(port: int) -> Any:
    return redis.asyncio.Redis(port=port, socket_timeout=None, retry=Retry(NoBackoff(), 0))


# --- pipelines: how much each message costs when nothing waits --------------------------------------------------


async def pipelines_bus(port: int, size: int) -> dict[str, float]:
    connection = await connect(Address("127.0.0.1", port), login=Login())

    async def send(number: int) -> None:
        commands = [(b"PUBLISH", CHANNELS[(number + n) % 250].encode(), DATA) for n in range(size)]
        await connection.send(*commands)

    try:
        return await _as_fast_as_it_goes(send, size)
    finally:
        connection.cut("done")


async def pipelines_library(port: int, size: int) -> dict[str, float]:
    async with library(port) as client:

        async def send(number: int) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for n in range(size):
                    pipeline.publish(CHANNELS[(number + n) % 250], DATA)
                await pipeline.execute()

        return await _as_fast_as_it_goes(send, size)


async def _as_fast_as_it_goes(send: Callable[[int], Awaitable[None]], size: int) -> dict[str, float]:
    for number in range(50):
        await send(number)
    count, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS / 2:
        await send(count)
        count += 1
    return {"µs a message": (time.process_time() - cpu) / count / size * 1e6}


# --- singly: messages come as people speak ----------------------------------------------------------------------


async def singly_nothing(port: int) -> dict[str, float]:
    return await _as_people_speak(lambda channel: None)


async def singly_bus(port: int) -> dict[str, float]:
    async with open_bus(f"redis://127.0.0.1:{port}", Silent()) as bus:
        while not bus.is_up:
            await asyncio.sleep(0.01)
        figures = await _as_people_speak(lambda channel: bus.publish(channel, DATA))
        await bus.flush()
        counters = bus.counters
        if counters.dropped or counters.unconfirmed:
            raise AssertionError(f"messages were lost: {counters}")
        return figures | {"messages a pipeline": counters.published / counters.pipelines}


async def singly_library_each_turn(port: int) -> dict[str, float]:
    """A pipeline as soon as anything waits, several in flight."""
    waiting: list[str] = []
    flying: set[asyncio.Future[None]] = set()
    sent = 0

    async with library(port) as client:

        async def send(batch: list[str]) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for channel in batch:
                    pipeline.publish(channel, DATA)
                await pipeline.execute()

        def turn() -> None:
            nonlocal sent
            task = asyncio.ensure_future(send(waiting[:]))
            waiting.clear()
            sent += 1
            flying.add(task)
            task.add_done_callback(flying.discard)

        def publish(channel: str) -> None:
            waiting.append(channel)
            if len(waiting) == 1:
                asyncio.get_running_loop().call_soon(turn)

        figures = await _as_people_speak(publish)
        await asyncio.gather(*flying)
        return figures | {"messages a pipeline": RATE * SECONDS / sent}


async def singly_library_each_10_ms(port: int) -> dict[str, float]:
    """One pipeline in flight, 10 ms apart."""
    waiting: list[str] = []
    news = asyncio.Event()
    sent = 0

    async with library(port) as client:

        async def write() -> None:
            nonlocal sent
            while True:
                await news.wait()
                news.clear()
                batch, began = waiting[:], time.perf_counter()
                waiting.clear()
                async with client.pipeline(transaction=False) as pipeline:
                    for channel in batch:
                        pipeline.publish(channel, DATA)
                    await pipeline.execute()
                sent += 1
                await asyncio.sleep(began + 0.01 - time.perf_counter())

        def publish(channel: str) -> None:
            waiting.append(channel)
            news.set()

        writer = asyncio.create_task(write())
        figures = await _as_people_speak(publish)
        await asyncio.sleep(0.05)
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        return figures | {"messages a pipeline": RATE * SECONDS / sent}


async def _as_people_speak(publish: Callable[[str], None]) -> dict[str, float]:
    dice = random.Random(7)
    began, cpu, at = time.perf_counter(), time.process_time(), 0.0
    while at < SECONDS:
        at += dice.expovariate(RATE)
        await asyncio.sleep(began + at - time.perf_counter())
        publish(dice.choice(CHANNELS))
    return {"% of a core": (time.process_time() - cpu) / (time.perf_counter() - began) * 100}


class Timing(Silent):
    """Each message says when it was published."""

    def __init__(self) -> None:
        super().__init__()
        self.ms: list[float] = []

    def message(self, channel: str, data: bytes) -> None:
        self.ms.append((time.perf_counter() - float(data)) * 1e3)


async def under_way(port: int) -> dict[str, float]:
    listener = Timing()
    async with open_bus(f"redis://127.0.0.1:{port}", listener) as bus:
        for channel in CHANNELS:
            bus.subscribe(channel)
        while listener.live_channels < len(CHANNELS):
            await asyncio.sleep(0.01)
        await _as_people_speak(lambda channel: bus.publish(channel, b"%-450f" % time.perf_counter()))
        await bus.flush()
        await asyncio.sleep(0.05)
    ms = sorted(listener.ms)
    return {"ms p50": ms[len(ms) // 2], "ms p99": ms[len(ms) * 99 // 100]}


# --- hearing ----------------------------------------------------------------------------------------------------


async def hearing_bus(port: int, rate: int) -> dict[str, float]:
    listener = Silent()
    async with open_bus(f"redis://127.0.0.1:{port}", listener) as bus:
        for channel in CHANNELS:
            bus.subscribe(channel)
        while listener.live_channels < len(CHANNELS):
            await asyncio.sleep(0.01)
        async with _crowd(port, rate):
            return await _while_it_comes(lambda: listener.count)


async def hearing_library(port: int, rate: int) -> dict[str, float]:
    count = 0
    async with redis.asyncio.Redis(port=port, protocol=2, socket_timeout=None) as client, client.pubsub() as heard:
        await heard.subscribe(*CHANNELS)

        async def listen() -> None:
            nonlocal count
            while True:
                message = await heard.get_message(ignore_subscribe_messages=True, timeout=0.15)
                count += message is not None

        listening = asyncio.create_task(listen())
        async with _crowd(port, rate):
            figures = await _while_it_comes(lambda: count)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        return figures


@asynccontextmanager
async def _crowd(port: int, rate: int) -> AsyncIterator[None]:
    crowd = await asyncio.create_subprocess_exec(sys.executable, __file__, "--child", "crowd", str(port), str(rate))
    await asyncio.sleep(1.0)
    try:
        yield
    finally:
        crowd.terminate()
        await crowd.wait()


async def _while_it_comes(count: Callable[[], int]) -> dict[str, float]:
    before, cpu = count(), time.process_time()
    await asyncio.sleep(SECONDS)
    return {"µs a message": (time.process_time() - cpu) / (count() - before) * 1e6}


async def crowd(port: int, rate: int) -> dict[str, float]:
    """Publishes until it is ended."""
    connection = await connect(Address("127.0.0.1", port), login=Login())
    number, due = 0, time.perf_counter()
    while True:
        size = rate // 100
        await connection.send(
            *[(b"PUBLISH", CHANNELS[(number + n) % 250].encode(), DATA) for n in range(size)], (b"PING",)
        )
        number += size
        due += 0.01
        await asyncio.sleep(due - time.perf_counter())


# --- all of it --------------------------------------------------------------------------------------------------

CASES: Final[dict[str, list[Any]]] = {
    **{
        f"{who}, {size} a pipeline": [f"pipelines_{name}", size]
        for size in (1, 5, 20)
        for who, name in (("redis-py", "library"), ("bus", "bus"))
    },
    "singly: nothing sent": ["singly_nothing"],
    "singly: redis-py, each turn": ["singly_library_each_turn"],
    "singly: redis-py, 10 ms apart": ["singly_library_each_10_ms"],
    "singly: bus": ["singly_bus"],
    "under way": ["under_way"],
    **{
        f"{who} hears {rate:,} a second": [f"hearing_{name}", rate]
        for rate in (500, 5_000)
        for who, name in (("redis-py", "library"), ("bus", "bus"))
    },
}


@contextmanager
def redis_server() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                while True:
                    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                        break
                    time.sleep(0.05)
                yield port
            finally:
                server.send_signal(signal.SIGTERM)


def measure(port: int, case: list[Any]) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", case[0], str(port), *map(str, case[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = arguments.child
        print(json.dumps(uvloop.run(globals()[name](*map(int, numbers)))))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    with redis_server() as port:
        for _ in range(arguments.rounds):
            for name, case in CASES.items():
                found[name].append(measure(port, case))
    for name, rounds in found.items():
        for unit in rounds[0]:
            figures = [one[unit] for one in rounds]
            print(f"{name:32} {statistics.median(figures):8.1f} {unit}  [{min(figures):.1f}-{max(figures):.1f}]")
    for name, rounds in found.items():
        if name.startswith("bus"):
            ratios = [
                ours["µs a message"] / theirs["µs a message"]
                for ours, theirs in zip(rounds, found[name.replace("bus", "redis-py", 1)], strict=True)
            ]
            print(f"{name}: {statistics.median(ratios):.2f} of redis-py")


if __name__ == "__main__":
    main()
