"""The live stream's fan-out against its floor and against what others do: CPU of the serving process per delivery.

    PYTHONPATH=. python bench/fanout.py                     speed, every server, ratios to the C floor
    PYTHONPATH=. python bench/fanout.py --burst 2           two events ready at once
    PYTHONPATH=. python bench/fanout.py --stopped           one watcher in a thousand stops reading
    PYTHONPATH=. python bench/fanout.py --idle 10000        CPU and memory of watchers who hear nothing
    PYTHONPATH=. python bench/fanout.py --churn 100000      memory after so many connections

Runs are interleaved and medians shown: compare within one invocation only. CPU time counts, not wall time, because
the machine is rarely one's own; `last` is the wall time until the last watcher of a group has the event. The server has
the first core, the watchers (bench/fanout_watchers.c) the second. Needs a C compiler as `cc`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fanout_server import GREETING, PATH

HERE = Path(__file__).parent
SIZES = "10x20,100x5,1000x1,5000x1"


class Machine:
    """Compiled tools, and who runs on which core."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("fanout_watchers", "fanout_floor"):
            subprocess.run(["cc", "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.crowd_core = cores[0], cores[-1]

    def run(self, kind: str, watchers: int, groups: int, **options: Any) -> dict[str, Any]:
        """One server and its watchers, from start to end; what both have measured."""
        port, control = free_ports(2)
        load = options.pop("load", [])
        if kind == "floor":
            order = (port, control, watchers, groups, min(4, groups), options["seconds"], options.get("burst", 1))
            command = [str(self._folder / "fanout_floor"), *map(str, order)]
        else:
            given = {"port": port, "control": control, "watchers": watchers, "groups": groups, **options}
            command = [sys.executable, str(HERE / "fanout_server.py"), kind]
            command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        with running(command, self.server_core) as server:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                raise SystemExit(f"{kind} did not start")
            order = (port, control, watchers * groups, groups, PATH, f"greeting={GREETING.get(kind, 0)}", *load)
            with running([str(self._folder / "fanout_watchers"), *map(str, order)], self.crowd_core) as crowd:
                measured = json.loads(server.communicate(timeout=2000)[0])
                told = json.loads(crowd.communicate(timeout=60)[0])
        assert isinstance(measured, dict)
        return measured | {"crowd": told}


@contextmanager
def running(command: list[str], core: int, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.kill()
        process.communicate()


def raise_file_limit() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to connections, of which a watcher could have one a moment later."""
    doors: list[socket.socket] = []
    while len(doors) < count:
        with suppress(OSError):
            doors.append(socket.create_server(("127.0.0.1", random.randrange(10_000, 32_000))))
    ports: list[int] = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports


def speed(machine: Machine, asked: argparse.Namespace) -> None:
    kinds = asked.kinds.split(",")  # the first is what the others are compared with
    print("| watchers × sessions | | µs a delivery | × floor | from–to | last of a session, p10 / p50 ms |")
    for size in asked.sizes.split(","):
        watchers, groups = map(int, size.split("x"))
        seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for _ in range(asked.runs):
            for name in random.sample(kinds, len(kinds)):
                kind, _, loop = name.partition(":")
                options = {"loop": loop} if loop else {}
                seen[name].append(
                    machine.run(kind, watchers, groups, seconds=asked.seconds, burst=asked.burst, **options)
                )
        for name in kinds:
            # Each run against the floor of its own round: the machine changes from minute to minute.
            ratios = sorted(a["us"] / b["us"] for a, b in zip(seen[name], seen[kinds[0]], strict=True))
            us = statistics.median(run["us"] for run in seen[name])
            last = [run["last"] for run in seen[name] if "last" in run]
            times = (
                " / ".join(f"{statistics.median(one[q] for one in last):.1f}" for q in ("0.1", "0.5")) if last else "–"
            )
            print(
                f"| {watchers} × {groups} | {name} | {us:.1f} | {statistics.median(ratios):.2f} | "
                f"{ratios[0]:.2f}–{ratios[-1]:.2f} | {times} |",
                flush=True,
            )


def stopped(machine: Machine, asked: argparse.Namespace) -> None:
    """Pairs of runs, with and without a watcher that never reads, in turn first."""
    pairs = []
    for number in range(asked.runs):
        pair = {}
        for who in (0, 1) if number % 2 else (1, 0):
            load = [f"stopped={who}", "window=4096"] if who else []
            pair[who] = machine.run(
                "gateway", asked.watchers, 1, mode="paced", rate=asked.rate, seconds=asked.seconds, load=load
            )
        pairs.append(pair)
        told = {who: (run["us"], run["crowd"]["p50"], run["crowd"]["p99"]) for who, run in pair.items()}
        print(f"  {told}, coalesced {pair[1]['coalesced']}, let go {pair[1]['too_slow']}", flush=True)
    for what, read in (
        ("CPU per delivery", lambda run: run["us"]),
        ("p50", lambda run: run["crowd"]["p50"]),
        ("p99", lambda run: run["crowd"]["p99"]),
    ):
        ratio = statistics.median(read(pair[1]) / read(pair[0]) for pair in pairs)
        mean = statistics.median(read(pair[0]) for pair in pairs)
        print(f"| {what} | {mean:.2f} | × {ratio:.3f} with one of {asked.watchers} stopped |", flush=True)


def idle(machine: Machine, asked: argparse.Namespace) -> None:
    for kind in asked.kinds.split(","):
        if kind == "floor":
            continue
        run = machine.run(kind, asked.idle, 1, mode="idle", seconds=asked.seconds, load=["spin=0"])
        print(
            f"| {kind} | {asked.idle} | {run['share'] * 100:.1f} % of a core | {run['resident_mb']:.0f} MB | "
            f"{run['kb_each']:.1f} KB each | {run['crowd']['handshakes_s']:.1f} s to connect | "
            f"{run['crowd']['pings']} pings |",
            flush=True,
        )


def churn(machine: Machine, asked: argparse.Namespace) -> None:
    run = machine.run("gateway", asked.watchers, 1, churn=asked.churn, load=[f"churn={asked.churn}", "greeting=1"])
    for came, resident in run["resident"]:
        print(f"| {came} | {resident / 1e6:.1f} MB |")
    print(f"| end | {run['end'] / 1e6:.1f} MB, {run['objects']} objects | {run['crowd']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="floor,gateway,aiohttp,websockets")
    parser.add_argument("--sizes", default=SIZES, help="watchers of a session x sessions, …")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--rate", type=float, default=20.0, help="--stopped: events a second")
    parser.add_argument("--watchers", type=int, default=1000, help="--stopped, --churn: at once")
    parser.add_argument("--stopped", action="store_true")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--churn", type=int, default=0)
    asked = parser.parse_args()
    if shutil.which("cc") is None:
        raise SystemExit("a C compiler is needed as `cc`")
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        what = stopped if asked.stopped else idle if asked.idle else churn if asked.churn else speed
        what(machine, asked)


if __name__ == "__main__":
    main()
