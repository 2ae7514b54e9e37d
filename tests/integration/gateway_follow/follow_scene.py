"""A sentence is spoken through two gateways at debug level, with every secret set; all that they let out is kept."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.gateway import TOKEN, Running, gateway_process
from support.ports import free_port
from support.proxy import Proxy
from support.waiting import until

from gateway.replicas.peers import key_for
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer

MARKED: Final = ("glacier", "meadow", "castle", "harbor", "lemon")
REFUSED: Final = "canyon"
"""A word that the database is made to refuse."""
BROKEN: Final = "lighthouse"
"""Said in a message of the provider that cannot be read."""
WORDS: Final = (*MARKED, REFUSED, BROKEN)
CALLER: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STOPPER: Final = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
SECRETS: Final = {
    "GATEWAY_API_TOKENS": TOKEN,
    "GATEWAY_JWT_SECRET": "jwt-secret-of-more-than-thirty-two-bytes",
    "GLADIA_API_KEY": "gladia-key-of-the-marked-sentence",
    "LIVEKIT_API_SECRET": "livekit-secret-of-the-marked-sentence",
    "GATEWAY_ANALYSIS_KEY": "analysis-key-of-the-marked-sentence",
    "GATEWAY_WEBHOOK_SECRET": "whsec_bWFya2VkLXNlbnRlbmNlLXdlYmhvb2stc2VjcmV0",
}
DATABASE_PASSWORD: Final = "database-password-of-the-marked-sentence"
REDIS_PASSWORD: Final = "redis-password-of-the-marked-sentence"
OTLP_HEADER: Final = "otlp-credential-of-the-marked-sentence"


@dataclass
class Span:
    """One that arrived, in words."""

    name: str
    trace: str
    id: str
    parent: str
    links: list[tuple[str, str]]
    facts: dict[str, Any]
    resource: dict[str, Any]
    failed: str


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@dataclass
class Outside:
    """What the gateway talks to: a collector of spans, a webhook receiver, a language model that refuses and quotes."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    quoted: int = 0

    async def collect(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw.append(body)
        self.credentials.add(request.headers.get("authorization", ""))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _facts(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
                    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                    failed = span.status.message if span.status.code == 2 else ""
                    self.spans.append(Span(span.name, *ids, links, _facts(span.attributes), about, failed))
        return web.Response()

    async def hook(self, request: web.Request) -> web.Response:
        self.told.append((json.loads(await request.read())["type"], dict(request.headers)))
        return web.Response()

    async def refuse(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.quoted += MARKED[0] in body
        return web.json_response({"error": {"message": f"cannot use {body}"}}, status=400)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    made, app = Outside(), web.Application()
    app.router.add_post("/v1/traces", made.collect)
    app.router.add_post("/hook", made.hook)
    app.router.add_post("/chat/completions", made.refuse)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class Followed:
    """What there is to look at afterwards."""

    outside: Outside
    log: list[dict[str, Any]] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    """Answers in which no words belong, errors among them."""
    ids: dict[str, str] = field(default_factory=dict)
    """`X-Request-Id` of answers."""
    provider_heard: bytes = b""
    """What went to the provider's port: heads of requests, and audio."""
    shown: list[str] = field(default_factory=list)
    """Finals that a watcher saw."""
    secrets: dict[str, str] = field(default_factory=dict)
    slug: str = ""

    def lines(self, **wanted: str) -> list[dict[str, Any]]:
        return [line for line in self.log if wanted.items() <= line.items()]


async def follow(folder: Path, database_url: str) -> Followed:
    """All of it, once."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(outside())
        options = LocalOptions(engine="scripted", api_key=SECRETS["GLADIA_API_KEY"], faults=_faults())
        provider = await stack.enter_async_context(LocalServer(options))
        followed = Followed(there)
        heard = bytearray()
        line = Proxy(urlsplit(provider.url).port or 0, lambda: heard.extend)
        await line.start()
        stack.push_async_callback(line.close)
        env = {
            **SECRETS,
            "DATABASE_URL": database_url.replace("postgres@", f"postgres:{DATABASE_PASSWORD}@", 1),
            "GLADIA_API_URL": f"http://127.0.0.1:{line.port}",
            "LIVEKIT_API_KEY": "name",
            "REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:{free_port()}",
            "GATEWAY_ANALYSIS_URL": there.url,
            "GATEWAY_ANALYSIS_MODEL": "a-model",
            "GATEWAY_WEBHOOK_URL": f"{there.url}/hook",
            "GATEWAY_WEBHOOK_ALLOW": "http,private",
            "GATEWAY_STORE_PARTIALS": "true",
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": there.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={OTLP_HEADER}",
        }
        async with AsyncExitStack() as gateways:
            starting = (gateways.enter_async_context(gateway_process(folder / name, **env)) for name in "ab")
            a, b = await asyncio.gather(*starting)
            await _life(a, b, followed, line, database_url)
        followed.provider_heard = bytes(heard)
        for text in (*a.process.lines, *b.process.lines):
            followed.log.append(json.loads(text) if text.startswith("{") else {"message": text})
        tokens = [session.token for session in provider.sessions.values()]
        followed.secrets |= {f"provider token {n}": token for n, token in enumerate(tokens)}
        return followed


def _faults() -> dict[str, Any]:
    broken = json.dumps({"type": "transcript", "data": {"utterance": {"text": [BROKEN]}, "is_final": True}})
    return {"every": {"inject": [{"kind": "raw", "at_byte": 6_400, "text": broken}]}}


async def _life(a: Running, b: Running, followed: Followed, line: Proxy, database_url: str) -> None:
    """Created, started, spoken in through the other gateway and over a cut connection, refused by the database, handed
    over to the other one, which stops and ends it; and asked about."""
    gateway = a
    for one in (a, b):
        async with asyncio.timeout(60):
            while len(await _addresses(one)) < 2:
                await asyncio.sleep(0.1)

    async def ask(
        name: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = TOKEN,
        is_wordless: bool = True,
        **headers: str,
    ) -> Any:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        known = {"Authorization": f"Bearer {token}", **{key.replace("_", "-"): value for key, value in headers.items()}}
        async with gateway.http.request(method, gateway.url + path, data=data, headers=known) as answer:
            text = await answer.text()
            followed.ids[name] = answer.headers["X-Request-Id"]
            if is_wordless:
                followed.pages[name] = text
            return json.loads(text) if "json" in answer.content_type else text

    slug = followed.slug = (await ask("create", "POST", "/api/sessions", {"title": "t"}, X_Request_Id="create-1"))[
        "slug"
    ]
    body = {"sessionSlug": slug, "source": "websocket", "language": "en"}
    await ask("start", "POST", "/api/transcription/start", body, X_Request_Id="start-1", traceparent=CALLER)
    followed.secrets |= {f"key of {name}": key_for(name, TOKEN) for name in await _addresses(a)}
    first, second = (a, b) if (await _owner_url(a, slug)) == a.url else (b, a)  # any may have been given it
    gateway = first
    join = await ask("join token", "POST", f"/api/sessions/{slug}/join-token", {}, is_wordless=False)
    followed.secrets["join token"] = str(join)
    async with gateway.watch(slug) as watcher, _speaking(second, slug) as say:
        await say(MARKED[0], MARKED[1])
        await watcher.until(lambda it: MARKED[1] in it.words)
        line.reset()
        await say(MARKED[2])
        await watcher.until(lambda it: MARKED[2] in it.words)
        await _refuse(database_url, REFUSED)
        await say(REFUSED)
        await watcher.until(lambda it: REFUSED in it.words)
        await until(lambda: any("refused by the database" in one for one in gateway.process.lines), "a refused final")
        await say(MARKED[3])
        await watcher.until(lambda it: MARKED[3] in it.words)
        followed.shown = watcher.words
        await ask("metrics of the first", "GET", "/metrics")
        await ask("timeline of the first", "GET", f"/api/transcription/{slug}/timeline")
        await _errors(ask, slug)
    await first.process.end()
    gateway = second
    async with gateway.watch(slug) as watcher, _speaking(second, slug) as say:
        await say(MARKED[4])
        await watcher.until(lambda it: MARKED[4] in it.words)
        followed.shown += watcher.words
        stop = {"sessionSlug": slug}
        await ask("stop", "POST", "/api/transcription/stop", stop, X_Request_Id="two words", traceparent=STOPPER)
    for name, path in {
        "status": f"/api/transcription/{slug}",
        "timeline": f"/api/transcription/{slug}/timeline",
        "usage": "/api/usage?from=2026-01-01&to=2100-01-01",
        "audit": "/api/audit",
        "replicas": "/api/replicas",
        "webhooks": "/api/webhooks",
        "metrics": "/metrics",
        "readyz": "/readyz",
    }.items():
        await ask(name, "GET", path)
    for form in ("json", "vtt", "srt", "txt"):
        path = f"/api/sessions/{slug}/transcript?format={form}"
        assert MARKED[3] in str(await ask(f"export {form}", "GET", path, is_wordless=False))
    await ask("end", "POST", f"/api/sessions/{slug}/end", {}, X_Request_Id="end-1")
    await until(lambda: followed.outside.quoted > 0, "an analysis that is refused")
    await until(lambda: any(kind == "session.ended" for kind, _ in followed.outside.told), "a webhook")
    await ask("metrics afterwards", "GET", "/metrics")


async def _owner_url(gateway: Running, slug: str) -> str:
    owner = (await gateway.status(slug))["replica"]
    return next(url for name, url in (await _addresses(gateway)).items() if name == owner)


async def _addresses(gateway: Running) -> dict[str, str]:
    """Of the replicas that it knows."""
    replicas = (await gateway.ok("GET", "/api/replicas"))["replicas"]
    return {one["id"]: one["url"] for one in replicas if one["url"]}


async def _errors(ask: Any, slug: str) -> None:
    await ask("no such path", "GET", "/nowhere")
    await ask("no token", "GET", "/api/transcription", token="wrong")
    await ask("no JSON", "POST", "/api/transcription/start", b"{")
    await ask("no such session", "POST", "/api/transcription/start", {"sessionSlug": "none"})
    await ask("no such format", "GET", f"/api/sessions/{slug}/transcript?format=pdf")
    await ask("too large", "POST", "/api/transcription/start", b"x" * 100_000)
    await ask("credential in the query", "GET", f"/api/realtime/transcribe?session=none&token={TOKEN}")


async def _refuse(database_url: str, word: str) -> None:
    """From now on the database takes no segment with that word in it."""
    connection = await asyncpg.connect(database_url)
    try:
        table = await connection.fetchval(
            "SELECT oid::regclass::text FROM pg_class WHERE relname = 'TranscriptSegment'"
        )
        await connection.execute(f"ALTER TABLE {table} ADD CHECK (text !~ '{word}')")
    finally:
        await connection.close()


@asynccontextmanager
async def _speaking(gateway: Running, slug: str) -> AsyncIterator[Any]:
    query = {"session": slug, "identity": "anna", "token": TOKEN}
    async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/audio", params=query) as line:
        await line.send_str('{"type":"start","sampleRate":16000,"channels":1}')

        async def say(*words: str) -> None:
            pcm, _ = speak(words, lead_s=0.3, tail_s=0.9)
            await line.send_bytes(pcm[: len(pcm) // 2 * 2])

        reading = asyncio.create_task(_read(line))
        try:
            yield say
        finally:
            reading.cancel()


async def _read(line: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in line:
        pass


def found(text: str) -> list[str]:
    """The marked words in it."""
    return [word for word in WORDS if re.search(word, text, re.IGNORECASE)]
