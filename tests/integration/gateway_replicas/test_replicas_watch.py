"""Two gateways: a watcher on one hears what the other transcribes, and needs no Redis for finals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Running, Watcher, gateway_process, publish, write_wav
from support.redis_server import RedisServer, running_redis

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    words = [VOCABULARY[i % len(VOCABULARY)] for i in range(160)]
    pcm, _ = speak(words, lead_s=0.2, pauses=[0.6 if i % 2 else 0.1 for i in range(len(words))])
    return write_wav(tmp_path / "speech.wav", pcm)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


@dataclass
class Pair:
    """`a` transcribes the session `slug`, in which somebody speaks."""

    a: Running
    b: Running
    slug: str


@asynccontextmanager
async def pair(database_url: str, folder: Path, sound: Path, **settings: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", api_key="k")))
        env = {
            "DATABASE_URL": database_url,
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": provider.url,
            "GATEWAY_DRAIN_S": "5",
            **settings,
        }
        a = await stack.enter_async_context(gateway_process(folder / "a", **env))
        b = await stack.enter_async_context(gateway_process(folder / "b", **env))
        slug = await a.new_session()
        started = await a.start(slug)
        publisher = await publish(sound, started["ingest"]["rtmpUrl"])
        stack.push_async_callback(publisher.end)
        yield Pair(a, b, slug)


def has(kind: str, more: int) -> object:
    """So many further messages of a kind, from now on."""
    before: list[int] = []

    def holds(watcher: Watcher) -> bool:
        before[:] = before or [len(watcher.of(kind))]
        return len(watcher.of(kind)) >= before[0] + more

    return holds


def is_degraded(watcher: Watcher) -> bool:
    said = watcher.of("health")
    return bool(said) and said[-1]["data"]["status"] == "degraded"


def assert_same(one: Watcher, other: Watcher, first: int = 1) -> None:
    """Without a hole, and word for word what the other one was told."""
    numbers = [final["seq"] for final in other.finals]
    assert numbers == list(range(first, first + len(numbers)))
    data = {final["seq"]: final["data"] for final in one.finals}
    assert all(final["data"] == data[final["seq"]] for final in other.finals if final["seq"] in data)


async def test_a_watcher_elsewhere_hears_everything(
    database_url: str, tmp_path: Path, sound: Path, redis: RedisServer
) -> None:
    async with pair(database_url, tmp_path, sound, REDIS_URL=redis.url) as two, two.a.watch(two.slug) as near:
        await near.until(lambda watcher: len(watcher.finals) >= 2)
        async with two.b.watch(two.slug) as far:
            await far.until(lambda watcher: len(watcher.finals) >= 5 and len(watcher.of("transcript.partial")) >= 3)
            await near.until(lambda watcher: len(watcher.finals) >= 5)
            assert_same(near, far)
            assert not is_degraded(far)
            last = far.finals[-1]
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await two.b.http.ws_connect(f"{two.b.url}/api/realtime/audio?session={two.slug}", protocols=("audio.v1",))
        told = (await two.a.until(two.slug, lambda seen: bool(seen["health"]["reasons"])))["health"]["reasons"]
        assert told[0].startswith("a sender of audio was refused: its credential is missing, wrong")
        async with two.a.watch(two.slug, since=f"{last['epoch']}:{last['seq']}") as back:
            await back.until(lambda watcher: len(watcher.finals) >= 1)
            point = f"{last['epoch']}:{back.finals[0]['seq']}"
        async with two.b.watch(two.slug, since=point) as far:
            await far.until(lambda watcher: len(watcher.finals) >= 2)
            assert far.of("hello")[0]["data"]["resumed"] is True
            assert_same(near, far, first=last["seq"] + 2)
            await two.a.stop(two.slug)
            await far.until(
                lambda watcher: (watcher.of("session.state") or [{}])[-1].get("data", {}).get("state") == "stopped"
            )
            await near.until(lambda watcher: near.finals[-1]["seq"] >= far.finals[-1]["seq"])
            assert far.finals[-1]["seq"] == near.finals[-1]["seq"]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_redis_goes_and_comes_back(
    database_url: str, tmp_path: Path, sound: Path, redis: RedisServer, fault: str
) -> None:
    async with (
        pair(database_url, tmp_path, sound, REDIS_URL=redis.url) as two,
        two.a.watch(two.slug) as near,
        two.b.watch(two.slug) as far,
    ):
        await far.until(has("transcript.partial", 2))
        (redis.stop if fault == "killed" else redis.freeze)()
        await far.until(is_degraded)
        await far.until(has("transcript.final", 3))
        (redis.start if fault == "killed" else redis.thaw)()
        await far.until(lambda watcher: not is_degraded(watcher))
        await far.until(has("transcript.partial", 2))
        assert not near.of("health"), "who watches on the owner notices nothing"
        assert_same(near, far)


async def test_without_redis_finals_come_from_the_database(database_url: str, tmp_path: Path, sound: Path) -> None:
    async with pair(database_url, tmp_path, sound) as two, two.a.watch(two.slug) as near, two.b.watch(two.slug) as far:
        await far.until(lambda watcher: is_degraded(watcher) and len(watcher.finals) >= 3)
        assert "REDIS_URL" in far.of("health")[-1]["data"]["reasons"][0]
        assert not far.of("transcript.partial")
        await near.until(lambda watcher: len(watcher.finals) >= len(far.finals))
        assert_same(near, far)


async def test_a_session_has_one_limit_of_watchers_on_both(
    database_url: str, tmp_path: Path, sound: Path, redis: RedisServer
) -> None:
    """Two on the owner and one elsewhere are three: a fourth is let in nowhere, until one of them goes."""
    limits = {"REDIS_URL": redis.url, "GATEWAY_MAX_WATCHERS_PER_SESSION": "3"}
    async with pair(database_url, tmp_path, sound, **limits) as two, AsyncExitStack() as stack:
        for gateway in (two.a, two.a, two.b):
            watcher = await stack.enter_async_context(gateway.watch(two.slug))
            await watcher.until(lambda watcher: bool(watcher.of("hello")))
        async with asyncio.timeout(30):  # each tells the other what it has, each 5 s and on a change
            for gateway in (two.a, two.b):
                while not await is_full(gateway, two.slug):
                    await asyncio.sleep(0.1)
            await watcher.stream.close()
            while await is_full(two.a, two.slug):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(("method", "path", "code"), [("POST", "/end", 4510), ("DELETE", "", 4504)])
async def test_the_end_of_a_session_nobody_transcribes_reaches_who_watches_elsewhere(
    database_url: str, tmp_path: Path, sound: Path, redis: RedisServer, method: str, path: str, code: int
) -> None:
    """Over Redis: by itself a replica looks into the tables every 30 s."""
    async with pair(database_url, tmp_path, sound, REDIS_URL=redis.url) as two:
        slug = await two.a.new_session()
        await two.a.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna"})
        async with two.b.watch(slug) as far:
            await far.until(lambda watcher: bool(watcher.of("hello")))
            await two.a.ok(method, f"/api/sessions/{slug}{path}")
            await far.until(lambda watcher: watcher.stream.closed, within_s=25)
            assert far.stream.close_code == code


async def is_full(gateway: Running, slug: str) -> bool:
    """Somebody asks to watch, and goes again."""
    try:
        async with gateway.watch(slug) as watcher:
            await watcher.until(lambda watcher: bool(watcher.of("hello")))
    except aiohttp.WSServerHandshakeError as refused:
        assert refused.status == 429, refused
        return True
    return False
