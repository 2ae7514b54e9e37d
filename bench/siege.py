"""Who is still served under siege: half-open requests and idle RTMP sockets from five addresses, and few open files.

    python bench/siege.py --http 1500 --rtmp 500 --files 1024 --seconds 20

A gateway of its own, all on loopback. The besiegers reconnect whenever they are cut off. Meanwhile others, from
127.0.0.1, watch a session, ask for things, publish by RTMP and speak over the audio WebSocket: a spoken sentence, until
its words are there. The speech provider is the local server with a recogniser that is scripted, so that the words are
known and its CPU is none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from stt.local import scripted
from stt.local.server import LocalOptions, LocalServer

TOKEN = "a-service-token-for-the-siege"
RATE = 16_000
HALF = b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nX-"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def besiege(port: int, address: str, said: bytes, counts: dict[str, int], name: str) -> None:
    """One socket that is always there again."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            counts[name] = counts.get(name, 0) + 1
            writer.write(said)
            with suppress(OSError):
                await reader.read()
            writer.close()
        await asyncio.sleep(0.2)


async def besiege_all(args: argparse.Namespace) -> None:
    """A process of its own, until it is terminated."""
    ports, counts = [int(port) for port in args.besiege.split(",")], {}
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    kinds = (("http", ports[0], HALF, args.http), ("rtmp", ports[1], b"", args.rtmp))
    tasks = [
        asyncio.create_task(besiege(port, f"127.0.0.{2 + n % 5}", said, counts, name))
        for name, port, said, count in kinds
        for n in range(count)
    ]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print("connections that the besiegers have made:", counts, flush=True)


class Served:
    """What honest clients see."""

    def __init__(self) -> None:
        self.good: dict[str, int] = {}
        self.bad: dict[str, int] = {}
        self.worst: dict[str, float] = {}
        self.why: dict[str, str] = {}

    async def ask(self, name: str, work: Any, within_s: float = 5) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                await work
            self.good[name] = self.good.get(name, 0) + 1
        except Exception as error:
            self.bad[name] = self.bad.get(name, 0) + 1
            self.why[name] = f"{type(error).__name__}: {error}"
        self.worst[name] = max(self.worst.get(name, 0), time.monotonic() - began)


async def request(url: str, method: str, path: str, body: Any = None) -> Any:
    """On a connection of its own."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession() as http, http.request(method, url + path, json=body, headers=headers) as answer:
        told = await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status} {told}")
        return told


async def watch(url: str, slug: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/api/realtime/transcribe?session={slug}", headers=headers) as stream,
    ):
        await stream.receive_json()


async def speak(url: str, slug: str, said: list[str]) -> None:
    """In real time, on a connection that is made during the siege, until the words are on a watcher's screen."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    where, (pcm, _) = f"{url}/api/realtime", scripted.speak(said, lead_s=0.5, tail_s=1)
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.ws_connect(f"{where}/transcribe?session={slug}") as stream,
        http.ws_connect(f"{where}/audio?session={slug}&identity=anna") as audio,
    ):
        await audio.send_json({"type": "start", "sampleRate": RATE, "channels": 1})
        if (await audio.receive_json())["type"] != "ready":
            raise RuntimeError("not taken")
        began, sent = time.monotonic(), 0
        while sent < len(pcm):  # as a microphone does: whatever it has recorded by now
            await asyncio.sleep(0.1)
            due = min(round((time.monotonic() - began) * RATE) * 2, len(pcm))
            await audio.send_bytes(pcm[sent:due])
            sent = due
        await audio.send_json({"type": "stop"})
        heard: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                while heard != said:
                    told = await stream.receive_json()
                    if told["type"] == "transcript.final":
                        heard += told["data"]["text"].split()
        print(f"of {len(said)} words spoken under siege, finals hold {len(heard)}: {' '.join(heard)}")
        if heard != said:
            raise RuntimeError(f"{' '.join(said)!r} was said")


async def main(args: argparse.Namespace) -> None:
    async with LocalServer(LocalOptions(engine="scripted")) as provider:
        await besieged(args, provider.url)


async def besieged(args: argparse.Namespace, provider: str) -> None:
    http_port, rtmp_port = free_port(), free_port()
    url = f"http://127.0.0.1:{http_port}"
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "GATEWAY_API_TOKENS": TOKEN, "GATEWAY_HTTP_PORT": str(http_port), "GATEWAY_RTMP_PORT": str(rtmp_port),
            "GATEWAY_DATA_DIR": folder, "GATEWAY_LOG_FORMAT": "text", "GATEWAY_PUBLIC_URL": url,
            "GATEWAY_LOG_LEVEL": "warning", "GATEWAY_CREATE_PER_MINUTE": "0",
            "GLADIA_API_KEY": "k", "GLADIA_API_URL": provider,
        }  # fmt: skip
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", env=env, stdout=out, stderr=out,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (args.files, args.files)),
            )  # fmt: skip
            try:
                await siege(args, url, http_port, rtmp_port)
            finally:
                process.terminate()
                print("exit code", await process.wait())
        lines = log.read_text(errors="replace").splitlines()
        print(f"log: {len(lines)} lines, {sum('Traceback' in line for line in lines)} traces; the first and the last")
        print("\n".join(line[:240] for line in (lines[:3] + lines[-2:])))


async def siege(args: argparse.Namespace, url: str, http_port: int, rtmp_port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError, RuntimeError):
                await request(url, "GET", "/readyz")
                break
            await asyncio.sleep(0.2)
    slug = (await request(url, "POST", "/api/sessions", {"title": "siege"}))["slug"]
    begun = await request(url, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
    spoken, said = (
        (await request(url, "POST", "/api/sessions", {"title": "spoken"}))["slug"],
        list(scripted.VOCABULARY[:24:2]),
    )
    await request(url, "POST", "/api/transcription/start", {"sessionSlug": spoken, "source": "websocket"})
    besiegers = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--besiege", f"{http_port},{rtmp_port}", "--http", str(args.http), "--rtmp",
        str(args.rtmp),
    )  # fmt: skip
    await asyncio.sleep(3)
    served, end = Served(), time.monotonic() + args.seconds
    speaking = asyncio.create_task(served.ask("a sentence is spoken, and its final seen", speak(url, spoken, said), 60))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    stream_url = f"{url}/api/realtime/transcribe?session={slug}"
    async with aiohttp.ClientSession() as http, http.ws_connect(stream_url, headers=headers) as stream:
        address = begun["ingest"]["rtmpUrl"] + "/" + begun["ingest"]["streamKey"]
        publisher = await asyncio.create_subprocess_exec(
            "ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "sine", "-t", str(args.seconds - 2),
            "-c:a", "aac", "-f", "flv", address,
        )  # fmt: skip
        while time.monotonic() < end:
            await served.ask("GET /readyz (asks the database)", request(url, "GET", "/readyz"))
            await served.ask("POST /api/sessions", request(url, "POST", "/api/sessions", {"title": "x"}))
            await served.ask("a watcher joins", watch(url, slug))
            await asyncio.sleep(0.3)
        await speaking
        try:
            async with asyncio.timeout(10):
                code: int | None = await publisher.wait()
        except TimeoutError:
            publisher.kill()
            code = None
        print("published to the end:", code == 0, "; watcher still there:", not stream.closed)
    metrics = await request(url, "GET", "/metrics")
    besiegers.terminate()
    await besiegers.wait()
    for name in served.worst:
        good, bad = served.good.get(name, 0), served.bad.get(name, 0)
        print(f"{name}: {good} of {good + bad} served, slowest {served.worst[name]:.2f} s", served.why.get(name, ""))
    wanted = ("gateway_http_connections ", "gateway_http_evicted", "gateway_http_refused", "gateway_http_late",
              "gateway_rtmp_refused_total", "gateway_rtmp_evicted", "gateway_rtmp_publishing ")  # fmt: skip
    print("\n".join(line for line in metrics.splitlines() if line.startswith(wanted)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", type=int, default=1500)
    parser.add_argument("--rtmp", type=int, default=500)
    parser.add_argument("--files", type=int, default=1024)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--besiege", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(besiege_all(given) if given.besiege else main(given))
