"""What each part of the product costs beside a named peer or floor in the same run: one table for all of it.

    PYTHONPATH=tests:. python bench/table.py                      `make bench`: two to three minutes
    PYTHONPATH=tests:. python bench/table.py --runs 3             medians of three
    PYTHONPATH=tests:. python bench/table.py --only storage wire

All figures are CPU time, the gateway's side alone unless a row says more, so less is better, and 1.00 is what the
other one takes. The machine is never quiet: compare ratios, not figures. These are the short forms of the scripts in
this folder; each tells more by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import av
import bus
import finals_writer
import numpy as np
import rtmp_ingest
import rtmp_pipeline
import soxr
import spool_choice
import start
import uvloop
import whole_gateway
from fanout import Machine, raise_file_limit

from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.url import parse_database_url


class Row(NamedTuple):
    what: str
    unit: str
    ours: float
    peer: str
    theirs: float


def rtmp(seconds: float) -> Iterator[Row]:
    """Audio that comes by RTMP with a video beside it: to chunks, and through the whole gateway to a browser."""
    bare = decoding()
    with ThreadPoolExecutor(2) as executor:
        heard = uvloop.run(rtmp_ingest.measure(rtmp_ingest.Decode(executor), 20, seconds, 4096))
    unit = "ms a stream-second"
    yield Row("RTMP in: received, decoded, 16 kHz chunks", unit, heard, "PyAV and soxr on the same frames", bare)
    with contextlib.redirect_stdout(sys.stderr):
        whole = uvloop.run(rtmp_pipeline.measure(10, 2 * seconds))
    yield Row("RTMP in, whole gateway, one browser, PostgreSQL", unit, whole, "PyAV and soxr on the same frames", bare)


def decoding() -> float:
    """Milliseconds for a second of AAC, 48 kHz stereo, to 16 kHz mono, by the libraries alone."""
    config, frames = rtmp_ingest.aac(5)
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = config
    resampler = soxr.ResampleStream(rtmp_ingest.AUDIO_RATE, 16_000, 1, dtype="float32")
    began, samples = time.process_time(), 0
    for frame in frames * 4:
        for decoded in decoder.decode(av.Packet(frame)):
            samples += decoded.samples
            pcm = resampler.resample_chunk(decoded.to_ndarray().mean(axis=0, dtype=np.float32))
            (pcm * 32_767).astype(np.int16).tobytes()
    return (time.process_time() - began) * 1000 / (samples / rtmp_ingest.AUDIO_RATE)


def fan_out(seconds: float) -> Iterator[Row]:
    """An event to a thousand watchers of a session."""
    needs("cc")
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        kinds = {"floor": "a loop of send() in C", "aiohttp": "aiohttp's WebSockets"}
        us = {kind: machine.run(kind, 1000, 1, seconds=seconds / 4)["us"] for kind in ("gateway", *kinds)}
    for kind, name in kinds.items():
        yield Row("fan-out, 1,000 watchers of a session", "µs a delivery", us["gateway"], name, us[kind])


def session(seconds: float) -> Iterator[Row]:
    """A speaker over TLS and ten watchers: the link to the provider alone, and the whole gateway."""
    needs("cc")
    needs("openssl")
    asked = argparse.Namespace(sessions=20, watchers=10, seconds=seconds, timing=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine, certificate = Machine(folder), whole_gateway.certify(folder)
        ms = {
            stack: whole_gateway.measure(machine, folder, certificate, stack, asked, None)["ms"]
            for stack in ("mix", "link", "gateway")
        }
    peer = "aiohttp and msgspec alone, doing the same"
    yield Row("provider's link, ten watchers beside it", "ms a session-second", ms["link"], peer, ms["mix"])
    yield Row("whole gateway, one speaker, ten watchers", "ms a session-second", ms["gateway"], peer, ms["mix"])


def wire(seconds: float) -> Iterator[Row]:
    """Messages between replicas."""
    needs("redis-server")
    with bus.redis_server() as port:
        for what, case in (("sent, 20 a pipeline", "pipelines_{} 20"), ("heard, 5,000 a second", "hearing_{} 5000")):
            name, number = case.split()
            ours, theirs = (
                bus.measure(port, [name.format(who), int(number)])["µs a message"] for who in ("bus", "library")
            )
            yield Row(f"wire between replicas: {what}", "µs a message", ours, "redis-py", theirs)


def storage(seconds: float) -> Iterator[Row]:
    """Finals into PostgreSQL, numbered and fenced, and onto the disk while it is away."""
    with finals_writer._folder() as folder:
        ours, bare = uvloop.run(database(folder, seconds / 2))
    yield Row("finals to PostgreSQL, 100 a batch", "µs a final", ours, "one bare INSERT of the same rows", bare)
    with tempfile.TemporaryDirectory() as name:
        busy = {
            kind: asyncio.run(spool_choice.measure(kind, 10, seconds / 4, Path(name)))[4]
            for kind in (spool_choice.Segment, spool_choice.Sqlite)
        }
    ours, theirs = busy.values()
    yield Row("finals to the spool, 10 a batch, durable", "ms a batch", ours, "SQLite, WAL", theirs)


async def database(folder: Path, seconds: float) -> tuple[float, float]:
    """µs of this process for a final."""
    async with EmbeddedPostgres(folder) as server:
        options = parse_database_url(server.url)
        await prepare(options)
        async with open_pool(options) as db:
            _, per_cpu_s, _ = await finals_writer.measure(db, 100, seconds)
            return 1e6 / per_cpu_s, await bare_insert(db, seconds)


async def bare_insert(db: Database, seconds: float) -> float:
    """The same values in one statement into one table: no numbering, no fence, no table of the app's."""
    run, participant_id = await finals_writer._world(db)
    columns = {"utterance_id": "text", "text": "text", "started_at": "timestamptz", "ended_at": "timestamptz",
               "data": "jsonb"}  # fmt: skip
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    await db.pool.execute(f"CREATE TABLE gateway.bench ({typed})")
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(columns.values(), 1))
    statement = f"INSERT INTO gateway.bench SELECT * FROM unnest({arrays})"
    rows, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        batch = finals_writer._batch(run, participant_id, rows, 100)
        await db.pool.execute(statement, *([getattr(row, name) for row in batch] for name in columns))
        rows += 100
    return (time.process_time() - cpu) / rows * 1e6


def starting(seconds: float) -> Iterator[Row]:
    """From the start of the process until it is ready, on a database that is there."""
    found = start.measure(1, {"": start.HERE}, ["idle"])
    ours, theirs = (min(cost.cpu_s for cost in found[what]) * 1000 for what in ("idle", start.BARE))
    yield Row("start until ready", "ms", ours, "the import of its libraries", theirs)


class Missing(Exception):
    """A program that a part needs; the text names it."""


def needs(program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")


PARTS: dict[str, Callable[[float], Iterator[Row]]] = {
    "rtmp": rtmp, "fan-out": fan_out, "session": session, "wire": wire, "storage": storage, "start": starting
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="of which the medians are shown")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the longer measurements")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    raise_file_limit()
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    skipped: dict[str, str] = {}
    for _ in range(asked.runs):
        for part in asked.only:
            print(f"  {part} …", file=sys.stderr, flush=True)
            try:
                for row in PARTS[part](asked.seconds):
                    found[row.what, row.peer].append(row)
            except Missing as missing:
                skipped[part] = str(missing)
    print(f"| {'CPU of':50} | {'ours':>8} | {'':19} | {'beside':41} | {'takes':>8} | {'ratio':>6} |")
    print("| --- | ---: | --- | --- | ---: | ---: |")
    for (what, peer), rows in found.items():
        ours, theirs = (statistics.median(column) for column in zip(*((r.ours, r.theirs) for r in rows), strict=True))
        ratio = statistics.median(row.ours / row.theirs for row in rows)
        print(f"| {what:50} | {ours:8.2f} | {rows[0].unit:19} | {peer:41} | {theirs:8.2f} | {ratio:6.2f} |")
    for part, why in skipped.items():
        print(f"SKIPPED: {part}: {why}")


if __name__ == "__main__":
    main()
