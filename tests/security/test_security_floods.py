"""Who has been let in cannot take the processor from the others: floods of tiny frames, of chunks, of publishes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from integration.ingest.ingest_rtmp_client import Client, command
from security.test_security_connections import metric, pipe
from support.waiting import until

from ingest.rtmp import allowance
from ingest.rtmp.chunk_stream import Message, write
from stt.local.server import LocalServer


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path) as found:
        yield found


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """As a client sends it; short, and masked with zeros."""
    size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + struct.pack("!H", len(data))
    return bytes((0x80 * fin | opcode,)) + size + bytes(4) + data


def upgrade(path: str, slug: str) -> bytes:
    head = f"GET /api/realtime/{path}?session={slug} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    key = "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    return f"{head}{key}Authorization: Bearer {TOKEN}\r\n\r\n".encode()


START = frame(1, b'{"type":"start","sampleRate":8000,"channels":1}')
TINY = {
    "empty frames": lambda: frame(2),
    "one sample": lambda: frame(2, b"ab"),
    "pings": lambda: frame(9),
    "pongs": lambda: frame(10),
    "texts": lambda: frame(1, b'{"type":"?"}'),
    "gaps": lambda: frame(1, b'{"type":"gap","ms":1}'),
    "fragments": lambda: frame(0, fin=False),
}


async def close_code(reader: asyncio.StreamReader) -> int:
    """Of the first close frame among what the server says; frames of text and control have short heads."""
    async with asyncio.timeout(60):
        while True:
            opcode, size = await reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            data = await reader.readexactly(size)
            if opcode & 0x0F == 8:
                return int.from_bytes(data[:2], "big")


async def pour(writer: asyncio.StreamWriter, tiny: bytes, first: bytes = b"") -> None:
    """For as long as the server takes it, and much more than anybody honest sends."""
    writer.write(first)
    try:
        for _ in range(16):
            writer.write(tiny * 1_000)
            await writer.drain()
    except ConnectionError:
        pass


@pytest.mark.parametrize("kind", [kind for kind in TINY if kind not in ("empty frames", "one sample")])
async def test_a_watcher_that_floods_is_closed(gateway: InProcess, kind: str) -> None:
    slug = await gateway.session()
    opening = frame(1, b"a", fin=False) if kind == "fragments" else b""
    async with gateway.watch(slug) as neighbour, pipe(gateway, upgrade("transcribe", slug)) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        pouring = asyncio.create_task(pour(writer, TINY[kind](), opening))
        assert await close_code(reader) == 1008
        await pouring
        await neighbour.until("hello")
        await until(lambda: closed(gateway, "watchers", 1))


async def closed(gateway: InProcess, what: str, count: int) -> bool:
    return await metric(gateway, f'gateway_{what}_closed_total{{reason="too_many_frames"}}') == count


@pytest.mark.parametrize("kind", TINY)
async def test_a_sender_that_floods_is_closed_and_the_session_says_why(gateway: InProcess, kind: str) -> None:
    slug = await gateway.session()
    await gateway.start(slug, source="websocket")
    opening = START + (frame(2, b"ab", fin=False) if kind == "fragments" else b"")
    async with pipe(gateway, upgrade("audio", slug)) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        pouring = asyncio.create_task(pour(writer, TINY[kind](), opening))
        assert await close_code(reader) == 1008
        await pouring
    await until(lambda: closed(gateway, "audio", 1))

    async def is_told() -> bool:
        told = await gateway.ok("GET", f"/api/transcription/{slug}")
        return "more than 2000 frames a second" in str(told["health"])

    await until(is_told)
    assert await metric(gateway, 'gateway_http_malformed_total{part="flood"}') == 1


async def test_half_a_minute_of_the_shortest_packets_at_once_is_no_flood(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug, source="websocket")
    async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/audio?session={slug}&token={TOKEN}") as socket:
        await socket.send_json({"type": "start", "sampleRate": 8000, "channels": 1, "stream": "a", "ageMs": 29_000})
        for _ in range(11_600):
            await socket.send_bytes(bytes(40))
        async with asyncio.timeout(60):
            while (told := await socket.receive_json()).get("samples") != 232_000:
                assert told["type"] in ("ready", "ack")
        await socket.send_json({"type": "stop"})


async def test_a_long_text_is_no_message_of_a_sender(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug, source="websocket")
    async with pipe(gateway, upgrade("audio", slug) + START + frame(1, b" " * 4_097)) as (reader, _):
        await reader.readuntil(b"\r\n\r\n")
        assert await close_code(reader) == 4522


# --- RTMP -------------------------------------------------------------------------------------------------------


def address(started: dict[str, dict[str, str]]) -> tuple[int, str]:
    ingest = started["ingest"]
    return int(ingest["rtmpUrl"].removeprefix("rtmp://").partition("/")[0].rpartition(":")[2]), ingest["streamKey"]


async def test_a_stranger_has_one_key_checked_for_each_connection(gateway: InProcess) -> None:
    """Publish, give up, publish again, all in one packet: each was a query, and there was no end to it."""
    port, _ = address(await gateway.start(await gateway.session()))
    client = await Client.open(port)
    client.send(command("connect", 1, {"app": "live"}))
    for n in range(500):
        client.send(command("publish", 2, None, f"{n:024}", "live", stream_id=1))
        client.send(command("deleteStream", 3, None, 1))
    await client.hung_up()
    await client.close()
    assert await metric(gateway, "gateway_rtmp_publishes_total") == 0
    assert await metric(gateway, "gateway_rtmp_refused_keys_total") <= 1


def said(type: int, body: bytes, csid: int = 3) -> bytes:
    return write(Message(type, 1, 0, body), 4096, csid)


FLOODS = {
    "audio of one byte": (said(8, b"\xaf\x01a", 4) + b"\xc4\xaf\x01a" * 50_000) * 4,
    "questions": said(20, b"\2\0\1?\0" + b"1" * 8) * 20_000,
    "metadata": said(18, b"\2\0\x0aonMetaData\x08" + bytes(4) + b"\0\0\5" * 20_000) * 40,
    "chunk size 1": said(1, b"\0\0\0\1", 2) + b"\x06" + bytes(3) + b"\0\xff\xff\x09\1\0\0\0" + b"a\xc6" * 65_534 + b"a",
    "half messages": b"".join(
        bytes((csid,)) + bytes(3) + b"\3\xff\xff\x08\1\0\0\0" + bytes(4_096) for csid in range(10, 63)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_publisher_that_floods_is_slowed_or_cut_off(
    gateway: InProcess, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker shares this process, so it gets little: the allowance is made small."""
    monkeypatch.setattr(allowance, "MOST_S", 0.02)
    monkeypatch.setattr(allowance, "SHARE", 0.02)
    slug, other = await gateway.session(), await gateway.session()
    port, key = address(await gateway.start(slug))
    _, neighbours = address(await gateway.start(other))
    client = await Client.publish(port, key)

    async def is_bounded() -> bool:
        text = (await gateway.call("GET", "/metrics")).body.decode()
        signs = tuple(f"gateway_rtmp_{what}_total" for what in ("paces", "pauses", "protocol_errors"))
        return any(not line.endswith(" 0.0") for line in text.splitlines() if line.startswith(signs))

    reading = asyncio.create_task(client.hung_up())
    async with asyncio.timeout(20):
        while not await is_bounded():
            try:
                client.writer.write(FLOODS[kind])
                await asyncio.wait_for(client.writer.drain(), 0.2)
            except (ConnectionError, TimeoutError):
                pass
    neighbour = await Client.publish(port, neighbours)
    await neighbour.unpublish(neighbours)
    await neighbour.close()
    reading.cancel()
    await client.close()
