"""Two gateways: whatever is asked of one is answered as by the one that transcribes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import InProcess, running, speech_server

HOP = {"Gateway-Hop": "1"}


@dataclass
class Pair:
    a: InProcess
    b: InProcess

    async def ids(self) -> tuple[str, str]:
        """Names of both, once each is known to the other with its address."""
        found: dict[str, str] = {}
        async with asyncio.timeout(30):
            while len(found) < 2:
                await asyncio.sleep(0.05)
                for one in (self.a, self.b):
                    seen = (await one.ok("GET", "/api/replicas"))["replicas"]
                    urls = {replica["url"]: replica["id"] for replica in seen}
                    found = {url: urls[url] for url in (self.a.url, self.b.url) if url in urls}
                    if len(found) < 2:
                        break
        return found[self.a.url], found[self.b.url]


@asynccontextmanager
async def pair(database_url: str, folder: Path, a: dict[str, Any] | None = None, **both: Any) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server())
        one = await stack.enter_async_context(running(database_url, provider, folder / "a", **both, **(a or {})))
        two = await stack.enter_async_context(running(database_url, provider, folder / "b", **both))
        yield Pair(one, two)


async def test_every_answer_is_the_owners(database_url: str, tmp_path: Path) -> None:
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        owner, _ = await two.ids()
        slug = await b.session()
        started = await a.start(slug, participantIdentity="anna")
        again = await b.start(slug)
        assert again == started | {"created": False, "ingest": again["ingest"]}
        assert again["ingest"]["streamKey"] == started["ingest"]["streamKey"]
        for path in (f"/api/transcription/{slug}", "/api/transcription", f"/api/transcription/{slug}/usage"):
            near, far = await a.ok("GET", path), await b.ok("GET", path)
            assert near == far
        shown = (await b.ok("GET", "/api/transcription"))["transcriptions"][0]
        assert (shown["replica"], shown["figures"]) == (owner, "live")
        wrong = await b.call("POST", "/api/transcription/start", {"sessionSlug": slug, "sessionId": "another"})
        assert (wrong.status, wrong.json["title"]) == (404, "No such session")
        stopped = await b.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        assert (stopped["state"], stopped["finalsComplete"]) == ("stopped", True)
        assert stopped == await a.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        shown = await b.ok("GET", f"/api/transcription/{slug}")
        assert (shown["state"], shown["replica"], shown["figures"]) == ("stopped", None, "stored")
        assert shown["reason"] == "stopped by request"
        started = await a.start(slug)
        answer = await b.call("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False})
        assert (answer.status, answer.json["state"]) == (202, "stopping")


async def test_a_session_goes_where_there_is_room(database_url: str, tmp_path: Path) -> None:
    async with pair(database_url, tmp_path, {"max_tracks": 1}, max_transcription_s=0) as two:
        a, b = two.a, two.b
        first_id, second_id = await two.ids()
        first, second, third = [await a.session() for _ in range(3)]
        await a.start(first, source="websocket")
        assert (await a.ok("GET", "/readyz"))["full"] is True
        assert await a.metric("gateway_full") == 1
        capped = await a.call(
            "POST", "/api/transcription/start", {"sessionSlug": second, "source": "rtmp", "costCapUsd": 0.001}
        )
        assert (capped.status, capped.json["title"]) == (402, "Cost cap reached")
        assert capped.kind == "application/problem+json" and capped.json["hint"]
        started = await a.call("POST", "/api/transcription/start", {"sessionSlug": second, "source": "rtmp"})
        assert (started.status, started.json["created"]) == (201, True)
        assert started.json["ingest"]["rtmpUrl"].endswith(started.json["ingest"]["streamKey"])
        shown = {
            one["sessionSlug"]: one["replica"] for one in (await a.ok("GET", "/api/transcription"))["transcriptions"]
        }
        assert shown == {first: first_id, second: second_id}
        states = {one["id"]: one["state"] for one in (await b.ok("GET", "/api/replicas"))["replicas"]}
        assert states[second_id] == "ready"
        assert (
            await a.call("POST", "/api/transcription/start", {"sessionSlug": third, "source": "rtmp"})
        ).status == 201
        for slug in (first, second, third):
            await a.ok("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False})
