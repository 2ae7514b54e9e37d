"""What the rounds share: PostgreSQL, Redis, the speech server, gateways, a proxy on every line between them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
from chaos.people import Place
from chaos.plan import REPLICAS
from support.gateway import TOKEN, Process, Running
from support.livekit import KEY, SECRET, LivekitServer
from support.ports import free_port
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.statements import Statements

from stt.local.scripted import ScriptedEngine
from stt.local.server import LocalOptions, LocalServer

HISTORY: Final = "FROM gateway.transcript_event\nWHERE session_id = $1 AND seq > $2"
READY_S: Final = 60.0


@dataclass(slots=True)
class Replica:
    """One gateway: its process, which comes and goes, and its lines, which stay. `place`: where people reach it.

    `peers`: the line on which other replicas reach it.
    """

    number: int
    folder: Path
    place: Place
    database: Proxy
    redis: Proxy
    provider: Proxy
    peers: Proxy
    livekit: Proxy
    statements: Statements
    env: dict[str, str]
    http: aiohttp.ClientSession
    process: Process | None = None
    frozen: bool = False
    arguments: tuple[str, ...] = ()
    """Of `gateway serve`."""
    log: list[str] = field(default_factory=list)

    @property
    def running(self) -> Running:
        assert self.process is not None
        return Running(f"http://127.0.0.1:{self.place.http}", self.place.rtmp, self.process, self.http)

    @property
    def takes_connections(self) -> bool:
        """As a load balancer with health checks sees it."""
        return self.process is not None and not self.frozen and self.process.process.returncode is None

    @property
    def name(self) -> str:
        """Under which it holds leases."""
        file = self.folder / "instance"
        return file.read_text().strip() if file.exists() else ""

    async def start(self) -> None:
        """Returns when it is ready."""
        self.process = await Process.start(sys.executable, "-m", "gateway", "serve", *self.arguments, env=self.env)
        async with asyncio.timeout(READY_S):
            while True:
                if self.process.process.returncode is not None:
                    raise AssertionError(f"replica {self.number} ended:\n{self.process.output}")
                try:
                    async with self.http.get(f"{self.running.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def end(self, number: int = signal.SIGTERM) -> None:
        """Returns when it has ended; its lines go into `log`."""
        if self.process is not None:
            process, self.process = self.process, None
            if self.frozen:
                process.process.send_signal(signal.SIGCONT)
                self.frozen = False
            await process.end(number)
            self.log += [*process.lines, f"--- ended with {process.process.returncode}"]

    def freeze(self) -> None:
        assert self.process is not None
        self.frozen = True
        self.process.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None and self.frozen:
            self.process.process.send_signal(signal.SIGCONT)
        self.frozen = False

    @property
    def lines(self) -> tuple[Proxy, ...]:
        """All of them."""
        return self.database, self.redis, self.provider, self.peers, self.livekit

    @property
    def written(self) -> list[str]:
        """Everything that it has written, over all its lives."""
        return [*self.log, *(self.process.lines if self.process else [])]


@dataclass(slots=True)
class World:
    """All of it, running."""

    replicas: list[Replica]
    provider: LocalServer
    redis: RedisServer
    database_url: str
    http: aiohttp.ClientSession
    folder: Path
    livekit: LivekitServer | None = None

    def route(self, chance: random.Random) -> Callable[[], int]:
        """A load balancer without sticky sessions, which knows who is down."""

        def choose() -> int:
            up = [replica.number for replica in self.replicas if replica.takes_connections]
            return chance.choice(up or [0])

        return choose

    async def owner(self, slug: str) -> Replica | None:
        """Who runs the session, as the database knows it."""
        connection = await asyncpg.connect(self.database_url)
        try:
            name = await connection.fetchval(
                "SELECT owner FROM gateway.transcription WHERE session_slug = $1 AND state <> 'STOPPED'", slug
            )
        finally:
            await connection.close()
        return next((replica for replica in self.replicas if replica.name == name), None)

    async def session_id(self, slug: str) -> str:
        """As the tables call it."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return str(await connection.fetchval('SELECT id FROM "VideoSession" WHERE slug = $1', slug))
        finally:
            await connection.close()

    async def ask(self, method: str, path: str, body: Any = None, within_s: float = 30.0) -> Any:
        """Of any replica, and of the next one when it cannot: what a client with retries gets."""
        refusals: list[str] = []
        try:
            async with asyncio.timeout(within_s):
                while True:
                    for replica in random.sample(self.replicas, len(self.replicas)):
                        if not replica.takes_connections:
                            continue
                        try:
                            async with asyncio.timeout(10):
                                status, answer = await replica.running.call(method, path, body)
                        except (aiohttp.ClientError, OSError, TimeoutError) as error:
                            refusals.append(f"{replica.number}: {type(error).__name__}")
                            continue
                        if status < 300:
                            return answer
                        refusals.append(f"{replica.number}: {status} {answer}")
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"{method} {path}: nobody did it; {refusals[-3:]}") from None

    async def ready(self) -> None:
        """Every replica runs and says so, and every line is whole."""
        for replica in self.replicas:
            for line in replica.lines:
                line.heal()
            replica.thaw()
        for replica in self.replicas:
            if not replica.takes_connections:
                await replica.start()
        async with asyncio.timeout(READY_S):
            for replica in self.replicas:
                while (await replica.running.call("GET", "/readyz"))[0] != 200:
                    await asyncio.sleep(0.1)


def clock_that_is_off(by_s: int, folder: Path) -> dict[str, str]:
    """What a process needs in its environment so that its wall clock is wrong; its monotonic clock stays right."""
    library = folder / "skewed_clock.so"
    if not library.exists():
        source = Path(__file__).with_name("skewed_clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SKEW_S": str(by_s)}


@asynccontextmanager
async def open_world(
    database_url: str,
    redis: RedisServer,
    folder: Path,
    count: int = REPLICAS,
    livekit: LivekitServer | None = None,
    arguments: Mapping[int, tuple[str, ...]] | None = None,
    pages: bool = False,
    skew_s: int = 0,
    **settings: str,
) -> AsyncIterator[World]:
    """So many replicas, which are ready. `arguments`: of `gateway serve`, by the replica's number. `pages`: each has a
    metrics page. `skew_s`: each one's wall clock is so far ahead of the one's before it."""
    if livekit is not None:
        settings |= {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    engine = ScriptedEngine(jittery=livekit is not None)
    options = LocalOptions(engine=engine, api_key="k", keep_done=100_000, record_limit_bytes=0)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(LocalServer(options))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        replicas = []
        for number in range(count):
            replica = await _replica(number, database_url, redis, provider, livekit, folder, http, settings)
            replica.arguments = (arguments or {}).get(number, ())
            if skew_s:
                replica.env |= clock_that_is_off((number - 1) * skew_s, folder)
            if pages:
                replica.place.metrics = free_port()
                replica.env["GATEWAY_METRICS_PORT"] = str(replica.place.metrics)
            for line in replica.lines:
                stack.push_async_callback(line.close)
            stack.push_async_callback(replica.end)
            replicas.append(replica)
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield World(replicas, provider, redis, database_url, http, folder, livekit)


async def _replica(
    number: int,
    database_url: str,
    redis: RedisServer,
    provider: LocalServer,
    livekit: LivekitServer | None,
    folder: Path,
    http: aiohttp.ClientSession,
    settings: dict[str, str],
) -> Replica:
    parts = urlsplit(database_url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    statements = Statements()
    place = Place(free_port(), free_port())
    lines = (
        Proxy(socket, statements.tap),
        Proxy(redis.port),
        Proxy(urlsplit(provider.url).port or 0),
        Proxy(place.http),
        Proxy(livekit.port if livekit else 0),
    )
    for line in lines:
        await line.start()
    to_database, to_redis, to_provider, to_us, to_livekit = lines
    own = folder / f"replica-{number}"
    env = {
        "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{to_database.port}{parts.path}?sslmode=disable",
        "REDIS_URL": f"redis://127.0.0.1:{to_redis.port}",
        "GLADIA_API_KEY": "k",
        "GLADIA_API_URL": f"http://127.0.0.1:{to_provider.port}",
        "GATEWAY_ADVERTISE_URL": f"http://127.0.0.1:{to_us.port}",
        "GATEWAY_API_TOKENS": TOKEN,
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": str(place.http),
        "GATEWAY_RTMP_HOST": "127.0.0.1",
        "GATEWAY_RTMP_PORT": str(place.rtmp),
        "GATEWAY_DATA_DIR": str(own),
        "GATEWAY_LOG_FORMAT": "text",
        "GATEWAY_DRAIN_S": "5",
        "GATEWAY_LEASE_S": "6",
        "GATEWAY_STT_MAX_SESSIONS": "20",  # so that places at the provider go along with take-overs
        **({"LIVEKIT_URL": f"ws://127.0.0.1:{to_livekit.port}"} if livekit else {}),
        **settings,
    }
    return Replica(number, own, place, *lines, statements, {**env, "PATH": os.environ["PATH"]}, http)
