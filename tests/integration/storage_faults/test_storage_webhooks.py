"""What webhooks are told while the gateway is killed and its database frozen or killed: real processes, seeded rounds.

In each round sessions live their lives, and in the middle of them something happens. Afterwards the tables are compared
with what the receiver got: for each fact one event, each event at least once, none besides, a session's in order, and
under one id the same bytes. `WEBHOOK_FAULT_ROUNDS` (default 3: each kind once; `make faults` plays more) and
`STORAGE_FAULT_SEED` choose a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from faults_world import Database, World
from integration.gateway_webhooks.receiver import Receiver, receiving
from support.gateway import TOKEN
from support.ports import free_port

from stt.local.server import LocalOptions, LocalServer

ROUNDS = int(os.environ.get("WEBHOOK_FAULT_ROUNDS", "3"))
SEED = int(os.environ.get("STORAGE_FAULT_SEED", "1"))
LIVES = 3  # at once
WITHIN_S = 120.0


@asynccontextmanager
async def told_world(database: Database, folder: Path) -> AsyncIterator[World]:
    """A gateway without speakers."""
    async with (
        LocalServer(LocalOptions(engine="scripted")) as provider,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        settings = {"GATEWAY_WEBHOOK_ALLOW": "http,private", "GATEWAY_LEASE_S": "5"}
        world = World(database, provider, folder, http, folder, free_port(), free_port(), settings=settings)
        await world.start_gateway()
        try:
            yield world
        finally:
            if world.gateway.process.returncode is None:
                await world.gateway.end()


async def insist(world: World, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
    """As an app does it: again until there is an answer, whatever became of the tries before."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                headers = {"Authorization": f"Bearer {TOKEN}"}
                async with world.http.request(method, world.url + path, json=body, headers=headers) as answer:
                    told = await answer.text()
                    assert answer.status not in (400, 401, 403), told
                    if answer.status < 500:
                        return await answer.json()
            await asyncio.sleep(0.1)


async def life(world: World, dice: random.Random) -> None:
    slug = (await insist(world, "/api/sessions", {}))["slug"]
    path = f"/api/sessions/{slug}"
    await insist(world, f"{path}/participants/join", {"identity": "anna"})
    await asyncio.sleep(dice.random() * 0.3)
    await insist(world, "/api/transcription/start", {"sessionSlug": slug, "source": "websocket"})
    await asyncio.sleep(dice.random() * 0.3)
    await insist(world, "/api/transcription/stop", {"sessionSlug": slug})
    await insist(world, f"{path}/end")


async def killed(world: World, dice: random.Random) -> None:
    await world.kill_gateway()
    await world.start_gateway()


async def frozen(world: World, dice: random.Random) -> None:
    """The database hangs, and perhaps the gateway is killed meanwhile."""
    with world.database.frozen():
        await asyncio.sleep(0.2 + dice.random())
        if dice.random() < 0.5:
            await world.kill_gateway()
    if world.gateway.process.returncode is not None:
        await world.start_gateway()


async def crashed(world: World, dice: random.Random) -> None:
    await world.database.crash()
    await asyncio.sleep(dice.random())
    await world.database.start()


FAULTS = (killed, frozen, crashed)


@pytest.mark.parametrize("seed", [SEED])
async def test_every_fact_is_told_and_nothing_else(seed: int, database: Database, tmp_path: Path) -> None:
    dice = random.Random(seed)
    async with told_world(database, tmp_path) as world, receiving() as receiver:
        hook = (await insist(world, "/api/webhooks", {"url": receiver.url}))["id"]
        for number in range(ROUNDS):
            fault = FAULTS[number % len(FAULTS)] if number < len(FAULTS) else dice.choice(FAULTS)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(LIVES):
                    tasks.create_task(life(world, dice))
                receiver.behaviours += [dice.choice(("dead", "cut", "500"))] * dice.randint(0, 2)
                await asyncio.sleep(dice.random())
                await fault(world, dice)
        await _all_taken(world, receiver, hook)
        await _judge(world, receiver, f"seed {seed}")


async def _all_taken(world: World, receiver: Receiver, hook: str) -> None:
    """What waits for its next attempt, or for the lease of a killed process, is sent at once."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            await insist(world, f"/api/webhooks/{hook}", {"enabled": True}, "PATCH")
            await asyncio.sleep(0.5)
            async with world.database.connection() as connection:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM gateway.webhook_delivery WHERE status <> 'delivered'"
                )
                working = await connection.fetchval(
                    "SELECT (SELECT count(*) FROM gateway.transcription WHERE state <> 'STOPPED') + "
                    "(SELECT count(*) FROM \"VideoSession\" WHERE status = 'LIVE')"
                )
            if waiting == working == 0:
                return


async def _judge(world: World, receiver: Receiver, context: str) -> None:
    async with world.database.connection() as connection:
        rows = await connection.fetch("SELECT event_id, lane, type, data FROM gateway.webhook_delivery ORDER BY id")
        facts = Counter[tuple[str, str]]()
        for session in await connection.fetch('SELECT id, status, "startedAt" FROM "VideoSession"'):
            facts[session["id"], "session.created"] += 1
            facts[session["id"], "session.started"] += session["startedAt"] is not None
            facts[session["id"], "session.ended"] += session["status"] == "ENDED"
        for one in await connection.fetch('SELECT "videoSessionId" AS id FROM "Participant"'):
            facts[one["id"], "participant.joined"] += 1
        for one in await connection.fetch("SELECT session_id AS id, state FROM gateway.transcription"):
            facts[one["id"], "transcription.started"] += 1
            for ended in ("transcription.stopped", "usage.closed"):
                facts[one["id"], ended] += one["state"] == "STOPPED"
    told = Counter((row["lane"], row["type"]) for row in rows)
    known = {name for _, name in facts}
    assert {one: count for one, count in told.items() if one[1] in known} == +facts, context
    assert {one for one, _, _ in receiver.taken} >= {row["event_id"] for row in rows}, context
    assert {one for one, _, _ in receiver.seen} <= {row["event_id"] for row in rows}, f"{context}: made up"
    lanes = {row["event_id"]: row["lane"] for row in rows}
    first: dict[str, list[str]] = {}
    for event_id in dict.fromkeys(one for one, _, _ in receiver.taken):
        first.setdefault(lanes[event_id], []).append(event_id)
    for lane, ids in first.items():
        assert ids == [row["event_id"] for row in rows if row["lane"] == lane], f"{context}: out of order"
    print(f"{context}: {len(rows)} events of {len(first)} sessions, {len(receiver.seen)} requests")
