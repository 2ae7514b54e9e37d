"""What a second of a session costs that other replicas watch too: CPU, statements, bytes; and what the hop adds.

    PYTHONPATH=tests:bench:. python bench/replicas.py [--sessions 20] [--seconds 8] [--rounds 1]
    PYTHONPATH=tests:bench:. python bench/replicas.py --workers 1 2 4
    PYTHONPATH=tests:bench:. python bench/replicas.py --carried      audio that comes in on another replica

Real gateways (an owner and three others), PostgreSQL, Redis and the local speech server with a scripted recogniser;
speakers over WebSockets, two words a second. One watcher a session on the owner, one more on 0, 1 and 3 of the others.
CPU is that of all gateway processes together, what each takes without sessions included; statements and bytes are
counted on their lines, by proxies in between. Every run ends with the machine's load.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from chaos.neighbours import stores
from chaos.oracle import Reader, Voice
from chaos.people import BLOCK, Sender, Watcher, sound
from chaos.world import World, open_world
from processes import tree_cpu_s
from support.redis_server import RedisServer

from stt.local.scripted import RATE, VOCABULARY

LISTENING = (0, 1, 3)
TICK = os.sysconf("SC_CLK_TCK")


class TimedReader(Reader):
    """Also keeps when each message came, `time.monotonic()`, by what it says."""

    def __init__(self, replica: int) -> None:
        super().__init__(replica)
        self.began = time.monotonic()
        self.times: dict[tuple[str, str, str], float] = {}

    def hear(self, message: dict, at: float) -> None:
        super().hear(message, at)
        if message["type"].startswith("transcript."):
            data = message["data"]
            self.times.setdefault((message["type"], data["utteranceId"], data["text"]), time.monotonic())


@dataclass
class Figures:
    """Of one window, all replicas together. Bytes are those on the gateways' lines."""

    cpu_s: float
    statements: Counter[str]
    database_up: int
    database_down: int
    redis_up: int
    redis_down: int
    redis_commands: int
    redis_cpu_s: float
    database_cpu_s: float
    wal: int

    def __sub__(self, before: Figures) -> Figures:
        return Figures(
            self.cpu_s - before.cpu_s,
            self.statements - before.statements,
            self.database_up - before.database_up,
            self.database_down - before.database_down,
            self.redis_up - before.redis_up,
            self.redis_down - before.redis_down,
            self.redis_commands - before.redis_commands,
            self.redis_cpu_s - before.redis_cpu_s,
            self.database_cpu_s - before.database_cpu_s,
            self.wal - before.wal,
        )


@dataclass
class Bench:
    world: World
    redis: RedisServer
    sessions: list[str] = field(default_factory=list)
    owners: dict[str, int] = field(default_factory=dict)
    near: dict[str, TimedReader] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    postmaster: int = 0

    async def begin(self, count: int, minutes: float, carried: int = 0) -> list[Sender]:
        """`carried`: senders come to so many replicas behind the owner."""
        world, senders = self.world, []
        places = [replica.place for replica in world.replicas]
        words = VOCABULARY * (int(minutes * 60 / 38) + 1)
        pcm, said = sound(words[: len(words) // 2 * 2])
        for number in range(count):
            slug = (await world.ask("POST", "/api/sessions", {"title": f"bench {number}"}))["slug"]
            await world.replicas[0].running.start(slug, source="websocket")
            owner = await world.owner(slug)
            at = owner.number if owner is not None else 0  # a worker: all are at one port
            self.sessions.append(slug)
            self.owners[slug] = at
            to = (at + carried) % len(places)
            sender = Sender(slug, Voice("anna", said), pcm, lambda to=to: to, places, world.http)
            senders.append(sender)
            self.tasks.append(asyncio.create_task(sender.run()))
            self.near[slug] = self.watch(slug, at)
            await asyncio.sleep(1 / count)  # not all of them speak in step
        return senders

    async def end(self) -> None:
        """Nobody speaks or watches any more."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        for slug in self.sessions:
            await self.world.ask("POST", "/api/transcription/stop", {"sessionSlug": slug}, 60)
        self.sessions.clear()

    def watch(self, slug: str, replica: int) -> TimedReader:
        reader = TimedReader(replica)
        places = [one.place for one in self.world.replicas]
        watcher = Watcher(slug, reader, places, lambda: replica, self.world.http, time.monotonic)
        self.tasks.append(asyncio.create_task(watcher.run()))
        return reader

    async def read(self) -> Figures:
        replicas = self.world.replicas
        info = dict(line.split(":", 1) for line in self.redis.ask("INFO", "all").splitlines() if ":" in line)
        connection = await asyncpg.connect(self.world.database_url)
        backend, wal = await connection.fetchrow("SELECT pg_backend_pid(), pg_current_wal_lsn() - '0/0'")
        await connection.close()
        return Figures(
            sum(tree_cpu_s(replica.process.process.pid) for replica in replicas if replica.process),
            sum((replica.statements.counts for replica in replicas), Counter()),
            sum(replica.database.sent for replica in replicas),
            sum(replica.database.received for replica in replicas),
            sum(replica.redis.sent for replica in replicas),
            sum(replica.redis.received for replica in replicas),
            int(info["total_commands_processed"]),
            float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
            self.database_cpu_s(backend),
            int(wal),
        )

    def database_cpu_s(self, backend: int) -> float:
        """Of the whole server, backends that have ended included."""
        self.postmaster = self.postmaster or parent(backend)
        children = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())
        live = sum(cpu_s(pid) for pid in children if parent(pid) == self.postmaster)
        return live + cpu_s(self.postmaster, also_ended=True)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 20


def parent(pid: int) -> int:
    return int(_stat(pid)[1])


def cpu_s(pid: int, *, also_ended: bool = False) -> float:
    """User and system; `also_ended`: of its children that have ended, too."""
    return sum(map(int, _stat(pid)[11 : 15 if also_ended else 13])) / TICK


def hop_ms(near: TimedReader, far: TimedReader, kind: str) -> list[float]:
    """Of what was said while both watched, not of the history."""
    both = [key for key in far.times if key[0] == kind and near.times.get(key, 0.0) > far.began + 1]
    return [(far.times[key] - near.times[key]) * 1000 for key in both]


def row(what: str, figures: Figures, units: float) -> str:
    """`units`: session-seconds of the window."""
    cells = (
        what,
        f"{figures.cpu_s / units * 1000:.2f}",
        f"{figures.statements.total() / units:.2f}",
        f"{(figures.database_up + figures.database_down) / units:.0f}",
        f"{figures.database_cpu_s / units * 1000:.2f}",
        f"{figures.wal / units:.0f}",
        f"{figures.redis_commands / units:.2f}",
        f"{figures.redis_up / units:.0f} / {figures.redis_down / units:.0f}",
        f"{figures.redis_cpu_s / units * 1000:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    before, at = await bench.read(), time.monotonic()
    await asyncio.sleep(asked.seconds)
    idle, replica_seconds = await bench.read() - before, len(bench.world.replicas) * (time.monotonic() - at)
    print(row("(a replica without sessions, a second)", idle, replica_seconds), flush=True)
    await bench.begin(asked.sessions, (asked.seconds + 10) * len(LISTENING) * asked.rounds / 30 + 1)
    await asyncio.sleep(6)
    far: list[tuple[TimedReader, TimedReader]] = []
    rows: dict[int, list[Figures]] = {number: [] for number in LISTENING}
    for _ in range(asked.rounds):
        began = len(bench.tasks)
        listening = 0
        for number in LISTENING:
            for slug in bench.sessions:
                others = [one.number for one in bench.world.replicas if one.number != bench.owners[slug]]
                far += [(bench.near[slug], bench.watch(slug, other)) for other in others[listening:number]]
            listening = number
            await asyncio.sleep(3)
            before, at = await bench.read(), time.monotonic()
            await asyncio.sleep(asked.seconds)
            rows[number].append(await bench.read() - before)
            units = asked.sessions * (time.monotonic() - at)
            print(row(f"{number} others listen", rows[number][-1], units), flush=True)
        for task in bench.tasks[began:]:
            task.cancel()
        if asked.rounds > 1:
            await asyncio.sleep(12)  # a replica goes on listening for ten seconds
    for kind in ("transcript.partial", "transcript.final"):
        times = sorted(one for pair in far for one in hop_ms(*pair, kind))
        if times:
            print(
                f"{kind}: {len(times)} came over the wire {statistics.median(times):.1f} ms (p50), "
                f"{times[int(len(times) * 0.99)]:.1f} ms (p99) after the owner's watcher had it"
            )
    units = asked.sessions * asked.seconds * asked.rounds
    print("statements a session-second, nobody listens elsewhere:")
    for text, count in sum((one.statements for one in rows[0]), Counter()).most_common(12):
        print(f"  {count / units:6.3f}  {' '.join(text.split())[:110]}")


async def measure_workers(bench: Bench, asked: argparse.Namespace, workers: int) -> None:
    """One machine's `gateway serve --workers N`: senders and watchers come to the one port, so to any worker."""
    serving = bench.world.replicas[0].running
    while workers > 1 and f'worker="{workers}"' not in (await serving.call("GET", "/metrics"))[1]:
        await asyncio.sleep(0.2)  # they start one after the other
    await bench.begin(asked.sessions, 2)
    far = [(bench.near[slug], bench.watch(slug, 0)) for slug in bench.sessions]
    await asyncio.sleep(8)
    before, at = await bench.read(), time.monotonic()
    await asyncio.sleep(asked.seconds)
    print(row(f"{workers} workers", await bench.read() - before, asked.sessions * (time.monotonic() - at)), flush=True)
    readers = [reader for pair in far for reader in pair]
    finals = statistics.mean(len(reader.finals) for reader in readers)
    partials = statistics.mean(sum(key[0] == "transcript.partial" for key in reader.times) for reader in readers)
    print(f"  {finals:.0f} finals and {partials:.0f} partials at each watcher", flush=True)


async def measure_carried(bench: Bench, asked: argparse.Namespace) -> None:
    """The same speech, sent to the owner and sent to another replica, which carries it there."""
    chunks: list[float] = []

    def tap(data: bytes) -> None:
        if len(data) > BLOCK:  # a chunk of audio on its way to the provider
            chunks.append(time.monotonic())

    for replica in bench.world.replicas:
        replica.provider.tap = lambda: tap
    for what, carried in (("sent to the owner", 0), ("sent to another replica", 1)):
        await bench.begin(asked.sessions, 1, carried)
        await asyncio.sleep(3)
        before, at = await bench.read(), time.monotonic()
        await asyncio.sleep(asked.seconds)
        units = asked.sessions * (time.monotonic() - at)
        print(row(what, await bench.read() - before, units), flush=True)
        await bench.end()
        [sender] = await bench.begin(1, 1, carried)
        await asyncio.sleep(2)
        chunks.clear()
        await asyncio.sleep(asked.seconds)
        block_s = BLOCK / RATE
        lags = sorted((at - sender.began) % block_s * 1000 for at in chunks)
        print(
            f"  {what}: {len(lags)} chunks of one sender left for the provider {statistics.median(lags):.1f} ms (p50), "
            f"{lags[int(len(lags) * 0.9)]:.1f} ms (p90) after they were spoken",
            flush=True,
        )
        await bench.end()


async def run(asked: argparse.Namespace, url: str, redis: RedisServer, folder: Path) -> None:
    print(
        "| a session-second | gateways' CPU, ms | statements | bytes to and from PostgreSQL | its CPU, ms "
        "| WAL, bytes | Redis commands | bytes to / from Redis | its CPU, ms |\n" + "| --- " * 9 + "|",
        flush=True,
    )
    limits = {"GATEWAY_MAX_WATCHERS_PER_ADDRESS": "10000", "GATEWAY_MAX_SENDERS_PER_ADDRESS": "10000"}
    if asked.workers:
        for workers in asked.workers:
            arguments = {0: ("--workers", str(workers))}
            own = folder / f"workers-{workers}"
            async with (
                open_world(url, redis, own, 1, None, arguments, **limits) as world,
                benched(world, redis) as bench,
            ):
                await measure_workers(bench, asked, workers)
        return
    if asked.carried:
        async with open_world(url, redis, folder, 2, None, **limits) as world, benched(world, redis) as bench:
            await measure_carried(bench, asked)
        return
    async with open_world(url, redis, folder, 4, None, **limits) as world, benched(world, redis) as bench:
        await measure(bench, asked)


@asynccontextmanager
async def benched(world: World, redis: RedisServer) -> AsyncIterator[Bench]:
    bench = Bench(world, redis)
    try:
        yield bench
    finally:
        for task in bench.tasks:
            task.cancel()
        await asyncio.gather(*bench.tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--carried", action="store_true", help="instead: audio that comes in on another replica")
    parser.add_argument("--workers", type=int, nargs="*", help="instead: one machine's `serve --workers` of so many")
    asked = parser.parse_args()
    with stores("bench") as around:
        asyncio.run(run(asked, *around))
    print(f"load {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main()
