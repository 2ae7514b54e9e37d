"""`gateway check` on the neighbours of the sessions module: Redis, and the gateway that transcribes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from aiohttp import web
from integration.gateway_api.in_process import TOKEN, running
from support.ports import free_port
from support.redis_server import RedisServer, running_sentinel
from support.waiting import until

from gateway.app import checks
from gateway.app.checks import check_parts
from gateway.settings import Settings
from storage.postgres import activity
from stt.local.server import LocalServer

PASSWORD = "a-password-that-nobody-may-read"
OTHER = "transcribing gateway"


async def found(**env: str) -> dict[str, tuple[bool, str]]:
    settings = Settings.from_env({"GATEWAY_API_TOKENS": TOKEN, "GATEWAY_STT_ENGINE": "pocketsphinx", **env})
    findings = {part: (fine, text) async for part, fine, text in check_parts(settings)}
    assert not any(secret in text for _, text in findings.values() for secret in (PASSWORD, TOKEN))
    return findings


@asynccontextmanager
async def something_that_listens(answer: str | None) -> AsyncIterator[int]:
    """Says this to each client that connects, or nothing at all. Yields: its port."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            writer.write(answer.encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_what_is_not_set_is_not_asked() -> None:
    assert not {"Redis", OTHER} & (await found()).keys()


async def test_limits_that_need_more_open_files_than_are_allowed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "open_files", lambda: 1024)
    fine, text = (await found())["open files"]
    assert not fine and "ulimit -n" in text and "GATEWAY_MAX_HTTP_CONNECTIONS" in text


async def test_who_holds_the_lock_that_statements_wait_for_is_named(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "WAITED_S", 0.05)
    assert (await found(DATABASE_URL=database_url))["database"][0]
    forgotten = await asyncpg.connect(database_url, server_settings={"application_name": "psql"})
    ours = await asyncpg.connect(database_url, server_settings={"application_name": "transcription-gateway"})
    try:
        await forgotten.execute('BEGIN; LOCK TABLE "TranscriptSegment"')
        waiting = asyncio.create_task(ours.fetch('SELECT count(*) FROM "TranscriptSegment"'))
        _, text = await until(lambda: held_up(database_url), "the wait for the lock")
        pid = forgotten.get_server_pid()
        assert f"1 statements wait for a lock that process {pid} of PostgreSQL holds (psql, idle in trans" in text
        assert f"pg_terminate_backend({pid})" in text
        forgotten.terminate()
        await waiting
    finally:
        forgotten.terminate()
        await ours.close()


async def held_up(database_url: str) -> tuple[bool, str] | None:
    finding = (await found(DATABASE_URL=database_url))["database"]
    return None if finding[0] else finding


async def test_redis_counts_or_says_what_to_do(redis_server: RedisServer) -> None:
    fine, text = (await found(REDIS_URL=redis_server.url))["Redis"]
    assert fine and redis_server.url in text
    async with redis.asyncio.from_url(redis_server.url) as client:
        await client.config_set("requirepass", PASSWORD)
    fine, text = (await found(REDIS_URL=redis_server.url))["Redis"]
    assert not fine and "correct user and password" in text and "check REDIS_URL" in text
    place = redis_server.url.removeprefix("redis://")
    for url in (f"redis://default:{PASSWORD}@{place}", f"redis://{place}?password={PASSWORD}"):
        fine, text = (await found(REDIS_URL=url))["Redis"]
        assert fine and text.startswith(redis_server.url), text
    redis_server.stop()
    fine, text = (await found(REDIS_URL=f"redis://default:{PASSWORD}@{place}"))["Redis"]
    assert not fine and redis_server.url in text and "check REDIS_URL" in text


async def test_redis_behind_sentinels_counts(tmp_path: Path) -> None:
    with running_sentinel(tmp_path) as (sentinel, _, _):
        place = f"redis+sentinel://127.0.0.1:{sentinel.port}"
        fine, text = (await found(REDIS_URL=f"{place},127.0.0.1:1/main/0?sentinel_username="))["Redis"]
        assert fine and text.startswith(f"{place},127.0.0.1:1/main/0 counts requests"), text
        fine, text = (await found(REDIS_URL=f"{place}/other?password={PASSWORD}"))["Redis"]
        assert not fine and "other" in text and "check REDIS_URL" in text


async def test_a_redis_url_that_cannot_be_read_is_a_finding() -> None:
    fine, text = (await found(REDIS_URL="redis://localhost:6379/database"))["Redis"]
    assert not fine and "REDIS_URL has something that is not the number of a database" in text


@pytest.mark.parametrize("answer", [None, "HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_what_is_no_redis_is_said_in_bounded_time(answer: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CONNECT_S", 0.3)
    async with something_that_listens(answer) as port:
        fine, text = (await found(REDIS_URL=f"redis://127.0.0.1:{port}"))["Redis"]
    assert not fine and "check REDIS_URL" in text


async def test_the_transcribing_gateway_answers_and_takes_the_token(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path) as gateway:
        assert (await found(WS_SERVER_URL=gateway.url))[OTHER][0]
        fine, text = (await found(WS_SERVER_URL=gateway.url, WS_SERVER_TOKEN="an-old-token"))[OTHER]
    assert not fine and "WS_SERVER_TOKEN must be a service token" in text and "an-old-token" not in text


async def test_a_transcribing_gateway_that_is_away_is_said() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    fine, text = (await found(WS_SERVER_URL=url))[OTHER]
    assert not fine and f"no answer from {url}" in text and "look whether the gateway" in text


async def test_another_web_server_is_no_gateway() -> None:
    """Many answer 200 with a page to whatever is asked."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{any:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        fine, text = (await found(WS_SERVER_URL=f"http://127.0.0.1:{runner.addresses[0][1]}"))[OTHER]
    finally:
        await runner.cleanup()
    assert not fine and "WS_SERVER_URL must name a gateway" in text


@pytest.mark.parametrize(
    ("env", "fine", "said"),
    [
        ({}, True, "reach this one at http://127.0.0.1:{closed}, where nothing listens now"),
        ({"GATEWAY_ADVERTISE_URL": "http://no-such-host.invalid:1"}, False, "whose name is unknown here"),
        ({"GATEWAY_ADVERTISE_URL": "http://127.0.0.1:{gateway}"}, True, "where a gateway answers"),
        (
            {"GATEWAY_ADVERTISE_URL": "http://127.0.0.1:{other}"},
            False,
            "set GATEWAY_ADVERTISE_URL to an address of this",
        ),
        ({"DATABASE_URL": "postgresql://no-such-host.invalid/x"}, False, "set GATEWAY_ADVERTISE_URL"),
    ],
)
async def test_where_other_replicas_look_for_this_one(env: dict[str, str], fine: bool, said: str) -> None:
    ports = {"closed": str(free_port())}
    healthy = 'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
    async with (
        something_that_listens("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as other,
        something_that_listens(healthy) as gateway,
    ):
        told = {name: value.format(**ports, other=other, gateway=gateway) for name, value in env.items()}
        is_fine, text = (await found(GATEWAY_HTTP_PORT=ports["closed"], **told))["other replicas"]
    assert (is_fine, said.format(**ports) in text) == (fine, True), text
