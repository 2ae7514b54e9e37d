"""What happens to Redis, of any kind, between two gateways: finals go on everywhere, and partials come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from chaos.oracle import Voice
from chaos.people import Place, Sender, sound
from support.gateway import TOKEN, Process, Running, Watcher, free_port
from support.redis_server import RedisServer, running_cluster, running_redis, running_sentinel

from gateway.app.root import open_gateway
from gateway.settings import Settings
from storage.redis.topology import slot_of
from stt.local.scripted import VOCABULARY
from stt.local.server import LocalOptions, LocalServer


@dataclass
class Scene:
    """Somebody speaks in a session that one gateway runs; `near` watches there, `far` on the other."""

    slug: str
    near: Watcher
    far: Watcher

    async def live(self) -> None:
        """News come to the other gateway over Redis, and nothing is said to be missing."""
        partials, finals = len(self.far.of("transcript.partial")), len(self.far.finals)
        await self.far.until(
            lambda far: not degraded(far) and len(far.of("transcript.partial")) > partials and len(far.finals) > finals
        )

    async def degraded(self) -> None:
        """Finals come without Redis, and it is said that partials are missing."""
        await self.far.until(degraded)
        finals = len(self.far.finals)
        await self.far.until(lambda far: len(far.finals) > finals + 1)

    async def check(self) -> None:
        await self.near.until(lambda near: near.finals[-1]["seq"] >= self.far.finals[-1]["seq"])
        assert [one["seq"] for one in self.far.finals] == list(range(1, len(self.far.finals) + 1))
        said = {one["seq"]: one["data"] for one in self.near.finals}
        assert all(one["data"] == said[one["seq"]] for one in self.far.finals)
        assert not self.near.of("health"), "who watches on the owner notices nothing"


def degraded(watcher: Watcher) -> bool:
    said = watcher.of("health")
    return bool(said) and said[-1]["data"]["status"] == "degraded"


@asynccontextmanager
async def scene(database_url: str, folder: Path, redis_url: str) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted")))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        ends = []
        for name in ("a", "b"):
            settings = Settings(
                database_url=database_url,
                redis_url=redis_url,
                data_dir=folder / name,
                api_tokens=(TOKEN,),
                gladia_api_key="any",
                gladia_api_url=provider.url,
                http_host="127.0.0.1",
                http_port=free_port(),
                rtmp_port=0,
                drain_s=5.0,
            )
            gateway = await stack.enter_async_context(open_gateway(settings))
            ends.append(Running(gateway.http_url, 0, Process(None), http))  # type: ignore[arg-type]
        a, b = ends
        slug = await a.new_session()
        await a.start(slug, source="websocket")
        pcm, words = sound(VOCABULARY)
        place = Place(int(a.url.rpartition(":")[2]), 0)
        sender = Sender(slug, Voice("anna", words), pcm, lambda: 0, [place], http)
        speaking = asyncio.create_task(sender.run())
        stack.callback(speaking.cancel)
        near, far = [await stack.enter_async_context(one.watch(slug)) for one in ends]
        yield Scene(slug, near, far)


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
