"""What the whole gateway costs and adds: RTMP publishers carried per core, and the delays it puts in.

Three processes: the gateway (measured), the publishers (AAC 48 kHz stereo + 2.5 Mb/s video each, in real time), and
this one, which is the speech provider (it answers with the time in the words) and one browser per session.

- audio to provider: from the moment a packet was written to the RTMP socket until the provider has its last sample;
  a chunk of 100 ms and the batching before it are in there.
- transcript to browser: from the provider's write until the browser has it. Finals are in PostgreSQL by then.

    python bench/rtmp_pipeline.py --publishers 20 --seconds 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from rtmp_ingest import AUDIO_RATE, FRAME_SAMPLES, aac, publish

TOKEN = "a-token-for-the-benchmark"
CHUNK_BYTES = 4096
WARM_UP_S = 3.0
PARTIAL_EVERY = 3  # messages of audio
FINAL_EVERY_BYTES = 2 * 32_000


class Provider:
    """A speech provider that recognises nothing: its words are the time of writing."""

    def __init__(self) -> None:
        self.arrivals: dict[str, list[tuple[int, float]]] = {}  # transcription → (bytes so far, when)
        self._labels: dict[str, str] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v2/live", self._create)
        app.router.add_get("/v2/live", self._converse)
        return app

    async def _create(self, request: web.Request) -> web.Response:
        token = secrets.token_hex(8)
        self._labels[token] = (await request.json())["custom_metadata"]["transcription"]
        url = f"ws://{request.host}/v2/live?token={token}"
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


async def measure(publishers: int, seconds: float) -> float:
    """Prints all. Returns: CPU milliseconds of the gateway per second of one stream."""
    provider = Provider()
    runner = web.AppRunner(provider.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    http_port, rtmp_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            "GATEWAY_API_TOKENS": TOKEN,
            "GATEWAY_DATA_DIR": folder,
            "GATEWAY_HTTP_PORT": str(http_port),
            "GATEWAY_HTTP_HOST": "127.0.0.1",
            "GATEWAY_RTMP_PORT": str(rtmp_port),
            "GATEWAY_RTMP_HOST": "127.0.0.1",
            "GATEWAY_LOG_LEVEL": "warning",
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
        }
        gateway = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", "serve", env=environment)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{http_port}", headers=headers) as http:
            try:
                cost = await _measure(publishers, seconds, provider, gateway.pid, http, http_port, rtmp_port)
            finally:
                gateway.terminate()
                await gateway.wait()
    await runner.cleanup()
    return cost


async def _measure(
    publishers: int,
    seconds: float,
    provider: Provider,
    pid: int,
    http: aiohttp.ClientSession,
    http_port: int,
    rtmp_port: int,
) -> float:
    await _ready(http)
    idle = rss_mb(pid)
    delays: dict[str, list[float]] = {"transcript.partial": [], "transcript.final": []}
    keys: list[str] = []
    names: list[str] = []
    watching = []
    for _ in range(publishers):
        slug = (await (await http.post("/api/sessions", json={})).json())["slug"]
        body = {"sessionSlug": slug, "source": "rtmp"}
        started = await (await http.post("/api/transcription/start", json=body)).json()
        keys.append(started["ingest"]["streamKey"])
        names.append(started["transcriptionId"])
        watching.append(asyncio.create_task(watch(http, f"http://127.0.0.1:{http_port}", slug, delays)))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--publish", str(rtmp_port), "--seconds", str(seconds + WARM_UP_S + 2)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(keys).encode() + b"\n")
    child.stdin.close()
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
        heard += arrivals[-1][0] / 32_000 if arrivals else 0.0
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


async def publish_all(port: int, keys: list[str], seconds: float) -> dict[str, float]:
    """In the publishers' process. Returns: when each began, on the machine's monotonic clock."""
    sound = aac(5)
    async with asyncio.TaskGroup() as group:
        tasks = {
            key: group.create_task(publish(port, key, number / len(keys), seconds, CHUNK_BYTES, sound))
            for number, key in enumerate(keys)
        }
    return {key: task.result() for key, task in tasks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        print(json.dumps(uvloop.run(publish_all(arguments.publish, json.loads(sys.stdin.read()), arguments.seconds))))
    else:
        uvloop.run(measure(arguments.publishers, arguments.seconds))


if __name__ == "__main__":
    main()
