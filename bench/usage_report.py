"""What the accountant's table of a month costs: `GET /api/usage?format=csv` of 100,000 rows, over HTTP.

    python bench/usage_report.py                            # this checkout, an embedded PostgreSQL in memory
    python bench/usage_report.py --against ../other         # in turn with another checkout, on the same database
    python bench/usage_report.py --pages                    # also a page of JSON, rows and each grouping

The gateway is a process of its own (`gateway serve`), and so is PostgreSQL; this one only reads. Told are the time
until the last byte, the CPU of each side, the memory that the gateway's process grew by at most, and whether all
answers had the same bytes. Rows are of 10,000 sessions, ten to a session, each with a name, a title, two tags and two
bills of the provider; one session in 20 was deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import asyncpg
from support.ports import free_port

from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.migrate import prepare
from storage.postgres.url import parse_database_url

TOKEN = "token-of-the-benchmark"
MONTH = "from=2026-01-01&to=2026-02-01"
HERE = Path(__file__).parents[1]
ROWS = """(SELECT n, n / 10 AS session, 'cmw9x8k2v000008l4session' || n / 10 AS session_id,
                  'w9x8k2v' || lpad(n::text, 10, '0') AS id, CASE WHEN n % 3 > 0 THEN 'user-' || n % 500 END AS user_id,
                  'person-' || n % 5000 AS person, timestamp '2026-01-01' + n * interval '26.7 s' AS at
           FROM generate_series(0, $1::int - 1) n) r"""
FILL = (
    """INSERT INTO "Space" SELECT 'space-' || n FROM generate_series(0, 49) n""",
    """INSERT INTO "User" SELECT 'user-' || n FROM generate_series(0, 499) n""",
    """INSERT INTO "VideoSession" (id, slug, title, status, "spaceId")
       SELECT 'cmw9x8k2v000008l4session' || n, 'slug' || n, 'Planning the week, ' || n, 'ENDED', 'space-' || n % 50
       FROM generate_series(0, $1::int / 10) n""",
    f"""INSERT INTO "Participant" (id, "videoSessionId", "userId", identity, name)
       SELECT 'p' || id, session_id, user_id, person, 'Person of the name ' || n % 5000 FROM {ROWS}""",
    """INSERT INTO gateway.transcription
              (id, session_id, session_slug, source, state, options, started_at, owner, fence, lease_until)
       SELECT 't' || n, 'cmw9x8k2v000008l4session' || n, 'slug' || n, 'livekit', 'STOPPED',
              jsonb_build_object('language', 'en', 'tags', jsonb_build_array('customer-' || n % 40, 'weekly')),
              now(), 'me', 1, now()
       FROM generate_series(0, $1::int / 10) n""",
    f"""INSERT INTO "TranscriptionUsage"
              (id, "videoSessionId", "participantId", "userId", "startedAt", "endedAt", "createdAt", "updatedAt",
               "durationSeconds", "durationMinutes", "costPerMinute", "totalCost")
       SELECT 'cm' || id, session_id, 'p' || id, user_id, at, at + interval '31 min 7.123 s', at, at,
              n % 1800, (n % 1800 + 59) / 60, 0.01, (n % 1800 + 59) / 60 * 0.01 FROM {ROWS}""",
    f"""INSERT INTO gateway.transcription_usage
              (usage_id, transcription_id, identity, gate, heard_seconds, kept_seconds)
       SELECT 'cm' || id, 't' || session, person, 'on', n % 1800 + n % 977 / 10.0, n % 977 / 10.0 FROM {ROWS}""",
    f"""INSERT INTO gateway.provider_session
              (id, transcription_id, session_id, identity, opened_at, closed_at, seconds_sent, billing_seconds)
       SELECT id || k, 't' || session, session_id, person, at, at, n % 900, n % 1800 / 2.0
       FROM {ROWS}, generate_series(1, 2) k""",
    """INSERT INTO gateway.usage_archive
              (id, video_session_id, session_slug, space_id, transcription_id, identity, user_id, started_at, ended_at,
               duration_seconds, duration_minutes, audio_chunks_sent, transcripts_received, final_transcripts,
               partial_transcripts, cost_per_minute, total_cost, errors_count, created_at, updated_at, archived_at,
               tags, kept_seconds)
       SELECT u.id, s.id, s.slug, s."spaceId", m.transcription_id, m.identity, u."userId",
              u."startedAt" AT TIME ZONE 'UTC', u."endedAt" AT TIME ZONE 'UTC', u."durationSeconds",
              u."durationMinutes", 0, 0, 0, 0, u."costPerMinute", u."totalCost", 0, u."createdAt" AT TIME ZONE 'UTC',
              u."updatedAt" AT TIME ZONE 'UTC', now(), ARRAY['customer-1', 'weekly'], m.kept_seconds
       FROM "TranscriptionUsage" u JOIN "VideoSession" s ON s.id = u."videoSessionId"
            JOIN gateway.transcription_usage m ON m.usage_id = u.id
       WHERE right(s.slug, 1) = '7' AND s.slug < 'slug5'""",
    """DELETE FROM "TranscriptionUsage" WHERE id IN (SELECT id FROM gateway.usage_archive)""",
    "VACUUM ANALYZE",
)


@dataclass
class Figures:
    wall: list[float] = field(default_factory=list)
    gateway: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    grown_mb: list[float] = field(default_factory=list)
    size: int = 0
    digests: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        wall, gateway, server = (statistics.median(each) for each in (self.wall, self.gateway, self.server))
        return (
            f"{wall:.2f} s ({min(self.wall):.2f} to {max(self.wall):.2f}); CPU gateway {gateway:.2f} s, PostgreSQL "
            f"{server:.2f} s; {self.size / 1e6:.1f} MB; memory grew by {max(self.grown_mb):.1f} MB at most"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout")
    parser.add_argument("--pages", action="store_true")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bench-usage-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        asyncio.run(run(Path(folder), options))


async def run(folder: Path, options: argparse.Namespace) -> None:
    async with EmbeddedPostgres(folder / "postgres", durable=False) as server:
        await prepare(parse_database_url(server.url))
        connection = await asyncpg.connect(server.url)
        for statement in FILL:
            await connection.execute(statement, *([options.rows] if "$1" in statement else []))
        await connection.close()
        kinds = {"csv": f"{MONTH}&format=csv"}
        if options.pages:
            kinds |= {"page": MONTH} | {
                f"by {by}": f"{MONTH}&groupBy={by}" for by in ("session", "user", "space", "day", "month")
            }
        await asyncio.to_thread(compare, folder, server, options, kinds)


def compare(folder: Path, server: EmbeddedPostgres, options: argparse.Namespace, kinds: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        checkouts = [HERE, *(path.resolve() for path in options.against)]
        served = [stack.enter_context(gateway(folder, checkout, server.url)) for checkout in checkouts]
        for kind, query in kinds.items():
            figures = [Figures() for _ in served]
            for turn in range(-1, options.rounds):  # the first one warms caches
                for (pid, port), told in zip(served, figures, strict=True):
                    one = measured(pid, server.pid, port, query, told)
                    if turn >= 0:
                        for name, value in one.items():
                            getattr(told, name).append(value)
            for checkout, told in zip(checkouts, figures, strict=True):
                print(f"{kind:10} {'this' if checkout == HERE else checkout.name}: {told}", flush=True)
            if len(set.union(*(told.digests for told in figures))) > 1:
                print(f"{kind:10} THE BYTES DIFFER")


@contextlib.contextmanager
def gateway(folder: Path, checkout: Path, url: str) -> Iterator[tuple[int, int]]:
    """Its process and port, once it is ready."""
    port = free_port()
    data = folder / f"gateway-{port}"
    environment = {
        "PATH": os.environ["PATH"], "DATABASE_URL": url, "GATEWAY_API_TOKENS": TOKEN, "GATEWAY_DATA_DIR": str(data),
        "GATEWAY_HTTP_HOST": "127.0.0.1", "GATEWAY_HTTP_PORT": str(port), "GATEWAY_RTMP_PORT": "0",
        "GLADIA_API_KEY": "unused", "GLADIA_API_URL": "http://127.0.0.1:9", "GATEWAY_AUTO_MIGRATE": "false",
    }  # fmt: skip
    with (folder / f"log-{port}").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"], cwd=checkout, env=environment, stdout=log, stderr=log
        )
        try:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    if ask(port, "/readyz")[0] == 200:
                        break
                time.sleep(0.1)
            else:
                raise SystemExit(f"{checkout} did not start:\n{Path(log.name).read_text()}")
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(30)


def measured(pid: int, server: int, port: int, query: str, told: Figures) -> dict[str, float]:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # its peak begins anew
    before, gateway_s, server_s = memory_mb(pid, "VmRSS"), cpu_s([pid]), cpu_s(backends(server))
    began = time.monotonic()
    status, digest, told.size = ask(port, f"/api/usage?{query}")
    wall = time.monotonic() - began
    if status != 200:
        raise SystemExit(f"{query} was answered with {status}")
    told.digests.add(digest)
    return {
        "wall": wall,
        "gateway": cpu_s([pid]) - gateway_s,
        "server": cpu_s(backends(server)) - server_s,
        "grown_mb": memory_mb(pid, "VmHWM") - before,
    }


def ask(port: int, path: str) -> tuple[int, str, int]:
    """Status, digest and size of the answer."""
    connection, digest, size = http.client.HTTPConnection("127.0.0.1", port, timeout=60), hashlib.sha256(), 0
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        while part := answer.read1(1 << 16):
            digest.update(part)
            size += len(part)
        return answer.status, digest.hexdigest(), size
    finally:
        connection.close()


def memory_mb(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def backends(server: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def cpu_s(pids: list[int]) -> float:
    """Of all threads, as the scheduler counts it."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


if __name__ == "__main__":
    main()
