"""Everything for as long as asked: rooms, encoders, microphones and watchers on three gateways, mild faults in turn.

The processes live on, so that what leaks shows. Ends with 1 when words, numbers or bills are wrong, when memory grows,
or when anything is left once everybody has gone.

make soak MINUTES=60
PYTHONPATH=tests:. python tests/soak/run.py --minutes 60 --csv FILE --svg FILE --keep FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from chaos.neighbours import neighbours
from chaos.world import World, open_world
from soak import rest
from soak.curve import Sample, leaks, picture, table
from soak.plan import WORKERS
from soak.play import Soak
from support.livekit import LivekitServer
from support.redis_server import RedisServer

SETTINGS = {"PYTHONWARNINGS": "default::ResourceWarning"}
WRONG = Path("build/soak")
"""The logs of a run that found something wrong."""


async def _play(world: World, asked: argparse.Namespace, note: Callable[[Sample], object]) -> Soak:
    before = await rest.now(world)
    soak = Soak(world, asked.minutes * 60, asked.seed, note)
    try:
        await soak.play()
        soak.tell("everybody has gone")
        for _, problem in await soak.bills.check():
            soak.wrong(problem)
        soak.tell("every bill is there")
        for problem in await rest.left(world, before):
            soak.wrong(f"left over: {problem}")
        soak.tell("the gateways are at rest")
        await soak.look()
    finally:
        for problem in await rest.ended(world):
            soak.wrong(f"after the end: {problem}")
    for problem in [*leaks(soak.samples, soak.for_s), *soak.tally.deaf()]:
        soak.wrong(problem)
    return soak


async def _all(
    asked: argparse.Namespace, url: str, redis: RedisServer, livekit: LivekitServer | None, folder: Path
) -> Soak:
    with _noting(asked.csv) as note:
        async with open_world(url, redis, folder, livekit=livekit, arguments=WORKERS, pages=True, **SETTINGS) as world:
            try:
                return await _play(world, asked, note)
            finally:
                for replica in world.replicas:
                    (folder / f"replica-{replica.number}.log").write_text("\n".join(replica.written))


@contextmanager
def _noting(path: str | None) -> Iterator[Callable[[Sample], object]]:
    """Into a file, line by line: what was seen is there, however it ends."""
    with Path(path or os.devnull).open("w", newline="", buffering=1) as file:
        out = csv.writer(file)
        out.writerow(field.name for field in fields(Sample))
        yield lambda row: out.writerow(round(one, 2) if isinstance(one, float) else one for one in astuple(row))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long sessions come and go")
    parser.add_argument("--seed", type=int, default=1, help="of who speaks what where, and what breaks")
    parser.add_argument("--csv", help="a file for what the processes held, every 15 s")
    parser.add_argument("--svg", help="a file for the picture of their memory")
    parser.add_argument(
        "--keep", help=f"a folder for everything; without it the logs are kept in {WRONG} when anything is wrong"
    )
    asked = parser.parse_args()
    began = time.monotonic()
    with neighbours("soak", asked.keep) as around:
        soak = asyncio.run(_all(asked, *around))
        logs = _keep(around.folder, soak) if soak.problems and not asked.keep else asked.keep
    if asked.svg:
        Path(asked.svg).write_text(picture(soak.samples, soak.for_s))
    faults = ", ".join(f"{name} {count}" for name, count in sorted(soak.faults.items()))
    print(f"\n{soak.for_s:.0f} s of load, {time.monotonic() - began:.0f} s in all; faults: {faults or 'none'}\n")
    print(soak.tally.table(), table(soak.samples, soak.for_s), sep="\n\n")
    if soak.problems:
        print("\nwrong:", *soak.problems, sep="\n  ")
        print(f"\nsecond 0 was {soak.began:%Y-%m-%dT%H:%M:%SZ}; the logs of all replicas are in {logs}")
    return 1 if soak.problems else 0


def _keep(folder: Path, soak: Soak) -> Path:
    """Returns: where its logs are, those of the neighbours too."""
    to = WRONG / f"{soak.began:%Y%m%dT%H%M%SZ}"
    to.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, to)
    return to


if __name__ == "__main__":
    sys.exit(main())
