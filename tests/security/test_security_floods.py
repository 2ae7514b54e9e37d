"""Who has been let in cannot take the processor from the others: floods of tiny frames, of chunks, of publishes."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from integration.ingest.ingest_rtmp_client import Client, command
from security.test_security_connections import metric, pipe, unread
from support.waiting import until

from gateway.live import channel, lines
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
    "one sample": frame(2, b"ab"),
    "pings": frame(9),
    "texts": frame(1, b'{"type":"?"}'),
    "fragments": frame(0, fin=False),
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


async def test_a_watcher_that_floods_is_closed(gateway: InProcess) -> None:
    slug = await gateway.session()
    kinds = ("pings", "texts", "fragments")
    async with gateway.watch(slug) as neighbour:
        for kind in kinds:
            opening = frame(1, b"a", fin=False) if kind == "fragments" else b""
            async with pipe(gateway, upgrade("transcribe", slug)) as (reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                pouring = asyncio.create_task(pour(writer, TINY[kind], opening))
                assert await close_code(reader) == 1008, kind
                await pouring
        await neighbour.until("hello")
        await until(lambda: closed(gateway, "watchers", len(kinds)))


async def closed(gateway: InProcess, what: str, count: int) -> bool:
    return await metric(gateway, f'gateway_{what}_closed_total{{reason="too_many_frames"}}') == count


async def test_a_sender_that_floods_is_closed_and_the_session_says_why(gateway: InProcess) -> None:
    kinds = TINY | {"texts": frame(1, b'{"type":"gap","ms":1}')}
    for count, (kind, tiny) in enumerate(kinds.items(), start=1):
        slug = await gateway.session()
        await gateway.start(slug, source="websocket")
        opening = START + (frame(2, b"ab", fin=False) if kind == "fragments" else b"")
        async with pipe(gateway, upgrade("audio", slug)) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            pouring = asyncio.create_task(pour(writer, tiny, opening))
            assert await close_code(reader) == 1008, kind
            await pouring
        await until(lambda count=count: closed(gateway, "audio", count))  # type: ignore[misc]

        async def is_told(slug: str = slug) -> bool:
            told = await gateway.ok("GET", f"/api/transcription/{slug}")
            return "more than 2000 frames a second" in str(told["health"])

        await until(is_told)
        assert await metric(gateway, 'gateway_http_malformed_total{part="flood"}') == count, kind


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


def nested(depth: int) -> bytes:
    """An aggregate in an aggregate in an aggregate …, with times that jump from one end to the other."""
    body = b""
    for n in range(depth):
        body = b"\x16" + len(body).to_bytes(3, "big") + bytes((255 * (n % 2),)) * 4 + bytes(3) + body + bytes(4)
    return said(22, body)


def jumping(count: int) -> bytes:
    """Audio whose times are the extremes of 32 bits by turns."""
    times = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0xFFFFFF)
    head = b"\x04\xff\xff\xff\0\0\3\x08\1\0\0\0"
    return b"".join(head + struct.pack("!I", times[n % 4]) + b"\xaf\x01a" for n in range(count))


FLOODS = {
    "audio of one byte": (said(8, b"\xaf\x01a", 4) + b"\xc4\xaf\x01a" * 50_000) * 4,
    "questions": said(20, b"\2\0\1?\0" + b"1" * 8) * 20_000,
    "metadata": said(18, b"\2\0\x0aonMetaData\x08" + bytes(4) + b"\0\0\5" * 20_000) * 40,
    "user control": said(4, b"\0\6" + bytes(4), 2) * 20_000,
    "nested aggregates": nested(1_000) * 200,
    "extreme times": jumping(30_000),
    "half messages": b"".join(
        bytes((csid,)) + bytes(3) + b"\3\xff\xff\x08\1\0\0\0" + bytes(4_096) for csid in range(10, 63)
    ),
}  # fmt: skip


async def bounds(gateway: InProcess) -> float:
    """How often a peer has been slowed or cut off."""
    text = (await gateway.call("GET", "/metrics")).body.decode()
    signs = tuple(f"gateway_rtmp_{what}_total" for what in ("paces", "pauses", "protocol_errors"))
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(signs))


async def test_a_publisher_that_floods_is_slowed_or_cut_off(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker shares this process, so it gets little: the allowance is made small."""
    monkeypatch.setattr(allowance, "MOST_S", 0.02)
    monkeypatch.setattr(allowance, "SHARE", 0.02)
    port, neighbours = address(await gateway.start(await gateway.session()))
    for flood in FLOODS.values():
        _, key = address(await gateway.start(await gateway.session()))
        before = await bounds(gateway)
        client = await Client.publish(port, key)
        reading = asyncio.create_task(client.hung_up())
        async with asyncio.timeout(20):
            while await bounds(gateway) == before:
                try:
                    client.writer.write(flood)
                    await asyncio.wait_for(client.writer.drain(), 0.2)
                except (ConnectionError, TimeoutError):
                    pass
        reading.cancel()
        client.abort()
        await client.close()
    neighbour = await Client.publish(port, neighbours)
    await neighbour.unpublish(neighbours)
    await neighbour.close()


async def test_an_admitted_key_that_is_published_as_fast_as_can_be_costs_its_own_session_only(
    gateway: InProcess, provider: LocalServer
) -> None:
    """On two connections at once, each of which throws the other out."""
    slug, other = await gateway.session(), await gateway.session()
    port, key = address(await gateway.start(slug))
    _, neighbours = address(await gateway.start(other))

    async def race() -> int:
        taken = 0
        for _ in range(10):
            client = await Client.open(port)
            try:
                for _ in range(3):
                    if await client.ask(key) != "NetStream.Publish.Start":
                        break
                    taken += 1
                    client.send(command("deleteStream", 7, None, 1))
                    await client.status()
            except ConnectionError:
                pass  # thrown out by the other
            client.abort()
            await client.close()
        return taken

    async with asyncio.timeout(60):
        first, second, neighbour = await asyncio.gather(race(), race(), Client.publish(port, neighbours))
    assert first and second
    assert len(provider.sessions) <= 2, "a publish without a word has cost a session of the provider"
    await neighbour.unpublish(neighbours)
    last = await Client.publish(port, key)
    await last.unpublish(key)
    for client in (neighbour, last):
        await client.close()
    assert (await gateway.ok("GET", f"/api/transcription/{slug}"))["state"] == "starting"


async def test_event_streams_that_are_never_read_hold_little_and_are_cut_off(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "UNREAD_S", 1.0)
    slug = await gateway.session()
    async with gateway.records() as shelf:
        await shelf.told(slug, ["word " * 200] * 200)
    head = f"GET /api/realtime/transcribe?session={slug} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
    asked = f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    async with AsyncExitStack() as held:
        for _ in range(50):
            await held.enter_async_context(unread(gateway, asked))

        def waiting() -> list[int]:
            open_ones = [one.transport for one in gc.get_objects() if isinstance(one, lines.EventLine)]
            return [size for one in open_ones if (size := one.get_write_buffer_size())]

        found = await until(lambda: len(sizes := waiting()) >= 10 and sizes, every_s=0.1)
        assert max(found) < 256 * 1024  # of 2.4 MB

        async def are_cut_off() -> bool:
            return await metric(gateway, "gateway_watchers") == 0

        await until(are_cut_off)


async def test_who_reads_late_gets_all_the_same(gateway: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its history comes in pieces, of which only one waits for it; what follows is read again when it reads."""
    monkeypatch.setattr(channel, "PATIENCE_S", 0.05)
    slug = await gateway.session()
    async with gateway.records() as shelf:
        await shelf.told(slug, ["word " * 200] * 600)
    asked = upgrade("transcribe", slug).replace(b"Upgrade: websocket\r\n", b"Accept: text/event-stream\r\n")
    async with pipe(gateway, asked) as (reader, _):
        await asyncio.sleep(0.5)
        seen: list[int] = []
        async with asyncio.timeout(60):
            while len(seen) < 600:
                line = await reader.readline()
                if line.startswith(b"data: ") and b'"transcript.final"' in line:
                    seen.append(json.loads(line[6:])["seq"])
    assert seen == list(range(1, 601))
