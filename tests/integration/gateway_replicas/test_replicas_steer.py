"""Two gateways: whatever is asked of one is answered as by the one that transcribes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running, speech_server, user_token
from support.ports import free_port

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
async def pair(
    database_url: str, folder: Path, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, **both: Any
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server())
        one = await stack.enter_async_context(running(database_url, provider, folder / "a", **both, **(a or {})))
        two = await stack.enter_async_context(running(database_url, provider, folder / "b", **both, **(b or {})))
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


async def test_the_end_of_a_session_reaches_its_owner(database_url: str, tmp_path: Path) -> None:
    """Begun by a user, deleted and ended on the other one; a start by a user is placed and answered as any."""
    async with pair(database_url, tmp_path, {"max_tracks": 1}, join_starts="rtmp") as two:
        a, b = two.a, two.b
        await two.ids()
        slugs = [await a.session() for _ in range(3)]
        for slug in slugs:
            await a.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna", "name": "Anna"})
        owners = {}
        async with asyncio.timeout(30):
            while len(owners) < 3:
                await asyncio.sleep(0.1)
                shown = (await b.ok("GET", "/api/transcription"))["transcriptions"]
                owners = {one["sessionSlug"]: one["replica"] for one in shown}
        assert len(set(owners.values())) == 2
        for slug in slugs:
            again = await b.call("POST", f"/api/sessions/{slug}/transcription/start", {"source": "rtmp"})
            assert (again.status, again.json["created"]) == (200, False)
            assert again.json["ingest"]["streamKey"]
        for one, slug in zip((a, b), slugs, strict=False):
            await one.ok("POST", f"/api/sessions/{slug}/end")
            shown = await one.ok("GET", f"/api/transcription/{slug}")
            assert (shown["state"], shown["reason"]) == ("stopped", "the session has ended")
        await a.ok("DELETE", f"/api/sessions/{slugs[2]}")
        for one in (a, b):
            assert (await one.ok("GET", "/api/transcription"))["transcriptions"] == []
            assert (await one.call("GET", f"/api/transcription/{slugs[2]}")).status == 404


async def test_nothing_is_passed_on_twice_and_strangers_find_nothing(database_url: str, tmp_path: Path) -> None:
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        a_id, b_id = await two.ids()
        slug = await a.session()
        await a.start(slug)
        body = {"sessionSlug": slug, "reason": "because"}
        stop = "/internal/transcription/stop"
        asked = await b.call("POST", stop, body, headers={"Gateway-Hop": "1", "Gateway-To": b_id})
        assert (asked.status, asked.json["owner"], asked.headers["Gateway-From"]) == (421, a_id, b_id)
        asked = await b.call("POST", stop, body, headers={"Gateway-Hop": "1", "Gateway-To": a_id})
        assert (asked.status, asked.headers["Gateway-From"]) == (421, b_id)
        for headers, token in (({}, TOKEN), (HOP, None), (HOP, user_token("default"))):
            assert (await b.call("POST", stop, body, headers=headers, token=token)).status == 404
        assert (await a.ok("GET", f"/api/transcription/{slug}"))["state"] == "starting"


@pytest.mark.parametrize("leads_to", ["nobody", "the other one"])
async def test_an_address_that_leads_elsewhere_does_no_harm(
    database_url: str, tmp_path: Path, leads_to: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is asked there is not done there, and what can be told without is told; the log says so from the start."""
    ports = [free_port(), free_port()]
    wrong = {"advertise_url": f"http://127.0.0.1:{ports[0] if leads_to == 'nobody' else ports[1]}"}
    async with pair(database_url, tmp_path, wrong, {"http_port": ports[1]}, max_tracks=1) as two:
        a, b = two.a, two.b
        async with asyncio.timeout(30):
            while len((await b.ok("GET", "/api/replicas"))["replicas"]) < 2:
                await asyncio.sleep(0.05)
        slug, other = await a.session(), await b.session()
        await a.start(slug, source="websocket")
        shown = await b.ok("GET", f"/api/transcription/{slug}")
        assert (shown["state"], shown["figures"]) == ("starting", "stored")
        assert (await b.ok("GET", f"/api/transcription/{slug}/usage"))["figures"] == "stored"
        await b.start(other)
        await a.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        refused = await b.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
        assert (refused.status, refused.json["title"], refused.headers["Retry-After"]) == (503, "No room", "5")
    assert caplog.text.count("set GATEWAY_ADVERTISE_URL: ") == 1
