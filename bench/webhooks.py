"""How long an event takes from its fact to its receiver, and what a fact costs while nobody wants to hear of it.

    PYTHONPATH=. python bench/webhooks.py

Two senders, as of two replicas, on one PostgreSQL, and one receiver that answers at once; 20 sessions a second for 15 s
begin, go live and end, three events each. Beside it a second endpoint that never answers. The facts' cost: the median
of three times 300 sessions.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from aiohttp import web
from support.ports import free_port
from support.postgres import running_postgres

from gateway.app.system_clock import SystemClock
from gateway.webhooks.addresses import Allowed
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.outbox import PostgresOutbox
from gateway.webhooks.sender import Sender, open_post
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url

SECONDS, RATE = 15, 20
ALLOWED = Allowed(http=True, private=True)


async def main(url: str) -> None:
    options = parse_database_url(url)
    await prepare(options)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_pool(options))
        await database.pool.execute("INSERT INTO \"Space\" (id) VALUES ('space') ON CONFLICT DO NOTHING")
        outbox, clock = PostgresOutbox(database), SystemClock()
        endpoints = Endpoints(outbox, clock, ALLOWED)
        nobody = [await _facts(database, f"n{round_}") for round_ in range(3)]
        arrived: dict[str, float] = {}
        address = await _receiver(stack, arrived)
        made = await endpoints.create(address, None, None, None)
        wanted = [await _facts(database, f"w{round_}") for round_ in range(3)]
        await database.pool.execute("DELETE FROM gateway.webhook_delivery")
        await endpoints.create(f"http://127.0.0.1:{free_port()}/", None, None, None)
        post = await stack.enter_async_context(open_post(ALLOWED, clock.now))
        senders = [asyncio.create_task(Sender(outbox, post, clock, lambda: ()).run()) for _ in range(2)]
        began = time.monotonic()
        for number in range(SECONDS * RATE):
            await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0))
            await _session(Sessions(database), f"s{number}")
        await asyncio.sleep(3)
        for task in senders:
            task.cancel()
        rows = await database.pool.fetch(
            "SELECT event_id, created_at FROM gateway.webhook_delivery WHERE endpoint_id = $1", made.id
        )
        delays = sorted(arrived[row["event_id"]] - row["created_at"].timestamp() for row in rows)
        print(f"{len(delays)} events to a receiver, of {len(rows)}; another one is dead")
        p50, p95 = (delays[int(len(delays) * share)] for share in (0.5, 0.95))
        print(f"  written to received: p50 {p50:.3f} s, p95 {p95:.3f} s, last {delays[-1]:.3f} s")
        print(f"create, go live, end: {1e3 * statistics.median(nobody):.2f} ms while nobody listens, "
              f"{1e3 * statistics.median(wanted):.2f} ms with one endpoint")  # fmt: skip


async def _receiver(stack: AsyncExitStack, arrived: dict[str, float]) -> str:
    async def hook(request: web.Request) -> web.Response:
        await request.read()
        arrived.setdefault(request.headers["webhook-id"], time.time())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", hook)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return f"http://127.0.0.1:{port}/"


async def _session(sessions: Sessions, slug: str) -> None:
    now = datetime.now(UTC)
    row = await sessions.create(slug, None, "space", None, now)
    await sessions.go_live(row.id, now)
    await sessions.end(row.id, now)


async def _facts(database: Database, name: str) -> float:
    began = time.perf_counter()
    for number in range(300):
        await _session(Sessions(database), f"{name}-{number}")
    return (time.perf_counter() - began) / 300


if __name__ == "__main__":
    with running_postgres() as server, server.database() as url:
        asyncio.run(main(url))
