"""Every event arrives at least once, none is made up, and a session's come in order, whatever fails.

`WEBHOOK_FAULTS=1000 pytest …` for more of them, `WEBHOOK_SEED=…` for a certain run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from integration.gateway_webhooks.receiver import Receiver, receiving
from support.ports import free_port

from gateway.app.system_clock import SystemClock
from gateway.outage import RecordsUnavailable
from gateway.webhooks import retries, sender
from gateway.webhooks.addresses import Allowed
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.outbox import PostgresOutbox
from gateway.webhooks.sender import Sender, open_post
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url

FAULTS = int(os.environ.get("WEBHOOK_FAULTS", "60"))
SEED = int(os.environ.get("WEBHOOK_SEED", "19"))
RECEIVERS_FAULTS = ("slow", "dead", "500", "cut")
ALLOWED = Allowed(http=True, private=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    options = parse_database_url(database_url)
    await prepare(options)
    async with open_pool(options, size=6) as found:
        yield found


class Failing:
    """An outbox whose database can be away: before a call, or after it, so that its answer is lost."""

    def __init__(self, outbox: PostgresOutbox, chance: random.Random) -> None:
        self._outbox = outbox
        self._chance = chance
        self.failures = 0
        """How many of the next calls fail."""
        self.is_dead = False

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._outbox, name)

        async def call(*args: Any) -> Any:
            if self.is_dead:
                raise RecordsUnavailable("killed")
            if self.failures:
                self.failures -= 1
                if self._chance.random() < 0.5:
                    await method(*args)
                raise RecordsUnavailable("away")
            return await method(*args)

        return call


class Replicas:
    """Two senders on one database; one that is killed notes nothing more, and another one comes."""

    def __init__(self, database: Database, post: sender.Post, chance: random.Random) -> None:
        self._make = lambda: Failing(PostgresOutbox(database), chance)
        self._post = post
        self._running: list[tuple[Failing, asyncio.Task[None]]] = []

    def start(self) -> None:
        outbox = self._make()
        one = Sender(outbox, self._post, SystemClock(), lambda: ())  # type: ignore[arg-type]
        self._running.append((outbox, asyncio.create_task(one.run())))

    async def kill(self) -> None:
        outbox, task = self._running.pop(0)
        outbox.is_dead = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def lose_database(self, calls: int) -> None:
        for outbox, _ in self._running:
            outbox.failures += calls

    async def close(self) -> None:
        while self._running:
            await self.kill()


async def test_no_fault_loses_doubles_in_the_books_or_reorders_an_event(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "PAUSES_S", (0.05, 0.1))
    monkeypatch.setattr(sender, "LOOK_S", 0.05)
    monkeypatch.setattr(sender, "LEASE_S", 0.8)
    chance, number = random.Random(SEED), count()
    sessions, clock = Sessions(database), SystemClock()
    await database.pool.execute("INSERT INTO \"Space\" (id) VALUES ('space') ON CONFLICT DO NOTHING")
    endpoints = Endpoints(PostgresOutbox(database), clock, ALLOWED)
    async with AsyncExitStack() as open_now:
        receiver = await open_now.enter_async_context(receiving())
        post = await open_now.enter_async_context(open_post(ALLOWED, clock.now, 0.4))
        made = await endpoints.create(receiver.url, None, None, None)
        await endpoints.create(f"http://127.0.0.1:{free_port()}/", None, None, None)  # nobody is there
        replicas = Replicas(database, post, chance)
        open_now.push_async_callback(replicas.close)
        replicas.start()
        replicas.start()
        for _ in range(FAULTS):
            await _a_session(sessions, f"session-{next(number)}")
            match chance.choice((*RECEIVERS_FAULTS, "killed", "database away")):
                case "killed":
                    await asyncio.sleep(chance.random() * 0.1)  # in the middle of something
                    await replicas.kill()
                    replicas.start()
                case "database away":
                    replicas.lose_database(chance.randint(1, 4))
                case behaviour:
                    receiver.behaviours += [behaviour] * chance.randint(1, 3)
        told = await database.pool.fetch(
            "SELECT event_id, lane, type FROM gateway.webhook_delivery WHERE endpoint_id = $1 ORDER BY id", made.id
        )
        assert len(told) == FAULTS * 3
        await receiver.until(lambda: {one for one, _, _ in receiver.taken} >= {row["event_id"] for row in told}, 240)
        await _all_settled(database, made.id)
        _judge(receiver, told)


async def _a_session(sessions: Sessions, slug: str) -> None:
    now = datetime.now(UTC)
    row = await sessions.create(slug, None, "space", None, now)
    assert await sessions.go_live(row.id, now)
    assert await sessions.end(row.id, now)


async def _all_settled(database: Database, endpoint_id: str) -> None:
    async with asyncio.timeout(60):
        while await database.pool.fetchval(
            "SELECT count(*) FROM gateway.webhook_delivery WHERE endpoint_id = $1 AND status <> 'delivered'",
            endpoint_id,
        ):
            await asyncio.sleep(0.05)


def _judge(receiver: Receiver, told: list[Any]) -> None:
    assert {one for one, _, _ in receiver.seen} == {row["event_id"] for row in told}, "an event was made up"
    lane_of = {row["event_id"]: row["lane"] for row in told}
    first: dict[str, list[str]] = {}
    for event_id in dict.fromkeys(one for one, _, _ in receiver.taken):
        first.setdefault(lane_of[event_id], []).append(event_id)
    for lane, ids in first.items():
        assert ids == [row["event_id"] for row in told if row["lane"] == lane], "a session's events came out of order"
