"""Two gateways in this process: somebody speaks in a session of the one, and is watched on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from chaos.oracle import Voice
from chaos.people import Place, Sender, sound
from support.gateway import TOKEN, Process, Running, Watcher
from support.ports import free_port

from gateway.app.root import open_gateway
from gateway.settings import Settings
from stt.local.scripted import VOCABULARY
from stt.local.server import LocalOptions, LocalServer


@dataclass
class Scene:
    """Somebody speaks in a session that one gateway runs; `near` watches there, `far` on the other."""

    slug: str
    owner: Running
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
async def scene(database_url: str, folder: Path, redis_url: str | None) -> AsyncIterator[Scene]:
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
        a = ends[0]
        slug = await a.new_session()
        await a.start(slug, source="websocket")
        pcm, words = sound(VOCABULARY)
        place = Place(int(a.url.rpartition(":")[2]), 0)
        sender = Sender(slug, Voice("anna", words), pcm, lambda: 0, [place], http)
        speaking = asyncio.create_task(sender.run())
        stack.callback(speaking.cancel)
        near, far = [await stack.enter_async_context(one.watch(slug)) for one in ends]
        yield Scene(slug, a, near, far)
