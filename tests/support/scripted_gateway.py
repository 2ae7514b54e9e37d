"""A whole gateway in this process, with a recogniser that hears exactly what is said over RTMP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from support.gateway import TOKEN, write_wav

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

STREAM = "/api/realtime/transcribe"


@dataclass(frozen=True, slots=True)
class World:
    """`http` shows the service token on every request."""

    gateway: Gateway
    http: aiohttp.ClientSession
    folder: Path

    @property
    def url(self) -> str:
        return self.gateway.http_url

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self.http.request(method, self.url + path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def new_session(self) -> str:
        slug: str = (await self.call("POST", "/api/sessions", {}))["slug"]
        return slug

    async def start(self, slug: str) -> str:
        """Returns: where to publish."""
        started = await self.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
        url: str = started["ingest"]["rtmpUrl"]
        return url

    async def stop(self, slug: str) -> None:
        stopped = await self.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
        assert stopped["finalsComplete"], stopped

    async def say(self, url: str, utterances: int) -> list[str]:
        """Publish so many utterances of two words, about a second each. Returns: what was said, by utterance."""
        words = [VOCABULARY[i % len(VOCABULARY)] for i in range(2 * utterances)]
        pcm, _ = speak(words, lead_s=0.3, tail_s=0.6, pauses=[0.0, 0.5] * utterances)
        sound = write_wav(self.folder / "speech.wav", pcm)
        publisher = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli.publish", str(sound), url)
        try:
            assert await publisher.wait() == 0
        finally:
            if publisher.returncode is None:
                publisher.kill()
                await publisher.wait()
        return [" ".join(words[i : i + 2]) for i in range(0, len(words), 2)]

    async def spoken_session(self, utterances: int) -> tuple[str, list[str]]:
        """A transcribed and stopped session: slug, what was said."""
        slug = await self.new_session()
        said = await self.say(await self.start(slug), utterances)
        await self.stop(slug)
        return slug, said

    async def end_session(self, slug: str) -> None:
        """As the app does: in its own table."""
        connection = await asyncpg.connect(self.gateway.database_url)
        try:
            await connection.execute('UPDATE "VideoSession" SET status = $2 WHERE slug = $1', slug, "ENDED")
        finally:
            await connection.close()

    async def metric(self, name: str) -> float:
        async with self.http.get(self.url + "/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"no metric {name}")


@asynccontextmanager
async def scripted_gateway(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[World]:
    async with LocalServer(LocalOptions(engine="scripted")) as provider:
        values: dict[str, Any] = {
            "database_url": database_url,
            "data_dir": folder,
            "api_tokens": (TOKEN,),
            "gladia_api_key": "any-provider-key",
            "gladia_api_url": provider.url,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "rtmp_host": "127.0.0.1",
            "rtmp_port": -1,
            "drain_s": 5.0,
        }
        async with (
            open_gateway(Settings(**values | settings)) as gateway,
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=60)
            ) as http,
        ):
            yield World(gateway, http, folder)
