"""The provider's WebSocket against real servers that write frames by hand, good and bad."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import logging
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from stt.gladia import socket as module
from stt.gladia.socket import CLOSE_S, UNSENT, NoConnection, Socket, UpgradeRefused, connect

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80


def frame(kind: int, payload: bytes = b"", *, first: int = FIN) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first | kind, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first | kind, 126, size) + payload
    return struct.pack("!BBQ", first | kind, 127, size) + payload


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    async def upgrade(self, behind: bytes = b"") -> None:
        """`behind`: what comes in the same packet."""
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        key = self.head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + behind
        )

    async def frame(self) -> tuple[int, bytes]:
        """The client's next frame: its kind and payload."""
        first, second = await self.reader.readexactly(2)
        assert first & FIN and second & 0x80  # whole, and masked
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0xF, bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    async def close_code(self) -> int | None:
        """Of the client's close frame; None when the connection ends without one."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, payload = await self.frame()
                if kind == CLOSE:
                    return int(struct.unpack("!H", payload[:2])[0])
        return None


@asynccontextmanager
async def serving(handle: Callable[[Peer], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    peers: set[asyncio.Task[Any] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(asyncio.current_task())
        try:
            await handle(Peer(reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over; a stream's task must not end cancelled
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(talk, "localhost" if options else "127.0.0.1", 0, **options)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"wss://localhost:{port}/live?token=hush" if options else f"ws://127.0.0.1:{port}/live?token=hush"
    finally:
        server.close()
        for peer in peers:
            assert peer is not None
            peer.cancel()
        for outcome in await asyncio.gather(*(peer for peer in peers if peer), return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


class Ear:
    """Hears, and fails on demand."""

    def __init__(self) -> None:
        self.heard: list[str | bytes] = []
        self.rooms = 0
        self.socket: Socket | None = None
        self.news = asyncio.Event()
        self.fails = False

    def opened(self, socket: Socket) -> None:
        self.socket = socket

    def received(self, message: str | bytes) -> None:
        self.heard.append(message)
        self.news.set()
        if self.fails:
            raise LookupError("of our own")

    def writable(self) -> None:
        self.rooms += 1
        self.news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self.news.clear()
                await self.news.wait()


@pytest.fixture(autouse=True)
async def nothing_unhandled() -> AsyncIterator[None]:
    """Neither a callback nor a forgotten future raises anything."""
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    yield
    await asyncio.sleep(0.1)
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []


async def rest(peer: Peer) -> None:
    """Stay until the client goes."""
    with suppress(ConnectionError):
        while await peer.reader.read(1 << 16):
            pass


# --- what is said -----------------------------------------------------------------------------------------------


async def test_messages_come_whole_in_order_and_sent_ones_arrive() -> None:
    got: list[tuple[int, bytes]] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade(behind=frame(TEXT, b"zero") + frame(TEXT, b"one"))
        peer.writer.write(frame(TEXT, b"zw", first=0) + frame(PING, b"there?") + frame(0, b"", first=0))
        got.append(await peer.frame())
        peer.writer.write(frame(0, "ei ü".encode()) + frame(TEXT, b"x" * 70_000) + frame(BINARY, b"\xff"))
        peer.writer.write(frame(TEXT, b"") + frame(PONG, b"unasked"))
        for _ in range(3):
            got.append(await peer.frame())
        peer.writer.write(frame(TEXT, b"end"))
        await rest(peer)

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        assert ear.socket is socket
        socket.send(b"\x00\x01" * 1600)
        socket.send("ü")
        socket.send(b"z" * 66_000)
        await ear.until(lambda: "end" in ear.heard)
        await socket.close()
    assert ear.heard == ["zero", "one", "zwei ü", "x" * 70_000, b"\xff", "", "end"]
    assert got == [(PONG, b"there?"), (BINARY, b"\x00\x01" * 1600), (TEXT, "ü".encode()), (BINARY, b"z" * 66_000)]
    assert socket.problem is None


async def test_one_byte_at_a_time_is_fine() -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        for byte in frame(TEXT, b"slowly") + frame(TEXT, b"a" * 300):
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await rest(peer)

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        await ear.until(lambda: len(ear.heard) == 2)
        await socket.close()
    assert ear.heard == ["slowly", "a" * 300]


async def test_an_error_of_the_receiver_ends_the_connection_and_is_raised() -> None:
    codes: list[int | None] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(frame(TEXT, b"one") + frame(TEXT, b"two"))
        codes.append(await peer.close_code())

    async with serving(handle) as url:
        ear = Ear()
        ear.fails = True
        socket = await connect(url, ear)
        with pytest.raises(LookupError, match="of our own"):
            await socket.over()
        socket.send("unheard")
        await socket.close()
        assert ear.heard == ["one"]
    assert codes == [1000]


# --- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1012, 3000, 4400, 4999, None])
async def test_the_peers_close_code_is_told_and_answered(code: int | None) -> None:
    answers: list[int | None] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(frame(CLOSE, struct.pack("!H", code) + b"because" if code else b""))
        answers.append(await peer.close_code())

    async with serving(handle) as url:
        socket = await connect(url, Ear())
        assert await socket.over() == code
        await socket.close()
        await asyncio.sleep(0.1)
    assert answers == [code or 1000]


async def test_a_lost_connection_has_no_code() -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(frame(TEXT, b"half")[:-2])
        await peer.writer.drain()

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        assert await socket.over() is None
        await socket.close()
        assert not ear.heard


async def test_an_abort_sends_no_close_frame_and_a_close_does() -> None:
    codes: list[int | None] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        codes.append(await peer.close_code())
        if codes[-1] is not None:
            peer.writer.write(frame(CLOSE, struct.pack("!H", 1000)))
        await rest(peer)

    async with serving(handle) as url:
        clock = asyncio.get_running_loop().time
        for end in (Socket.abort, Socket.leave):
            socket = await connect(url, Ear())
            end(socket)
            assert await socket.over() is None
            began = clock()
            await socket.close()
            await socket.close()
            assert clock() - began < CLOSE_S / 2
            await asyncio.sleep(0.01)
    assert codes == [None, 1000]


@pytest.mark.parametrize("is_told", [False, True], ids=["silent", "closed by the peer"])
async def test_a_peer_that_takes_no_part_in_the_end_is_not_waited_for_long(is_told: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        if is_told:
            peer.writer.write(frame(CLOSE, struct.pack("!H", 1000)))
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with serving(handle) as url:
        socket = await connect(url, Ear())
        while socket.is_writable:
            socket.send(bytes(32_000))
            await asyncio.sleep(0)
        if is_told:
            await socket.over()
        clock = asyncio.get_running_loop().time
        began = clock()
        await socket.close()
        assert clock() - began < CLOSE_S + 0.1


# --- flow -------------------------------------------------------------------------------------------------------


async def test_a_peer_that_stops_reading_stops_the_writer_until_it_reads_again() -> None:
    read = asyncio.Event()
    seen = 0

    async def handle(peer: Peer) -> None:
        nonlocal seen
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        await read.wait()
        peer.writer.transport.resume_reading()
        with suppress(asyncio.IncompleteReadError):
            while (await peer.frame())[0] == BINARY:
                seen += 1

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        sent = 0
        while socket.is_writable:
            socket.send(bytes(3200))
            sent += 1
            await asyncio.sleep(0)
        assert socket._transport is not None
        waiting = socket._transport.get_write_buffer_size()
        assert UNSENT < waiting <= UNSENT + 3300
        assert ear.rooms == 0
        read.set()
        await ear.until(lambda: ear.rooms == 1)
        assert socket.is_writable
        await asyncio.sleep(0.1)
        await socket.close()
    assert seen == sent


async def test_a_silent_peer_is_asked_and_then_left() -> None:
    asked: list[tuple[int, float]] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        for _ in range(2):  # answers once, and then no more
            kind, _ = await peer.frame()
            asked.append((kind, asyncio.get_running_loop().time()))
            if len(asked) == 1:
                peer.writer.write(frame(PONG))
        assert await peer.close_code() is None

    async with serving(handle) as url:
        clock = asyncio.get_running_loop().time
        began = clock()
        socket = await connect(url, Ear())
        assert await socket.over() is None
        assert [kind for kind, _ in asked] == [PING, PING]
        assert 20.0 <= asked[0][1] - began <= 31.0
        assert 30.0 <= clock() - asked[0][1] <= 41.0
        await socket.close()
        assert socket.problem == "no sign of life"


# --- what breaks the protocol ---------------------------------------------------------------------------------


BAD: dict[str, tuple[bytes, int]] = {
    "a frame beyond the limit": (struct.pack("!BBQ", FIN | TEXT, 127, 17 << 20), 1009),
    "a frame without end": (struct.pack("!BBQ", FIN | TEXT, 127, 1 << 63), 1002),
    "too much in pieces": (frame(TEXT, bytes(1 << 20), first=0) + frame(0, bytes(1 << 20), first=0) * 16, 1009),
    "an unknown opcode": (frame(3, b"?"), 1002),
    "text that is none": (frame(TEXT, b"\xff\xfe"), 1007),
    "text that is none, in pieces": (frame(TEXT, b"\xc3", first=0) + frame(0, b"("), 1007),
    "a masked frame": (struct.pack("!BB", FIN | TEXT, 0x81) + b"abcde", 1002),
    "a reserved bit": (frame(TEXT, b"deflated?", first=FIN | 0x40), 1002),
    "the continuation of nothing": (frame(0, b"and"), 1002),
    "a message in a message": (frame(TEXT, b"a", first=0) + frame(TEXT, b"b"), 1002),
    "a message in an empty part": (frame(TEXT, b"", first=0) + frame(TEXT, b"b"), 1002),
    "a ping in pieces": (frame(PING, b"a", first=0), 1002),
    "a long ping": (frame(PING, bytes(200)), 1002),
    "a code that is none": (frame(CLOSE, struct.pack("!H", 999)), 1002),
    "half a code": (frame(CLOSE, b"\x03"), 1002),
    "HTTP": (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\n" + b"hello " * 10, 1002),
}


@pytest.mark.parametrize("what", BAD)
async def test_whoever_breaks_the_protocol_is_left_with_a_reason(what: str) -> None:
    sent, code = BAD[what]
    codes: list[int | None] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade(behind=frame(TEXT, b"good"))
        peer.writer.write(sent + frame(TEXT, b"after"))
        codes.append(await peer.close_code())
        await rest(peer)

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        async with asyncio.timeout(60):
            assert await socket.over() in (None, code)
        await socket.close()
        assert socket.problem
        assert ear.heard in (["good"], ["good", "after"])
        await asyncio.sleep(0.01)
    assert codes == [code]


async def test_a_peer_that_pings_and_does_not_read_fills_no_memory() -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        for _ in range(400):
            peer.writer.write(frame(PING, bytes(125)) * 200)
            await peer.writer.drain()
        peer.writer.write(frame(TEXT, b"still there"))
        await asyncio.Event().wait()

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear)
        while socket.is_writable:
            socket.send(bytes(32_000))
            await asyncio.sleep(0)
        await ear.until(lambda: bool(ear.heard))
        assert socket._transport is not None
        assert socket._transport.get_write_buffer_size() < 2 * UNSENT
        await socket.close()


# --- no connection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 429, 500, 520])
async def test_a_refused_upgrade_tells_its_status(status: int) -> None:
    async def handle(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
        await rest(peer)

    async with serving(handle) as url:
        with pytest.raises(UpgradeRefused) as refused:
            await connect(url, Ear())
    assert refused.value.status == status


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgr",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"a" * 100_000,
    ],
    ids=lambda answer: repr(answer[-24:]),
)
async def test_what_is_no_websocket_is_no_connection(answer: bytes) -> None:
    async def handle(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(answer)
        await peer.writer.drain()

    async with serving(handle) as url:
        with pytest.raises(NoConnection):
            await connect(url, Ear())


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9/", "nothing", "ftp://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/"])
async def test_an_address_that_leads_nowhere_is_no_connection(url: str) -> None:
    with pytest.raises(NoConnection):
        await connect(url, Ear())


async def test_whoever_gives_up_waiting_leaves_no_connection_behind() -> None:
    ended = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await rest(peer)  # never answers
        ended.set()

    async with serving(handle) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await connect(url, Ear())
        async with asyncio.timeout(60):
            await ended.wait()


async def test_an_answer_that_comes_in_the_moment_of_giving_up_opens_nothing() -> None:
    """It is read all the same; a session that has gone on must not hear of it."""
    ear = Ear()
    connecting: list[asyncio.Task[Socket]] = []

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        connecting[0].cancel()
        assert await peer.close_code() is None

    async with serving(handle) as url:
        connecting.append(asyncio.create_task(connect(url, ear)))
        with pytest.raises(asyncio.CancelledError):
            await connecting[0]
        await asyncio.sleep(0.1)
    assert ear.socket is None


async def test_a_redirect_is_followed_and_http_names_the_same_place() -> None:
    paths: list[bytes] = []

    async def handle(peer: Peer) -> None:
        if not paths:
            paths.append((await peer.reader.readuntil(b"\r\n\r\n")).split()[1])
            peer.writer.write(b"HTTP/1.1 307 There\r\nLocation: /other?token=hush\r\n\r\n")
            return
        await peer.upgrade()
        paths.append(peer.head.split()[1])
        await rest(peer)

    async with serving(handle) as url:
        socket = await connect(url.replace("ws:", "http:"), Ear())
        await socket.close()
    assert paths == [b"/live?token=hush", b"/other?token=hush"]


@pytest.mark.parametrize(
    "url",
    ["ws://127.0.0.1:9/?token=hush", "ftp://127.0.0.1/?token=hush", "/live?token=hush", "ws://[::1/?token=hush"],
)
async def test_the_credential_in_the_address_is_not_shown(caplog: pytest.LogCaptureFixture, url: str) -> None:
    with caplog.at_level(logging.DEBUG):
        await test_a_redirect_is_followed_and_http_names_the_same_place()
        with pytest.raises(NoConnection) as refused:
            await connect(url, Ear())
    assert "hush" not in caplog.text + str(refused.value)


@pytest.mark.parametrize("to", ["https://127.0.0.1/?token=hush", "http://127.0.0.1/?token=hush", "ws:?token=hush"])
async def test_a_redirect_that_leads_nowhere_is_no_connection(to: str) -> None:
    async def handle(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(b"HTTP/1.1 307 There\r\nLocation: %b\r\n\r\n" % to.encode())
        await rest(peer)

    async with serving(handle) as url:
        with pytest.raises((NoConnection, UpgradeRefused)) as refused:
            await connect(url, Ear())
    assert "hush" not in str(refused.value)


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`localhost.pem` and `elsewhere.pem`, each signed by itself, with their keys."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("localhost", "elsewhere"):
        order = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        order += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        order += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(order, check=True, capture_output=True)
    module._trusted.cache_clear()
    yield folder
    module._trusted.cache_clear()


def over_tls(
    certificates: Path, ours: str, run: Callable[[Coroutine[Any, Any, list[str | bytes]]], list[str | bytes]]
) -> list[str | bytes]:
    """What is heard from a server that shows the certificate `ours`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{ours}.pem", certificates / f"{ours}.key")

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        _, payload = await peer.frame()
        peer.writer.write(frame(TEXT, b"%d" % len(payload)))
        await rest(peer)

    async def talk() -> list[str | bytes]:
        async with serving(handle, ssl=context) as url:
            ear = Ear()
            socket = await connect(url, ear)
            socket.send(bytes(100_000))
            await ear.until(lambda: bool(ear.heard))
            await socket.close()
            return ear.heard

    module._trusted.cache_clear()
    return run(talk())


LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@LOOPS
def test_a_certificate_that_the_system_trusts_is_accepted(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "localhost.pem"))
    assert over_tls(certificates, "localhost", run) == ["100000"]


@LOOPS
@pytest.mark.parametrize(("shown", "trusted"), [("localhost", "elsewhere"), ("elsewhere", "elsewhere")])
def test_a_certificate_of_another_host_or_of_nobody_is_refused(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, run: Any, shown: str, trusted: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / f"{trusted}.pem"))
    with pytest.raises(NoConnection, match=r"(?i)certificate"):
        over_tls(certificates, shown, run)


async def test_garbled_text_reaches_who_takes_it_and_ends_nothing() -> None:
    """The provider's finals are kept as far as they can be read, against RFC 6455, 8.1."""

    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(frame(TEXT, b"\xff") + frame(TEXT, b"\xc3", first=0) + frame(0, b"(") + frame(TEXT, b"after"))
        await rest(peer)

    async with serving(handle) as url:
        ear = Ear()
        socket = await connect(url, ear, takes_garbled=True)
        await ear.until(lambda: len(ear.heard) == 3)
        await socket.close()
        assert ear.heard == [b"\xff", b"\xc3(", "after"]


async def test_why_the_peer_closes_is_known() -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade(behind=frame(CLOSE, struct.pack("!H", 1008) + b"quota exceeded"))
        await rest(peer)

    async with serving(handle) as url:
        socket = await connect(url, Ear())
        assert await socket.over() == 1008
        assert socket.reason == "quota exceeded"
        await socket.close()


async def test_whoever_answers_a_message_with_a_close_right_behind_it_fails_at_nothing() -> None:
    async def handle(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(frame(TEXT, b"one") + frame(CLOSE, struct.pack("!H", 1001)))
        await rest(peer)

    class Answering(Ear):
        def received(self, message: str | bytes) -> None:
            super().received(message)
            assert self.socket is not None and not self.socket.is_writable
            self.socket.send("an answer")

    async with serving(handle) as url:
        ear = Answering()
        socket = await connect(url, ear)
        assert await socket.over() == 1001
        await socket.close()
        assert ear.heard == ["one"]
