"""Who holds connections open cannot hold the gateway shut: caps, deadlines, and room for those who ask."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running, speech_server
from support.waiting import until

from stt.local.server import LocalServer

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@asynccontextmanager
async def pipe(gateway: InProcess, sent: bytes = b"", host: str = "127.0.0.1") -> AsyncIterator[Pipe]:
    port = int(gateway.host.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    found = b""
    async with asyncio.timeout(60):
        try:
            while more := await reader.read(65_536):
                found += more
        except ConnectionError:
            pass
    return found


async def metric(gateway: InProcess, line: str) -> float:
    text = (await gateway.call("GET", "/metrics")).body.decode()
    found = [row.split()[1] for row in text.splitlines() if row.startswith(line + " ")]
    return float(found[0]) if found else 0.0


async def test_a_head_that_never_ends_is_answered_408_and_closed(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path, http_head_s=0.5) as gateway:
        async with pipe(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-") as (reader, writer):
            reading = asyncio.create_task(rest(reader))
            while not reading.done():
                writer.write(b"a")  # a drip does not help
                await asyncio.sleep(0.1)
            answer = reading.result()
            assert answer.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in answer
        async with pipe(gateway) as (reader, _):
            assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")  # nothing at all
        assert await metric(gateway, 'gateway_http_late_total{part="head"}') == 2


async def test_a_body_that_never_ends_is_answered_408_and_closed(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    head = f"POST /api/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n\r\n{{"
    async with (
        running(database_url, provider, tmp_path, http_body_s=0.5) as gateway,
        pipe(gateway, head.encode()) as (reader, _),
    ):
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
        assert await metric(gateway, 'gateway_http_late_total{part="body"}') == 1


async def test_a_connection_may_wait_for_its_next_request_only_so_long(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        running(database_url, provider, tmp_path, http_head_s=60, http_keepalive_s=1.0) as gateway,
        pipe(gateway, get) as (reader, _),
    ):
        answer = await rest(reader)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"408" not in answer


async def test_a_stranger_with_idle_connections_pays_for_them_himself(
    database_url: str, provider: LocalServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        running(database_url, provider, tmp_path, max_http_connections=20, http_head_s=60) as gateway,
        AsyncExitStack() as held,
    ):
        slug = await gateway.session()
        async with gateway.watch(slug) as watcher:
            await watcher.until("hello")
            idle = [await held.enter_async_context(pipe(gateway, b"GET / HT", "127.0.0.2")) for _ in range(60)]
            assert (await gateway.call("GET", "/readyz")).status == 200  # somebody else, in the middle of it
            ended = sum(reader.at_eof() for reader, _ in idle)
            assert ended >= 40
            assert await metric(gateway, "gateway_http_evicted_total") >= 40
            assert await metric(gateway, "gateway_http_connections") <= 20
            assert not watcher.socket.closed
            await until(lambda: "too many are open" in caplog.text)
        lines = [record for record in caplog.records if "too many are open" in record.getMessage()]
        assert len(lines) <= 5  # not one each


HOOK = b"POST /api/livekit/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
PAGES = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 200


@pytest.mark.parametrize("sent", [HOOK, PAGES], ids=["bodies that do not come", "answers that are not read"])
async def test_who_keeps_us_waiting_in_the_middle_makes_room_too(
    database_url: str, provider: LocalServer, tmp_path: Path, sent: bytes
) -> None:
    settings = {"max_http_connections": 20, "http_body_s": 60, "http_head_s": 60}
    async with running(database_url, provider, tmp_path, **settings) as gateway, AsyncExitStack() as held:
        for _ in range(60):
            await held.enter_async_context(unread(gateway, sent))
        async with asyncio.timeout(60):  # two looks at them, which take as long as the machine takes
            while (await gateway.call("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.2)
        for _ in range(5):
            assert (await gateway.call("GET", "/readyz")).status == 200
        assert await metric(gateway, "gateway_http_evicted_total") >= 1


@asynccontextmanager
async def unread(gateway: InProcess, sent: bytes) -> AsyncIterator[None]:
    """From another address, with a small window; what is answered stays where it is."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        raw.bind(("127.0.0.2", 0))
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            await loop.sock_connect(raw, ("127.0.0.1", int(gateway.host.rpartition(":")[2])))
            await loop.sock_sendall(raw, sent)
        yield


async def test_whoever_does_not_read_its_answer_loses_the_connection(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with (
        running(database_url, provider, tmp_path, http_body_s=0.5) as gateway,
        unread(gateway, PAGES),
        asyncio.timeout(30),
    ):
        while await metric(gateway, "gateway_http_connections") < 2:
            await asyncio.sleep(0.05)
        while await metric(gateway, "gateway_http_connections") > 1:
            await asyncio.sleep(0.1)


async def test_one_address_has_so_many_connections_streams_among_them(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path, max_http_connections_per_address=4, http_head_s=60) as gateway:
        slug = await gateway.session()
        async with AsyncExitStack() as held:
            for _ in range(4):
                await held.enter_async_context(gateway.watch(slug))
            async with pipe(gateway) as (reader, _):
                answer = await rest(reader)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in answer
            async with pipe(gateway, b"GET /healthz HTTP/1.0\r\n\r\n", "127.0.0.2") as (reader, _):
                assert (await rest(reader)).startswith(b"HTTP/1.0 200 ")

        async def is_counted_no_more() -> bool:
            return await metric(gateway, "gateway_http_connections") <= 1

        await until(is_counted_no_more, "a stream that has ended counts no more")
        async with pipe(gateway, b"GET /healthz HTTP/1.0\r\n\r\n") as (reader, _):
            assert (await rest(reader)).startswith(b"HTTP/1.0 200 ")
        assert await metric(gateway, 'gateway_http_refused_total{limit="address"}') == 1
