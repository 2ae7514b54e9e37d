"""The whole gateway in this process, on free ports, with a real database and a real speech server behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import jwt
from aiohttp import web
from support.ports import free_port

from gateway.app.root import open_gateway
from gateway.app.system_clock import SystemClock
from gateway.live.protocol import encode_caption
from gateway.settings import Settings
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import Records, SessionRecord
from storage.postgres.pool import open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url
from stt.local.server import LocalOptions, LocalServer

TOKEN = "service-token-for-tests"
USER_SECRET = "user-secret-of-at-least-thirty-two-bytes"
ROOM_SECRET = "room-secret-of-at-least-thirty-two-bytes"
FRIEND = "https://app.example.com"
"""The allowed origin."""


def user_token(*spaces: str, lifetime_s: float = 7200, secret: str = USER_SECRET, subject: str = "user-1") -> str:
    claims = {"sub": subject, "spaces": list(spaces), "exp": time.time() + lifetime_s}
    return jwt.encode(claims, secret, algorithm="HS256")


def room_token(room: str, lifetime_s: float = 7200) -> str:
    """As LiveKit's server SDK makes it."""
    claims = {
        "iss": "livekit-key",
        "sub": "anna",
        "exp": time.time() + lifetime_s,
        "video": {"room": room, "roomJoin": True},
    }
    return jwt.encode(claims, ROOM_SECRET, algorithm="HS256")


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]


@dataclass
class InProcess:
    """A running gateway and a client of it. `app`: what it serves."""

    url: str
    app: web.Application
    http: aiohttp.ClientSession
    database_url: str
    settings: Settings

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body`: bytes as they are, anything else as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.http.request(method, self.url + path, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def ok(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.call(method, path, body)
        assert answer.status < 400, answer
        return answer.json

    async def session(self) -> str:
        slug: str = (await self.ok("POST", "/api/sessions", {"title": "test"}))["slug"]
        return slug

    async def start(self, slug: str, **more: object) -> Any:
        return await self.ok("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp", **more})

    @asynccontextmanager
    async def watch(self, slug: str, **more: Any) -> AsyncIterator[Stream]:
        """The live stream. `since`, `token` and so on go into the query; `headers`, `protocols` as they are."""
        headers, protocols = more.pop("headers", {}), more.pop("protocols", ())
        more.setdefault("token", TOKEN)
        query = "&".join(
            f"{name}={quote(str(value))}" for name, value in {"session": slug, **more}.items() if value is not None
        )
        url = f"{self.url}/api/realtime/transcribe?{query}"
        async with self.http.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0) as socket:
            yield Stream(socket)

    async def metric(self, name: str) -> float:
        text = (await self.call("GET", "/metrics")).body.decode()
        [value] = [line.split()[1] for line in text.splitlines() if line.split(" ")[0].split("{")[0] == name]
        return float(value)

    async def metric_of(self, state: str) -> float:
        """Transcriptions of this replica in that state."""
        text = (await self.call("GET", "/metrics")).body.decode()
        [line] = [line for line in text.splitlines() if line.startswith(f'gateway_transcriptions{{state="{state}"}}')]
        return float(line.split()[1])

    @asynccontextmanager
    async def records(self) -> AsyncIterator[Shelf]:
        """The same database, as another replica or the app sees it."""
        async with open_pool(parse_database_url(self.database_url), size=2) as database:
            yield Shelf(postgres_records(database, SystemClock()), Sessions(database))


@dataclass
class Stream:
    """What one watcher is told."""

    socket: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def next(self, within_s: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
        told: dict[str, Any] = json.loads(message.data)
        self.messages.append(told)
        return told

    async def until(self, kind: str, count: int = 1, within_s: float = 60) -> list[dict[str, Any]]:
        """All messages of a kind, once there are so many."""
        async with asyncio.timeout(within_s):
            while len(found := [one for one in self.messages if one["type"] == kind]) < count:
                await self.next(within_s)
        return found

    async def closed(self, within_s: float = 60) -> tuple[int | None, str]:
        """Read to the end. The close code and reason."""
        async with asyncio.timeout(within_s):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.messages.append(json.loads(message.data))
                    continue
                return self.socket.close_code, str(message.extra or "")

    @property
    def seqs(self) -> list[int]:
        return [one["seq"] for one in self.messages if one["type"] == "transcript.final"]


@dataclass
class Shelf:
    """Keeps finals in the database without audio."""

    records: Records
    sessions: Sessions

    async def told(self, slug: str, texts: Sequence[str], *, finish: bool = True) -> SessionRecord:
        """A transcription that has run on another replica, and said this."""
        session = await self.records.sessions.by_slug(slug)
        assert session is not None
        claimed, _ = await self.records.leases.claim(session, "rtmp", {}, None, "another replica", 600)
        assert claimed is not None
        await self.records.sessions.join(session.id, Speaker("anna", "Anna"))
        finals = []
        last = claimed.numbering.last_seq
        for seq, text in enumerate(texts, start=last + 1):
            at = datetime(2026, 1, 5, 10, 0, tzinfo=UTC) + timedelta(seconds=2 * seq)
            words = tuple(Word(word, 2000 * seq, 2000 * seq + 1500) for word in text.split())
            anna = Speaker("anna", "Anna")
            said = Caption(f"p:{seq}", text, "en", True, anna, at, at, 2000 * seq, 2000 * seq + 1500, 0.9, words)
            epoch = claimed.numbering.epoch
            finals.append(FinalToStore(claimed.lease, session.id, epoch, seq, said, None, encode_caption(said)))
        for at_ in range(0, len(finals), 200):
            await self.records.finals.store(finals[at_ : at_ + 200])
        if finish:
            await self.records.leases.finish(claimed.lease, "stopped by request", True)
        return session


@asynccontextmanager
async def running(
    database_url: str, provider: LocalServer, data_dir: Path, **settings: Any
) -> AsyncIterator[InProcess]:
    """Until the end of the block, where it must have drained."""
    apps: list[web.Application] = []
    chosen = Settings(
        **{
            "database_url": database_url,
            "http_port": 0,
            "http_host": "127.0.0.1",
            "rtmp_port": -1,
            "rtmp_host": "127.0.0.1",
            "api_tokens": (TOKEN, "another-service-token"),
            "jwt_secret": USER_SECRET,
            "livekit_api_key": "livekit-key",
            "livekit_api_secret": ROOM_SECRET,
            "gladia_api_key": "k",
            "gladia_api_url": provider.url,
            "data_dir": data_dir,
            "allowed_origins": (FRIEND,),
            "drain_s": 3.0,
            **settings,
        }
    )
    runner = web.AppRunner

    class Noting(runner):  # type: ignore[misc, valid-type]
        def __init__(self, app: web.Application, **more: Any) -> None:
            apps.append(app)
            super().__init__(app, **more)

    web.AppRunner = Noting  # type: ignore[misc]
    try:
        opening = open_gateway(chosen)
        gateway = await opening.__aenter__()
    finally:
        web.AppRunner = runner  # type: ignore[misc]
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            url = gateway.http_url.replace("localhost", "127.0.0.1")
            yield InProcess(url, apps[0], http, database_url, chosen)
    finally:
        await opening.__aexit__(None, None, None)


@asynccontextmanager
async def speech_server(**faults: Any) -> AsyncIterator[LocalServer]:
    async with LocalServer(LocalOptions(engine="scripted", api_key="k", faults=faults)) as server:
        yield server
    assert not [session for session in server.sessions.values() if session.open], "a provider session was left open"


class Door:
    """Stands between the gateway and the provider, and can be shut."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Door:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.shut()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def shut(self) -> None:
        self._is_open.clear()
        for writer in list(self._writers):
            writer.transport.abort()

    def open(self) -> None:
        self._is_open.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            if self._is_open.is_set():
                below, above = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers |= {writer, above}
                await asyncio.gather(self._copy(reader, above), self._copy(below, writer))
                self._writers -= {above}
        except asyncio.CancelledError:
            pass  # asyncio's own callback cannot bear a cancelled task
        finally:
            self._carrying.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Relay:
    """Stands between the gateway and its database, and can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(pair.split("=") for pair in parts.query.split("&"))
        self._socket = f"{query['host']}/.s.PGSQL.{query['port']}"
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = free_port()
        self._thawed = asyncio.Event()
        self._thawed.set()

    @property
    def url(self) -> str:
        netloc = f"postgres@127.0.0.1:{self._port}"
        return urlunsplit((self._parts.scheme, netloc, self._parts.path, "sslmode=disable", ""))

    def freeze(self) -> None:
        """As a server that is stopped (SIGSTOP): connections stand, and nothing answers."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        below, above = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, above}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, above))
                both.create_task(self._copy(below, writer))
        finally:
            self._writers -= {writer, above}
            writer.transport.abort()
            above.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, RuntimeError):
            while data := await reader.read(65_536):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
