"""Transcriptions change hands between gateways that live: over RTMP, and when one goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.gateway import TOKEN, Running, gateway_process, publish, write_wav
from support.redis_server import RedisServer, running_redis
from support.speaker import Speaker

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


def speech(count: int, first: int = 0) -> tuple[list[str], bytes]:
    words = [VOCABULARY[(first + i) % len(VOCABULARY)] for i in range(count)]
    pcm, _ = speak(words, lead_s=0.3, pauses=[1.2 if i % 3 == 2 else 0.1 for i in range(count)])
    return words, pcm


@asynccontextmanager
async def environment(database_url: str, redis: RedisServer) -> AsyncIterator[dict[str, str]]:
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        yield {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis.url,
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": provider.url,
            "GATEWAY_DRAIN_S": "10",
        }


async def told(gateway: Running, slug: str) -> list[str]:
    """Words in the order in which they were spoken."""
    finals = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    assert sorted(final["seq"] for final in finals) == list(range(1, len(finals) + 1))
    return [word for final in sorted(finals, key=lambda one: one["startMs"]) for word in final["text"].split()]


async def owner(gateway: Running, slug: str) -> str:
    return str((await gateway.status(slug))["replica"])


async def test_an_encoder_may_publish_to_any_replica(database_url: str, tmp_path: Path, redis: RedisServer) -> None:
    first, pcm_one = speech(6)
    second, pcm_two = speech(6, 6)
    async with AsyncExitStack() as stack:
        env = await stack.enter_async_context(environment(database_url, redis))
        a = await stack.enter_async_context(gateway_process(tmp_path / "a", **env))
        b = await stack.enter_async_context(gateway_process(tmp_path / "b", **env))
        slug = await a.new_session()
        key = (await a.start(slug))["ingest"]["streamKey"]
        at_first = await owner(a, slug)
        here, there = (a, b) if (tmp_path / "a" / "instance").read_text() == at_first else (b, a)
        near = await stack.enter_async_context(here.watch(slug))
        for gateway, pcm in ((there, pcm_one), (here, pcm_two)):
            url = f"rtmp://127.0.0.1:{gateway.rtmp_port}/live/{key}"
            encoder = await publish(write_wav(tmp_path / "speech.wav", pcm), url)
            assert await encoder.wait() == 0, encoder.output
            if gateway is there:
                assert await owner(here, slug) != at_first
        assert await owner(there, slug) == at_first
        stopped = await there.stop(slug)
        assert stopped["finalsComplete"] is True
        assert await told(a, slug) == first + second
        await near.until(lambda watcher: watcher.words == first + second)
        assert near.stream.closed is False, "who watches is not sent back"
        text = await there.ok("GET", "/metrics")
        assert 'gateway_handovers_total{outcome="taken"} 1.0' in text


@dataclass
class Reader:
    """A watcher that comes back to whichever gateway is there, from where it was."""

    urls: Callable[[], list[str]]
    slug: str
    http: aiohttp.ClientSession
    finals: list[dict[str, Any]] = field(default_factory=list)
    hellos: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> None:
        tries = 0
        while True:
            url = self.urls()[tries % len(self.urls())]
            tries += 1
            with suppress(aiohttp.ClientError, ConnectionError):
                await self._once(url)
            await asyncio.sleep(0.1)

    async def _once(self, url: str) -> None:
        query = {"session": self.slug}
        if self.finals:
            query["since"] = f"{self.finals[-1]['epoch']}:{self.finals[-1]['seq']}"
        protocols = ("transcript.v1", f"bearer.{TOKEN}")
        async with self.http.ws_connect(f"{url}/api/realtime/transcribe", params=query, protocols=protocols) as line:
            async for message in line:
                told = json.loads(message.data)
                if told["type"] == "transcript.final":
                    self.finals.append(told)
                elif told["type"] == "hello":
                    self.hellos.append(told["data"])


async def ready_answers(http: aiohttp.ClientSession, url: str) -> list[int]:
    """What `/readyz` says until nobody listens any more, one after the other."""
    answers = [200]
    with suppress(aiohttp.ClientError, ConnectionError):
        while True:
            async with http.get(f"{url}/readyz") as answer:
                if answer.status != answers[-1]:
                    answers.append(answer.status)
            await asyncio.sleep(0.02)
    return answers


async def test_a_rolling_restart_loses_and_doubles_nothing(
    database_url: str, tmp_path: Path, redis: RedisServer
) -> None:
    spoken = {"anna": speech(33), "ben": speech(33, 5)}
    async with AsyncExitStack() as stack:
        env = await stack.enter_async_context(environment(database_url, redis))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        gateways: dict[str, Running] = {}
        stacks = {name: await stack.enter_async_context(AsyncExitStack()) for name in "abc"}

        async def begin(name: str) -> None:
            gateways[name] = await stacks[name].enter_async_context(gateway_process(tmp_path / name, **env))

        def urls() -> list[str]:
            return [gateway.url for gateway in gateways.values()]

        await asyncio.gather(*(begin(name) for name in "abc"))
        slugs = {who: await gateways["a"].new_session() for who in spoken}
        for slug in slugs.values():
            await gateways["a"].start(slug, source="websocket")
        readers = {who: Reader(urls, slug, http) for who, slug in slugs.items()}
        reading = [asyncio.create_task(reader.read()) for reader in readers.values()]
        speakers = {who: Speaker(http, urls, slugs[who], who, pcm) for who, (_, pcm) in spoken.items()}
        speaking = [asyncio.create_task(speaker.speak()) for speaker in speakers.values()]
        answers: list[int] = []
        for name in "abc":
            await asyncio.sleep(2)
            gone = gateways.pop(name)
            asking = asyncio.create_task(ready_answers(http, gone.url))
            await stacks[name].aclose()
            answers += await asking
            assert "does not take it over" not in gone.process.output
            await begin(name)
        # A question may come too late for the moment in which what a replica has is given away.
        assert set(answers) == {200, 503} and answers.count(200) == 3, answers
        await asyncio.wait_for(asyncio.gather(*speaking), 120)
        for who, (words, pcm) in spoken.items():
            stopped = await gateways["b"].stop(slugs[who])
            assert stopped["finalsComplete"] is True
            assert await told(gateways["c"], slugs[who]) == words
            [row] = stopped["usage"]["rows"]
            assert row["finalTranscripts"] == len(readers[who].finals)
            assert stopped["usage"]["receipt"]["secondsHeard"] == pytest.approx(len(pcm) / 32_000, abs=0.5)
            seqs = [final["seq"] for final in readers[who].finals]
            assert seqs == list(range(1, len(seqs) + 1))
            assert all(hello["resumed"] for hello in readers[who].hellos if hello["seq"] and readers[who].finals)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
