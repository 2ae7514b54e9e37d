"""Two gateways on one database share what the account allows; who waits loses no word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from integration.gateway_api.in_process import InProcess, running, speech_server
from support.gateway import publish, write_wav

from stt.local.scripted import speak
from stt.local.server import LocalServer

FIRST = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima"
SECOND = "red orange yellow green blue violet"
WITHIN_S = 60.0


async def until(gateway: InProcess, slug: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WITHIN_S):
            while not holds(seen := await gateway.ok("GET", f"/api/transcription/{slug}")):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it never held; last seen: {seen}") from None
    return seen


class Watch:
    """How many sessions the provider had open at the same time, at most."""

    def __init__(self, server: LocalServer) -> None:
        self.most = 0
        self._server = server
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, sum(live.open for live in self._server.sessions.values()))
            await asyncio.sleep(0.002)

    def end(self) -> int:
        self._task.cancel()
        return self.most


async def test_two_gateways_share_one_place_in_the_order_of_asking(database_url: str, tmp_path: Path) -> None:
    sounds = []
    for name, words in (("first", FIRST), ("second", SECOND)):
        pcm, _ = speak(words, lead_s=0.2, tail_s=0.3, pauses=[0.4] * len(words.split()))
        sounds.append(write_wav(tmp_path / f"{name}.wav", pcm))
    async with speech_server() as server:
        async with (
            running(database_url, server, tmp_path / "one", stt_max_sessions=1, lease_s=6.0, drain_s=20.0) as one,
            running(database_url, server, tmp_path / "two", stt_max_sessions=1, lease_s=6.0, drain_s=20.0) as two,
        ):
            watch = Watch(server)
            slugs, publishers = [], []
            for gateway, sound in ((one, sounds[0]), (two, sounds[1])):
                slugs.append(await gateway.session())
                started = await gateway.start(slugs[-1])
                publishers.append(await publish(sound, started["ingest"]["rtmpUrl"]))
                await until(gateway, slugs[-1], lambda seen: bool(seen["tracks"]) and seen["state"] != "starting")
                await until(gateway, slugs[-1], lambda seen: seen["tracks"][0]["provider"] in ("streaming", "waiting"))
            waiting = await until(two, slugs[1], lambda seen: seen["state"] == "waiting")
            assert waiting["tracks"][0]["backlogSeconds"] > 0
            assert any("in use" in reason for reason in waiting["health"]["reasons"])
            assert await two.metric("gateway_provider_places_held") == 1
            assert await two.metric("gateway_provider_places_waiting") == 1
            for publisher in publishers:
                assert await publisher.wait() == 0
            for gateway, slug, said in ((one, slugs[0], FIRST), (two, slugs[1], SECOND)):
                words = said.split()
                await until(gateway, slug, lambda seen, words=words: seen["finals"] == len(words))
                stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
                assert stopped["finalsComplete"], stopped
                finals = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
                assert [final["text"] for final in finals] == words
            assert watch.end() == 1
        connection = await asyncpg.connect(database_url)
        try:
            assert await connection.fetchval("SELECT count(*) FROM gateway.provider_place") == 0
        finally:
            await connection.close()
