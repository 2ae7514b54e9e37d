"""The browser's WebSocket over a real connection: admission, history, close codes, and who disappears."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from integration.gateway_api.in_process import (
    FRIEND,
    TOKEN,
    InProcess,
    Relay,
    Stream,
    room_token,
    running,
    user_token,
)
from support.gateway import write_wav
from support.waiting import until

from gateway.live.endpoint import LiveOptions
from stt.local.scripted import speak
from stt.local.server import LocalServer

TEXTS = ["Good morning.", "How are you?", "Fine."]


async def told(gateway: InProcess, texts: list[str], *, ended: bool = False) -> str:
    """A session in which this was said, on another replica."""
    slug = await gateway.session()
    async with gateway.records() as shelf:
        session = await shelf.told(slug, texts)
        if ended:
            assert await shelf.sessions.end(session.id, session.created_at)
    return slug


async def refused(gateway: InProcess, slug: str = "nowhere1", **more: Any) -> int:
    """The HTTP status of a handshake."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with gateway.watch(slug, **more):
            pass
    return error.value.status


# --- what is told -------------------------------------------------------------------------------------------


async def test_hello_is_the_first_message(gateway: InProcess) -> None:
    """Also where nothing has been transcribed yet: then the numbering has no name."""
    slug = await gateway.session()
    async with gateway.watch(slug) as stream:
        hello = await stream.next()
        assert set(hello) >= {"v", "type", "sessionSlug", "epoch", "ts", "data"}
        assert (hello["v"], hello["type"], hello["sessionSlug"]) == (1, "hello", slug)
        assert hello["data"] == {"state": "idle", "epoch": hello["epoch"], "seq": 0, "resumed": False}
        await gateway.start(slug)
        [state] = await stream.until("session.state")
        assert state["data"] == {"state": "starting"}
        assert state["epoch"] != hello["epoch"]
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        states = await stream.until("session.state", 3)
        assert [one["data"]["state"] for one in states] == ["starting", "stopping", "stopped"]
        assert states[-1]["data"]["reason"] == "stopped by request"


async def test_a_newcomer_gets_everything_and_a_returner_the_rest(gateway: InProcess) -> None:
    slug = await told(gateway, TEXTS)
    async with gateway.watch(slug) as stream:
        finals = await stream.until("transcript.final", 3)
        hello = stream.messages[0]
    assert [(one["seq"], one["data"]["text"]) for one in finals] == list(enumerate(TEXTS, start=1))
    assert {one["epoch"] for one in finals} == {hello["epoch"]}
    assert (hello["data"]["seq"], hello["data"]["resumed"]) == (3, False)
    for after in (0, 1, 2, 3):
        async with gateway.watch(slug, since=f"{hello['epoch']}:{after}") as stream:
            if after < 3:
                await stream.until("transcript.final", 3 - after)
            else:
                await stream.next()
            assert stream.messages[0]["data"]["resumed"] is True
            assert stream.seqs == list(range(after + 1, 4))
    for unknown in (f"{hello['epoch']}:4", "other:2"):
        async with gateway.watch(slug, since=unknown) as stream:
            await stream.until("transcript.final", 3)
            assert stream.messages[0]["data"]["resumed"] is False
            assert stream.seqs == [1, 2, 3]


async def test_a_long_history_is_whole_and_in_order(gateway: InProcess) -> None:
    slug = await told(gateway, [f"Number {number}." for number in range(1, 1203)])
    async with gateway.watch(slug) as stream:
        await stream.until("transcript.final", 1202)
    assert stream.seqs == list(range(1, 1203))


async def test_the_end_of_a_session_in_which_nobody_was_transcribed_is_told_at_once(
    database_url: str, provider: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches it is not left to wait for the next look into the tables."""
    monkeypatch.setattr("gateway.app.live.LiveOptions", partial(LiveOptions, ask_s=600))
    async with running(database_url, provider, tmp_path) as gateway:
        slug = await gateway.session()
        await gateway.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna", "name": "Anna"})
        async with gateway.watch(slug) as stream:
            await stream.until("hello")
            await gateway.ok("POST", f"/api/sessions/{slug}/end")
            assert (await stream.closed())[0] == 4510


async def test_an_ended_session_says_everything_and_good_bye(gateway: InProcess) -> None:
    """4510: do not come back. Also for whoever has everything already. The hello tells it before."""
    slug = await told(gateway, TEXTS, ended=True)
    async with gateway.watch(slug) as stream:
        code, reason = await stream.closed()
        assert (code, reason) == (4510, "the session has ended and everything was sent")
        assert stream.seqs == [1, 2, 3]
        assert stream.messages[0]["data"]["ended"]
        epoch = stream.messages[0]["epoch"]
    async with gateway.watch(slug, since=f"{epoch}:3") as stream:
        assert (await stream.closed())[0] == 4510
        assert stream.seqs == []


async def test_every_watcher_of_real_speech_sees_the_same(gateway: InProcess, tmp_path: Path) -> None:
    """Published over RTMP: two watch from the start, one is cut off again and again, and one comes late."""
    slug = await gateway.session()
    started = await gateway.start(slug, language="en", participantIdentity="anna", participantName="Anna")
    said = ["alpha bravo", "charlie delta", "echo foxtrot", "golf hotel"]
    pcm, _ = speak(" ".join(said), lead_s=0.3, tail_s=1.0, pauses=[0.0, 0.8] * 4)
    sound = write_wav(tmp_path / "said.wav", pcm)
    async with gateway.watch(slug) as one, gateway.watch(slug, token=room_token(slug)) as two:
        publisher = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.cli.publish", str(sound), started["ingest"]["rtmpUrl"]
        )
        cut: list[Stream] = []
        since = None
        async with asyncio.timeout(60):
            while sum(len(stream.seqs) for stream in cut) < len(said):
                async with gateway.watch(slug, since=since) as stream:
                    cut.append(stream)
                    await stream.until("transcript.final")
                    last = stream.messages[-1]
                    since = f"{last['epoch']}:{last['seq']}"
            assert await publisher.wait() == 0
        stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        for stream in (one, two):
            await stream.until("transcript.final", len(said))
    async with gateway.watch(slug) as late:
        await late.until("transcript.final", len(said))
    finals = [[m for m in stream.messages if m["type"] == "transcript.final"] for stream in (one, two, late)]
    for found in finals:
        assert [(m["seq"], m["data"]["text"]) for m in found] == list(enumerate(said, start=1))
        assert {m["data"]["participantName"] for m in found} == {"Anna"}
    assert [m["data"] for m in finals[0]] == [m["data"] for m in finals[1]] == [m["data"] for m in finals[2]]
    assert [seq for stream in cut for seq in stream.seqs] == [1, 2, 3, 4]
    assert any(m["type"] == "transcript.partial" for m in one.messages)
    assert stopped["finalsComplete"]
    assert stopped["usage"]["totals"]["finalTranscripts"] == 4


# --- who may ------------------------------------------------------------------------------------------------


async def test_a_credential_may_come_in_three_ways(gateway: InProcess) -> None:
    """Header, query, or the pair of subprotocols, of which the first is chosen."""
    slug = await told(gateway, TEXTS)
    for token in (TOKEN, user_token("default"), room_token(slug)):
        ways: list[dict[str, Any]] = [
            {"headers": {"Authorization": f"Bearer {token}"}, "token": None},
            {"token": token},
            {"protocols": ("transcript.v1", f"bearer.{token}"), "token": None},
        ]
        for way in ways:
            async with gateway.watch(slug, **way) as stream:
                await stream.until("transcript.final", 3)
                assert stream.socket.protocol == ("transcript.v1" if "protocols" in way else None)


async def test_a_program_is_refused_with_a_status(gateway: InProcess) -> None:
    slug = await gateway.session()
    assert await refused(gateway, slug, token=None) == 401
    assert await refused(gateway, slug, token="wrong") == 401
    assert await refused(gateway, slug, token=user_token("default", lifetime_s=-60)) == 401
    assert await refused(gateway, slug, token=user_token("elsewhere")) == 403
    assert await refused(gateway, slug, token=room_token("another")) == 403
    assert await refused(gateway) == 404
    assert await refused(gateway, "") == 404
    assert await refused(gateway, "x" * 200) == 404
    for since in ("5", "x", "e:-1", "e:²"):
        assert await refused(gateway, slug, since=since) == 400
    assert await refused(gateway, slug, protocols=(f"bearer.{TOKEN}",), token=None) == 400


@pytest.mark.parametrize("origin", ["own", FRIEND])
async def test_a_page_is_told_by_a_close_code(gateway: InProcess, origin: str) -> None:
    """A browser hides the status of a refused handshake from its page."""
    slug = await gateway.session()
    headers = {"Origin": f"http://{gateway.host}" if origin == "own" else origin}
    for token, session, code in (
        ("wrong", slug, 4501),
        (None, slug, 4501),
        (room_token("another"), slug, 4501),
        (TOKEN, "nowhere1", 4504),
    ):
        async with gateway.watch(session, token=token, headers=headers) as stream:
            closed, reason = await stream.closed()
            assert closed == code
            assert reason and TOKEN not in reason
            assert stream.messages == []
    async with gateway.watch(slug, headers=headers) as stream:
        assert (await stream.next())["type"] == "hello"


async def test_pages_from_elsewhere_are_refused_before_anything(gateway: InProcess) -> None:
    slug = await gateway.session()
    for origin in ("https://evil.example", "null", FRIEND + ".evil.example", f"http://{gateway.host}0"):
        assert await refused(gateway, slug, headers={"Origin": origin}) == 403


async def test_a_credential_that_expires_ends_the_stream(gateway: InProcess) -> None:
    """4501, and not before: what it was good for was told."""
    slug = await told(gateway, TEXTS)
    async with gateway.watch(slug, token=user_token("default", lifetime_s=1.5)) as stream:
        await stream.until("transcript.final", 3)
        assert await stream.closed() == (4501, "the credential has expired")


async def test_more_watchers_than_there_is_room_for_are_told_to_come_back(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """429 for a program, 4029 for a page; whoever leaves makes room."""
    async with running(database_url, provider, tmp_path, max_watchers=2) as gateway:
        slug = await gateway.session()
        async with gateway.watch(slug) as one:
            await one.next()
            async with gateway.watch(slug) as two:
                await two.next()
                assert await refused(gateway, slug) == 429
                async with gateway.watch(slug, headers={"Origin": f"http://{gateway.host}"}) as page:
                    assert (await page.closed())[0] == 4029

            async def there_is_room() -> bool:
                return await gateway.metric("gateway_watchers") == 1

            await until(there_is_room)
            async with gateway.watch(slug) as three:
                assert (await three.next())["type"] == "hello"


# --- what a watcher may say ---------------------------------------------------------------------------------


async def test_text_is_ignored_and_pings_are_answered(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.watch(slug) as stream:
        await stream.next()
        for _ in range(20):
            await stream.socket.send_str("hello?")
        await stream.socket.ping(b"there?")
        await gateway.start(slug)
        assert (await stream.next())["type"] == "session.state"


async def test_binary_messages_end_the_stream(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.watch(slug) as stream:
        await stream.next()
        await stream.socket.send_bytes(b"\x00")
        assert await stream.closed() == (1003, "this stream takes no binary messages")


async def test_giant_messages_end_the_stream(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.watch(slug) as stream:
        await stream.next()
        await stream.socket.send_str("x" * 10_000)
        assert (await stream.closed())[0] == 1009


async def test_bytes_that_are_no_websocket_end_the_connection(gateway: InProcess) -> None:
    """Reserved bits, unknown opcodes, a length beyond all bounds: a close, and the gateway lives on."""
    slug = await gateway.session()
    for garbage in (b"\xf1\x80\x00\x00\x00\x00", b"\x83\x80\x00\x00\x00\x00", b"\x81\xff" + b"\xff" * 64):
        raw = await handshake(gateway, slug)
        raw.write(garbage)
        async with asyncio.timeout(60):
            while await raw.read():
                pass
        raw.abort()
    assert (await gateway.call("GET", "/readyz", token=None)).status == 200


# --- coming to an end ---------------------------------------------------------------------------------------


class Raw:
    """A client that does with its socket what no library would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.write = writer.write
        self.abort = writer.transport.abort

    async def read(self) -> bytes:
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""

    def stop_reading(self) -> None:
        cast(asyncio.Transport, self._writer.transport).pause_reading()

    def reset(self) -> None:
        """RST instead of a good bye."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()


async def handshake(gateway: InProcess, slug: str, token: str = TOKEN, *, window: int | None = None) -> Raw:
    host, port = gateway.host.split(":")
    made = socket.socket()
    made.setblocking(False)
    if window is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    await asyncio.get_running_loop().sock_connect(made, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=made, limit=1024 if window else 65_536)
    writer.write(
        f"GET /api/realtime/transcribe?session={slug}&token={token} HTTP/1.1\r\nHost: {gateway.host}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Raw(reader, writer)


async def test_whoever_does_not_read_is_let_go(gateway: InProcess) -> None:
    """Its credential expires while megabytes wait for it: the connection and its memory are given back in seconds."""
    slug = await told(gateway, ["x" * 4000] * 1500)
    raw = await handshake(gateway, slug, user_token("default", lifetime_s=1.0), window=4096)
    raw.stop_reading()

    async def is_let_go() -> bool:
        return await gateway.metric("gateway_watchers") == 0 and await closed_by_credential() == 1

    async def closed_by_credential() -> float:
        text = (await gateway.call("GET", "/metrics")).body.decode()
        return float('gateway_watchers_closed_total{reason="credential_refused"} 1.0' in text)

    await until(is_let_go)
    raw.abort()


async def test_whoever_disappears_disturbs_nobody(gateway: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Resets and half-open sockets in the middle of the stream: the others go on, and no error is logged."""
    caplog.set_level(logging.WARNING)
    slug = await gateway.session()
    async with gateway.watch(slug) as stream:
        await stream.next()
        for number in range(5):
            gone = [await handshake(gateway, slug) for _ in range(10)]
            for raw in gone[::2]:
                raw.reset()
            await gateway.start(slug)
            for raw in gone[1::2]:
                raw.abort()
            await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
            await stream.until("session.state", 3 * (number + 1))
        assert [one["data"]["state"] for one in stream.messages[1:]] == ["starting", "stopping", "stopped"] * 5

        async def nobody_else() -> bool:
            return await gateway.metric("gateway_watchers") == 1

        await until(nobody_else)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_shutdown_tells_everybody_to_come_back(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """4000 for those who read, and no waiting for those who do not."""
    opening = running(database_url, provider, tmp_path)
    gateway = await opening.__aenter__()
    slug = await told(gateway, ["x" * 4000] * 1500)
    quiet = await told(gateway, TEXTS)
    raw = await handshake(gateway, slug, window=4096)
    raw.stop_reading()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{gateway.url}/api/realtime/transcribe?session={quiet}&token={TOKEN}") as one,
    ):
        stream = Stream(one)
        await stream.until("transcript.final", 3)
        closing = asyncio.create_task(opening.__aexit__(None, None, None))
        assert await stream.closed() == (4000, "the gateway is restarting; come back")
        async with asyncio.timeout(60):
            await closing
    raw.abort()


async def test_a_database_that_is_away_asks_a_page_to_come_back(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    relay = Relay(database_url)
    await relay.mend()
    async with running(relay.url, provider, tmp_path) as gateway:
        slug = await told(gateway, TEXTS)
        await relay.cut()
        async with gateway.watch(slug, headers={"Origin": f"http://{gateway.host}"}) as page:
            code, reason = await page.closed()
            assert 4000 <= (code or 0) < 4500, reason
        assert await refused(gateway, slug) == 503
        await relay.mend()

        async def is_back() -> bool:
            return (await gateway.call("GET", "/readyz", token=None)).status == 200

        await until(is_back)
        async with gateway.watch(slug) as stream:
            await stream.until("transcript.final", 3)
    await relay.cut()
