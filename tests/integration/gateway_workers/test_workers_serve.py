"""`gateway serve --workers N`: real processes on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asyncpg
from prometheus_client.parser import text_string_to_metric_families
from support.gateway import TOKEN, Process, Running, gateway_process, publish, write_wav
from support.ports import free_port
from support.redis_server import running_redis
from support.waiting import until

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer


def workers(supervisor: int) -> dict[int, int]:
    """Process ids, by number."""
    found = {}
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "--worker" in words:
            found[int(words[words.index("--worker") + 1])] = int(child)
    return found


async def lease(database_url: str, slug: str) -> tuple[str, int]:
    """Owner and fence."""
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow(
            "SELECT owner, fence FROM gateway.transcription WHERE session_slug = $1 ORDER BY started_at DESC", slug
        )
        return str(row["owner"]), int(row["fence"])
    finally:
        await connection.close()


async def test_a_killed_worker_is_replaced_and_its_session_goes_on(database_url: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": database_url, "GLADIA_API_KEY": "k", "GATEWAY_DRAIN_S": "1"}
    env |= {"GLADIA_API_URL": "http://127.0.0.1:1"}
    async with gateway_process(tmp_path, "--workers", "2", **env) as running:
        supervisor = running.process.process.pid
        await until(lambda: running.process.output.count("gateway ready") == 2)
        ready = await running.ok("GET", "/readyz")
        assert ready["status"] == "ready"
        assert "REDIS_URL is not set" in ready["notes"][0]
        families = {one.name: one for one in text_string_to_metric_families(await running.ok("GET", "/metrics"))}
        assert [one.value for one in families["gateway_workers"].samples] == [2]
        assert [one.labels["worker"] for one in families["gateway_worker_watchers"].samples] == ["1", "2"]

        slug = await running.new_session()
        await running.start(slug, source="websocket")
        owner, fence = await lease(database_url, slug)
        [number] = [n for n in (1, 2) if (tmp_path / f"worker-{n}" / "instance").read_text() == owner]
        before = workers(supervisor)
        os.kill(before[number], signal.SIGKILL)
        async with asyncio.timeout(60):  # another worker goes on with it, or its successor, whoever is first
            while (await lease(database_url, slug))[1] != fence + 1 or before[number] in workers(supervisor).values():
                await asyncio.sleep(0.1)
        await until(lambda: number in workers(supervisor))
        after = workers(supervisor)
        assert after[number] != before[number]
        assert after[3 - number] == before[3 - number]
    assert not [pid for pid in after.values() if os.path.exists(f"/proc/{pid}")]  # noqa: ASYNC240, PTH110


async def test_with_redis_it_does_not_matter_which_worker_one_reaches(database_url: str, tmp_path: Path) -> None:
    words = [VOCABULARY[i % len(VOCABULARY)] for i in range(8)]
    pcm, _ = speak(words, lead_s=0.3, pauses=[1.0 if i % 4 == 3 else 0.1 for i in range(8)])
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path))
        provider = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", api_key="k")))
        env = {"DATABASE_URL": database_url, "REDIS_URL": redis.url, "GLADIA_API_KEY": "k"}
        env |= {"GLADIA_API_URL": provider.url, "GATEWAY_DRAIN_S": "5", "GATEWAY_METRICS_PORT": str(free_port())}
        running = await stack.enter_async_context(gateway_process(tmp_path / "data", "--workers", "2", **env))
        await until(lambda: running.process.output.count("gateway ready") == 2)
        assert "notes" not in await running.ok("GET", "/readyz")
        slug = await running.new_session()
        started = await running.start(slug)
        # Of eight connections all reach the same one of two workers once in 128 runs.
        watchers = [await stack.enter_async_context(running.watch(slug)) for _ in range(8)]
        encoder = await publish(write_wav(tmp_path / "speech.wav", pcm), started["ingest"]["rtmpUrl"])
        assert await encoder.wait() == 0, encoder.output
        await asked_how_they_are(replace(running, url=f"http://127.0.0.1:{env['GATEWAY_METRICS_PORT']}"), slug)
        assert (await running.stop(slug))["finalsComplete"] is True
        for watcher in watchers:
            await watcher.until(lambda one: one.words == words)
            assert watcher.of("transcript.partial")
        replicas = (await running.ok("GET", "/api/replicas"))["replicas"]
        assert len({replica["url"] for replica in replicas}) == 2


async def asked_how_they_are(page: Running, slug: str) -> None:
    """Each worker by its number, on the page of all; of the session any."""
    for query in ("", "?worker=1", "?worker=2"):
        assert (await page.ok("GET", f"/debug/sessions/{slug}{query}"))["lease"]["fence"] > 0
    processes = [await page.ok("GET", f"/debug/tasks?worker={number}") for number in (1, 2)]
    assert [("Run.run" in tasks) for tasks in processes].count(True) == 1  # one of them has the session
    for path in ("/debug/tasks", "/debug/tasks?worker=1"):
        assert (await page.call("GET", path, token="wrong"))[0] == 401
    for wrong in ("0", "3", "-1", "x"):
        assert (await page.call("GET", f"/debug/tasks?worker={wrong}"))[0] == 404
    assert (await page.ok("PUT", "/debug/log?worker=2", {"level": "error"}))["level"] == "error"
    os.kill(page.process.process.pid, signal.SIGUSR2)  # shows stacks, and ends nothing
    os.kill(page.process.process.pid, signal.SIGUSR1)
    for number in (1, 2):
        async with asyncio.timeout(20):
            while (await page.ok("GET", f"/debug/log?worker={number}"))["level"] != "debug":
                await asyncio.sleep(0.05)


async def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = {"GATEWAY_API_TOKENS": TOKEN, "GATEWAY_HTTP_HOST": "127.0.0.1", "GATEWAY_DATA_DIR": str(tmp_path)}
        settings["GATEWAY_HTTP_PORT"] = str(other.getsockname()[1])
        process = await Process.start(sys.executable, "-m", "gateway", "serve", "--workers", "2", env=settings)
        assert await process.wait() == 2
    assert process.lines[-1].endswith("stop what uses it, or choose another one with GATEWAY_HTTP_PORT")
    assert not os.listdir(tmp_path)  # noqa: PTH208
