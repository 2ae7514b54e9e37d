"""Ten thousand watchers whose replica dies: when each is back, what it costs, and what those notice who were there.

    PYTHONPATH=tests:bench:. python bench/returning.py [--watchers 10000] [--sessions 20] [--finals 300]

Three real gateways, PostgreSQL and Redis. All watchers are on the first, which is killed. As the JavaScript client does
each tries again after 0.5 s, 1 s, 2 s … (half of it by chance), at another replica, with the epoch and `seq` that it
has; one in ten has lost its place and asks for the newest 60. *Back* is the time from the kill until that is there.
Meanwhile someone speaks and is read in a session of the second replica. All watchers are one process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import statistics
import struct
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from chaos.neighbours import stores
from chaos.oracle import Voice
from chaos.people import Sender, sound
from chaos.world import HISTORY, Replica, World, open_world
from processes import memory_mb, tree_cpu_s
from replicas import TimedReader
from support.gateway import TOKEN
from support.meetings import held, meeting

from stt.local.scripted import VOCABULARY

TOGETHER = 50  # first connects that are under way at once
BACK_S = 180.0


@dataclass(slots=True)
class Reader:
    """A watcher in as few objects as it takes; `finals`: how many have come in all, `held` when it was cut."""

    slug: str
    chance: random.Random
    epoch: str = ""
    seq: int = 0
    finals: int = 0
    tries: int = 0
    back_s: float | None = None
    refused: Counter[str] = field(default_factory=Counter)

    async def greeted(self, place: int) -> asyncio.StreamWriter:
        """Connect and read up to `hello` and what it promises. Raises: OSError, asyncio.IncompleteReadError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", place, limit=1 << 20)
        since = f"&epochs=1&since={self.epoch}:{self.seq}" if self.epoch else "&newest=60"
        writer.write(
            f"GET /api/realtime/transcribe?session={self.slug}{since} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        try:
            status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            if status != b"101":
                raise ConnectionError(f"status {status.decode()}")
            last = None
            while last is None or self.seq < last:
                message = json.loads(await text(reader))
                if message["type"] == "hello":
                    last, told = message["data"]["seq"], message["data"]
                    if not told["resumed"]:
                        self.seq = told.get("from", 1) - 1
                    self.epoch = told["epoch"]
                elif message["type"] == "transcript.final":
                    assert message["seq"] == self.seq + 1, "a hole"
                    self.seq, self.finals = message["seq"], self.finals + 1
        except BaseException:
            writer.close()
            raise
        return writer

    async def return_to(self, places: list[int], killed: float) -> asyncio.StreamWriter:
        """Until it is back."""
        while True:
            await asyncio.sleep(min(15.0, 0.5 * 2**self.tries) * (0.5 + self.chance.random() / 2))
            self.tries += 1
            try:
                writer = await self.greeted(self.chance.choice(places))
            except (OSError, asyncio.IncompleteReadError) as error:
                self.refused[str(error) if isinstance(error, ConnectionError) else type(error).__name__] += 1
                continue
            self.back_s = time.monotonic() - killed
            return writer


async def text(reader: asyncio.StreamReader) -> bytes:
    """The next text message. Raises: ConnectionError for a close frame."""
    while True:
        first, length = await reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await reader.readexactly(8))
        payload = await reader.readexactly(length)
        if first & 15 == 8:
            raise ConnectionError(f"closed with {struct.unpack('!H', payload[:2])[0]}")
        if first & 15 == 1:
            return payload


@dataclass(slots=True)
class Returned:
    """What the crowd's process tells in the end. `backs`: seconds after the kill, by watcher."""

    backs: list[float]
    refused: Counter[str]
    again: int


def crowd(slugs: list[str], count: int, first: int, others: list[int], told: Connection) -> None:
    """All watchers, in a process of their own: says when all are there, is told when the first replica was killed."""
    asyncio.run(_crowd([Reader(slugs[n % len(slugs)], random.Random(n)) for n in range(count)], first, others, told))


async def _crowd(readers: list[Reader], first: int, others: list[int], told: Connection) -> None:
    gate = asyncio.Semaphore(TOGETHER)

    async def connect(reader: Reader) -> asyncio.StreamWriter:
        async with gate:
            return await reader.greeted(first)

    writers = await asyncio.gather(*(connect(reader) for reader in readers))
    told.send(None)
    killed = await asyncio.to_thread(told.recv)
    for writer in writers:
        writer.transport.abort()
    gone = sum(reader.finals for reader in readers)
    for reader in readers[::10]:
        reader.epoch, reader.seq = "", 0
    async with asyncio.timeout(BACK_S):
        writers = await asyncio.gather(*(reader.return_to(others, killed) for reader in readers))
    refused = sum((reader.refused for reader in readers), Counter())
    again = sum(reader.finals for reader in readers) - gone
    told.send(Returned([reader.back_s or 0.0 for reader in readers], refused, again))
    await asyncio.to_thread(told.recv)
    for writer in writers:
        writer.transport.abort()


async def bystander(world: World, replica: Replica, seconds: float) -> tuple[TimedReader, list[asyncio.Task[None]]]:
    """Someone who speaks, and is read, on this replica."""
    slug = (await world.ask("POST", "/api/sessions", {"title": "bystander"}))["slug"]
    await replica.running.start(slug, source="websocket")
    pcm, said = sound((VOCABULARY * 20)[: int(seconds * 2) // 2 * 2])
    places = [each.place for each in world.replicas]
    sender = Sender(slug, Voice("anna", said), pcm, lambda: replica.number, places, world.http)
    reader = TimedReader(replica.number)
    watch = asyncio.create_task(reading(world, replica, slug, reader))
    return reader, [asyncio.create_task(sender.run()), watch]


async def reading(world: World, replica: Replica, slug: str, reader: TimedReader) -> None:
    url = f"http://127.0.0.1:{replica.place.http}/api/realtime/transcribe?session={slug}"
    async with world.http.ws_connect(url, headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        async for message in socket:
            reader.hear(json.loads(message.data), time.monotonic())


def longest_silence(reader: TimedReader, since: float, until: float) -> float:
    """Seconds without a word for who stood there before."""
    times = sorted(at for at in reader.times.values() if since - 2 < at < until)
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def pid(replica: Replica) -> int:
    assert replica.process is not None
    return replica.process.process.pid


async def run(asked: argparse.Namespace, database_url: str, redis: object, folder: Path) -> None:
    most = str(asked.watchers + 1_000)
    limits = {
        f"GATEWAY_MAX_{name}": most
        for name in ("WATCHERS_PER_ADDRESS", "HTTP_CONNECTIONS_PER_ADDRESS", "WATCHERS", "HTTP_CONNECTIONS")
    }
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(database_url, redis, folder, **limits))  # type: ignore[arg-type]
        slugs = []
        for number in range(asked.sessions):
            slugs.append((await world.ask("POST", "/api/sessions", {"title": f"meeting {number}"}))["slug"])
            await held(database_url, slugs[-1], meeting(asked.finals))
        first, second, third = world.replicas
        others = [second, third]
        ends = [each.place.http for each in others]
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=crowd, args=(slugs, asked.watchers, first.place.http, ends, there))
        process.start()
        stack.callback(process.join)
        stack.callback(process.kill)
        began = time.monotonic()
        await asyncio.to_thread(here.recv)
        print(f"{asked.watchers} watchers of {len(slugs)} sessions were there after {time.monotonic() - began:.1f} s")
        near, tasks = await bystander(world, second, 120)
        await asyncio.sleep(3)
        before = [(tree_cpu_s(pid(each)), memory_mb([pid(each)]), each.statements.of(HISTORY)) for each in others]
        assert first.process is not None
        first.process.process.kill()
        killed = time.monotonic()
        here.send(killed)
        returned = await asyncio.to_thread(here.recv)
        until = time.monotonic()
        part = statistics.quantiles(returned.backs, n=100)
        print(f"back after the kill: p50 {part[49]:.1f} s, p99 {part[98]:.1f}, all {max(returned.backs):.1f}")
        print(f"tries that failed: {dict(returned.refused) or 'none'}; finals read again: {returned.again}")
        for replica, (spent, memory, reads) in zip(others, before, strict=True):
            print(
                f"replica {replica.number}: {tree_cpu_s(pid(replica)) - spent:.1f} s of CPU, "
                f"{memory_mb([pid(replica)]) - memory:+.0f} MB, "
                f"{replica.statements.of(HISTORY) - reads} reads of a history"
            )
        await asyncio.sleep(2)
        print(f"the bystander's longest time without a word: {longest_silence(near, killed, until + 2):.2f} s")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        here.send(None)
        with suppress(ProcessLookupError):
            await first.end()
        print(f"load {os.getloadavg()[0]:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--finals", type=int, default=300)
    asked = parser.parse_args()
    with stores("bench") as around:
        asyncio.run(run(asked, *around))


if __name__ == "__main__":
    main()
