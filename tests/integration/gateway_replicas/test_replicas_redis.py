"""What happens to Redis, of any kind, between two gateways: finals go on everywhere, and partials come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.gateway_replicas.replicas_scene import scene
from support.redis_server import RedisServer, running_cluster, running_redis, running_sentinel

from storage.redis.topology import slot_of


def until_back(server: RedisServer) -> Awaitable[None]:
    return asyncio.to_thread(server.start)


async def test_one_server(database_url: str, tmp_path: Path) -> None:
    """Emptied, its buffer for us exceeded, restarted, and gone: each in turn."""
    with running_redis(tmp_path) as redis:
        async with scene(database_url, tmp_path, redis.url) as there:
            await there.live()
            assert redis.ask("FLUSHALL") == "+OK\r\n"
            await there.live()
            assert redis.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1024 0 0") == "+OK\r\n"
            assert redis.ask("PUBLISH", f"gw:{{{there.slug}}}", "x" * 200_000).startswith(":")
            await there.live()
            redis.stop()
            await until_back(redis)
            await there.live()
            redis.stop()
            await there.degraded()
            await there.check()


async def test_a_server_that_comes_later(database_url: str, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        async with scene(database_url, tmp_path, redis.url) as there:
            await there.degraded()
            await until_back(redis)
            await there.live()
            await there.check()
    finally:
        redis.stop()


@asynccontextmanager
async def _moved_slot(folder: Path) -> AsyncIterator[tuple[str, Callable[[str], None]]]:
    with running_cluster(folder) as cluster:

        def move(slug: str) -> None:
            slot = slot_of(f"gw:{{{slug}}}".encode())
            master = next(node for node in cluster.nodes if node.ask("SPUBLISH", f"gw:{{{slug}}}", "").startswith(":"))
            cluster.move(slot, next(node for node in cluster.nodes if node is not master))

        yield cluster.url, move


@asynccontextmanager
async def _failed_over(folder: Path) -> AsyncIterator[tuple[str, Callable[[str], None]]]:
    with running_sentinel(folder) as (sentinel, master, _):
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/main", lambda slug: master.stop()


@pytest.mark.parametrize("kind", [_moved_slot, _failed_over])
async def test_another_server_takes_over(database_url: str, tmp_path: Path, kind: Callable[..., object]) -> None:
    """A Cluster's slot moves; a Sentinel names another master."""
    servers = kind(tmp_path)
    async with servers as (url, change), scene(database_url, tmp_path, url) as there:  # type: ignore[attr-defined]
        await there.live()
        await asyncio.to_thread(change, there.slug)
        await there.live()
        await there.check()
