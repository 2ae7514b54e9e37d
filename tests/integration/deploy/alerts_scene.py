"""Three gateways with a real Prometheus beside them, and what has to go wrong for its alerts to fire."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import jwt
from aiohttp import web
from integration.ingest.ingest_rtmp_client import Client
from support.gateway import TOKEN, Running, gateway_process
from support.ports import free_port
from support.prometheus import RULES, Prometheus, quicker, running_prometheus
from support.proxy import Proxy
from support.redis_server import RedisServer, running_redis
from support.waiting import until

from gateway.app.metrics_page import metrics_page
from gateway.cli.canary import repeat
from gateway.cli.canary_figures import CanaryFigures
from gateway.cli.canary_round import RATE, Round, Sentence
from gateway.cli.client import Client as Asking
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

EVERY: Final = "1s"
QUICKER: Final = 60
JWT_SECRET: Final = "a-secret-of-more-than-thirty-two-bytes"


@dataclass
class World:
    """`a`: Redis, a provider that is mute, one place there, no blob store, nobody who analyses. `b`: a database behind
    `line`, and a healthy provider. `c`: a provider behind `uplink` that refuses at first, and is late then. Each has a
    database of its own. `figures`: of the canary that speaks through `c`.
    """

    a: Running
    b: Running
    c: Running
    redis: RedisServer
    line: Proxy
    uplink: Proxy
    databases: dict[str, str]
    figures: CanaryFigures
    seen: Prometheus
    slow: Path
    closing: AsyncExitStack
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
async def _canary(url: str) -> AsyncIterator[tuple[CanaryFigures, str]]:
    """One that asks what is not there, when it is told to go on by itself. Yields its figures, and where they are."""
    figures = CanaryFigures()
    async with metrics_page("127.0.0.1", 0, figures.text) as port:
        rounds = asyncio.create_task(
            repeat(lambda: Asking(url, TOKEN), sentence(), 0.4, 1.0, figures) if url else _idle()
        )
        try:
            yield figures, f"127.0.0.1:{port}"
        finally:
            rounds.cancel()
            await asyncio.gather(rounds, return_exceptions=True)


async def _idle() -> None:
    await asyncio.Event().wait()


def sentence() -> Sentence:
    """Half of its words are never spoken."""
    pcm, _ = speak("alpha bravo", lead_s=0.2, tail_s=1.0)
    return Sentence(pcm, 0.2, len(pcm) / 2 / RATE - 1.0, ("alpha", "bravo", "charlie", "delta"))


def raw(at_byte: int, **data: object) -> dict[str, object]:
    """A final of the provider as it stands on the wire, once so much audio has come."""
    text = json.dumps({"type": "transcript", "data": {"is_final": True, **data}})
    return {"kind": "raw", "at_byte": at_byte, "text": text}


def floods() -> list[dict[str, object]]:
    """After ten seconds of audio seven finals of 100 KB each, a word each."""
    more = {"language": "en", "confidence": 0.9, "channel": 0, "words": []}
    said = [{"text": letter * 100_000, "start": n + 1.0, "end": n + 1.5, **more} for n, letter in enumerate("abcdefg")]
    return [raw(320_000 + n, id=f"00_{n:08}", utterance=utterance) for n, utterance in enumerate(said)]


async def backlog(url: str) -> None:
    """What a database may hold when its gateway starts: an event that no webhook has taken for an hour, and 25 sessions
    to analyse."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            """INSERT INTO gateway.webhook (id, url, events, secrets, created_at)
               VALUES ('wh', 'http://127.0.0.1:1/', '{}', '{s}', now());
               INSERT INTO gateway.webhook_delivery (endpoint_id, event_id, type, lane, at, data, created_at, due_at)
               SELECT 'wh', 'e', 'session.created', '', at, '{}', at, now() + '1 day'
               FROM (SELECT now() - interval '1 hour' AS at) AS hour;
               INSERT INTO "Space" (id) VALUES ('space');
               INSERT INTO "VideoSession" (id, slug, "spaceId", status)
               SELECT 's' || n, 'slug-' || n, 'space', 'ENDED' FROM generate_series(1, 25) AS n;
               INSERT INTO "SessionAnalysis" (id, "sessionId", status, "updatedAt")
               SELECT 'a' || n, 's' || n, 'PENDING', now() FROM generate_series(1, 25) AS n"""
        )
    finally:
        await connection.close()


async def _all(stack: AsyncExitStack, gateways: Sequence[AbstractAsyncContextManager[Running]]) -> list[Running]:
    """They start at the same time, and end so."""
    each = [AsyncExitStack() for _ in gateways]
    stack.push_async_callback(lambda: asyncio.gather(*(one.aclose() for one in each)))
    return await asyncio.gather(*(one.enter_async_context(its) for one, its in zip(each, gateways, strict=True)))


@asynccontextmanager
async def world(folder: Path, databases: dict[str, str]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mute = {"every": {"mute": True, "inject": [raw(6_400, utterance={"text": []}), *floods()]}}
        refusing = {
            "post": {"refusals": [{"status": 402, "count": 1}, {"status": 403, "after": 1, "count": 1}]},
            "every": {"finals": {"delay_s": 2.6}},
        }
        providers = [
            await enter(LocalServer(LocalOptions(engine="scripted", faults=faults))) for faults in (mute, {}, refusing)
        ]
        redis = stack.enter_context(running_redis(folder))
        postgres = parse_qs(urlsplit(databases["b"]).query)
        line = Proxy(f"{postgres['host'][0]}/.s.PGSQL.{postgres['port'][0]}")
        uplink = Proxy(urlsplit(providers[2].url).port or 0)
        for proxy in (line, uplink):
            await proxy.start()
            stack.push_async_callback(proxy.close)
        stack.callback(line.heal)
        await backlog(databases["a"])
        slow = slow_disk(folder)
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
                "GATEWAY_MAX_TRACKS": "8",
                "GATEWAY_MAX_HTTP_CONNECTIONS_PER_ADDRESS": "60",
                "GATEWAY_ANALYSIS_WORKERS": "0",
                "GATEWAY_BLOB_URL": f"file://{no_folder}/documents",
                "GATEWAY_JWT_SECRET": JWT_SECRET,
                "GATEWAY_WEBHOOK_URL": await enter(_gone()),
                "GATEWAY_WEBHOOK_SECRET": "whsec_YS1zZWNyZXQtb2YtdGhpcnR5LXR3by1ieXRlcy1vci1tb3Jl",
                "GATEWAY_WEBHOOK_ALLOW": "http,private",
            },
            "b": {
                "DATABASE_URL": through,
                "GLADIA_API_URL": providers[1].url,
                "GATEWAY_MAX_TRACKS": "1",
                "PYTHONPATH": str(folder),
            },
            "c": {
                "DATABASE_URL": databases["c"],
                "GLADIA_API_URL": f"http://127.0.0.1:{uplink.port}",
                "GATEWAY_MAX_TRACKS": "10",
                "GATEWAY_DRAIN_S": "4",
                "LIVEKIT_URL": "ws://127.0.0.1:1",
                "LIVEKIT_API_KEY": "key",
                "LIVEKIT_API_SECRET": JWT_SECRET,
            },
        }
        a, b, c = await _all(stack, [gateway_process(folder / name, **{**common, **one}) for name, one in env.items()])
        http = await enter(aiohttp.ClientSession())
        figures, page = await enter(_canary(""))
        _, lost = await enter(_canary("http://127.0.0.1:1"))
        nobody = f"127.0.0.1:{free_port()}"
        jobs = {
            "transcription-gateway": [*(urlsplit(one.url).netloc for one in (a, b, c)), nobody],
            "canary": [page, lost, nobody],
        }
        rules = re.sub(r"(?m)^( +for:) .*$", r"\1 0s", quicker(RULES.read_text(), QUICKER))
        seen = await enter(running_prometheus(folder / "seen", jobs, rules, every=EVERY, token=TOKEN, http=http))
        made = World(a, b, c, redis, line, uplink, databases, figures, seen, slow, stack)
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
    readers_who_do_not_read(world, mute)
    world.speak(world.a, mute, 200)
    await ghosts(world)
    world.speak(world.a, await world.start(world.a), 80)
    await strangers(world)
    await no_documents(world)
    world.redis.stop()
    user = jwt.encode({"sub": "u", "spaces": ["s"], "exp": time.time() + 600}, JWT_SECRET)
    await world.a.call("GET", "/api/sessions", token=user)  # is counted, which Redis is needed for
    await fires(world, "GatewayWatchersTooSlow")


def readers_who_do_not_read(world: World, slug: str) -> None:
    """A dozen, whose machines take next to nothing."""
    host = urlsplit(world.a.url)
    ask = f"GET /api/realtime/transcribe?session={slug}&token={TOKEN} HTTP/1.1\r\nHost: {host.netloc}\r\n"
    ask += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    ask += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    for _ in range(12):
        line = world.closing.enter_context(socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", host.port or 0))
        line.sendall(ask.encode())


async def strangers(world: World) -> None:
    """From an address of their own: 200 HTTP connections, and 40 encoders with wrong keys."""
    port = urlsplit(world.a.url).port
    lines = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(200)]
    for _, writer in lines:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in lines), return_exceptions=True)

    async def guess(number: int) -> None:
        client = await Client.open(world.a.rtmp_port)
        with suppress(ConnectionError):
            await client.ask(f"wrong-{number}")
        await client.close()

    await asyncio.gather(*(guess(number) for number in range(40)))


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


async def ghosts(world: World) -> None:
    """Sessions that run on a replica which does not answer: whoever asks for one waits, and none can be ended."""
    await world.sql(
        "a",
        """INSERT INTO gateway.replica (id, run, process, version, url, lease_s, started_at, beat_at)
           SELECT 'ghost', 'ghost', 'ghost', version, $1, 600, now(), now() FROM gateway.replica LIMIT 1""",
        f"http://127.0.0.1:{free_port()}",
    )
    slugs = await asyncio.gather(*(world.start(world.a) for _ in range(4)))
    for number, slug in enumerate(slugs):
        await world.a.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": f"g{number}"})
    await world.sql(
        "a",
        """UPDATE gateway.transcription SET owner = 'ghost', owner_run = 'ghost', fence = fence + 1
           WHERE session_slug = ANY($1)""",
        slugs,
    )
    await asyncio.gather(*(world.a.call("POST", f"/api/sessions/{slug}/end", {}) for slug in slugs))

    async def unreached() -> bool:
        await world.a.status(slugs[0])
        return "GatewayReplicaUnreached" in await world.seen.fired()

    await until(unreached, "GatewayReplicaUnreached", every_s=0.1)


async def database(world: World) -> None:
    """On `b`: another owner takes a transcription away; then the database freezes beside a slow disk, and at last the
    disk takes nothing."""
    lost = await world.b.new_session()
    await world.b.start(lost, source="websocket")
    world.speak(world.b, lost, 60, pause_s=0.3)
    async with world.b.watch(lost) as watcher:
        await watcher.until(lambda it: bool(it.finals))
    await world.sql("b", "UPDATE gateway.transcription SET fence = fence + 1 WHERE session_slug = $1", lost)
    await fires(world, "GatewayTwoOwners")
    kept = await world.start(world.b)
    world.speak(world.b, kept, 240, pause_s=0.3)
    async with world.b.watch(kept) as watcher:
        await watcher.until(lambda it: bool(it.finals))
        world.slow.touch()
        world.line.freeze()
        for alert in ("GatewayDatabaseBehind", "GatewayCaptionsLateFast", "GatewayCaptionsLateSlow"):
            await fires(world, alert)
        world.slow.unlink()
        resource.prlimit(world.b.process.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await fires(world, "GatewayFinalsInMemoryOnly")
        few_files(world.b.process.process.pid)
        for alert in ("GatewayFilesUsedUp", "GatewaySpoolGrowing"):
            await fires(world, alert)
    resource.prlimit(world.b.process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


def few_files(pid: int) -> None:
    """It may open hardly more than it has."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, hard))


def slow_disk(folder: Path) -> Path:
    """Makes Python wait in `os.fdatasync` while the file exists that is returned; its folder is for PYTHONPATH."""
    switch = folder / "slow"
    (folder / "sitecustomize.py").write_text(
        "import os, time\n"
        "real = os.fdatasync\n"
        "def fdatasync(file):\n"
        f"    time.sleep(1.5 * os.path.exists({str(switch)!r}))\n"
        "    real(file)\n"
        "os.fdatasync = fdatasync\n"
    )
    return switch


async def provider(world: World) -> None:
    """On `c`: a LiveKit with another secret; a stream without sound; the account refused in two ways; finals that come
    late, and a bill of something else; then the provider is away."""
    await strange_rooms(world, 1)
    silent = await world.c.new_session()
    key = (await world.c.start(silent))["ingest"]["streamKey"]
    encoder = await Client.publish(world.c.rtmp_port, key)
    await fires(world, "GatewayPublishedNotTranscribed")
    await encoder.close()
    await strange_rooms(world, 9)  # a rate has to have seen the first
    for alert in ("GatewayProviderQuotaUsedUp", "GatewayProviderRefusesCredential"):
        world.speak(world.c, await world.start(world.c), 20)
        await fires(world, alert)
    await asyncio.gather(canary(world), bill(world))
    slug = await world.start(world.c)
    world.uplink.cut()
    world.speak(world.c, slug, 100)
    await orphans(world)
    await fires(world, "GatewayProviderUnreachable")


async def strange_rooms(world: World, count: int) -> None:
    """So many events of a LiveKit that signs with another secret."""
    for _ in range(count):
        signed = jwt.encode({}, JWT_SECRET[::-1])
        assert (await world.c.call("POST", "/api/livekit/webhook", {}, token=signed))[0] == 401


async def canary(world: World) -> None:
    """Five at once, each of which gets half of the words, and late."""
    rounds = [Round(Asking(world.c.url, TOKEN), sentence(), 0.4).run() for _ in range(5)]
    for outcome in await asyncio.gather(*rounds):
        assert outcome.failed is None, outcome
        world.figures.note(outcome)
    for alert in ("GatewayCanaryLate", "GatewayCanaryWordsMissing"):
        await fires(world, alert)


async def bill(world: World) -> None:
    """A session of which we have counted a hundred seconds more than the provider."""
    slug = await world.start(world.c)
    world.speak(world.c, slug, 8)
    await world.c.until(slug, lambda seen: seen["finals"] > 0)
    await world.sql("c", "UPDATE gateway.provider_session SET seconds_sent = 100 WHERE closed_at IS NULL")
    await world.c.stop(slug)
    for alert in ("GatewayProviderBillDiffers", "GatewayBillOff"):
        await fires(world, alert)


async def orphans(world: World) -> None:
    """While the provider is away: seven sessions there of a process that died, and what it was to delete for a week."""
    await world.sql(
        "c",
        """INSERT INTO gateway.provider_session (id, transcription_id, session_id, identity, opened_at, process)
           SELECT 'orphan-' || n, 'none', 'none', 'anna', now(), 'dead' FROM generate_series(1, 7) AS n""",
    )
    await world.sql(
        "c",
        """UPDATE gateway.provider_session SET erase_at = now(), erasures = 40, erased_at = NULL
           WHERE closed_at IS NOT NULL AND audit_at IS NULL""",
    )


async def crowd(world: World) -> None:
    """Starts at `a` and `c` until neither takes a further one; `b` has its one."""
    for gateway in (world.a, world.c):
        status = 201
        while status < 400:
            slug = await gateway.new_session()
            body = {"sessionSlug": slug, "source": "websocket", "language": "en"}
            status, _ = await gateway.call("POST", "/api/transcription/start", body)
    await fires(world, "GatewayFull")


async def fires(world: World, alert: str) -> None:
    async def is_firing() -> bool:
        return alert in await world.seen.fired()

    await until(is_firing, alert, every_s=0.4)
