"""Three gateways with a real Prometheus beside them, and what has to go wrong for its alerts to fire."""

from __future__ import annotations

import asyncio
import re
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import jwt
from aiohttp import web
from integration.ingest.ingest_rtmp_client import Client
from support.gateway import TOKEN, Running, gateway_process
from support.ports import free_port
from support.proxy import Proxy
from support.redis_server import RedisServer, running_redis
from support.waiting import until

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

RULES: Final = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules.yaml"
EVERY: Final = "400ms"
JWT_SECRET: Final = "a-secret-of-more-than-thirty-two-bytes"


@dataclass
class Prometheus:
    """Scrapes and evaluates several times a second. Its rules are the shipped ones, but that `for` is a moment."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, query: str) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            told = await answer.json()
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    async def fired(self) -> set[str]:
        """Names of all alerts that fire, or have fired."""
        found = await self.ask('last_over_time(ALERTS{alertstate="firing"}[10m])')
        return {one["metric"]["alertname"] for one in found}


def _start(folder: Path, targets: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "rules.yaml").write_text(re.sub(r"(?m)^( +for:) .*$", r"\1 1s", RULES.read_text()))
    (folder / "prometheus.yaml").write_text(f"""\
global: {{scrape_interval: {EVERY}, scrape_timeout: {EVERY}, evaluation_interval: {EVERY}}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: transcription-gateway
    authorization: {{credentials: {TOKEN}}}
    static_configs: [{{targets: {list(targets)}}}]
  - job_name: canary
    static_configs: [{{targets: ["127.0.0.1:{free_port()}"]}}]
""")
    places = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        command = ["prometheus", *places, f"--web.listen-address=127.0.0.1:{port}"]
        return subprocess.Popen(command, stdout=log, stderr=log)


@asynccontextmanager
async def prometheus(folder: Path, targets: Sequence[str], http: aiohttp.ClientSession) -> AsyncIterator[Prometheus]:
    port = free_port()
    process = _start(folder, targets, port)
    made = Prometheus(f"http://127.0.0.1:{port}", http)
    try:

        async def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(aiohttp.ClientError):
                return len(await made.ask("count_over_time(up[1m]) > 2")) == len(targets) + 1
            return False

        await until(is_ready, "three scrapes of every target", every_s=0.2)
        yield made
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class World:
    """`a`: Redis, a provider that is mute, one place there, no blob store. `b`: a database behind `line`, and a healthy
    provider. `c`: a provider behind `uplink` that refuses. Each has a database of its own."""

    a: Running
    b: Running
    c: Running
    redis: RedisServer
    line: Proxy
    uplink: Proxy
    databases: dict[str, str]
    seen: Prometheus
    speaking: list[asyncio.Task[None]] = field(default_factory=list)

    def speak(self, gateway: Running, slug: str, words: int, pause_s: float = 0.0) -> None:
        """Beside all else, a few seconds ahead of real time. `pause_s`: after every fourth word."""
        self.speaking.append(asyncio.create_task(_speak(gateway, slug, words, pause_s)))

    async def start(self, gateway: Running) -> str:
        """A new session, as soon as there is room for it."""
        slug = await gateway.new_session()
        body = {"sessionSlug": slug, "source": "websocket", "language": "en"}

        async def started() -> bool:
            return (await gateway.call("POST", "/api/transcription/start", body))[0] < 400

        await until(started, "a start")
        return slug

    async def sql(self, name: str, statement: str, *args: object) -> None:
        connection = await asyncpg.connect(self.databases[name])
        try:
            await connection.execute(statement, *args)
        finally:
            await connection.close()


async def _speak(gateway: Running, slug: str, count: int, pause_s: float) -> None:
    words = [VOCABULARY[n % len(VOCABULARY)] for n in range(count)]
    pcm, _ = speak(words, pauses=[pause_s if n % 4 == 3 else 0.0 for n in range(count)])
    query = {"session": slug, "identity": "anna", "token": TOKEN}
    with suppress(aiohttp.ClientError, ConnectionError):
        async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/audio", params=query) as line:
            await line.send_str('{"type":"start","sampleRate":16000,"channels":1}')
            for at in range(0, len(pcm) // 32_000 * 32_000, 32_000):
                await line.send_bytes(pcm[at : at + 32_000])
            while not line.closed:
                await line.receive()


@asynccontextmanager
async def _gone() -> AsyncIterator[str]:
    """Where webhooks go that nobody wants any more."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=410)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def world(folder: Path, databases: dict[str, str]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        broken = '{"type":"transcript","data":{"is_final":true,"utterance":{"text":[]}}}'
        mute = {"every": {"mute": True, "inject": [{"kind": "raw", "at_byte": 6_400, "text": broken}]}}
        refusing = {"post": {"refusals": [{"status": 402, "count": 1}, {"status": 403, "after": 1, "count": 1}]}}
        providers = [
            await enter(LocalServer(LocalOptions(engine="scripted", faults=faults))) for faults in (mute, {}, refusing)
        ]
        redis = stack.enter_context(running_redis(folder))
        socket = parse_qs(urlsplit(databases["b"]).query)
        line = Proxy(f"{socket['host'][0]}/.s.PGSQL.{socket['port'][0]}")
        uplink = Proxy(urlsplit(providers[2].url).port or 0)
        for proxy in (line, uplink):
            await proxy.start()
            stack.push_async_callback(proxy.close)
        stack.callback(line.heal)
        no_folder = folder / "file"
        no_folder.write_text("where documents should go")
        through = f"postgresql://postgres@127.0.0.1:{line.port}{urlsplit(databases['b']).path}?sslmode=disable"
        common = {"GLADIA_API_KEY": "k", "GATEWAY_DRAIN_S": "1", "GATEWAY_STT_MUTE_S": "0"}
        env = {
            "a": {
                "DATABASE_URL": databases["a"],
                "GLADIA_API_URL": providers[0].url,
                "REDIS_URL": redis.url,
                "GATEWAY_STT_MAX_SESSIONS": "1",
                "GATEWAY_MAX_TRACKS": "2",
                "GATEWAY_MAX_HTTP_CONNECTIONS_PER_ADDRESS": "60",
                "GATEWAY_BLOB_URL": f"file://{no_folder}/documents",
                "GATEWAY_JWT_SECRET": JWT_SECRET,
                "GATEWAY_WEBHOOK_URL": await enter(_gone()),
                "GATEWAY_WEBHOOK_SECRET": "whsec_YS1zZWNyZXQtb2YtdGhpcnR5LXR3by1ieXRlcy1vci1tb3Jl",
                "GATEWAY_WEBHOOK_ALLOW": "http,private",
            },
            "b": {"DATABASE_URL": through, "GLADIA_API_URL": providers[1].url, "GATEWAY_MAX_TRACKS": "1"},
            "c": {
                "DATABASE_URL": databases["c"],
                "GLADIA_API_URL": f"http://127.0.0.1:{uplink.port}",
                "GATEWAY_MAX_TRACKS": "1",
            },
        }
        starting = (enter(gateway_process(folder / name, **common, **one)) for name, one in env.items())
        a, b, c = await asyncio.gather(*starting)
        http = await enter(aiohttp.ClientSession())
        targets = [urlsplit(one.url).netloc for one in (a, b, c)] + [f"127.0.0.1:{free_port()}"]
        seen = await enter(prometheus(folder / "prometheus", targets, http))
        made = World(a, b, c, redis, line, uplink, databases, seen)
        try:
            yield made
        finally:
            line.heal()
            uplink.heal()
            for task in made.speaking:
                task.cancel()
            await asyncio.gather(*made.speaking, return_exceptions=True)


# --- what goes wrong ------------------------------------------------------------------------------------------


async def mute_and_full(world: World) -> None:
    """On `a`: one speaks and gets no text, one waits for a place; whatever else is asked of it goes wrong, too."""
    mute = await world.start(world.a)
    world.speak(world.a, mute, 200)
    await a_ghost(world)
    world.speak(world.a, await world.start(world.a), 80)
    await strangers(world)
    await no_documents(world)
    world.redis.stop()
    user = jwt.encode({"sub": "u", "spaces": ["s"], "exp": time.time() + 600}, JWT_SECRET)
    await world.a.call("GET", "/api/sessions", token=user)  # is counted, which Redis is needed for


async def strangers(world: World) -> None:
    """From an address of their own: 200 HTTP connections, and 25 encoders with wrong keys."""
    port = urlsplit(world.a.url).port
    lines = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(200)]
    for _, writer in lines:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in lines), return_exceptions=True)
    for number in range(25):
        client = await Client.open(world.a.rtmp_port)
        with suppress(ConnectionError):
            await client.ask(f"wrong-{number}")
        await client.close()


async def no_documents(world: World) -> None:
    """Four sessions end; their documents have no place to go. An analysis has failed."""
    await world.a.new_session()
    for number in range(4):
        slug = await world.a.new_session()
        await world.a.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": f"p{number}"})
        await world.a.ok("POST", f"/api/sessions/{slug}/end", {})
    await world.sql(
        "a",
        """INSERT INTO "SessionAnalysis" (id, "sessionId", status, "updatedAt")
           SELECT 'failed', id, 'FAILED', now() FROM "VideoSession" WHERE status = 'CREATED' LIMIT 1""",
    )


async def a_ghost(world: World) -> None:
    """A session that runs on a replica which does not answer: whoever asks for it waits in vain."""
    slug = await world.start(world.a)
    await world.sql(
        "a",
        """INSERT INTO gateway.replica (id, run, process, version, url, lease_s, started_at, beat_at)
           SELECT 'ghost', 'ghost', 'ghost', version, $1, 600, now(), now() FROM gateway.replica LIMIT 1""",
        f"http://127.0.0.1:{free_port()}",
    )
    await world.sql(
        "a",
        """UPDATE gateway.transcription SET owner = 'ghost', owner_run = 'ghost', fence = fence + 1
           WHERE session_slug = $1""",
        slug,
    )

    async def unreached() -> bool:
        await world.a.status(slug)
        return "GatewayReplicaUnreached" in await world.seen.fired()

    await until(unreached, "GatewayReplicaUnreached", every_s=0.3)


async def database(world: World) -> None:
    """On `b`: another owner takes a transcription away; then the database freezes, and the disk takes nothing."""
    lost = await world.b.new_session()
    await world.b.start(lost, source="websocket")
    world.speak(world.b, lost, 60, pause_s=0.3)
    async with world.b.watch(lost) as watcher:
        await watcher.until(lambda it: bool(it.finals))
    await world.sql("b", "UPDATE gateway.transcription SET fence = fence + 1 WHERE session_slug = $1", lost)
    await fires(world, "GatewayTwoOwners")
    kept = await world.start(world.b)
    world.speak(world.b, kept, 150, pause_s=0.3)
    async with world.b.watch(kept) as watcher:
        await watcher.until(lambda it: bool(it.finals))
        world.line.freeze()
        resource.prlimit(world.b.process.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await fires(world, "GatewayDatabaseBehind")
    resource.prlimit(world.b.process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


async def provider(world: World) -> None:
    """On `c`: the account refused in two ways; then the provider is away."""
    for alert in ("GatewayProviderQuotaUsedUp", "GatewayProviderRefusesCredential"):
        world.speak(world.c, await world.start(world.c), 20)
        await fires(world, alert)
    slug = await world.start(world.c)
    world.uplink.cut()
    world.speak(world.c, slug, 100)
    await fires(world, "GatewayProviderUnreachable")


async def fires(world: World, alert: str) -> None:
    async def is_firing() -> bool:
        return alert in await world.seen.fired()

    await until(is_firing, alert, every_s=0.4)
