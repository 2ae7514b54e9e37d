"""Which file keeps finals fastest and safest while PostgreSQL is away: SQLite in WAL mode, or a segment of our own?

    python bench/spool_choice.py                 # in the current folder's file system
    python bench/spool_choice.py --folder DIR    # on the disk that the data directory will be on

Both are driven in the way that the spool is: from an event loop, one worker thread, one durable commit a batch. Records
are 1,100 bytes, an average final with its words. `busy` is the CPU time a batch costs, in user and kernel together.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

RECORD = os.urandom(1_100)


class Segment:
    """Append, checksum, fdatasync."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "segment"
        self._fd = os.open(self.file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def append(self, records: Sequence[bytes]) -> None:
        framed = b"".join(struct.pack("<II", len(record), zlib.crc32(record)) + record for record in records)
        os.write(self._fd, framed)
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class Sqlite:
    """One table, WAL, synchronous=FULL: a commit is on the disk when it returns, as the segment's is."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "spool.db"
        self._db = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE spool (position INTEGER PRIMARY KEY, crc INTEGER, record BLOB)")

    def append(self, records: Sequence[bytes]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        rows = [(zlib.crc32(record), record) for record in records]
        self._db.executemany("INSERT INTO spool (crc, record) VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


async def measure(make: Callable[[Path], Segment | Sqlite], size: int, seconds: float, parent: Path) -> list[float]:
    """Records a second, p50, p99 and worst milliseconds, CPU ms a batch, bytes on disk a record."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, ThreadPoolExecutor(1) as worker:
        loop = asyncio.get_running_loop()
        store = await loop.run_in_executor(worker, make, Path(folder))
        append = partial(loop.run_in_executor, worker, store.append, [RECORD] * size)
        for _ in range(10):
            await append()
        waits: list[float] = []
        began, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            at = time.perf_counter()
            await append()
            waits.append(time.perf_counter() - at)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        on_disk = size_of(Path(folder))
        await loop.run_in_executor(worker, store.close)
    waits.sort()
    return [
        len(waits) * size / took,
        waits[len(waits) // 2] * 1000,
        waits[int(len(waits) * 0.99)] * 1000,
        waits[-1] * 1000,
        cpu / len(waits) * 1000,
        on_disk / ((len(waits) + 10) * size),
    ]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3, help="the median of these is shown; the two take turns")
    arguments = parser.parse_args()
    titles = ("p50 ms", "p99 ms", "worst ms", "busy ms")
    print(f"{'':8} {'batch':>5} {'records/s':>10}", *(f"{title:>8}" for title in titles), f"{'bytes/record':>13}")
    for size in (1, 10, 100):
        runs: dict[str, list[list[float]]] = {"segment": [], "sqlite": []}
        for _ in range(arguments.rounds):
            runs["segment"].append(await measure(Segment, size, arguments.seconds, arguments.folder))
            runs["sqlite"].append(await measure(Sqlite, size, arguments.seconds, arguments.folder))
        for name, results in runs.items():
            rate, *times, on_disk = map(statistics.median, zip(*results, strict=True))
            print(f"{name:8} {size:>5} {rate:>10,.0f}", *(f"{ms:>8.2f}" for ms in times), f"{on_disk:>13,.0f}")


if __name__ == "__main__":
    asyncio.run(main())
