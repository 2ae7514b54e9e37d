"""What an idle gateway costs: CPU from the start of its process until it is ready, and memory afterwards.

A `gateway serve` on a migrated database, with a provider that answers nothing; other forms: without RTMP, with the
settings of a LiveKit server, with the offline recogniser (whose own processes are not counted). Beside it a bare
interpreter that imports the libraries every gateway needs. `--against` runs another checkout in turn. Bytecode is
cached, as it is where the package was installed. What else runs on the machine only adds: the least of all rounds is
shown, and of times the CPU time compares.

    python bench/start.py --rounds 5            of this interpreter; what ships is one with requirements.lock alone
    python bench/start.py --rounds 5 --against ../former
    python bench/start.py --rounds 3 --demo        from `gateway demo` to its address, and to the first caption
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
from processes import cpu_of, kilobytes, private_kb, tree_cpu_s

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.gateway import Process, gateway_process
from support.postgres import running_postgres

HERE: Final = Path(__file__).parents[1]
LIBRARIES: Final = (
    "asyncio uvloop aiohttp aiohttp.web asyncpg msgspec structlog.contextvars structlog.stdlib structlog.processors "
    "prometheus_client websockets.client yarl jwt"
)
BARE: Final = "its libraries alone, imported"
GLADIA: Final = {"GLADIA_API_KEY": "never asked", "GLADIA_API_URL": "http://127.0.0.1:9"}
LIVEKIT: Final = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "a secret of at least thirty-two characters",
}
FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "idle": GLADIA,
    "without RTMP": {**GLADIA, "GATEWAY_RTMP_PORT": "0"},
    "with LiveKit": {**GLADIA, **LIVEKIT},
    "offline": {},
}


class Cost(NamedTuple):
    cpu_s: float
    wall_s: float
    rss_mb: float
    peak_mb: float
    """Resident, at most so far."""
    private_mb: float
    """What no other process has: of several workers, each pays it."""


def cost(pid: int, wall_s: float) -> Cost:
    cpu_s = cpu_of(Path(f"/proc/{pid}/stat"))
    kb = kilobytes(pid)
    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return Cost(cpu_s, wall_s, kb["Rss"] / 1024, int(peak[1]) / 1024, private_kb(pid) / 1024)


def installed(folder: Path) -> dict[str, str]:
    """Bytecode is kept, whatever this process was told."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


async def gateway(folder: Path, tree: Path, database_url: str, form: str) -> Cost:
    began = time.monotonic()
    settings = {"DATABASE_URL": database_url, "GATEWAY_LOG_LEVEL": "error", **FORMS[form], **installed(folder)}
    async with gateway_process(folder / "data", source=tree, **settings) as running:
        pid, took = running.process.process.pid, time.monotonic() - began
        ready = cost(pid, took)
        await asyncio.sleep(1.5)  # the collections of the start are over
        return cost(pid, took)._replace(cpu_s=ready.cpu_s)


async def libraries(folder: Path) -> Cost:
    began = time.monotonic()
    code = f"import {LIBRARIES.replace(' ', ', ')}, time; print('ready', flush=True); time.sleep(60)"
    process = await Process.start(sys.executable, "-c", code, env=installed(folder))
    while not process.lines:
        await asyncio.sleep(0.02)
    taken = cost(process.process.pid, time.monotonic() - began)
    await process.end()
    return taken


def measure(rounds: int, trees: Mapping[str, Path], forms: Sequence[str]) -> dict[str, list[Cost]]:
    """In turn, so that what else runs on the machine falls on all of them. The first round is thrown away."""
    found: dict[str, list[Cost]] = defaultdict(list)
    with ExitStack() as rooms:
        rooms.enter_context(redirect_stdout(sys.stderr))
        folder = Path(rooms.enter_context(tempfile.TemporaryDirectory()))
        url = rooms.enter_context(rooms.enter_context(running_postgres()).database())
        for turn in range(rounds + 1):
            for form in forms:
                for whose, tree in trees.items():
                    taken = asyncio.run(gateway(folder, tree, url, form))
                    if turn:
                        found[f"{form}{whose}"].append(taken)
            bare = asyncio.run(libraries(folder))
            if turn:
                found[BARE].append(bare)
    return found


class Shown(NamedTuple):
    """Since the command was given, until …"""

    address_s: float
    """… it says where to watch: everything is up, the sample is about to be published."""
    caption_s: float
    """… a watcher of the stream has the first words."""
    cpu_s: float
    """… the same, of all its processes."""


async def demo(folder: Path, data: str) -> Shown:
    """`gateway demo` as it is typed, with its data in a folder of that name."""
    began = time.monotonic()
    settings = {"GATEWAY_DATA_DIR": str(folder / data), **installed(folder)}
    process = await Process.start(sys.executable, "-u", "-m", "gateway", "demo", "--once", env=settings, cwd=HERE)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            while not (told := re.search(r"(http://\S+)/#token=(\S+)&session=(\S+)", process.output)):
                if process.process.returncode is not None:
                    raise SystemExit(process.output)
                await asyncio.sleep(0.01)
            address_s = time.monotonic() - began
            url, token, session = told.groups()
            stream = f"{url}/api/realtime/transcribe?session={session}"
            async with http.ws_connect(stream, headers={"Authorization": f"Bearer {token}"}) as watching:
                async for message in watching:
                    if message.json()["type"] in ("transcript.partial", "transcript.final"):
                        return Shown(address_s, time.monotonic() - began, tree_cpu_s(process.process.pid))
        raise SystemExit(f"the stream ended without a caption\n{process.output}")
    finally:
        await process.end()


def show_demo(rounds: int) -> None:
    """The first time it makes a database; then it finds one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(demo(folder, "0"))  # bytecode is written
        first = [asyncio.run(demo(folder, str(n + 1))) for n in range(rounds)]
        again = [asyncio.run(demo(folder, "0")) for _ in range(rounds)]
    print(
        f"| {'gateway demo, the least of ' + str(rounds):40} | address s | first caption s | CPU s of all processes |"
    )
    print("| --- | ---: | ---: | ---: |")
    for what, all_shown in (("the first time", first), ("again", again)):
        address, caption, cpu = (min(column) for column in zip(*all_shown, strict=True))
        print(f"| {what:40} | {address:9.2f} | {caption:15.2f} | {cpu:22.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, run in turn")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["idle"])
    parser.add_argument("--demo", action="store_true", help="`gateway demo` instead")
    asked = parser.parse_args()
    if asked.demo:
        show_demo(asked.rounds)
        return
    trees = {"": HERE} | ({" (the other)": asked.against.resolve()} if asked.against else {})
    found = measure(asked.rounds, trees, asked.forms)
    print(f"| {'the least of ' + str(asked.rounds):40} | CPU s to ready | wall s | RSS MB | peak MB | private MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for what, costs in found.items():
        cpu, wall, rss, peak, private = (min(column) for column in zip(*costs, strict=True))
        print(f"| {what:40} | {cpu:14.2f} | {wall:6.2f} | {rss:6.1f} | {peak:7.1f} | {private:10.1f} |")


if __name__ == "__main__":
    main()
