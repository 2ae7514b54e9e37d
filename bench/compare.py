"""What a user would pick instead, measured in one run: CPU, memory and processes a stream, the same audio for all.

    python3 -m venv agents && agents/bin/pip install livekit-agents livekit-plugins-gladia
    python3 -m venv pipecat && pipecat/bin/pip install 'pipecat-ai[gladia]'
    PYTHONPATH=tests:. python bench/compare.py --venv agents pipecat [--streams 10] [--seconds 15] [--only pcm rtmp]

Everybody talks to one local speech server (scripted, in its own process, which speaks Gladia's protocol), sends it
16 kHz PCM in real time, 100 ms a message, and gets partials and finals back. Three ways for the audio to come:

    pcm      it is in the program already; the whole gateway gets it over a WebSocket of its own, keeps the finals in
             PostgreSQL and shows every session to a watcher
    rtmp     encoders (ffmpeg, AAC) publish it: ffmpeg per stream, or the whole gateway
    livekit  a room with one microphone a person: LiveKit's multi-user transcriber, or the whole gateway
             (`bench/livekit_compare.py`, which tells more)

Counted is all that a candidate needs to run, its child processes too, but not PostgreSQL, the speech server, encoders,
speakers, the LiveKit server and watchers. Memory is resident memory, what processes of one program share counted once;
"a stream" is what came on top of the idle process. The machine is never quiet: compare rows of one run. What could not
run is named below the table. Which words each client loses when the line breaks: `bench/compare_clients.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import livekit_compare
from compare_peers import CHUNK, Heard, spoken
from livekit_compare import WORDS, speech_server
from processes import has_loaded, memory_mb, tree, tree_cpu_s
from support.gateway import TOKEN, Running, gateway_process
from support.ports import free_port
from support.postgres import running_postgres

from stt.local.scripted import speak

PEERS = Path(__file__).with_name("compare_peers.py")
WARM_S = 5.0


class Row(NamedTuple):
    way: str
    who: str
    streams: int
    cpu_ms: float  # a stream and second
    idle_mb: float | None
    used_mb: float
    processes: int
    partials: float | None  # a stream and minute
    finals: float

    def __str__(self) -> str:
        idle = f"{self.idle_mb:.0f}" if self.idle_mb is not None else "–"
        each = f"{(self.used_mb - self.idle_mb) / self.streams:.1f}" if self.idle_mb is not None else "–"
        partials = f"{self.partials:.0f}" if self.partials is not None else "–"
        return (
            f"| {self.way:7} | {self.who:50} | {self.cpu_ms:6.1f} | {idle:>5} | {self.used_mb:5.0f} | {each:>8} "
            f"| {self.processes:9} | {partials:>8} | {self.finals:6.0f} |"
        )


HEADING = f"""\
| {"audio":7} | {"what":50} | CPU ms | idle  | MB in | MB a     | processes | partials | finals |
| {"":7} | {"":50} |  a s   | MB    | all   | stream   |           | a minute |        |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


class Missing(Exception):
    """Why a candidate could not run."""


class Asked(NamedTuple):
    streams: int
    seconds: float
    venvs: list[Path]
    folder: Path
    sound: Path
    stt: str
    database: str


class Under(NamedTuple):
    """A candidate at work: its first process, what it used before its first stream, what its streams have heard."""

    pid: int
    idle_mb: float
    heard: Heard


Candidate = Callable[[Asked], Any]


async def measure(asked: Asked, way: str, who: str, candidate: Candidate) -> Row:
    async with candidate(asked) as under:
        async with asyncio.timeout(90):
            while under.heard.finals < asked.streams:
                await asyncio.sleep(0.1)
        await asyncio.sleep(WARM_S)
        before, cpu, began = (under.heard.partials, under.heard.finals), tree_cpu_s(under.pid), time.monotonic()
        await asyncio.sleep(asked.seconds)
        cpu, wall = tree_cpu_s(under.pid) - cpu, time.monotonic() - began
        after, pids = (under.heard.partials, under.heard.finals), tree(under.pid)
        partials, finals = ((b - a) * 60 / wall / asked.streams for a, b in zip(before, after, strict=True))
        used = memory_mb(pids)
    cpu_ms = 1000 * cpu / wall / asked.streams
    return Row(way, who, asked.streams, cpu_ms, under.idle_mb, used, len(pids), partials, finals)


# --- peers ----------------------------------------------------------------------------------------------------


def interpreter(asked: Asked, distribution: str) -> tuple[str, str]:
    """Of the first venv that has it. Returns: its path, and name, version and licence of the distribution."""
    code = (
        "import importlib.metadata as m, sys; d = m.metadata(sys.argv[1]); "
        "print(d['Name'], d['Version'], d.get('License-Expression') or d.get('License') or '')"
    )
    for venv in asked.venvs:
        python = str(venv.absolute() / "bin" / "python")
        done = subprocess.run([python, "-c", code, distribution], capture_output=True, text=True, check=False)
        if not done.returncode:
            return python, done.stdout.strip()
    raise Missing(f"{distribution} is in none of the environments given by --venv")


def peer(kind: str, distribution: str | None = None) -> Candidate:
    """One of `compare_peers.py`."""

    @asynccontextmanager
    async def run(asked: Asked) -> AsyncIterator[Under]:
        python = interpreter(asked, distribution)[0] if distribution else sys.executable
        ports = [free_port() for _ in range(asked.streams)] if kind == "ffmpeg" else []
        command = [str(PEERS), kind, asked.stt, str(asked.sound), str(asked.streams), *map(str, ports)]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        log = asked.folder / f"{kind}.log"
        with log.open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                python, *command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err
            )
        assert process.stdin is not None and process.stdout is not None
        out, heard = process.stdout, Heard()

        async def count() -> None:
            async for line in out:
                heard.partials, heard.finals = map(int, line.split())

        async with AsyncExitStack() as rooms:
            rooms.push_async_callback(process.wait)
            rooms.callback(end, process.pid)
            if await out.readline() != b"ready\n":
                raise Missing(log.read_text()[-1500:])
            idle = memory_mb(tree(process.pid))
            process.stdin.write(b"go\n")
            counting = asyncio.create_task(count())
            rooms.callback(counting.cancel)
            if ports:
                urls = [f"rtmp://127.0.0.1:{port}/live/stream" for port in ports]
                await rooms.enter_async_context(encoders(asked, urls))
            yield Under(process.pid, idle, heard)

    return run


def end(root: int) -> None:
    """It and its children, now."""
    for pid in reversed(tree(root)):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


@asynccontextmanager
async def encoders(asked: Asked, urls: list[str]) -> AsyncIterator[None]:
    """One ffmpeg an address publishes the sound over and over; it tries again until somebody listens there."""
    speech = asked.folder / "speech.flv"
    raw = ("-f", "s16le", "-ar", "16000", "-ac", "1", "-i", str(asked.sound))
    aac = ("-ar", "48000", "-ac", "2", "-c:a", "aac", "-b:a", "128k", "-f", "flv", str(speech))
    encoding = await asyncio.create_subprocess_exec("ffmpeg", "-y", "-loglevel", "error", *raw, *aac)
    if await encoding.wait():
        raise Missing("ffmpeg cannot encode AAC")

    async def publish(url: str) -> None:
        while True:
            command = ("-loglevel", "quiet", "-re", "-stream_loop", "-1", "-i", str(speech), "-c", "copy", "-f", "flv")
            child = await asyncio.create_subprocess_exec("ffmpeg", *command, url, stdin=subprocess.DEVNULL)
            try:
                await child.wait()
                await asyncio.sleep(0.3)
            finally:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    publishing = [asyncio.create_task(publish(url)) for url in urls]
    try:
        yield
    finally:
        for task in publishing:
            task.cancel()
        await asyncio.wait(publishing)


# --- the whole gateway ------------------------------------------------------------------------------------------


def gateway(source: str) -> Candidate:
    """`gateway serve` with PostgreSQL, a watcher for every session."""

    @asynccontextmanager
    async def run(asked: Asked) -> AsyncIterator[Under]:
        settings = {
            "DATABASE_URL": asked.database,
            "GLADIA_API_URL": asked.stt,
            "GLADIA_API_KEY": "any",
            "GATEWAY_LOG_LEVEL": "warning",
            "PYTHONPATH": os.pathsep.join(sys.path),
            **({"GATEWAY_RTMP_PORT": "0"} if source != "rtmp" else {}),
        }
        heard = Heard()
        async with AsyncExitStack() as rooms:
            running = await rooms.enter_async_context(gateway_process(asked.folder / source, **settings))
            pid = running.process.process.pid
            if source == "rtmp":  # the first loads FFmpeg, once for all of them
                await running.start(await running.new_session(), source=source)
                while not has_loaded(pid, "libavcodec"):
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1)
            idle = memory_mb(tree(pid))
            slugs = [await running.new_session() for _ in range(asked.streams)]
            started = [await running.start(slug, source=source) for slug in slugs]
            working = [asyncio.create_task(watch(running, slug, heard)) for slug in slugs]
            if source == "rtmp":
                await rooms.enter_async_context(encoders(asked, [each["ingest"]["rtmpUrl"] for each in started]))
            else:
                pcm = asked.sound.read_bytes()
                speakers = (speak_to(running, slug, spoken(pcm, n / 97)) for n, slug in enumerate(slugs))
                working += [asyncio.create_task(speaker) for speaker in speakers]
            try:
                yield Under(pid, idle, heard)
            finally:
                for task in working:
                    task.cancel()
                await asyncio.wait(working)

    return run


async def watch(running: Running, slug: str, heard: Heard) -> None:
    url, protocols = f"{running.url}/api/realtime/transcribe", ("transcript.v1", f"bearer.{TOKEN}")
    async with running.http.ws_connect(url, params={"session": slug}, protocols=protocols) as stream:
        async for message in stream:
            kind = json.loads(message.data)["type"]
            if kind in ("transcript.partial", "transcript.final"):
                heard(kind == "transcript.final")


async def speak_to(running: Running, slug: str, audio: AsyncIterator[bytes]) -> None:
    url, headers = f"{running.url}/api/realtime/audio", {"Authorization": f"Bearer {TOKEN}"}
    async with running.http.ws_connect(url, params={"session": slug}, headers=headers) as socket:
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        if (told := await socket.receive_json())["type"] != "ready":
            raise Missing(str(told))
        async for piece in audio:
            await socket.send_bytes(piece)


# --- rooms ------------------------------------------------------------------------------------------------------


async def room(asked: Asked, name: str, who: str) -> Row:
    python = interpreter(asked, "livekit-agents")[0] if who != "gateway" else ""
    found = await livekit_compare.measure(asked.database, asked.streams, asked.seconds, who, python)
    cpu_ms, finals = found["cpuPercentPerTrack"] * 10, found["finalsPerTrackAndMinute"]
    return Row(
        "livekit", name, asked.streams, cpu_ms, None, found["memoryMb"], found["processes"], float("nan"), finals
    )


def rows(ways: list[str]) -> Iterator[tuple[str, Callable[[Asked], Awaitable[Row]]]]:
    """Who is measured, in turn."""

    def of(way: str, who: str, candidate: Candidate) -> tuple[str, Callable[[Asked], Awaitable[Row]]]:
        return who, lambda asked: measure(asked, way, who, candidate)

    if "pcm" in ways:
        yield of("pcm", "aiohttp and json alone", peer("bare"))
        yield of("pcm", "the gateway's link to the provider", peer("link"))
        yield of("pcm", "LiveKit Agents' Gladia plugin", peer("agents", "livekit-plugins-gladia"))
        yield of("pcm", "Pipecat with its Gladia service", peer("pipecat", "pipecat-ai"))
        yield of("pcm", "the whole gateway", gateway("websocket"))
    if "rtmp" in ways:
        yield of("rtmp", "ffmpeg per stream, aiohttp and json", peer("ffmpeg"))
        yield of("rtmp", "the whole gateway", gateway("rtmp"))
    if "livekit" in ways:
        for who, name in (
            ("agents", "LiveKit Agents, multi-user transcriber"),
            ("agents-without-vad", "the same without its voice detector"),
            ("agents-streams", "bbb-livekit-stt's way: tracks into the plugin"),
            ("gateway", "the whole gateway"),
        ):
            yield name, lambda asked, who=who, name=name: room(asked, name, who)  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", nargs="+", type=Path, default=[], help="environments that have the peers")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=15.0)
    ways = ("pcm", "rtmp", "livekit")
    parser.add_argument("--only", nargs="+", choices=ways, default=list(ways))
    given = parser.parse_args()
    missing: list[str] = []
    print(f"{given.streams} streams each, measured for {given.seconds:g} s\n\n{HEADING}", flush=True)
    with tempfile.TemporaryDirectory() as name, running_postgres() as postgres:
        folder = Path(name)
        sound = folder / "speech.s16le"
        pcm, _ = speak(WORDS, tail_s=1.5)
        sound.write_bytes(pcm + bytes(-len(pcm) % CHUNK))
        with speech_server(folder) as stt:
            for who, run in rows(given.only):
                with postgres.database() as database:
                    asked = Asked(given.streams, given.seconds, given.venv, folder, sound, stt, database)
                    try:
                        with redirect_stdout(sys.stderr):
                            row = asyncio.run(run(asked))
                    except TimeoutError:
                        missing.append(f"{who}: not every stream had a final within 90 s")
                        continue
                    except (Missing, SystemExit) as reason:
                        missing.append(f"{who}: {reason}")
                        continue
                print(row, flush=True)
        for distribution in ("livekit-agents", "livekit-plugins-gladia", "pipecat-ai"):
            with suppress(Missing):
                print(interpreter(asked, distribution)[1])
    for why in missing:
        print(f"NOT RUN: {why}")


if __name__ == "__main__":
    main()
