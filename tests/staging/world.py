"""A small deployment as an operator would have it, on loopback: replicas, their neighbours, logs, Prometheus."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from support.gateway import TOKEN
from support.ports import free_port
from support.prometheus import RULES, Prometheus, quicker, running_prometheus
from support.proxy import Proxy
from support.redis_server import RedisServer, running_redis
from support.waiting import until

from gateway import logs
from gateway.app.metrics_page import metrics_page
from gateway.cli.canary import repeat
from gateway.cli.canary_figures import CanaryFigures
from gateway.cli.canary_round import RATE, Sentence
from gateway.cli.client import Client
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "key-of-this-year"
WEBHOOK_SECRET: Final = "whsec_YS1zZWNyZXQtb2YtdGhpcnR5LXR3by1ieXRlcy1vci1tb3Jl"
SAID: Final = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


@dataclass(slots=True)
class Replica:
    """One gateway. `uplink`: its line to the provider. `folder` has its data and its environment."""

    name: str
    folder: Path
    url: str
    metrics: str
    uplink: Proxy
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class World:
    """All of it. `webhooks`: the status with which the app's receiver answers."""

    folder: Path
    database_url: str
    redis: RedisServer
    provider: LocalServer
    replicas: list[Replica]
    seen: Prometheus
    http: aiohttp.ClientSession
    webhooks: list[int] = field(default_factory=lambda: [204])

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    @property
    def account(self) -> Path:
        """What the provider's own pages would show: the key in force."""
        return self.folder / "provider-account"


@asynccontextmanager
async def _receiver(statuses: Sequence[int]) -> AsyncIterator[str]:
    """The app's endpoint for webhooks; answers what stands in `statuses`."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses[0])

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextmanager
def _process(log: Path, *command: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Until the end of the block; frozen or not. What it writes goes to `log`."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)  # one that an incident has stopped
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@asynccontextmanager
async def _replica(
    number: int, folder: Path, provider: LocalServer, http: aiohttp.ClientSession, **settings: str
) -> AsyncIterator[Replica]:
    name = f"gateway-{number}"
    own = folder / name
    own.mkdir()
    (own / "provider-key").write_text(KEY)
    uplink = Proxy(urlsplit(provider.url).port or 0)
    await uplink.start()
    port, metrics = free_port(), free_port()
    env = {
        "GATEWAY_API_TOKENS": TOKEN,
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": str(port),
        "GATEWAY_METRICS_PORT": str(metrics),
        "GATEWAY_RTMP_PORT": "0",
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_ADVERTISE_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_DATA_DIR": str(own / "data"),
        "GLADIA_API_URL": f"http://127.0.0.1:{uplink.port}",
        "GLADIA_API_KEY_FILE": str(own / "provider-key"),
        **settings,
    }
    for_commands = {**env, "GATEWAY_URL": env["GATEWAY_PUBLIC_URL"]}
    lines = (f"export {variable}={shlex.quote(value)}\n" for variable, value in for_commands.items())
    (own / "env").write_text("".join(lines))
    command = (sys.executable, "-m", "gateway", "serve")
    path = {variable: os.environ[variable] for variable in ("PATH", "HOME", "LANG", "TMPDIR") if variable in os.environ}
    try:
        with _process(folder / "journal" / f"{name}.log", *command, env={**path, **env}) as process:
            made = Replica(name, own, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}", uplink, process)

            async def ready() -> bool:
                assert process.poll() is None, f"{name} has ended; see its log"
                with suppress(aiohttp.ClientError):
                    async with http.get(f"{made.url}/readyz") as answer:
                        return answer.status == 200
                return False

            await until(ready, f"{name} to be ready", within_s=240, every_s=0.2)
            yield made
            uplink.heal()
    finally:
        await uplink.close()


@asynccontextmanager
async def _canary(url: str, log: Path, every_s: float) -> AsyncIterator[str]:
    """The shipped canary with words that the scripted recogniser hears. Yields the address of its metrics."""
    pcm, _ = speak(SAID, lead_s=0.2, tail_s=1.5)
    sentence = Sentence(pcm, 0.2, len(pcm) / 2 / RATE - 1.5, SAID)
    figures = CanaryFigures()
    logs.configure("json", "info")
    with log.open("a", buffering=1) as out:
        handler = logging.StreamHandler(out)
        handler.setFormatter(logging.getLogger().handlers[0].formatter)
        logging.getLogger().handlers[:] = [logging.NullHandler()]  # the speech server in this process is the provider
        logging.getLogger("gateway.cli.canary").addHandler(handler)
        async with metrics_page("127.0.0.1", 0, figures.text) as port:
            rounds = asyncio.create_task(repeat(lambda: Client(url, TOKEN), sentence, 0.5, every_s, figures))
            try:
                yield f"127.0.0.1:{port}"
            finally:
                rounds.cancel()
                await asyncio.gather(rounds, return_exceptions=True)


@asynccontextmanager
async def staging(folder: Path, database_url: str, replicas: int, scale: float) -> AsyncIterator[World]:
    """`scale`: how many times as quick the rules and the canary are."""
    (folder / "journal").mkdir()
    statuses = [204]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        http = await enter(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        provider = await enter(LocalServer(LocalOptions(engine="scripted", api_key=KEY, record_limit_bytes=0)))
        redis = stack.enter_context(running_redis(folder))
        common = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis.url,
            "GATEWAY_STT_MAX_SESSIONS": "12",
            "GATEWAY_MAX_HTTP_CONNECTIONS": "150",
            "GATEWAY_MAX_HTTP_CONNECTIONS_PER_ADDRESS": "120",
            "GATEWAY_WEBHOOK_URL": await enter(_receiver(statuses)),
            "GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "GATEWAY_WEBHOOK_ALLOW": "http,private",
        }
        numbers = range(1, replicas + 1)
        made = await asyncio.gather(*(enter(_replica(n, folder, provider, http, **common)) for n in numbers))
        canary = await enter(_canary(made[-1].url, folder / "journal" / "canary.log", 60 / scale))
        jobs = {
            "transcription-gateway": [urlsplit(replica.metrics).netloc for replica in made],
            "canary": [canary],
        }
        rules = quicker(RULES.read_text(), scale)
        seen = await enter(running_prometheus(folder / "prometheus", jobs, rules, every="1s", token=TOKEN, http=http))
        world = World(folder, database_url, redis, provider, made, seen, http, statuses)
        world.account.write_text(f"API key: {KEY}\n")
        yield world
