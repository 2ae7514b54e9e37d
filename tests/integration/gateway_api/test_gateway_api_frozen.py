"""A PostgreSQL that hangs: connections stand, and nothing answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import Relay, running
from support.waiting import until

from stt.local.server import LocalServer


async def test_list_status_and_pages_answer_from_memory_and_say_so(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    relay = Relay(database_url)
    await relay.mend()
    async with running(relay.url, provider, tmp_path) as gateway:
        slugs = [await gateway.session() for _ in range(9)]
        for slug in slugs[1:]:
            await gateway.start(slug)
        listed = await gateway.ok("GET", "/api/transcription")
        assert (listed["database"], len(listed["transcriptions"])) == ("ok", 8)

        relay.freeze()
        try:
            async with asyncio.timeout(15):  # a statement alone has 30 s
                frozen: list[Any] = await asyncio.gather(
                    gateway.ok("GET", "/api/transcription"),
                    gateway.ok("GET", f"/api/transcription/{slugs[1]}"),
                    gateway.ok("GET", f"/api/transcription/{slugs[1]}/usage"),
                    gateway.call("GET", f"/api/transcription/{slugs[0]}"),
                    gateway.call("GET", "/"),
                )
        finally:
            relay.thaw()
        listed, status, usage, unknown, page = frozen
        assert (listed["database"], status["database"], usage["billing"]) == ("unavailable", "unavailable", None)
        assert {one["sessionSlug"] for one in listed["transcriptions"]} == set(slugs[1:])
        assert (unknown.status, page.status) == (503, 200)

        async def is_back() -> bool:
            return (await gateway.ok("GET", "/api/transcription"))["database"] == "ok"

        await until(is_back)
    await relay.cut()
