"""The server under test of `bench/fanout.py`: the gateway's hub and endpoint, or what others would do instead.

Every server sends the same message to the same watchers. The gateway's does all that it does in production: admission
with a token, hello, mailboxes with their bounds, resume from memory, heartbeats, sweeps, counters.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

import uvloop
from aiohttp import web

from gateway.garbage import collect_garbage
from gateway.live import protocol
from gateway.live.credentials import Access, Secrets, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions, sweep
from gateway.live.hub import Hub
from gateway.live.slots import Limits
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.transcription import Numbering
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.records import Records, SessionRecord
from gateway.transcription.usecases.watch import Watching

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
TOKEN = "bench"
PATH = f"/api/realtime/transcribe?token={TOKEN}&session=s%d"
GREETING = {"gateway": 1, "aiohttp": 0, "websockets": 0}
FRAME_BYTES = 424
_TEXT_BYTES = 40
_ANNA = Speaker("anna", "Anna")
_WARM_UP_S = 0.5
Publish = Callable[[int, int], Awaitable[None] | None]  # group, serial number


def said(serial: int, *, is_final: bool) -> Caption:
    """What makes a message of FRAME_BYTES; its text says when it was published."""
    text = f"t={time.monotonic_ns()} number {serial:09d} ".ljust(_TEXT_BYTES, ".")
    at = START + timedelta(milliseconds=serial)
    return Caption(f"5e1f0c5e:{serial:09d}", text, "en", is_final, _ANNA, at, at, 1_000_000, 1_000_900, 0.97, ())


def text_of(serial: int) -> str:
    data = protocol.encode_caption(said(serial, is_final=False))
    return protocol.message("transcript.partial", "s0", "k3f9", None, START, data).decode()


class Server(Protocol):
    """`publish` tells one group; the watchers that came are counted."""

    publish: Publish

    def came(self) -> int: ...


class _Few:
    """Records of sessions that have said nothing yet: every port that a watcher needs."""

    def __init__(self) -> None:
        self.sessions = self.transcriptions = self.translations = self.finals = self

    async def by_slug(self, slug: str) -> SessionRecord | None:
        return SessionRecord(slug, slug, "LIVE", None, "s1", START)

    async def newest(self, slug: str) -> None:
        return None

    async def numbering(self, session_id: str) -> None:
        return None

    async def since(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        return []


class Gateway:
    """One event in five is a final, as in speech."""

    def __init__(self, groups: int) -> None:
        self.hub = Hub(lambda: datetime.now(UTC))
        self._seqs = [0] * groups
        for group in range(groups):
            self.hub.begin(f"s{group}", Numbering("k3f9", START, 0))
            self.hub.set_state(f"s{group}", "running", None)

    def came(self) -> int:
        return self.hub.counts.watchers

    def came_ever(self) -> int:
        return self.hub.counts.connected

    def publish(self, group: int, serial: int) -> None:
        channel = self.hub.channel(f"s{group}")
        caption = said(serial, is_final=serial % 5 == 0)
        data = self.hub.encode(caption)
        if caption.is_final:
            self._seqs[group] += 1
            channel.final(self._seqs[group], caption.utterance_id, data)
        else:
            channel.partial(f"5e1f0c5e:{serial % 100}", data)  # of several speakers: none overtakes another

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        secrets = Secrets((TOKEN,))

        async def checked(token: str | None) -> Access:
            return check(token, secrets)

        options = LiveOptions(limits=Limits(10**9, 10**9, 10**9))
        records = cast(Records, _Few())
        endpoint = LiveEndpoint(
            self.hub, Watching(records, FinalReader(records)), checked, lambda: "http://bench", options
        )
        app = web.Application()
        app.router.add_get("/api/realtime/transcribe", endpoint.watch)
        async with asyncio.TaskGroup() as tasks, _site(app, port):
            jobs = [tasks.create_task(job) for job in (sweep(self.hub), endpoint.beat(), endpoint.end_finished())]
            yield
            for job in jobs:
                job.cancel()


class PlainAiohttp:
    """`await ws.send_str()` to one after the other."""

    def __init__(self, groups: int) -> None:
        self._groups: list[list[web.WebSocketResponse]] = [[] for _ in range(groups)]

    def came(self) -> int:
        return sum(map(len, self._groups))

    async def publish(self, group: int, serial: int) -> None:
        text = text_of(serial)
        for watcher in self._groups[group]:
            await watcher.send_str(text)

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        async def watch(request: web.Request) -> web.WebSocketResponse:
            answer = web.WebSocketResponse(compress=False, heartbeat=20.0)
            await answer.prepare(request)
            self._groups[int(request.query["session"][1:])].append(answer)
            async for _ in answer:
                pass
            return answer

        app = web.Application()
        app.router.add_get("/api/realtime/transcribe", watch)
        async with _site(app, port):
            yield


class Websockets:
    """`websockets.broadcast()`."""

    def __init__(self, groups: int) -> None:
        self._groups: list[list[Any]] = [[] for _ in range(groups)]

    def came(self) -> int:
        return sum(map(len, self._groups))

    def publish(self, group: int, serial: int) -> None:
        from websockets.asyncio.server import broadcast

        broadcast(self._groups[group], text_of(serial))

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        from websockets.asyncio.server import ServerConnection, serve

        async def watch(connection: ServerConnection) -> None:
            assert connection.request is not None
            self._groups[int(connection.request.path.rpartition("=s")[2])].append(connection)
            async for _ in connection:
                pass

        async with serve(watch, "127.0.0.1", port, compression=None, backlog=4096):
            yield


KINDS: dict[str, Any] = {"gateway": Gateway, "aiohttp": PlainAiohttp, "websockets": Websockets}


@asynccontextmanager
async def _site(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    try:
        yield
    finally:
        await runner.cleanup()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 – read often
        return int(file.read().split()[1]) * resource.getpagesize()


class Control(asyncio.Protocol):
    """What the watchers' process reports: 16 bytes for each event that everybody of a group has."""

    def __init__(self, told: Callable[[int, int, int], None], here: asyncio.Event, gone: asyncio.Event) -> None:
        self._told, self._here, self._gone, self._rest = told, here, gone, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._here.set()

    def begin_anew(self) -> None:
        """Latencies count from now on."""
        self._transport.write(b"0")

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // 16 * 16
        self._rest = data[whole:]
        for group, event, at in struct.iter_unpack("IIQ", data[:whole]):
            self._told(group, event, at)


async def closed_loop(server: Any, asked: argparse.Namespace, told: list[Any]) -> dict[str, Any]:
    """The next event as soon as everybody has the last: CPU per delivery, and the time to the last watcher."""
    serial, done, group, times = 0, 0, 0, []
    published = [0] * asked.groups
    waiting: set[asyncio.Task[None]] = set()

    def fire() -> None:
        nonlocal serial, group
        group = (group + 1) % asked.groups
        published[group] = time.monotonic_ns()
        for _ in range(asked.burst):
            serial += 1
            pending = server.publish(group, serial)
            if pending is not None:
                task = asyncio.ensure_future(pending)
                waiting.add(task)
                task.add_done_callback(waiting.discard)

    def on(told_group: int, event: int, at: int) -> None:
        nonlocal done
        done += 1
        if event % asked.burst == asked.burst - 1:
            times.append((at - published[told_group]) / 1e6)
            if asked.gap:
                asyncio.get_running_loop().call_later(asked.gap, fire)
            else:
                fire()

    told.append(on)
    for _ in range(min(4, asked.groups)):
        fire()
    await asyncio.sleep(_WARM_UP_S)
    before, cpu, user = done, cpu_s(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    times.clear()
    await asyncio.sleep(asked.seconds)
    while not times:  # a busy machine, and less than a second asked for
        await asyncio.sleep(0.1)
    deliveries = (done - before) * asked.watchers
    times.sort()
    return {
        "us": (cpu_s() - cpu) / deliveries * 1e6,
        "user_us": (resource.getrusage(resource.RUSAGE_SELF).ru_utime - user) / deliveries * 1e6,
        "deliveries": deliveries,
        "last": {str(share): times[int(len(times) * share)] for share in (0.1, 0.5, 0.99)},
    }


async def paced(server: Any, asked: argparse.Namespace, told: list[Any]) -> dict[str, Any]:
    """So many events a second, whoever reads; the watchers say how long each took."""
    clock = asyncio.get_running_loop().time
    told.append(lambda group, event, at: None)
    before, began = cpu_s(), clock()
    for serial in range(int(asked.rate * asked.seconds)):
        server.publish(serial % asked.groups, serial)
        await asyncio.sleep(max(began + (serial + 1) / asked.rate - clock(), 0))
    used = cpu_s() - before
    result = {"us": used / int(asked.rate * asked.seconds) / asked.watchers * 1e6}
    if isinstance(server, Gateway):
        counts = server.hub.counts
        result |= {"coalesced": counts.coalesced, "too_slow": counts.closed_too_slow}
    return result


async def idle(server: Any, asked: argparse.Namespace, told: list[Any]) -> dict[str, Any]:
    await asyncio.sleep(2)
    began, before = time.monotonic(), cpu_s()
    await asyncio.sleep(asked.seconds)
    return {"share": (cpu_s() - before) / (time.monotonic() - began)}


async def churn(server: Any, asked: argparse.Namespace, gone: asyncio.Event) -> dict[str, Any]:
    """Resident memory after so many connections that came and went."""
    step, seen, next_at = asked.churn // 10, [], 0
    while not gone.is_set():
        if server.hub.counts.connected >= next_at:
            seen.append((server.hub.counts.connected, resident_bytes()))
            next_at += step
            print(f"{seen[-1][0]} came, {seen[-1][1] / 1e6:.1f} MB", file=sys.stderr, flush=True)
        await asyncio.sleep(0.01)
    while server.came():
        await asyncio.sleep(0.05)
    gc.collect()
    return {"resident": seen, "end": resident_bytes(), "objects": len(gc.get_objects())}


async def serve(asked: argparse.Namespace) -> None:
    server = KINDS[asked.kind](asked.groups)
    kept = [asyncio.create_task(collect_garbage(server.came_ever if asked.kind == "gateway" else server.came))]
    await asyncio.sleep(0)
    here, gone = asyncio.Event(), asyncio.Event()
    told: list[Any] = []
    await asyncio.get_running_loop().create_server(
        lambda: Control(lambda *what: told[0](*what) if told else None, here, gone), "127.0.0.1", asked.control
    )
    async with server.serving(asked.port):
        before = resident_bytes()
        print("ready", flush=True)
        await here.wait()
        if asked.churn:
            result = await churn(server, asked, gone)
        else:
            assert server.came() == asked.watchers * asked.groups, server.came()
            grown = resident_bytes() - before
            run = {"closed": closed_loop, "paced": paced, "idle": idle}[asked.mode]
            result = await run(server, asked, told)
            result |= {"kb_each": grown / 1024 / server.came() if server.came() else 0}
            result |= {"resident_mb": resident_bytes() / 1e6}
        assert not kept[0].done()
        print(json.dumps(result), flush=True)
        os._exit(0)  # thousands of goodbyes are not what is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    for name, kind, default in (
        ("port", int, 0), ("control", int, 0), ("watchers", int, 1000), ("groups", int, 1), ("burst", int, 1),
        ("seconds", float, 2.0), ("rate", float, 20.0), ("gap", float, 0.0), ("churn", int, 0),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--mode", default="closed")
    parser.add_argument("--loop", default="uvloop")
    asked = parser.parse_args()
    factory = uvloop.new_event_loop if asked.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(asked))


if __name__ == "__main__":
    main()
