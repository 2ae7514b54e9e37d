"""What is malformed is the client's fault: answered in its own protocol, counted, and never a trace in the log."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running, speech_server
from security.test_security_connections import metric, pipe, rest
from security.test_security_floods import frame, upgrade

from gateway.cli.errors import problem
from gateway.live.channel import Channel
from gateway.transcription.usecases.feed import Feeding
from storage.blob import vercel
from stt.local.archive import parse_query
from stt.local.faults import BadPlan, parse_plan
from stt.local.server import LocalServer
from transcription_client import following

DEEP = b'{"type":"start","sampleRate":16000,"x":' + b"[" * 60_000
BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path) as found:
        yield found


async def fed(gateway: InProcess) -> str:
    """A session that is fed by WebSocket."""
    slug = await gateway.session()
    await gateway.ok("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "websocket"})
    return slug


def no_trace(caplog: pytest.LogCaptureFixture) -> None:
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


@pytest.mark.parametrize("text", [DEEP.decode(), '{"type":"start","sampleRate":16000,"stream":"\\ud800"}'])
async def test_deep_json_and_surrogates_on_the_audio_socket_are_a_close_code(
    gateway: InProcess, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    slug = await fed(gateway)
    url = f"{gateway.url}/api/realtime/audio?session={slug}&token={TOKEN}&identity=anna"
    async with gateway.http.ws_connect(url) as socket:
        await socket.send_str(text)
        message = await socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.CLOSE and socket.close_code == 4522
    no_trace(caplog)


@pytest.mark.parametrize(("kind", "name"), [(Feeding, "enter"), (Channel, "catch_up")], ids=["audio", "transcribe"])
async def test_an_unforeseen_error_after_the_upgrade_is_1011(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type, name: str
) -> None:
    async def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(kind, name, broken)
    slug = await fed(gateway)
    path = "audio" if kind is Feeding else "transcribe"
    url = f"{gateway.url}/api/realtime/{path}?session={slug}&token={TOKEN}&identity=anna"
    async with gateway.http.ws_connect(url) as socket:
        if kind is Feeding:
            await socket.send_json({"type": "start", "sampleRate": 16_000})
        message = await socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.CLOSE and socket.close_code == 1011
    assert "ZeroDivisionError" in caplog.text  # this one is ours


@pytest.mark.parametrize("path", ["audio", "transcribe"])
@pytest.mark.parametrize("split", [False, True])
async def test_a_frame_without_a_mask_is_refused_with_1002(gateway: InProcess, path: str, split: bool) -> None:
    slug = await fed(gateway)
    head = (
        f"GET /api/realtime/{path}?session={slug}&identity=anna HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    ).encode()
    start = b'{"type":"start","sampleRate":16000}'
    async with pipe(gateway, head + BEARER + b"\r\n") as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if path == "audio":  # a good frame first, as pieces that end within the next head
            writer.write(b"\x81" + bytes([0x80 | len(start)]) + bytes(4) + start)
        if split:
            writer.write(b"\x82")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.write(b"\x04abcd")
        else:
            writer.write(b"\x82\x04abcd")
        assert b"\x88" in (told := await rest(reader))
        assert struct.pack("!H", 1002) in told


MALFORMED = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "bad line": b"GET /healthz HTTP/9.9\r\n\r\n",
    "bad header": b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
    "long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "bad length": b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_http_is_400_and_one_count(
    gateway: InProcess, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    async with pipe(gateway, sent) as (reader, _):
        answer = await rest(reader)
    assert answer.split(b" ", 2)[1] == b"400" and b"application/problem+json" in answer, answer
    assert await metric(gateway, 'gateway_http_malformed_total{part="request"}') == 1
    no_trace(caplog)


@pytest.mark.parametrize("path", ["/api/sessions", "/api/transcription/start", "/api/livekit/webhook"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 9\r\n", b"not gzip!"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\nhello\r\n"),
        (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["gzip", "chunks", "gzip in chunks"],
)
async def test_a_body_that_is_not_as_its_headers_say_is_a_400(
    gateway: InProcess, caplog: pytest.LogCaptureFixture, path: str, headers: bytes, body: bytes
) -> None:
    head = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + BEARER + headers + b"\r\n"
    async with pipe(gateway, head + body) as (reader, _):
        answer = await rest(reader)
    assert answer.split(b" ", 2)[1] == b"400" and b"application/problem+json" in answer, answer
    # What is no chunk is no HTTP either, and counts as such.
    part = "body" if b"gzip" in headers else "request"
    assert await metric(gateway, f'gateway_http_malformed_total{{part="{part}"}}') == 1
    no_trace(caplog)


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"title":"\\ud800"}', b'{"title":' + b"9" * 5_000 + b"}", b"\xff"])
async def test_json_that_cannot_be_read_is_a_400(
    gateway: InProcess, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    assert (await gateway.call("POST", "/api/sessions", body)).status == 400
    assert (await gateway.call("PUT", "/api/spaces/s1/limits", body)).status == 400
    no_trace(caplog)


@pytest.mark.parametrize("early", [b"", frame(9, b"ab")[:3], frame(9, b"ab") * 2, frame(8, b""), b"\x89\x00"])
async def test_what_comes_before_the_handshake_is_answered_keeps_its_step(gateway: InProcess, early: bytes) -> None:
    """Frames that a client sends with its request belong to the stream as well as those after it."""
    slug, whole = await gateway.session(), frame(9, b"ab") * 3
    async with pipe(gateway, upgrade("transcribe", slug) + early) as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if not whole.startswith(early):
            code = b"\x88\x00" if early == frame(8, b"") else b"\x03\xea"
            assert code in await rest(reader)
            return
        writer.write(whole[len(early) :])
        seen = b""
        async with asyncio.timeout(30):
            while seen.count(b"\x8a\x02ab") < 3:
                seen += await reader.readexactly(1)


DEEPEST = "[" * 60_000


@pytest.mark.parametrize(
    "read",
    [
        lambda: parse_query([("custom_metadata", DEEPEST)]),
        lambda: parse_plan(DEEPEST),
        lambda: parse_plan('{"every": ' + DEEPEST),
        lambda: vercel._json(DEEPEST.encode()),
        lambda: following._problem(500, DEEPEST),
        lambda: following._problem(500, '{"title": ' + DEEPEST),
        lambda: problem(DEEPEST, 500),
        lambda: problem("[]", 500),
    ],
)
def test_no_reader_of_what_others_say_follows_it_too_deep(read: Callable[[], object]) -> None:
    """Of the local speech server, of stores, and of programs that ask a gateway."""
    with suppress(BadPlan, ValueError):
        read()
