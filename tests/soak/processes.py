"""Reads what the processes of the gateways hold: /proc, and their own pages."""

from __future__ import annotations

import os
import re
import resource
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from chaos.world import Replica, World
from soak.curve import Sample
from soak.oracle import Holdings
from support.gateway import TOKEN

PROC: Final = Path("/proc")
PAGE_MB: Final = resource.getpagesize() / 2**20
TICKS: Final = os.sysconf("SC_CLK_TCK")
LISTENING: Final = "0A"
_TASKS: Final = re.compile(r"^ *(\d+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gateway:
    """One process. `worker`: its number, 0 for a replica without; None for the supervisor, which runs no gateway."""

    replica: Replica
    pid: int
    worker: int | None

    @property
    def name(self) -> str:
        """The same in each of its lives."""
        part = {None: " supervisor", 0: ""}.get(self.worker, f" worker {self.worker}")
        return f"replica {self.replica.number}{part}"


def gateways(world: World) -> list[Gateway]:
    """Those that run now."""
    found = []
    for replica in world.replicas:
        if replica.process is None or not replica.takes_connections:
            continue
        pid = replica.process.process.pid
        found.append(Gateway(replica, pid, None if "--workers" in replica.arguments else 0))
        found += [Gateway(replica, child, number) for number, child in _workers(pid)]
    return found


def is_there(one: Gateway) -> bool:
    """Whether a process of its id runs."""
    return (PROC / str(one.pid)).exists()


def _workers(supervisor: int) -> Iterator[tuple[int, int]]:
    for child in (PROC / f"{supervisor}/task/{supervisor}/children").read_text().split():
        words = (PROC / child / "cmdline").read_text().split("\0")
        if "--worker" in words:
            yield int(words[words.index("--worker") + 1]), int(child)


async def sample(one: Gateway, at_s: float, name: str) -> Sample:
    """Raises: OSError when the process has gone."""
    own = PROC / str(one.pid)
    fields = (own / "stat").read_text().rpartition(")")[2].split()
    rss_mb = int((own / "statm").read_text().split()[1]) * PAGE_MB
    descriptors = sum(1 for _ in (own / "fd").iterdir())
    tasks = sum((await tasks_of(one)).values()) if one.worker is not None else 0
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
    return Sample(at_s, name, rss_mb, descriptors, int(fields[17]), tasks or -1, cpu_s, await _lag(one))


async def _lag(one: Gateway) -> float:
    if one.worker is None:
        return -1.0
    own = f'worker_loop_lag_seconds{{worker="{one.worker}"}}' if one.worker else "loop_lag_seconds"
    try:
        text = await page(one, "/metrics")
    except (aiohttp.ClientError, TimeoutError):
        return -1.0
    return max(
        (float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"gateway_{own} ")),
        default=-1.0,
    )


async def holdings(one: Gateway, world: World) -> Holdings:
    """Raises: OSError when the process has gone."""
    threads = int((PROC / str(one.pid) / "stat").read_text().rpartition(")")[2].split()[17])
    sockets, files = descriptors(
        one.pid, _lines(world)
    )  # before the question, which takes a connection that goes in a moment
    tasks = await tasks_of(one) if one.worker is not None else Counter[str]()
    return Holdings(threads, tasks, sockets, files)


async def page(one: Gateway, path: str) -> str:
    """Over a connection of its own, so that nothing is left of it. Raises: aiohttp.ClientError."""
    url = f"http://127.0.0.1:{one.replica.place.metrics}{path}"
    headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        http.get(url, params={"worker": one.worker} if one.worker else {}, headers=headers) as answer,
    ):
        answer.raise_for_status()
        return await answer.text()


async def tasks_of(one: Gateway) -> Counter[str]:
    """How many run each coroutine; nothing where it does not answer."""
    try:
        return count_tasks(await page(one, "/debug/tasks"))
    except (aiohttp.ClientError, TimeoutError):
        return Counter()


def count_tasks(text: str) -> Counter[str]:
    """`text`: of `gateway.stacks.tasks_now`. Returns: how many run each coroutine."""
    return Counter({what: int(count) for count, what in _TASKS.findall(text.partition("\n\n")[0]) if what != "tasks"})


def descriptors(pid: int, known: Mapping[int, str]) -> tuple[Counter[str], Counter[str]]:
    """Sockets by where they lead, and everything else by its kind. `known`: which port leads where."""
    own = PROC / str(pid)
    inodes, files = [], Counter[str]()
    for entry in (own / "fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.append(target[8:-1])
        else:
            files[target.partition(":")[0] if target.startswith(("pipe", "anon_inode")) else "files"] += 1
    tcp = {inode: row for kind in ("tcp", "tcp6") for inode, row in _table(own / "net" / kind)}
    udp = {inode for kind in ("udp", "udp6") for inode, _ in _table(own / "net" / kind)}
    listening = {tcp[inode][0] for inode in inodes if inode in tcp and tcp[inode][2] == LISTENING}
    sockets: Counter[str] = Counter()
    for inode in inodes:
        if inode in tcp:
            here, there, state = tcp[inode]
            accepted = "listening" if state == LISTENING else "accepted"
            sockets[accepted if here in listening else known.get(there, "another process")] += 1
        else:
            sockets["UDP" if inode in udp else "others"] += 1
    return sockets, files


def _table(path: Path) -> Iterator[tuple[str, tuple[int, int, str]]]:
    """Inode; local port, remote port, state."""
    for line in path.read_text().splitlines()[1:]:
        fields = line.split()
        yield fields[9], (int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16), fields[3])


def _lines(world: World) -> dict[int, str]:
    """Which port leads where."""
    known = {}
    for replica in world.replicas:
        known |= {
            replica.database.port: "postgres",
            replica.redis.port: "redis",
            replica.provider.port: "provider",
            replica.livekit.port: "livekit",
            replica.peers.port: "peers",
            replica.place.http: "peers",
        }
    return known
