"""What is left: of sessions in the gateways that still run, and of the gateways once they have ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import aiohttp
import asyncpg
from chaos.plan import REPLICAS
from chaos.world import World
from soak.oracle import Holdings, defects, gauges_left, left_over, still
from soak.plan import WORKERS
from soak.processes import Gateway, gateways, holdings, is_there, page, tasks_of
from support.waiting import until

REST_S: Final = 240.0
"""At most: idle connections are kept for a while, documents are written, analyses made."""
REDIS_TASK: Final = "storage.redis.connection:Connection._read"
REDIS_LINKS: Final = 3
"""Of each gateway, when Redis answers: to publish, to listen, and for the limits of rates. Readiness waits for none."""
_LEFT: Final = {
    "transcriptions not stopped": "SELECT count(*) FROM gateway.transcription WHERE state <> 'STOPPED'",
    "places at the provider": "SELECT count(*) FROM gateway.provider_place",
    "ends of sessions with work left": "SELECT count(*) FROM gateway.session_ending",
    "analyses not done": "SELECT count(*) FROM gateway.analysis_job WHERE lease_until IS NOT NULL",
    "documents not written": "SELECT count(*) FROM gateway.document WHERE ready_at IS NULL OR ready_at < wanted_at",
    "webhooks not told": "SELECT count(*) FROM gateway.webhook_delivery WHERE status = 'pending'",
}
_LEFT_AFTER: Final = {
    "replicas": "SELECT count(*) FROM gateway.replica WHERE lost_at IS NULL",
    "duties": "SELECT count(*) FROM gateway.duty",
}
GONE_S: Final = 30.0
"""At most, after its end: until the kernel and the proxies have noticed."""
Before = Mapping[str, Holdings]


async def now(world: World) -> dict[str, Holdings]:
    """Of each process, by its name, once all of them answer and have their connections to Redis."""
    ready = await until(lambda: _all(world), within_s=REST_S, every_s=0.2)
    return {one.name: await holdings(one, world) for one in ready}


async def _all(world: World) -> list[Gateway]:
    """Nothing while a worker is not ready, which the port of all does not tell."""
    found = gateways(world)
    complete = len(found) == REPLICAS + sum(int(words[-1]) for words in WORKERS.values())
    if not complete:
        return []
    counted = [await tasks_of(one) for one in found if one.worker is not None]
    return found if all(tasks[REDIS_TASK] == REDIS_LINKS for tasks in counted) else []


async def left(world: World, before: Before) -> list[str]:
    """What is still there of sessions that are over, REST_S from now at the latest. Raises: OSError.

    First nothing is under way, all at one moment. Then each thing that a process holds too much of has to be away at
    one look: who asks the provider for its sessions once a minute keeps that connection for a while.
    """
    latest = time.monotonic() + REST_S
    under_way = await _until_none(lambda: _under_way(world), REST_S)
    held = await _held(world, before)
    while held and time.monotonic() < latest:
        await asyncio.sleep(2)
        held = still(held, await _held(world, before))
    return [*under_way, *held.values()]


async def _until_none(look: Callable[[], Awaitable[list[str]]], within_s: float) -> list[str]:
    """What the last look has found."""
    latest = time.monotonic() + within_s
    while (found := await look()) and time.monotonic() < latest:
        await asyncio.sleep(1)
    return found


async def _under_way(world: World) -> list[str]:
    found = await _rows(world, _LEFT)
    return found + [f"open at the provider: {live.id}" for live in world.provider.sessions.values() if live.open]


async def _held(world: World, before: Before) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in gateways(world):
        found |= left_over(one.name, before[one.name], await holdings(one, world))
        if not one.worker or one.worker == 1:  # the page is of all workers
            found |= await _gauges(one)
    return found


async def _gauges(one: Gateway) -> dict[str, str]:
    try:
        return gauges_left(one.name, await page(one, "/metrics"))
    except (aiohttp.ClientError, TimeoutError) as error:
        return {f"{one.name} page": f"{one.name}: /metrics: {type(error).__name__}"}


async def _rows(world: World, questions: Mapping[str, str]) -> list[str]:
    connection = await asyncpg.connect(world.database_url)
    try:
        counts = {what: await connection.fetchval(question) for what, question in questions.items()}
    finally:
        await connection.close()
    return [f"{what}: {count}" for what, count in counts.items() if count]


async def ended(world: World) -> list[str]:
    """Ends every gateway. Returns: what outlived it, and what it wrote that it should not."""
    processes = gateways(world)
    await asyncio.gather(*(replica.end() for replica in world.replicas))

    async def outlived() -> list[str]:
        found = [f"{one.name} still runs" for one in processes if is_there(one)]
        return found + [
            f"Redis: {count} connections ({kind})"
            for kind in ("normal", "pubsub")
            if (count := await asyncio.to_thread(world.redis.clients, kind))
        ]

    found = await _until_none(outlived, GONE_S) + await _rows(world, _LEFT_AFTER)
    for replica in world.replicas:
        found += defects(f"replica {replica.number}", replica.log)
    return found
