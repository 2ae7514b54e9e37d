"""A real `gateway serve` process, a real publisher, and what a test wants to ask of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from support.ports import free_port

TOKEN = "a-service-token-for-the-tests"


def write_wav(path: Path, pcm: bytes) -> Path:
    """16 kHz mono s16le as a file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(pcm)
    return path


@dataclass
class Process:
    """A child in its own session, with everything it wrote."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, *args: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Process:
        process = await asyncio.create_subprocess_exec(
            *args,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        child = cls(process)
        child.reading = asyncio.create_task(child._read())
        return child

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def wait(self, within_s: float = 60.0) -> int:
        """The exit code."""
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            assert self.reading is not None
            await self.reading
            return code

    async def end(self, number: int = signal.SIGTERM, within_s: float = 60.0) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            return await self.wait(within_s)
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
            raise


@dataclass
class Running:
    """A gateway that answers."""

    url: str
    rtmp_port: int
    process: Process
    http: aiohttp.ClientSession
    killed: bool = False

    async def kill(self) -> None:
        """No farewell to anybody."""
        self.killed = True
        await self.process.end(signal.SIGKILL)

    async def call(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.http.request(method, self.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.call(method, path, body)
        assert status < 400, answer
        return answer

    async def new_session(self) -> str:
        slug: str = (await self.ok("POST", "/api/sessions", {"title": "test"}))["slug"]
        return slug

    async def start(self, slug: str, **options: Any) -> dict[str, Any]:
        body = {"sessionSlug": slug, "source": "rtmp", "language": "en", **options}
        answer: dict[str, Any] = await self.ok("POST", "/api/transcription/start", body)
        return answer

    async def stop(self, slug: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        return answer

    async def status(self, slug: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ok("GET", f"/api/transcription/{slug}")
        return answer

    async def until(self, slug: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 60.0) -> dict[str, Any]:
        """Ask for the status until something holds."""
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    seen = await self.status(slug)
                    if holds(seen):
                        return seen
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"it never held; last seen: {json.dumps(seen, indent=1)}") from None

    @asynccontextmanager
    async def watch(self, slug: str, **query: str) -> AsyncIterator[Watcher]:
        async with self.http.ws_connect(
            f"{self.url}/api/realtime/transcribe",
            params={"session": slug, **query},
            protocols=("transcript.v1", f"bearer.{TOKEN}"),
        ) as stream:
            watcher = Watcher(stream)
            reading = asyncio.create_task(watcher.read())
            try:
                yield watcher
            finally:
                reading.cancel()


@dataclass
class Watcher:
    """A browser: keeps what it is told."""

    stream: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        async for message in self.stream:
            self.messages.append(json.loads(message.data))
            self.news.set()
        self.news.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return self.of("transcript.final")

    @property
    def words(self) -> list[str]:
        return [word for final in self.finals for word in final["data"]["text"].split()]

    async def until(self, holds: Callable[[Watcher], bool], within_s: float = 60.0) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not holds(self):
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"it never held; seen: {[m['type'] for m in self.messages]}") from None


@asynccontextmanager
async def gateway_process(
    data_dir: Path, *options: str, source: Path | None = None, **env: str
) -> AsyncIterator[Running]:
    """`gateway serve OPTIONS` until the end of the block, where SIGTERM must end it with 0. `source`: another tree."""
    http_port, rtmp_port = free_port(), free_port()
    settings = {
        "GATEWAY_API_TOKENS": TOKEN,
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": str(http_port),
        "GATEWAY_RTMP_HOST": "127.0.0.1",
        "GATEWAY_RTMP_PORT": str(rtmp_port),
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{http_port}",
        "GATEWAY_DATA_DIR": str(data_dir),
        "GATEWAY_LOG_FORMAT": "text",
        **env,
    }
    process = await Process.start(sys.executable, "-m", "gateway", "serve", *options, env=settings, cwd=source)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as http:
        running = Running(f"http://127.0.0.1:{http_port}", rtmp_port, process, http)
        try:
            await _answers(running)
            yield running
        finally:
            try:
                code = await process.end()
            finally:
                print(process.output)  # pytest shows it when the test fails
        assert code == (-signal.SIGKILL if running.killed else 0), f"exit code {code}\n{process.output}"


async def _answers(running: Running) -> None:
    async with asyncio.timeout(90):
        while True:
            if running.process.process.returncode is not None:
                raise AssertionError(f"the gateway ended:\n{running.process.output}")
            try:
                if (await running.call("GET", "/readyz"))[0] == 200:
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def publish(sound: Path, url: str) -> Process:
    """A real RTMP encoder, in real time."""
    return await Process.start(sys.executable, "-m", "gateway.cli.publish", str(sound), url)


async def ffmpeg(url: str, *args: str) -> Process:
    return await Process.start("ffmpeg", "-hide_banner", "-loglevel", "error", *args, "-f", "flv", url)


def words_in_order(said: Sequence[str], heard: Sequence[str]) -> float:
    """Share of `said` found in `heard` in the same order (longest common subsequence)."""
    row = [0] * (len(heard) + 1)
    for word in said:
        before = row
        row = [0] * (len(heard) + 1)
        for at, other in enumerate(heard):
            row[at + 1] = before[at] + 1 if word == other else max(row[at], before[at + 1])
    return row[-1] / len(said)
