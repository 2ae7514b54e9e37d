"""Below /debug/: what an operator sees of a running gateway, and that nothing said and nothing secret is in it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from support.ports import free_port
from support.scripted_gateway import TOKEN, World, scripted_gateway

from gateway import logs

ROUTES = (("GET", "/tasks"), ("GET", "/profile"), ("GET", "/log"), ("PUT", "/log"), ("GET", "/sessions/SLUG"))


async def text(world: World, path: str, status: int = 200) -> str:
    async with world.http.get(world.url + path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.text()


async def test_an_operator_sees_all_but_words_and_secrets(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("", *logs.OWN)}
    async with scripted_gateway(database_url, tmp_path) as world:
        changed = {"level": "debug", "minutes": 5}
        async with world.http.put(f"{world.url}/debug/log", json=changed) as answer:
            assert (await answer.json())["level"] == "debug"
        slug = await world.new_session()
        ingest = await world.start(slug)
        profile = asyncio.create_task(text(world, "/debug/profile?seconds=2"))
        saying = asyncio.create_task(world.say(ingest, 3))
        await asyncio.sleep(0.5)
        assert "another profile" in await text(world, "/debug/profile", 409)
        async with asyncio.timeout(60):
            while not (live := await world.call("GET", f"/debug/sessions/{slug}"))["finals"]:
                await asyncio.sleep(0.05)
        said = await saying
        async with asyncio.timeout(60):
            while len((inside := await world.call("GET", f"/debug/sessions/{slug}"))["finals"]) < len(said):
                await asyncio.sleep(0.05)
        tasks = await text(world, "/debug/tasks")
        seen = [await profile, str(live), str(inside), tasks, await text(world, "/debug/log")]
        assert "gateway." in seen[0]
        assert live["state"] == "running" and live["lease"]["mayAct"] and live["lease"]["fence"] > 0
        [track] = live["tracks"]
        assert track["participantIdentity"] == "rtmp" and track["secondsSent"] > 0.5
        assert inside["lastSeq"] == len(said) and inside["queues"]["isDelivered"]
        assert "gateway.app.lag:watch_loop" in tasks
        await world.stop(slug)
        over = await world.call("GET", f"/debug/sessions/{slug}")
        assert over["tracks"] == [] and over["queues"] is None and over["lease"]["fence"] is None
    assert logs.level() == "info"  # a gateway that has ended leaves no other one
    for logger, level in loggers.items():
        logger.setLevel(level)
    seen.append(caplog.text + str([vars(record) for record in caplog.records]))
    key = urlsplit(ingest).path.rpartition("/")[2]
    secrets = {TOKEN, key, "any-provider-key", *said, *(word for words in said for word in words.split())}
    for secret in secrets:
        assert not [place for place in seen if secret in place], secret


async def test_without_a_service_token_there_is_nothing_and_no_debug_beside_a_page_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    async with scripted_gateway(database_url, tmp_path, metrics_port=port) as world:
        slug = await world.new_session()
        page = f"http://127.0.0.1:{port}/debug"
        async with aiohttp.ClientSession() as stranger:
            for method, path in ROUTES:
                path = path.replace("SLUG", slug)
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                    async with stranger.request(method, page + path, headers=headers) as answer:
                        assert answer.status == 401, path
                        assert answer.headers["Server"] == "gateway"
                async with world.http.request(method, f"{world.url}/debug{path}") as answer:
                    assert answer.status == 404, path
        for wrong in ("0", "61", "x", "nan"):
            async with world.http.get(f"{page}/profile?seconds={wrong}") as answer:
                assert answer.status == 400, wrong
        for body in ({"level": "loud"}, {"level": "debug", "minutes": 0}, {}):
            async with world.http.put(f"{page}/log", json=body) as answer:
                assert answer.status == 400, body
        async with world.http.get(f"{page}/tasks") as answer:
            assert answer.status == 200 and "tasks" in await answer.text()
        for never in (slug, "nobody"):
            async with world.http.get(f"{page}/sessions/{never}") as answer:
                assert answer.status == 404
