"""What the whole gateway costs and adds: RTMP publishers carried per core, and the delays it puts in.

Three processes: the gateway (measured), the publishers (AAC 48 kHz stereo + 2.5 Mb/s video each, in real time), and
this one, which is the speech provider (it answers with the time in the words) and one browser per session.

- audio to provider: from the moment a packet was written to the RTMP socket until the provider has its last sample;
  a chunk of 100 ms and the batching before it are in there.
- transcript to browser: from the provider's write until the browser has it. Finals are in PostgreSQL by then.

    python bench/rtmp_pipeline.py --publishers 20 --seconds 20
    python bench/rtmp_pipeline.py --memory 1 10 40 80      what each adds, with TLS to the provider; --plain without

The first ones also pay what all share: FFmpeg's tables, modules that load with their first use. So the second form
starts more and more of them in one gateway and shows what those of each step have added, once the gateway has given
back what was free.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop
from aiohttp import web
from certificate import certify
from processes import has_loaded, kilobytes, private_kb
from rtmp_ingest import AUDIO_RATE, FRAME_SAMPLES, aac, publish

from gateway.garbage import GIVE_BACK_S

TOKEN = "a-token-for-the-benchmark"
CHUNK_BYTES = 4096
WARM_UP_S = 3.0
SETTLED_S = 2.0  # until what came has been answered, and garbage is collected
PARTIAL_EVERY = 3  # messages of audio
FINAL_EVERY_BYTES = 2 * 32_000


class Provider:
    """A speech provider that recognises nothing: its words are the time of writing."""

    def __init__(self) -> None:
        self.arrivals: dict[str, list[tuple[int, float]]] = {}  # transcription → (bytes so far, when)
        self._labels: dict[str, str] = {}

    def heard_s(self, transcription: str) -> float:
        """Audio of it so far."""
        arrivals = self.arrivals.get(transcription)
        return arrivals[-1][0] / 32_000 if arrivals else 0.0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v2/live", self._create)
        app.router.add_get("/v2/live", self._converse)
        return app

    async def _create(self, request: web.Request) -> web.Response:
        token = secrets.token_hex(8)
        self._labels[token] = (await request.json())["custom_metadata"]["transcription"]
        scheme = "wss" if request.secure else "ws"
        url = f"{scheme}://{request.host}/v2/live?token={token}"
        return web.json_response({"id": token, "created_at": "2026-01-01T00:00:00Z", "url": url}, status=201)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        if "token" not in request.query:
            return web.json_response({"items": []})
        stream = web.WebSocketResponse(compress=False)
        await stream.prepare(request)
        session = request.query["token"]
        arrivals = self.arrivals.setdefault(self._labels[session], [])
        received = messages = finals = 0
        head = {"session_id": session, "created_at": "2026-01-01T00:00:00Z"}
        async for message in stream:
            if message.type is aiohttp.WSMsgType.TEXT:
                break
            received += len(message.data)
            arrivals.append((received, time.monotonic()))
            messages += 1
            span = [received - len(message.data), received]
            await stream.send_json(
                {"type": "audio_chunk", **head, "acknowledged": True, "error": None}
                | {"data": {"byte_range": span, "time_range": [span[0] / 32_000, span[1] / 32_000]}}
            )
            is_final = received >= (finals + 1) * FINAL_EVERY_BYTES
            if is_final or messages % PARTIAL_EVERY == 0:
                await stream.send_json({"type": "transcript", **head} | {"data": _said(finals, is_final, received)})
                finals += is_final
        await stream.send_json({"type": "end_session", **head, "data": None})
        await stream.close()
        return stream


def _said(number: int, is_final: bool, received: int) -> dict[str, object]:
    """An utterance of eight words over the audio since the last final; the first word is the time of writing."""
    end = received / 32_000
    start = number * FINAL_EVERY_BYTES / 32_000
    texts = [f" {time.monotonic_ns()}", *(f" word{n}" for n in range(7))]
    step = (end - start) / len(texts)
    words = [
        {"word": text, "start": start + n * step, "end": start + (n + 1) * step, "confidence": 0.9}
        for n, text in enumerate(texts)
    ]
    utterance = {"text": "".join(texts), "start": start, "end": end, "confidence": 0.9, "channel": 0}
    return {"id": f"00_{number:08d}", "is_final": is_final, "utterance": utterance | {"words": words, "language": "en"}}


async def watch(http: aiohttp.ClientSession, url: str, slug: str, delays: dict[str, list[float]]) -> None:
    async with http.ws_connect(f"{url}/api/realtime/transcribe", params={"session": slug, "token": TOKEN}) as stream:
        async for message in stream:
            now = time.monotonic_ns()
            told = json.loads(message.data)
            if told["type"] in delays:
                written = int(told["data"]["text"].split()[0])
                delays[told["type"]].append((now - written) / 1e6)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def quantiles(values: Sequence[float]) -> str:
    if not values:
        return "nothing"
    ordered = sorted(values)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   ({len(values)} samples)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway(NamedTuple):
    """One that runs, with its provider and a client of its API."""

    pid: int
    provider: Provider
    http: aiohttp.ClientSession
    url: str
    rtmp_port: int

    async def session(self) -> tuple[str, dict[str, Any]]:
        """Returns: its slug, and what the start of its transcription answered."""
        slug = (await (await self.http.post("/api/sessions", json={})).json())["slug"]
        body = {"sessionSlug": slug, "source": "rtmp"}
        return slug, await (await self.http.post("/api/transcription/start", json=body)).json()

    async def warm(self) -> None:
        """The first session over RTMP loads FFmpeg, once for all of them."""
        await self.session()
        async with asyncio.timeout(30):
            while not has_loaded(self.pid, "libavcodec"):
                await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLED_S)

    async def publish(self, keys: Sequence[str], seconds: float, *more: str) -> asyncio.subprocess.Process:
        """In a process of its own, which prints when each began."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--publish", str(self.rtmp_port), "--seconds", str(seconds), *more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps(keys).encode() + b"\n")
        child.stdin.close()
        return child


@asynccontextmanager
async def running(folder: Path, certificate: Path | None = None) -> AsyncIterator[Gateway]:
    """`certificate`: the provider's, for localhost, with its key; None: it is spoken to without TLS."""
    provider = Provider()
    runner = web.AppRunner(provider.app(), access_log=None)
    await runner.setup()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    await web.TCPSite(runner, "localhost", free_port(), ssl_context=tls).start()
    http_port, rtmp_port = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        "GATEWAY_API_TOKENS": TOKEN,
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_HTTP_PORT": str(http_port),
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_RTMP_PORT": str(rtmp_port),
        "GATEWAY_RTMP_HOST": "127.0.0.1",
        "GATEWAY_LOG_LEVEL": "warning",
        "GLADIA_API_KEY": "k",
        "GLADIA_API_URL": f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}",
        **({"SSL_CERT_FILE": str(certificate)} if tls else {}),
    }
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", "serve", env=environment)
    headers, url = {"Authorization": f"Bearer {TOKEN}"}, f"http://127.0.0.1:{http_port}"
    try:
        async with aiohttp.ClientSession(url, headers=headers) as http:
            await _ready(http)
            yield Gateway(gateway.pid, provider, http, url, rtmp_port)
    finally:
        gateway.terminate()
        await gateway.wait()
        await runner.cleanup()


async def measure(publishers: int, seconds: float) -> float:
    """Prints all. Returns: CPU milliseconds of the gateway per second of one stream."""
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as gateway:
            return await _measure(publishers, seconds, gateway)


async def measure_memory(steps: Sequence[int], is_plain: bool) -> None:
    """Prints, for each number of publishers in all, what those of the step have added."""
    print("| publishers | resident MB | a watched session adds kB | its publisher, link and audio kB | all of it kB |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = None if is_plain else certify(folder)
        watching: list[asyncio.Task[None]] = []
        publishing: list[asyncio.subprocess.Process] = []
        async with running(folder / "data", certificate) as gateway:
            await gateway.warm()
            for before, after in pairwise((0, *steps)):
                idle, more = private_kb(gateway.pid), after - before
                keys, names = [], []
                for _ in range(more):
                    slug, started = await gateway.session()
                    names.append(started["transcriptionId"])
                    keys.append(started["ingest"]["streamKey"])
                    watching.append(asyncio.create_task(watch(gateway.http, gateway.url, slug, {})))
                await asyncio.sleep(SETTLED_S)
                started_kb = private_kb(gateway.pid)
                publishing.append(await gateway.publish(keys, 3600, "--no-video"))
                async with asyncio.timeout(60):
                    while not all(gateway.provider.heard_s(name) > WARM_UP_S for name in names):
                        await asyncio.sleep(0.1)
                await asyncio.sleep(GIVE_BACK_S + SETTLED_S)
                used = private_kb(gateway.pid)
                each = [(to - since) / more for since, to in ((idle, started_kb), (started_kb, used), (idle, used))]
                resident = kilobytes(gateway.pid)["Rss"] / 1024
                print("| " + " | ".join([f"{after:4}", f"{resident:6.1f}", *(f"{kb:6.0f}" for kb in each)]) + " |")
            for child in publishing:
                child.kill()
                await child.wait()
            for task in watching:
                task.cancel()


async def _measure(publishers: int, seconds: float, gateway: Gateway) -> float:
    pid, provider = gateway.pid, gateway.provider
    await gateway.warm()
    idle = rss_mb(pid)
    delays: dict[str, list[float]] = {"transcript.partial": [], "transcript.final": []}
    keys: list[str] = []
    names: list[str] = []
    watching = []
    for _ in range(publishers):
        slug, started = await gateway.session()
        keys.append(started["ingest"]["streamKey"])
        names.append(started["transcriptionId"])
        watching.append(asyncio.create_task(watch(gateway.http, gateway.url, slug, delays)))
    child = await gateway.publish(keys, seconds + WARM_UP_S + 2)
    assert child.stdout is not None
    await asyncio.sleep(WARM_UP_S + 1)
    for kind in delays.values():
        kind.clear()
    cpu, clock = cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, clock = cpu_s(pid) - cpu, time.monotonic() - clock
    used = rss_mb(pid)
    report = json.loads(await child.stdout.read())
    await child.wait()
    for task in watching:
        task.cancel()
    audio = []
    heard = 0.0
    for key, name in zip(keys, names, strict=True):
        arrivals = provider.arrivals.get(name, [])
        heard += provider.heard_s(name)
        for total, arrived in arrivals[20:]:
            packet = int((total / 32_000) * AUDIO_RATE / FRAME_SAMPLES)
            audio.append((arrived - report[key] - packet * FRAME_SAMPLES / AUDIO_RATE) * 1000)
    cost = cpu / clock / publishers * 1000
    print(f"{publishers} publishers for {clock:.0f} s, one browser each; the whole gateway in one process")
    print(f"  CPU                    {cost:7.1f} ms per stream second = {1000 / cost:.0f} publishers per core")
    print(f"  memory                 {(used - idle) * 1000 / publishers:7.0f} kB per session ({used:.0f} MB in all)")
    print(
        f"  audio at the provider  {heard / publishers / (seconds + WARM_UP_S + 2) * 100:7.1f} % of what was published"
    )
    print(f"  audio → provider       {quantiles(audio)}")
    print(f"  partial → browser      {quantiles(delays['transcript.partial'])}")
    print(f"  final → browser        {quantiles(delays['transcript.final'])}   (in PostgreSQL first)")
    return cost


async def _ready(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(40):
        while True:
            try:
                if (await http.get("/readyz")).status == 200:
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def publish_all(port: int, keys: list[str], seconds: float, has_video: bool) -> dict[str, float]:
    """In the publishers' process. Returns: when each began, on the machine's monotonic clock."""
    sound = aac(5)
    async with asyncio.TaskGroup() as group:
        tasks = {
            key: group.create_task(publish(port, key, number / len(keys), seconds, CHUNK_BYTES, sound, has_video))
            for number, key in enumerate(keys)
        }
    return {key: task.result() for key, task in tasks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--memory", type=int, nargs="+", help="publishers in all, step by step")
    parser.add_argument("--plain", action="store_true", help="with --memory: no TLS to the provider")
    parser.add_argument("--no-video", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        keys, has_video = json.loads(sys.stdin.read()), not arguments.no_video
        print(json.dumps(uvloop.run(publish_all(arguments.publish, keys, arguments.seconds, has_video))))
    elif arguments.memory:
        uvloop.run(measure_memory(arguments.memory, arguments.plain))
    else:
        uvloop.run(measure(arguments.publishers, arguments.seconds))


if __name__ == "__main__":
    main()
