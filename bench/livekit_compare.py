"""The same LiveKit room transcribed by the gateway and by LiveKit's own agents: what a track costs each.

    python3 -m venv .venv-agents && .venv-agents/bin/pip install livekit-agents==1.7.0 livekit-plugins-gladia==1.7.0
    PYTHONPATH=tests:. python bench/livekit_compare.py --agents .venv-agents/bin/python \\
        --who gateway,agents,agents-without-vad,agents-streams [--tracks 1,10,25] [--seconds 15]

One real livekit-server, speakers of one Go process (`tools/livekit-speakers`, one microphone a person, eight words and
a pause for ever), one local speech server with the scripted recogniser: the same for both, in processes of their own.
The gateway runs whole, with PostgreSQL. Printed per number of tracks: CPU as a share of one core and memory of
everything that belongs to the one or the other (PostgreSQL left out), how quickly the gateway answers meanwhile,
seconds from the request to the first final and until everybody has had one, finals a track and minute, and the share of
them that hold all eight words. The agents run a voice activity detector unless told not to; `agents-streams` puts every
track into the plugin without an agent session, as bbb-livekit-stt does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from livekit import api
from livekit_tracks import speaking
from processes import cpu_of, memory_mb, tree
from support.gateway import TOKEN, gateway_process
from support.livekit import KEY, SECRET, LivekitServer, find_or_build
from support.postgres import running_postgres

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel"
ROOM = "bench"


@dataclass
class Finals:
    """When each came, whose, what. `ask`: one small question to the process that transcribes."""

    asked: float
    came: list[tuple[float, str, str]] = field(default_factory=list)
    ask: Callable[[], Awaitable[object]] | None = None

    async def wait(self, seconds: float) -> float | None:
        """Let time pass. Returns: how long an answer took, 99th percentile in ms: no loop lags more than that."""
        until, took = time.monotonic() + seconds, []
        while (now := time.monotonic()) < until:
            if self.ask is not None:
                await self.ask()
                took.append(time.monotonic() - now)
            await asyncio.sleep(0.05)
        return round(1000 * sorted(took)[int(len(took) * 0.99)], 1) if took else None

    def after(self, people: int) -> float | None:
        """Seconds until so many people had their first one."""
        first: dict[str, float] = {}
        for at, identity, _ in self.came:
            first.setdefault(identity, at)
        return round(sorted(first.values())[people - 1] - self.asked, 2) if len(first) >= people else None


@contextmanager
def speech_server(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "gateway", "stt", "--engine", "scripted", "--host", "127.0.0.1", "--port", "0"]
    log = folder / "stt.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        while not (ready := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            time.sleep(0.1)
        yield ready[0]
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def by_gateway(
    database: str, server: LivekitServer, stt: str, folder: Path
) -> AsyncIterator[tuple[Callable[[], int], Finals]]:
    env = {
        "DATABASE_URL": database,
        "GLADIA_API_URL": stt,
        "GLADIA_API_KEY": "any",
        "GATEWAY_LIVEKIT_AUTO_START": "false",
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    async with gateway_process(folder / "data", **env) as gateway:
        made = await gateway.ok("POST", "/api/sessions", {"title": "bench"})
        connection = await asyncpg.connect(database)
        await connection.execute('UPDATE "VideoSession" SET slug = $1 WHERE slug = $2', ROOM, made["slug"])
        await connection.close()
        finals = Finals(time.time(), ask=lambda: gateway.call("GET", "/healthz", token=None))

        async def collect() -> None:
            protocols = ("transcript.v1", f"bearer.{TOKEN}")
            url = f"{gateway.url}/api/realtime/transcribe?session={ROOM}"
            async with gateway.http.ws_connect(url, protocols=protocols) as stream:
                async for message in stream:
                    told = json.loads(message.data)
                    if told["type"] == "transcript.final":
                        data = told["data"]
                        finals.came.append((time.time(), data["participantIdentity"], data["text"]))

        await gateway.start(ROOM, source="livekit")
        collecting = asyncio.create_task(collect())
        try:
            yield lambda: gateway.process.process.pid, finals
        finally:
            collecting.cancel()
            await gateway.stop(ROOM)


@asynccontextmanager
async def by_agents(
    python: str, vad: str, server: LivekitServer, stt: str, folder: Path
) -> AsyncIterator[tuple[Callable[[], int], Finals]]:
    told = folder / "finals.txt"
    told.touch()
    env = {
        **os.environ,
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "BENCH_STT_URL": f"{stt}/v2/live",
        "BENCH_FINALS": str(told),
        "BENCH_VAD": vad,
    }
    env.pop("PYTHONPATH", None)
    log = folder / "agents.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(  # noqa: ASYNC220  # its log is read from a file
            [python, str(Path(__file__).with_name("livekit_agents_worker.py"))], env=env, stdout=out, stderr=out
        )
    try:
        async with asyncio.timeout(60):
            while "registered worker" not in log.read_text():
                if worker.poll() is not None:
                    raise SystemExit(log.read_text()[-3000:])
                await asyncio.sleep(0.1)
        await asyncio.sleep(3)  # its idle process gets ready
        finals = Finals(time.time())
        async with server.api() as service:
            await service.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(agent_name="transcriber", room=ROOM)
            )

        async def collect() -> None:
            while True:
                lines = told.read_text().splitlines()
                finals.came[:] = [(float(at), who, text) for at, who, text in (line.split(" ", 2) for line in lines)]
                await asyncio.sleep(0.1)

        collecting = asyncio.create_task(collect())
        try:
            yield lambda: worker.pid, finals
        finally:
            collecting.cancel()
    finally:
        for pid in reversed(tree(worker.pid)):
            os.kill(pid, 9)
        worker.wait()


async def measure(database: str, tracks: int, seconds: float, who: str, agents: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = LivekitServer(find_or_build(), folder / "server.log")
        server.start()
        try:
            with speech_server(folder) as stt, speaking(server, folder, tracks, 1, 0, WORDS, tail_s=1.5):
                if who == "gateway":
                    running = by_gateway(database, server, stt, folder)
                else:
                    vad = {"agents-without-vad": "none", "agents-streams": "streams"}.get(who, "default")
                    running = by_agents(agents, vad, server, stt, folder)
                async with running as (root, finals):
                    await _until_everybody(finals, tracks)
                    if who != "gateway":
                        print((folder / "agents.log").read_text()[-20_000:], file=sys.stderr)
                    pids = tree(root())
                    began, cpu = time.time(), sum(cpu_of(Path(f"/proc/{pid}/stat")) for pid in pids)
                    answers_ms = await finals.wait(seconds)
                    cpu = sum(cpu_of(Path(f"/proc/{pid}/stat")) for pid in pids) - cpu
                    wall, memory = time.time() - began, memory_mb(pids)
                    came = [text for at, _, text in finals.came if at >= began]
        finally:
            server.stop()
    return {
        "who": who,
        "tracks": tracks,
        "processes": len(pids),
        "cpuPercent": round(100 * cpu / wall, 1),
        "cpuPercentPerTrack": round(100 * cpu / wall / tracks, 2),
        "memoryMb": round(memory),
        "answersP99Ms": answers_ms,
        "firstFinalS": finals.after(1),
        "everybodyS": finals.after(tracks),
        "finalsPerTrackAndMinute": round(60 * len(came) / wall / tracks, 1),
        "whole": round(sum(text.lower().rstrip(".") == WORDS for text in came) / max(1, len(came)), 2),
    }


async def _until_everybody(finals: Finals, tracks: int, within_s: float = 60.0) -> None:
    until = time.time() + within_s
    while finals.after(tracks) is None and time.time() < until:
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", default="1,10,25")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--agents", default="", help="an interpreter that has livekit-agents")
    parser.add_argument(
        "--who", default="gateway", help="of gateway, agents, agents-without-vad, agents-streams; with commas between"
    )
    args = parser.parse_args()
    for tracks in map(int, args.tracks.split(",")):
        for who in args.who.split(","):
            log = redirect_stdout(sys.stderr)
            with running_postgres() as postgres, postgres.database() as database, log:
                result = asyncio.run(measure(database, tracks, args.seconds, who, args.agents))
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
