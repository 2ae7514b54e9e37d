"""What a watcher may do wrong, against the endpoint alone: one clear close code and one counter for each."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import jwt
import pytest
from aiohttp import web
from integration.gateway_live_events.small_endpoint import SERVICE, USER_SECRET, Small, small_endpoint
from support.frames import frames
from support.waiting import until
from websockets.frames import Close, Opcode

from gateway.live.endpoint import LiveOptions
from gateway.live.watcher import Bounds

STREAM = "/api/realtime/transcribe"
OWN = "http://own.example"


def user_token(left_s: float = 3600, space: str = "s1") -> str:
    return jwt.encode({"sub": "u1", "exp": int(time.time() + left_s), "spaces": [space]}, USER_SECRET)


class Raw:
    """A WebSocket without a library: it answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """Everything until the end of the connection."""
        data = b""
        async with asyncio.timeout(60):
            try:
                while more := await self.reader.read(65_536):
                    data += more
            except ConnectionError:
                pass
        return data

    async def close_code(self) -> int | None:
        """Of the close frame that ends what comes."""
        last = frames(await self.rest())[-1]
        return Close.parse(last.data).code if last.opcode is Opcode.CLOSE else None


@asynccontextmanager
async def handshake(small: Small, *, window: int | None = None) -> AsyncIterator[Raw]:
    made = socket.socket()
    made.setblocking(False)
    if window is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", int(small.url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=made, limit=1024 if window else 65_536)
    writer.write(
        f"GET {STREAM}?session=one&token={SERVICE} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("changes", "status", "code", "counted"),
    [
        ({"token": "wrong"}, 401, 4501, "credential"),
        ({"token": user_token(-60)}, 401, 4501, "credential"),
        ({"token": user_token(10**9, "elsewhere")}, 403, 4501, "forbidden"),
        ({"session": "nowhere"}, 404, 4504, "no_session"),
        ({"since": "k3f9"}, 400, 4500, "malformed"),
        ({"since": "k3f9:-1"}, 400, 4500, "malformed"),
        ({"since": "x" * 65 + ":1"}, 400, 4500, "malformed"),
    ],
)
async def test_a_page_is_told_by_a_code_and_a_program_by_a_status(
    changes: dict[str, str], status: int, code: int, counted: str
) -> None:
    async with small_endpoint() as small, aiohttp.ClientSession() as http:
        query = {"session": "one", "token": SERVICE} | changes
        async with http.ws_connect(small.url + STREAM, params=query, headers={"Origin": OWN}) as page:
            told = await page.receive(timeout=60)
            assert (told.type, page.close_code) == (aiohttp.WSMsgType.CLOSE, code)
            assert told.extra and query["token"] not in told.extra
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            async with http.ws_connect(small.url + STREAM, params=query):
                pass
        assert error.value.status == status
        assert small.endpoint.counts.refused == {counted: 2}
        assert small.hub.counts.connected == 0


@pytest.mark.parametrize(
    ("said", "code", "counted"),
    [
        (b"\x82\x81\0\0\0\0x", 1003, "not_text"),
        (b"\x81\xfe\x40\0\0\0\0\0" + b"x" * 0x4000, 1009, "too_big"),
        (b"\x81\xff\0\0\0\0\x40\0\0\0", 1009, "too_big"),  # a gigabyte is announced: refused before it comes
        (b"\xf1\x80\0\0\0\0", 1002, "not_websocket"),
        (b"\x83\x80\0\0\0\0", 1002, "not_websocket"),
    ],
)
async def test_who_says_what_nobody_understands_is_sent_away(said: bytes, code: int, counted: str) -> None:
    async with small_endpoint() as small, handshake(small) as raw:
        raw.writer.write(said)
        assert await raw.close_code() == code
        await small.watching(0)
        assert small.endpoint.counts.closed == {counted: 1}


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"Sec-WebSocket-Version": "8"}, "version 13"),
        ({"Sec-WebSocket-Key": "short"}, "16 bytes in base64"),
        ({"Connection": "keep-alive"}, "Connection: Upgrade"),
    ],
)
async def test_what_is_no_handshake_is_refused_by_http(changes: dict[str, str], hint: str) -> None:
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with small_endpoint() as small:
        async with small.http.get(small.url + STREAM + "?session=one", headers=asked | changes) as answer:
            assert answer.status == 400
            assert hint in await answer.text()
            assert answer.headers.get("Sec-WebSocket-Version") == ("13" if "version" in hint else None)
        assert small.endpoint.counts.refused == {"malformed": 1}


async def test_pings_and_the_close_are_answered_and_text_is_not() -> None:
    async with small_endpoint() as small, handshake(small) as raw:
        raw.writer.write(b"\x81\x82\0\0\0\0hi" + b"\x89\x82\0\0\0\0yo" + b"\x88\x82\0\0\0\0\x03\xe9")
        got = frames(await raw.rest())
        assert [frame.opcode for frame in got] == [Opcode.TEXT, Opcode.PONG, Opcode.CLOSE]
        assert (got[1].data, Close.parse(got[2].data).code) == (b"yo", 1001)
        await small.watching(0)
        assert small.endpoint.counts.closed == {"by_watcher": 1}


async def test_of_the_request_nothing_is_kept_while_somebody_watches() -> None:
    """Ten thousand who watch would keep ten thousand requests, parsers and tasks."""
    async with small_endpoint() as small, handshake(small):
        await small.watching(1)
        await until(lambda: not any("RequestHandler" in repr(task.get_coro()) for task in asyncio.all_tasks()))
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) in (web.Request, web.WebSocketResponse)]


async def test_whoever_answers_no_ping_is_given_up() -> None:
    """Half-open TCP: the other side is gone and nobody said so."""
    async with small_endpoint(LiveOptions(ping_s=0.1)) as small, handshake(small) as raw:
        got = frames(await raw.rest())
        assert [frame.opcode for frame in got] == [Opcode.TEXT, Opcode.PING]
        await small.watching(0)
        assert small.endpoint.counts.closed == {"no_pong": 1}


async def test_whoever_answers_pings_stays() -> None:
    """So the one before is not given up for its age."""
    async with small_endpoint(LiveOptions(ping_s=0.1)) as small, handshake(small) as raw:
        for _ in range(3):
            data = b""
            while b"\x89\x00" not in data:
                data = await raw.reader.read(65_536)
                assert data
            raw.writer.write(b"\x8a\x80\0\0\0\0")
        assert small.endpoint.counts.closed == {}


async def test_whoever_does_not_read_is_told_to_come_back_and_keeps_what_came() -> None:
    """4008 behind the finals that were on their way; from their last number it resumes."""
    async with small_endpoint(bounds=Bounds(mailbox_bytes=200_000)) as small:
        small.begin()
        async with handshake(small, window=4096) as raw:
            await raw.reader.readuntil(b"hello")
            seq = 0
            while not small.hub.counts.closed_too_slow:
                for _ in range(100):
                    seq += 1
                    small.final(seq, size=400)
                await asyncio.sleep(0)
            data = b"\x81\x05hello" + (await raw.rest()).partition(b"}}")[2]
        await small.watching(0)
        assert small.endpoint.counts.closed == {"too_slow": 1}
        told = frames(data)
        assert (told[-1].opcode, Close.parse(told[-1].data).code) == (Opcode.CLOSE, 4008)
        seqs = [json.loads(frame.data)["seq"] for frame in told[1:-1]]
        assert seqs == list(range(1, len(seqs) + 1)) and len(seqs) < seq
