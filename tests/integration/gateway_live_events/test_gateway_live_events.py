"""Server-sent events of a whole gateway that is spoken to over RTMP: cuts, an EventSource, keys that rotate."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import asyncpg
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from sse_client import STREAM, Event, Events, listening
from support import browser
from support.cutter import cutting
from support.gateway import TOKEN
from support.scripted_gateway import World, scripted_gateway

HERE = Path(__file__).parent


def budgets(seed: int, cuts: int) -> Iterator[int]:
    chance = random.Random(seed)
    return (chance.choice((chance.randrange(1, 400), chance.randrange(400, 4000))) for _ in range(cuts))


async def follow(world: World, url: str, slug: str) -> list[Event]:
    """As an EventSource does, but without its two seconds of patience: until 204."""
    seen: list[Event] = []
    last_id = None
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        with suppress(aiohttp.ClientError):
            async with world.http.get(url + STREAM, params={"session": slug}, headers=headers) as answer:
                if answer.status == 204:
                    return seen
                events = Events(answer, last_id)
                try:
                    await events.rest()
                finally:
                    last_id = events.last_id
                    seen += events.seen


async def test_cut_at_random_bytes_every_final_comes_once_and_in_order(world: World) -> None:
    """Four readers, each cut up to 40 times, while speech goes on; the last one says that there is nothing more."""
    slug = await world.new_session()
    seeds = [random.SystemRandom().randrange(2**32) for _ in range(4)]

    async def read(seed: int) -> tuple[list[Event], int]:
        async with cutting(world.url, budgets(seed, 40)) as cutter:
            return await follow(world, cutter.url, slug), cutter.cuts

    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read(seed)) for seed in seeds]
        said = await world.say(await world.start(slug), 10)
        await world.end_session(slug)
        await world.stop(slug)
        async with asyncio.timeout(60):
            await asyncio.wait(readers)
    for seed, reader in zip(seeds, readers, strict=True):
        seen, cuts = reader.result()
        finals = [event.data for event in seen if event.kind == "transcript.final"]
        assert [final["seq"] for final in finals] == list(range(1, 11)), f"seed {seed}"
        assert [final["data"]["text"] for final in finals] == said, f"seed {seed}"
        assert "gap" not in [event.kind for event in seen], f"seed {seed}"
        assert cuts >= 5, f"seed {seed}"


async def test_both_kinds_of_connection_tell_the_same(world: World) -> None:
    slug = await world.new_session()
    async with (
        listening(world.http, world.url, slug) as events,
        world.http.ws_connect(world.url + STREAM, params={"session": slug}) as stream,
    ):
        await events.until("hello")
        said = await world.say(await world.start(slug), 2)
        await world.stop(slug)
        while events.seen[-1].data["data"].get("state") != "stopped":
            await events.next()
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["data"].get("state") != "stopped":
            messages.append(await stream.receive_json(timeout=60))
    assert [event.data for event in events.seen[1:]] == messages[1:]
    assert [final["data"]["text"] for final in events.finals] == said
    assert await world.metric("gateway_watcher_connections_total") == 2


async def test_an_event_source_reads_on_after_cuts_and_stops_when_there_is_nothing_more(
    database_url: str, tmp_path: Path, chromium: str
) -> None:
    """A real one, on a page of another origin, which does nothing about the end but to wait for it."""
    reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def page(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(HERE / "events.html")

    async def report(request: web.Request) -> web.StreamResponse:
        reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/events.html", page)
    app.router.add_post("/report", report)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with (
        scripted_gateway(database_url, tmp_path, allowed_origins=(origin,)) as world,
        cutting(world.url, iter([1_500, 1_000, 3_000])) as cutter,
    ):
        slug, said = await world.spoken_session(6)
        await world.end_session(slug)
        query = urlencode({"gateway": cutter.url, "session": slug, "token": TOKEN})
        process = await asyncio.create_subprocess_exec(
            chromium,
            *browser.FLAGS,
            f"--user-data-dir={tmp_path / 'chromium'}",
            f"{origin}/events.html?{query}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(60):
                told = await reports.get()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await runner.cleanup()
    assert [final["seq"] for final in told["finals"]] == [1, 2, 3, 4, 5, 6]
    assert [final["data"]["text"] for final in told["finals"]] == said
    assert told["ends"] == [4510]
    connecting, closed = 0, 2
    assert told["lost"] == [connecting] * (cutter.connections - 1) + [closed]
    assert cutter.cuts >= 2


async def test_the_export_and_the_stream_take_tokens_whose_keys_rotate(database_url: str, tmp_path: Path) -> None:
    """Keys come from a URL: a new one works at its first token, those of strangers do not."""
    keys = {name: rsa.generate_private_key(65537, 2048) for name in ("old", "new", "strangers")}
    published = ["old"]
    asked = 0

    async def key_set(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        listed = [
            {**RSAAlgorithm.to_jwk(keys[name].public_key(), as_dict=True), "kid": name, "use": "sig"}
            for name in published
        ]
        return web.json_response({"keys": listed})

    app = web.Application()
    app.router.add_get("/jwks.json", key_set)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"

    async with scripted_gateway(database_url, tmp_path, jwks_url=url) as world, aiohttp.ClientSession() as http:
        slug = await world.new_session()
        space = await _space_of(world, slug)

        async def status(name: str, spaces: tuple[str, ...] = (space,), path: str = STREAM) -> int:
            claims = {"sub": "u1", "exp": int(time.time()) + 60, "spaces": list(spaces)}
            token = jwt.encode(claims, keys[name], algorithm="RS256", headers={"kid": name})
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
            async with http.get(world.url + path, params={"session": slug}, headers=headers) as answer:
                return answer.status

        async with http.get(world.url + STREAM, params={"session": slug, "token": TOKEN}, headers=_EVENTS) as answer:
            assert (answer.status, asked) == (200, 0)  # other credentials need no key
        published[:] = ["old", "new"]
        assert [await status("old"), await status("new"), asked] == [200, 200, 1]
        assert await status("old", path=f"/api/sessions/{slug}/transcript") == 200
        assert await status("old", spaces=("another",)) == 403
        assert [await status("strangers"), await status("strangers"), asked] == [401, 401, 1]
    await runner.cleanup()


_EVENTS = {"Accept": "text/event-stream"}


async def _space_of(world: World, slug: str) -> str:
    connection = await asyncpg.connect(world.gateway.database_url)
    try:
        space: str = await connection.fetchval('SELECT "spaceId" FROM "VideoSession" WHERE slug = $1', slug)
        return space
    finally:
        await connection.close()
