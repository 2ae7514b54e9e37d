"""A little traffic: meetings of two that begin, go on for some time and end, with somebody who reads along."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any, Final

import aiohttp
from staging.world import World
from support.gateway import TOKEN
from support.speaker import Speaker

from stt.local.scripted import VOCABULARY, speak

LASTS_S: Final = 60.0
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}


async def _call(world: World, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """At any replica, as behind a balancer. Raises: aiohttp.ClientError, TimeoutError."""
    url = random.choice(world.urls)
    async with world.http.post(f"{url}{path}", json=body or {}, headers=HEADERS) as answer:
        answer.raise_for_status()
        told: dict[str, Any] = await answer.json()
        return told


async def _reads(world: World, slug: str) -> None:
    """Comes back when the line is lost."""
    while True:
        address = f"{random.choice(world.urls)}/api/realtime/transcribe"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with world.http.ws_connect(address, params={"session": slug}, headers=HEADERS) as line:
                async for _ in line:
                    pass
        await asyncio.sleep(1)


async def meeting(world: World, title: str) -> None:
    """One, from its creation to its end; what is refused ends it early. Two speak in turns."""
    with suppress(aiohttp.ClientError, TimeoutError):
        slug = (await _call(world, "/api/sessions", {"title": title}))["slug"]
        await _call(world, "/api/transcription/start", {"sessionSlug": slug, "source": "websocket", "language": "en"})
        reading = asyncio.create_task(_reads(world, slug))
        try:
            async with asyncio.timeout(LASTS_S):
                await asyncio.gather(*(_speaks(world, slug, name, turn) for turn, name in enumerate(("anna", "ben"))))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await _call(world, f"/api/sessions/{slug}/end")


async def _speaks(world: World, slug: str, name: str, turn: int) -> None:
    words = [VOCABULARY[(7 * turn + n) % len(VOCABULARY)] for n in range(90)]
    pauses = [1.0 if n % 6 == 5 else 0.0 for n in range(90)]
    pcm, _ = await asyncio.to_thread(speak, words, lead_s=2.0 * turn, pauses=pauses)
    urls = random.sample(world.urls, len(world.urls))
    await Speaker(world.http, lambda: urls, slug, name, pcm).speak()


async def traffic(world: World, every_s: float = 20.0) -> None:
    """A meeting each `every_s`, about three at once. Runs until cancelled."""
    number = 0
    async with asyncio.TaskGroup() as meetings:
        while True:
            number += 1
            meetings.create_task(meeting(world, f"Meeting {number}"))
            await asyncio.sleep(every_s)
