"""How fast is a search over a million finals, and what does it cost to store a final that can be found?

    python bench/search.py                      # an embedded PostgreSQL in memory, a million finals
    python bench/search.py --finals 100000

Finals are made by SQL: 12 words each, of 20,000 that are spread as words of a language are (the commonest is in every
second final); 500 to a session, ten sessions to a space. Queries go through `gateway.archive.search`, as those of
`GET /api/search` do: of a service that sees everything, of users with two and with a third of all spaces, of one who
has created twenty sessions. What is told is CPU time, of the server's process and of this one, so that other work on
the machine counts little; a cache that is cold does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway.archive.search import Asked, Search
from gateway.archive.searches import PostgresIndex
from gateway.sessions.domain.access import SERVICE, Caller, Kind
from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.url import parse_database_url

PER_SESSION = 500
SESSIONS_IN_SPACE = 10
WORDS = 20_000

FILL = (
    """INSERT INTO "Space" SELECT 'space-' || n FROM generate_series(0, $1::int / 5000) n""",
    """INSERT INTO "VideoSession" (id, slug, title, "createdByUserId", status, "spaceId")
       SELECT 'cmw9x8k2v000008l4session' || n, 'slug' || n, 'Meeting ' || n, CASE WHEN n % 100 = 0 THEN 'creator' END,
              'ENDED', 'space-' || n / 10 FROM generate_series(0, $1::int / 500) n""",
    """INSERT INTO "Participant" (id, "videoSessionId", identity, name)
       SELECT 'p' || n || '-' || k, 'cmw9x8k2v000008l4session' || n, 'person-' || (n * 7 + k) % 5000, 'Person'
       FROM generate_series(0, $1::int / 500) n, generate_series(1, 5) k""",
    "ALTER TABLE gateway.transcript_event DISABLE TRIGGER search_added",
    """INSERT INTO gateway.transcript_event
       SELECT 'cmw9x8k2v000008l4session' || n / 500, n % 500 + 1, 'e', 'u' || n, 't', jsonb_build_object(
                'text', (SELECT string_agg('w' || exp(random() * ln(20000))::int || 'o', ' ')
                         FROM generate_series(1, 12) WHERE n >= 0),
                'language', (ARRAY['en', 'en', 'de', 'fr'])[n / 500 % 4 + 1],
                'participantIdentity', 'anna', 'participantName', 'Anna',
                'startMs', n % 500 * 4000, 'endMs', n % 500 * 4000 + 3000, 'startedAt',
                to_char(timestamp '2026-01-01' + n * interval '4 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')), now()
       FROM generate_series(0, $1::int - 1) n""",
    "ALTER TABLE gateway.transcript_event ENABLE TRIGGER search_added",
)
# What is said most are stop words, which nobody can look for; so the commonest ones here are not either.
KINDS: dict[str, Callable[[random.Random], str]] = {
    "common word (2 to 15 %)": lambda rng: word(rng.randint(8, 50)),
    "word": lambda rng: word(rng.randint(100, 2_000)),
    "rare word": lambda rng: word(rng.randint(10_000, 20_000)),
    "absent word": lambda rng: f"nowhere{rng.randint(1, 999)}",
    "two words": lambda rng: f"{word(rng.randint(8, 50))} {word(rng.randint(50, 500))}",
    "two rare words": lambda rng: f"{word(rng.randint(3_000, 9_000))} {word(rng.randint(3_000, 9_000))}",
    "phrase": lambda rng: f'"{word(rng.randint(8, 50))} {word(rng.randint(8, 50))}"',
    "beginning": lambda rng: f"w{rng.randint(100, 999)}*",
    "without": lambda rng: f"{word(rng.randint(20, 200))} -{word(rng.randint(8, 20))}",
    "one or another": lambda rng: f"{word(rng.randint(500, 5_000))} OR {word(rng.randint(500, 5_000))}",
}
CALLERS = {
    "service": SERVICE,
    "user of two spaces": Caller(Kind.USER, "u", frozenset({"space-3", "space-177"})),
    "user of 70 spaces": Caller(Kind.USER, "u", frozenset(f"space-{n * 3}" for n in range(70))),
    "creator of 20 sessions": Caller(Kind.USER, "creator"),
}


def word(number: int) -> str:
    return f"w{number}o"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finals", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=12, help="of each kind and caller")
    parser.add_argument("--explain", action="store_true")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bench-search-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        asyncio.run(run(Path(folder) / "postgres", options))


async def run(folder: Path, options: argparse.Namespace) -> None:
    async with EmbeddedPostgres(folder, durable=False) as server:
        url = parse_database_url(server.url)
        await prepare(url)
        async with open_pool(url, size=1, command_timeout_s=600) as database:
            await fill(database, options.finals)
            await measure(database, options.queries)
            if options.explain:
                await explain(database)
            await writing(database)


async def fill(database: Database, finals: int) -> None:
    began = time.monotonic()
    for statement in FILL:
        await database.pool.execute(statement, *([finals] if "$1" in statement else []))
    print(f"{finals} finals made in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    await database.pool.execute("INSERT INTO gateway.search_backfill VALUES ('', 0)")
    index, is_left, batches = PostgresIndex(database), True, []
    while is_left:
        (_, is_left), seconds = await timed(lambda: index.catch_up(500))
        batches.append(seconds)
    middle, most = statistics.median(batches) * 1e3, max(batches) * 1e3
    print(
        f"made ready in {time.monotonic() - began:.0f} s without pauses; 500 took {middle:.0f} ms, at most {most:.0f}"
    )
    await database.pool.execute("VACUUM ANALYZE")
    for name in ("transcript_event", "search_line", "search_line_words", "search_line_said", "search_line_pkey"):
        size = await database.pool.fetchval(
            "SELECT pg_size_pretty(pg_relation_size($1::text::regclass))", f"gateway.{name}"
        )
        print(f"  {name}: {size}")


async def measure(database: Database, count: int) -> None:
    search = Search(PostgresIndex(database), SimpleNamespace())  # type: ignore[arg-type]
    spent = Cpu(await database.pool.fetchval("SELECT pg_backend_pid()"))
    everything: list[float] = []
    print(f"{'CPU ms: median / 95 % (hits)':28}", *(f"{name:>24}" for name in CALLERS))
    await search.find(SERVICE, Asked("reads dictionaries", 20))
    for kind, query in KINDS.items():
        told = []
        for caller in CALLERS.values():
            rng = random.Random(kind)
            took, hits = [], 0
            for _ in range(count):
                before = spent.ms()
                hits += len((await search.find(caller, Asked(query(rng), 20))).hits)
                took.append(spent.ms() - before)
            everything += took
            took.sort()
            told.append(f"{statistics.median(took):.1f} / {quantile(took):.1f} ({hits / count:.0f})")
        print(f"{kind:28}", *(f"{one:>24}" for one in told), flush=True)
    everything.sort()
    print(f"all {len(everything)}: median {statistics.median(everything):.1f} ms, 95 % {quantile(everything):.1f} ms")


class Cpu:
    """Of the server's process for the one connection, and of this process."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/schedstat")

    def server_ms(self) -> float:
        return int(self._file.read_text().split()[0]) / 1e6

    def ms(self) -> float:
        return self.server_ms() + time.process_time() * 1e3


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    began = time.monotonic()
    found = await work()
    return found, time.monotonic() - began


def quantile(ordered: list[float], share: float = 0.95) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def explain(database: Database) -> None:
    for query, since in (("'w3o'", "2026-02-15"), ("'w1500o'", "1970-01-01")):
        print(f"\n{query} since {since}")
        for row in await database.pool.fetch(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) SELECT l.session_id, l.seq, l.said_at FROM gateway.search_line l "
            f"WHERE l.words @@ $${query}$$::tsquery AND l.said_at >= '{since}' AND l.said_at < '9999-01-01'"
        ):
            print(" ", row[0])


async def writing(database: Database) -> None:
    """Batches as `final_append` stores them, with and without the trigger; CPU of the server's process."""
    series = "FROM generate_series($1::int, $1::int + $2::int - 1) n"
    insert = FILL[4].replace("FROM generate_series(0, $1::int - 1) n", series)
    async with database.pool.acquire() as connection:
        cpu = Cpu(await connection.fetchval("SELECT pg_backend_pid()")).server_ms

        at = 3_000_000
        for size in (1, 100):
            spent: dict[str, list[float]] = {}
            for what in ("DISABLE", "ENABLE", "DISABLE", "ENABLE"):
                await connection.execute(f"ALTER TABLE gateway.transcript_event {what} TRIGGER search_added")
                before = cpu()
                for _ in range(8_000 // size if size > 1 else 4_000):
                    await connection.execute(insert, at, size)
                    at += size
                spent.setdefault(what, []).append((cpu() - before) / (8_000 if size > 1 else 4_000) * 1e3)
            off, on = min(spent["DISABLE"]), min(spent["ENABLE"])
            print(f"storing {size} at once: {off:.0f} µs of the server's CPU a final without a line, {on:.0f} with one")


if __name__ == "__main__":
    main()
