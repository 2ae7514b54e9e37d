"""What a session costs the whole gateway: one speech stream over TLS and ten watchers; CPU per session and second.

    PYTHONPATH=tests:. python bench/whole_gateway.py [--sessions 100] [--watchers 10] [--seconds 8] [--runs 3]
    PYTHONPATH=tests:. python bench/whole_gateway.py --profile --runs 1     … and where it goes, by py-spy
    PYTHONPATH=tests:. python bench/whole_gateway.py --timing --sessions 40 --seconds 20 --runs 2
                                       … and what of it tells where the time of finals goes

The same load on one layer after another, interleaved, so that the differences say what each layer costs:

    mix      the bare libraries: aiohttp sockets, msgspec, one frame written to every watcher's transport
    link     the provider's link in place of the socket: acknowledgements, retained audio, timeline, seam, deadlines
    gateway  all of it: runs, meters, numbering, recorder (records in memory), hub, endpoint; no voice gate
    wired    the same with a wire to other replicas, on none of which the sessions are watched
    gated    the whole gateway with the voice gate

A stream sends 100 ms of audio ten times a second, is acknowledged each time, and is told five transcripts
a second, every fifth a final. The server has the first core; the speech service and the watchers have the second.
Ends with 1 when a stack fell behind real time: what it then took for a session is no measure.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from aiohttp import ClientSession, TCPConnector, WSMsgType, web
from certificate import certify
from fanout import Machine, free_ports, raise_file_limit, running
from fanout_server import PATH, TOKEN, Control, cpu_s, resident_bytes
from support.fakes import Chunk, FakeSource, FakeSources, FakeTrack, MemoryRecords

from gateway.app.system_clock import SystemClock
from gateway.delays import Delays
from gateway.live.credentials import Access, Secrets, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions, sweep
from gateway.live.hub import Hub
from gateway.live.owned import Owned
from gateway.live.slots import Limits
from gateway.live.watcher import BEHIND_BYTES
from gateway.live.websocket import text_frame
from gateway.transcription.domain.limits import Limits as NoLimits
from gateway.transcription.domain.timing import Marks, Passage, Timeline
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import Voice, VoiceOptions
from gateway.transcription.usecases import record
from gateway.transcription.usecases.context import RunContext, RunOptions
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.track import LiveTrack
from gateway.transcription.usecases.transcriptions import StartRequest, Transcriptions
from gateway.transcription.usecases.watch import Watching
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.local.scripted import speak

STACKS = ("mix", "link", "gateway", "wired", "gated")
CHUNK = 3200
PER_S = 10
TRANSCRIPTS_PER_S = 5
MOST_OFF = 0.05
"""How far a run's work may be from what real time asks for."""


# --- the speech service -------------------------------------------------------------------------------------


async def speech(port: int, certificate: Path) -> None:
    """As much of Gladia's protocol as a stream needs that never ends."""
    streams: dict[web.WebSocketResponse, int] = {}  # → chunks heard
    began: dict[web.WebSocketResponse, float] = {}  # → where the utterance under way does, seconds

    async def create(request: web.Request) -> web.Response:
        session = f"s{random.getrandbits(64):016x}"
        return web.json_response({"id": session, "url": f"wss://localhost:{port}/live/{session}"}, status=201)

    async def listen(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        streams[socket], began[socket] = 0, 0.0
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                at = streams[socket] = streams[socket] + 1
                await socket.send_str(
                    '{"type":"audio_chunk","session_id":"5e1f0c5e-2d0b-4b5e-9f3e-0c5e2d0b4b5e","acknowledged":true,'
                    f'"error":null,"data":{{"byte_range":[{(at - 1) * CHUNK},{at * CHUNK}],'
                    f'"time_range":[{(at - 1) / PER_S},{at / PER_S}]}}}}'
                )
        del streams[socket], began[socket]
        return socket

    async def talk() -> None:
        said = 0
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            due += 1 / TRANSCRIPTS_PER_S / 20
            await asyncio.sleep(max(due - clock(), 0))
            said += 1
            for number, (socket, heard) in enumerate(list(streams.items())):
                if number % 20 == said % 20 and heard > PER_S and not socket.closed:
                    await socket.send_str(transcript(said // 20, began[socket], heard / PER_S))
                    if is_final(said // 20):
                        began[socket] = heard / PER_S

    app = web.Application()
    app.router.add_post("/v2/live", create)
    app.router.add_get("/live/{id}", listen)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", port, ssl_context=tls, backlog=4096).start()
    print("ready", flush=True)
    with suppress(ConnectionError):  # the server under test ends without a goodbye
        await talk()


def is_final(number: int) -> bool:
    return number % TRANSCRIPTS_PER_S == TRANSCRIPTS_PER_S - 1


def transcript(number: int, start: float, heard_s: float) -> str:
    """Eight words since the utterance began, which is where the one before it has ended."""
    each = (heard_s - start) / 8
    final = str(is_final(number)).lower()
    words = ",".join(
        f'{{"word":" word{n}","start":{start + n * each:.3f},"end":{start + (n + 1) * each:.3f},"confidence":0.98}}'
        for n in range(8)
    )
    return (
        '{"type":"transcript","session_id":"5e1f0c5e-2d0b-4b5e-9f3e-0c5e2d0b4b5e","created_at":"2026-01-05T10:00:00.000Z",'
        f'"error":null,"data":{{"id":"00_{number // TRANSCRIPTS_PER_S:08d}","is_final":{final},"utterance":{{'
        f'"text":"t={time.monotonic_ns()} the committee will now hear","start":{start:.3f},"end":{heard_s:.3f},'
        f'"confidence":0.97,"channel":0,"language":"en","words":[{words}]}}}}}}'
    )


# --- the stacks ---------------------------------------------------------------------------------------------


class Pacer:
    """One ticker for all streams, which take their chunks in ten groups."""

    def __init__(self) -> None:
        pcm, _ = speak("alpha bravo charlie delta echo foxtrot golf hotel", tail_s=0.1)
        self._pieces = [pcm[at : at + CHUNK] for at in range(0, len(pcm) - CHUNK, CHUNK)]
        self.takers: list[Callable[[bytes], Any]] = []
        self.chunks = 0

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        due, turn = clock(), 0
        while True:
            piece = self._pieces[turn // PER_S % len(self._pieces)]
            for take in self.takers[turn % PER_S :: PER_S]:
                waiting = take(piece)
                if waiting is not None:
                    await waiting
                self.chunks += 1
            turn += 1
            due += 1 / PER_S / PER_S
            await asyncio.sleep(max(due - clock(), 0))


class BareWatchers:
    """Prepared frames, and a look at the transport before each write: nothing else."""

    def __init__(self, sessions: int) -> None:
        self._transports: list[list[asyncio.Transport]] = [[] for _ in range(sessions)]
        self.events = 0

    async def watch(self, request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse(compress=False)
        await answer.prepare(request)
        assert request.transport is not None
        self._transports[int(request.query["session"][1:])].append(request.transport)
        async for _ in answer:
            pass
        return answer

    def tell(self, session: int, text: str, is_final: bool, start: float, end: float) -> None:
        self.events += 1
        event = {
            "v": 1, "type": "transcript.final" if is_final else "transcript.partial", "sessionSlug": f"s{session}",
            "epoch": "k3f9", "seq": self.events, "ts": "2026-01-05T10:00:00.000Z",
            "data": {"text": text, "startMs": start, "endMs": end, "filler": "x" * 640},
        }  # fmt: skip
        frame = text_frame(msgspec.json.encode(event))
        for transport in self._transports[session]:
            if transport.get_write_buffer_size() < BEHIND_BYTES and not transport.is_closing():
                transport.write(frame)


class _Utterance(msgspec.Struct):
    text: str
    start: float
    end: float


class _Data(msgspec.Struct):
    is_final: bool = False
    utterance: _Utterance | None = None


class _Message(msgspec.Struct):
    type: str
    data: _Data | None = None


async def mix(asked: argparse.Namespace, pacer: Pacer, rooms: AsyncExitStack) -> tuple[Any, Callable[[], int]]:
    watchers = BareWatchers(asked.sessions)
    http = await rooms.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
    decode = msgspec.json.Decoder(_Message).decode

    async def listen(session: int) -> None:
        async with http.post(f"{asked.speech}/v2/live", json={}) as answer:
            url = (await answer.json())["url"]
        async with http.ws_connect(url, compress=0) as socket:
            pacer.takers.append(socket.send_bytes)
            async for message in socket:
                if not message.data.startswith('{"type":"audio_chunk"'):
                    data = decode(message.data).data
                    if data is not None and data.utterance is not None:
                        said = data.utterance
                        watchers.tell(session, said.text, data.is_final, said.start, said.end)

    tasks = await rooms.enter_async_context(asyncio.TaskGroup())
    for session in range(asked.sessions):
        tasks.create_task(listen(session))
    return watchers.watch, lambda: watchers.events


async def link(asked: argparse.Namespace, pacer: Pacer, rooms: AsyncExitStack) -> tuple[Any, Callable[[], int]]:
    watchers = BareWatchers(asked.sessions)
    provider = await rooms.enter_async_context(Provider(ProviderOptions("bench", asked.speech)))
    tasks = await rooms.enter_async_context(asyncio.TaskGroup())

    def open_link(session: int) -> None:
        def hear(event: LinkEvent) -> None:
            if isinstance(event, Heard):
                said = event.utterance
                watchers.tell(session, said.text, said.is_final, said.start, said.end)

        made = provider.link(LiveConfig(), hear, lambda report: None)
        tasks.create_task(made.run())
        offset = 0

        def take(pcm: bytes) -> None:
            nonlocal offset
            made.send(offset, pcm)
            offset += len(pcm) // 2

        pacer.takers.append(take)

    for session in range(asked.sessions):
        open_link(session)
    return watchers.watch, lambda: watchers.events


class _Track(FakeTrack):
    def hear(self, pcm: bytes) -> None:
        self.anchor = self.anchor or datetime.now(UTC)
        self._coming.put_nowait(Chunk(self._samples, pcm))
        self._samples += len(pcm) // 2

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        pass


class _Source(FakeSource):
    """One speaker, who never pauses."""

    def __init__(self, track: _Track, claimed: Claimed) -> None:
        super().__init__(SystemClock(), claimed, track.speaker)
        self._track = track

    async def tracks(self) -> AsyncIterator[FakeTrack]:
        yield self._track
        async for track in super().tracks():
            yield track


class _Sources(FakeSources):
    def __init__(self, pacer: Pacer) -> None:
        super().__init__(SystemClock())
        self._pacer = pacer

    def open(self, claimed: Claimed, speaker: Any, streams: Any = ()) -> FakeSource:
        track = _Track(SystemClock(), speaker)
        self._pacer.takers.append(track.hear)
        return _Source(track, claimed)


class _Unheard:
    """A wire to other replicas, none of which shows any of our sessions: as Redis answers, nobody has received it."""

    is_up = True
    owned: Owned

    def publish(self, channel: str, data: bytes, overtakes: str | None = None) -> None:
        asyncio.get_running_loop().call_soon(self.owned.receivers, channel, 0)


async def whole(
    asked: argparse.Namespace, pacer: Pacer, rooms: AsyncExitStack, gate: str, *, is_wired: bool = False
) -> tuple[Any, Callable[[], int]]:
    clock = SystemClock()
    records = MemoryRecords(clock)
    hub = Hub(clock.now)
    if is_wired:
        wire = _Unheard()
        hub.runs = wire.owned = Owned(hub, wire, lambda slug: None)  # type: ignore[arg-type]
    recorder = Recorder(records, hub, clock)
    provider = await rooms.enter_async_context(Provider(ProviderOptions("bench", asked.speech)))
    voice = asked.voice = Voice(VoiceOptions(gate))
    transcriber = GladiaTranscriber(
        provider, "gladia", voice, process="bench", endpointing_s=None, maximum_utterance_s=None
    )
    keeper = LimitKeeper(NoLimits(), records.ledger, clock)
    context = RunContext(records, recorder, hub, transcriber, clock, RunOptions(owner="bench"), keeper)
    service = Transcriptions(context, _Sources(pacer))

    async def checked(token: str | None) -> Access:
        return check(token, Secrets((TOKEN,)))

    options = LiveOptions(limits=Limits(10**9, 10**9, 10**9))
    endpoint = LiveEndpoint(
        hub, Watching(records, FinalReader(records, recorder.unstored)), checked, lambda: "http://bench", options
    )
    tasks = await rooms.enter_async_context(asyncio.TaskGroup())
    if isinstance(hub.runs, Owned):
        tasks.create_task(hub.runs.run())
    for job in (recorder.run(), sweep(hub), endpoint.beat(), endpoint.end_finished()):
        tasks.create_task(job)
    await rooms.enter_async_context(service.serving())
    for session in range(asked.sessions):
        await records.sessions.create(f"s{session}", None, None)
        await service.start(StartRequest(f"s{session}", source="rtmp"))
    return endpoint.watch, lambda: sum(run.counts.partials + run.counts.finals for run in service.runs)


async def serve(asked: argparse.Namespace) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 1_000_000)
    pacer = Pacer()
    here, gone = asyncio.Event(), asyncio.Event()
    control = Control(lambda *what: None, here, gone)
    await asyncio.get_running_loop().create_server(lambda: control, "127.0.0.1", asked.control)
    async with AsyncExitStack() as rooms:
        if asked.stack in ("mix", "link"):
            watch, heard = await {"mix": mix, "link": link}[asked.stack](asked, pacer, rooms)
        else:
            gate = "on" if asked.stack == "gated" else "off"
            watch, heard = await whole(asked, pacer, rooms, gate, is_wired=asked.stack == "wired")
        app = web.Application()
        app.router.add_get("/api/realtime/transcribe", watch)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", asked.port, backlog=4096).start()
        pacing = asyncio.create_task(pacer.run())
        print("ready", flush=True)
        await here.wait()
        await asyncio.sleep(3)
        control.begin_anew()  # what was late while a thousand watchers came is not what they wait as a rule
        print("measuring", flush=True)
        cpu, began, chunks, events = cpu_s(), time.monotonic(), pacer.chunks, heard()
        timing = Timing(asked.voice) if asked.timing else None
        await (timing.measure(asked.seconds, pacer) if timing else asyncio.sleep(asked.seconds))
        session_s = (pacer.chunks - chunks) / PER_S
        result = {
            "ms": (cpu_s() - cpu) / session_s * 1000,
            "share": (cpu_s() - cpu) / (time.monotonic() - began),
            "events": (heard() - events) / session_s,
            "kept_up": session_s / asked.sessions / asked.seconds,
            "resident_mb": resident_bytes() / 1e6,
            "timed": timing.ms[True] if timing else [],
            "untimed": timing.ms[False] if timing else [],
        }
        print(json.dumps(result), flush=True)
        assert not pacing.done()
        os._exit(0)


class Timing:
    """What it costs to tell where the time of finals goes: marks of chunks in and out, histograms, timeline.

    In a gateway that works on it is switched off, and done TIMES times over, by turns of TURN_S (off, on, on, off …):
    in the same process, so that what else runs on the machine falls on both, and often enough to stand out from it.
    """

    TURN_S = 0.5
    TIMES = 20

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        nothing, spare = Passage(), Marks()
        mark, passage, measure, tell = Marks.mark, LiveTrack.passage, record._Waiting.measure, Hub.timing
        again = range(self.TIMES - 1)

        def marks(self: Marks, end: int, at: float) -> None:
            for _ in again:
                mark(spare, end, at)
            mark(self, end, at)

        def passages(self: LiveTrack, end_s: float, timeline: Timeline) -> Passage:
            for _ in again:
                passage(self, end_s, timeline)
            return passage(self, end_s, timeline)

        def measures(self: Any, delays: Delays, durable_at: float, shown_at: float) -> Any:
            for _ in again:
                delays.statement("final_append", 0.001)  # the records are in memory: one for each final
                measure(self, delays, durable_at, shown_at)
            delays.statement("final_append", 0.001)
            return measure(self, delays, durable_at, shown_at)

        def tells(self: Hub, slug: str, timing: Any) -> None:
            for _ in again:
                tell(self, slug, timing)
            tell(self, slug, timing)

        self._parts: list[tuple[Any, str, Any, Any]] = [
            (Marks, "mark", marks, lambda self, end, at: None),
            (LiveTrack, "passage", passages, lambda self, end_s, timeline: nothing),
            (record._Waiting, "measure", measures, lambda self, delays, durable_at, shown_at: None),
            (Hub, "timing", tells, lambda self, slug, timing: None),
        ]
        self.ms: dict[bool, list[float]] = {True: [], False: []}

    def _switch(self, *, is_on: bool) -> None:
        for owner, name, often, never in self._parts:
            setattr(owner, name, often if is_on else never)
        for voiced in self._voice._open:
            voiced.link.on_sent = voiced.sent.mark if is_on else lambda reach, at: None

    async def measure(self, seconds: float, pacer: Pacer) -> None:
        for turn in range(max(4, int(seconds / self.TURN_S) // 4 * 4)):
            is_on = turn % 4 in (1, 2)
            self._switch(is_on=is_on)
            cpu, chunks = cpu_s(), pacer.chunks
            await asyncio.sleep(self.TURN_S)
            self.ms[is_on].append((cpu_s() - cpu) / (pacer.chunks - chunks) * PER_S * 1000)


class Profile:
    """Where the CPU time goes: `py-spy` looks at the server, from outside, which function is under way.

    What C code does (TLS, the kernel's part of a send) counts for the Python function that called it, and for the
    event loop when none did.
    """

    RATE = 400

    def __init__(self, tool: str, folder: Path) -> None:
        self._tool, self._file = tool, folder / "stacks"
        self.shares: dict[str, dict[tuple[str, str], float]] = {}

    def begin(self, pid: int, seconds: float) -> subprocess.Popen[bytes]:
        order = ["record", "-p", pid, "-d", max(int(seconds), 1), "-r", self.RATE, "-o", self._file]
        order += ["-f", "raw", "-F", "--full-filenames"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([self._tool, *map(str, order)], **quiet)

    def end(self, stack: str, looking: subprocess.Popen[bytes], us: float) -> None:
        """`us`: what a session took a second, to be divided up."""
        looking.wait(timeout=30)
        seen: Counter[tuple[str, str]] = Counter()
        for line in self._file.read_text().splitlines():
            frames, _, count = line.rpartition(" ")
            function, _, place = frames.rpartition(";")[2].rpartition(" (")
            seen[room_of(place.rstrip(")")), function] += int(count)
        self.shares[stack] = {what: us * count / seen.total() for what, count in seen.items()}

    def show(self, stacks: list[str]) -> None:
        by_room = {stack: Counter[str]() for stack in stacks}
        for stack in stacks:
            for (room, _), us in self.shares[stack].items():
                by_room[stack][room] += us
        rooms = sum(by_room.values(), Counter[str]())
        print(f"\n| µs a session-second | {' | '.join(stacks)} | most of it, in the last |")
        for room, _ in rooms.most_common():
            functions = Counter({name: us for (where, name), us in self.shares[stacks[-1]].items() if where == room})
            most = ", ".join(f"{name} {us:.0f}" for name, us in functions.most_common(8))
            print(f"| {room} | {' | '.join(f'{by_room[stack][room]:.0f}' for stack in stacks)} | {most} |")


ROOMS = (
    ("bench/", "load (bench)"), ("tests/support", "records and track in memory"), ("gateway/live", "hub and lines"),
    ("usecases/record", "recorder"), ("usecases/run", "run"), ("gateway/transcription/usecases", "other use cases"),
    ("gateway/transcription/domain", "domain"), ("gateway/transcription/infra", "translators"),
    ("gateway/", "gateway, other"),
    ("stt/gladia", "provider's link"), ("ingest/", "ingest"), ("aiohttp/", "aiohttp"),
    ("asyncio/runners", "event loop: sockets, TLS, timers"), ("asyncio/", "asyncio"),
)  # fmt: skip


def room_of(path: str) -> str:
    return next((room for part, room in ROOMS if f"/{part}" in path or path.startswith(part)), "Python")


# --- the runs -----------------------------------------------------------------------------------------------


def measure(
    machine: Machine, folder: Path, certificate: Path, stack: str, asked: argparse.Namespace, profile: Profile | None
) -> dict[str, Any]:
    port, control, provider = free_ports(3)
    here = [sys.executable, __file__]
    with running([*here, "--speak", str(provider), "--certificate", str(certificate)], machine.crowd_core) as service:
        assert service.stdout is not None and service.stdout.readline() == "ready\n"
        command = [*here, "--stack", stack, "--port", str(port), "--control", str(control)]
        command += ["--speech", f"https://localhost:{provider}", "--sessions", str(asked.sessions)]
        command += ["--seconds", str(asked.seconds), *(["--timing"] if asked.timing else [])]
        with running(command, machine.server_core, SSL_CERT_FILE=str(certificate)) as server:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                raise SystemExit(f"{stack} did not start")
            order = (port, control, asked.watchers * asked.sessions, asked.sessions, PATH, "spin=0")
            with running([str(folder / "fanout_watchers"), *map(str, order)], machine.crowd_core) as crowd:
                assert server.stdout.readline() == "measuring\n"
                looking = profile.begin(server.pid, asked.seconds) if profile is not None else None
                result: dict[str, Any] = json.loads(server.communicate(timeout=120)[0])
                if profile is not None and looking is not None:
                    profile.end(stack, looking, result["ms"] * 1000)
                result["crowd"] = json.loads(crowd.communicate(timeout=60)[0])
    return result


def show_timing(runs: list[dict[str, Any]]) -> None:
    """Turns come as off, on, on, off: neighbours are one comparison."""
    often, never = ([ms for run in runs for ms in run[name]] for name in ("timed", "untimed"))
    costs = [(on - off) / Timing.TIMES for on, off in zip(often, never, strict=True)]
    cost, error, whole = statistics.fmean(costs), statistics.stdev(costs) / len(costs) ** 0.5, statistics.fmean(never)
    print("| ms CPU a session-second without timing | of timing | ± standard error | share | turns |")
    print(f"| {whole:.3f} | {cost:.4f} | {error:.4f} | {cost / whole:.2%} ± {error / whole:.2%} | {len(costs)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--watchers", type=int, default=10, help="of a session")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--timing", action="store_true", help="of the last stack alone: with and without timing")
    for inner in ("--stack", "--port", "--control", "--speech", "--speak", "--certificate"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.speak:
        uvloop.run(speech(int(asked.speak), Path(asked.certificate)))
    if asked.stack:
        asked.port, asked.control = int(asked.port), int(asked.control)
        uvloop.run(serve(asked))
    raise_file_limit()
    stacks = STACKS[-1:] if asked.timing else asked.stacks.split(",")
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine, certificate = Machine(folder), certify(folder)
        profile = Profile(tool, folder) if asked.profile and (tool := shutil.which("py-spy")) else None
        if asked.profile and profile is None:
            raise SystemExit("py-spy is needed for --profile")
        for _ in range(asked.runs):
            for stack in random.sample(stacks, len(stacks)):
                run = measure(machine, folder, certificate, stack, asked, profile)
                seen[stack].append(run)
                print(f"  {stack}: {run}", file=sys.stderr, flush=True)
    if asked.timing:
        show_timing(seen[stacks[0]])
        return
    show(stacks, seen)
    if profile is not None:
        profile.show(stacks)
    if behind := [stack for stack in stacks if any(map(fell_behind, seen[stack]))]:
        raise SystemExit(f"fell behind real time: {', '.join(behind)}. Take fewer --sessions, or a calm machine")


def fell_behind(run: dict[str, Any]) -> bool:
    """Less than it should have done in the time, or more, to make up for what was late before."""
    return abs(run["kept_up"] - 1) > MOST_OFF or abs(run["events"] / TRANSCRIPTS_PER_S - 1) > MOST_OFF


def show(stacks: list[str], seen: dict[str, list[dict[str, Any]]]) -> None:
    print("| stack | ms CPU a session-second | over the first | sessions a core | events/s | p50 / p99 ms | MB |")
    for stack in stacks:
        ms = statistics.median(run["ms"] for run in seen[stack])
        ratio = statistics.median(a["ms"] / b["ms"] for a, b in zip(seen[stack], seen[stacks[0]], strict=True))
        middle = {key: statistics.median(run["crowd"][key] for run in seen[stack]) for key in ("p50", "p99")}
        events, memory = (statistics.median(run[key] for run in seen[stack]) for key in ("events", "resident_mb"))
        print(
            f"| {stack} | {ms:.2f} | {ratio:.2f} | {1000 / ms:.0f} | {events:.1f} | "
            f"{middle['p50']:.1f} / {middle['p99']:.1f} | {memory:.0f} |"
        )


if __name__ == "__main__":
    main()
