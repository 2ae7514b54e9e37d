"""How many LiveKit tracks one process hears in real time, and what each costs.

    PYTHONPATH=tests:. python bench/livekit_tracks.py [--tracks 1,10,25] [--seconds 10] [--linear] [--fan-out]
    PYTHONPATH=tests:. python bench/livekit_tracks.py --tracks 50 --how sdk,room,link

A real livekit-server, speakers of one Go process (Opus encoded beforehand, nobody ever pauses), and one process that
hears them all: with the SDK alone in frames of the same length (`sdk`), as the gateway does without a provider
(`room`), or with its link to one, the local speech server (`link`). Printed per number of tracks: CPU of the hearing
process as a share of one core, per track too; its memory; lag of its event loop; samples heard against real time (below
1: the machine was too slow for everybody on it, which the publishers reach first).

`--fan-out` measures only the way of frames from the SDK to their streams: no server, no publishers, no codec.
`--linear` leaves that way as the SDK has it, instead of `ingest.livekit_dispatch`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from processes import cpu_of

if TYPE_CHECKING:
    from support.livekit import LivekitServer

    from stt.gladia.client import Provider

OPUS_RATE: Final = 48_000
OPUS_FRAME: Final = 960  # 20 ms


def write_speech(path: Path, words: str, tail_s: float) -> None:
    """Words as `tools/livekit-speakers` takes them: Opus packets of 20 ms, a length before each."""
    import av
    import numpy as np
    import soxr

    from stt.local.scripted import speak

    pcm, _ = speak(words, tail_s=tail_s)
    samples = soxr.resample(np.frombuffer(pcm, "<i2"), 16_000, OPUS_RATE, quality="HQ").astype("<i2")
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = OPUS_RATE, "mono", "s16", 32_000
    packets = []
    for at in range(0, len(samples) - OPUS_FRAME + 1, OPUS_FRAME):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + OPUS_FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE, at
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    path.write_bytes(b"".join(len(one := bytes(packet)).to_bytes(2, "big") + one for packet in packets))


class Hearing(Protocol):
    """What the measurement wants to know of a track."""

    @property
    def samples(self) -> int: ...

    @property
    def muted(self) -> bool: ...


class Ours:
    def __init__(self, track: Any) -> None:
        self.track = track

    @property
    def samples(self) -> int:
        return int(self.track.stats.heard_samples + self.track.stats.silent_samples)

    @property
    def muted(self) -> bool:
        return bool(self.track.stats.muted)


@dataclass
class Bare:
    samples: int = 0
    muted: bool = False


@asynccontextmanager
async def by_gateway(
    url: str, room: str, tasks: asyncio.TaskGroup, provider: Provider | None
) -> AsyncIterator[list[Hearing]]:
    """Our tracks; each with its link, if there is a provider."""
    from livekit import api
    from support.livekit import KEY, SECRET

    from gateway.transcription.infra import livekit_tokens
    from gateway.transcription.infra.livekit_tokens import Keys
    from ingest.livekit_room import LivekitRoom, RoomOptions
    from stt.gladia.messages import LiveConfig

    async def exists() -> bool:
        async with api.LiveKitAPI(url.replace("ws", "http"), KEY, SECRET) as service:
            return bool((await service.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms)

    there = LivekitRoom(
        room,
        RoomOptions(url),
        token=lambda identity: livekit_tokens.transcriber(Keys(KEY, SECRET), room, identity, captions=False),
        exists=exists,
        spawn=tasks.create_task,
        monotonic=time.monotonic,
        wall=lambda: datetime.now(UTC),
    )
    heard: list[Hearing] = []

    async def take(track: Any) -> None:
        if provider is None:
            async for _ in track.chunks():
                pass
            return
        link = provider.link(LiveConfig(), lambda event: None, lambda report: None)
        tasks.create_task(link.run())
        async for chunk in track.chunks():
            if chunk.pcm:
                link.send(chunk.offset, chunk.pcm)
        link.finish(1)

    async def follow() -> None:
        while (track := await there.next_track()) is not None:
            heard.append(Ours(track))
            tasks.create_task(take(track))

    tasks.create_task(there.run())
    tasks.create_task(follow())
    yield heard
    there.close()


@asynccontextmanager
async def by_sdk(url: str, room: str, tasks: asyncio.TaskGroup, frame_ms: int) -> AsyncIterator[list[Hearing]]:
    """The SDK and nothing else: every track's frames are read and counted."""
    from livekit import api, rtc
    from support.livekit import KEY, SECRET

    heard: list[Hearing] = []
    taking: list[asyncio.Task[None]] = []
    there = rtc.Room()

    async def take(track: rtc.Track) -> None:
        one = Bare()
        stream = rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=frame_ms)
        try:
            async for event in stream:
                if not one.samples:
                    heard.append(one)
                one.samples += event.frame.samples_per_channel
        finally:
            await stream.aclose()

    @there.on("track_subscribed")
    def subscribed(track: rtc.Track, *_: object) -> None:
        taking.append(tasks.create_task(take(track)))

    grants = api.VideoGrants(room_join=True, room=room, hidden=True, can_publish=False)
    token = api.AccessToken(KEY, SECRET).with_identity("bare").with_grants(grants).to_jwt()
    await there.connect(url, token)
    yield heard
    for task in taking:
        task.cancel()
    await asyncio.wait(taking)
    await there.disconnect()


async def hear(url: str, room: str, tracks: int, seconds: float, others: dict[str, int]) -> None:
    from ingest import livekit_visit
    from stt.gladia.client import Provider, ProviderOptions

    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as rooms:
        how = os.environ["BENCH_HOW"]
        if how == "sdk":
            running = by_sdk(url, room, tasks, livekit_visit.FRAME_MS)
        else:
            stt = os.environ.get("BENCH_STT", "")
            provider = await rooms.enter_async_context(Provider(ProviderOptions("any", stt))) if how == "link" else None
            running = by_gateway(url, room, tasks, provider)
        heard = await rooms.enter_async_context(running)
        async with asyncio.timeout(60):
            while sum(one.samples > 0 for one in heard) < tracks:
                await asyncio.sleep(0.05)
        await asyncio.sleep(5)  # muted ones rest by then
        speaking = [one for one in heard if not one.muted]
        before = [one.samples for one in speaking]
        threads, cpus = _cpu_of_threads(), {name: cpu_of(Path(f"/proc/{pid}/stat")) for name, pid in others.items()}
        cpu, wall = _cpu(), time.monotonic()
        lags = await _lags(seconds)
        wall, cpu = time.monotonic() - wall, _cpu() - cpu
        threads = _cpu_of_threads() - threads
        cpus = {name: cpu_of(Path(f"/proc/{pid}/stat")) - cpus[name] for name, pid in others.items()}
        after = [one.samples for one in speaking]
    slowest = min((b - a for a, b in zip(before, after, strict=True)), default=0)
    result = {
        "how": how,
        "tracks": tracks,
        "muted": tracks - len(speaking),
        "cpuPercent": round(100 * cpu / wall, 1),
        "cpuPercentPerTrack": round(100 * cpu / wall / tracks, 2),
        "memoryMb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "loopLagP99Ms": _p99_ms(lags),
        "realTime": round(slowest / 16_000 / wall, 3),
        "threadsPercent": {name: round(100 * used / wall, 1) for name, used in threads.most_common(6)},
        "othersPercent": {name: round(100 * used / wall, 1) for name, used in cpus.items()},
    }
    print(json.dumps(result), flush=True)


async def fan_out(tracks: int, seconds: float) -> None:
    """Tracks that never left the process."""
    from livekit import rtc

    from ingest import livekit_dispatch
    from ingest.pcm import SAMPLE_RATE

    frames = [0] * tracks

    async def follow(n: int, stream: rtc.AudioStream) -> None:
        async for _ in stream:
            frames[n] += 1

    sources = [rtc.AudioSource(SAMPLE_RATE, 1) for _ in range(tracks)]
    local = [rtc.LocalAudioTrack.create_audio_track(f"t{n}", source) for n, source in enumerate(sources)]
    streams = [rtc.AudioStream(one, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=100) for one in local]
    for stream in streams:
        livekit_dispatch.attach(stream)
    following = [asyncio.create_task(follow(n, stream)) for n, stream in enumerate(streams)]
    await asyncio.sleep(2)
    before, cpu, wall = sum(frames), _cpu(), time.monotonic()
    lags = await _lags(seconds)
    wall, cpu = time.monotonic() - wall, _cpu() - cpu
    result = {
        "tracks": tracks,
        "cpuPercent": round(100 * cpu / wall, 1),
        "framesPerTrackAndSecond": round((sum(frames) - before) / tracks / wall, 2),
        "loopLagP99Ms": _p99_ms(lags),
    }
    for task in following:
        task.cancel()
    for stream in streams:
        await stream.aclose()
    print(json.dumps(result), flush=True)


async def _lags(seconds: float) -> list[float]:
    """How late the loop wakes."""
    until, late = time.monotonic() + seconds, []
    while (asked := time.monotonic()) < until:
        await asyncio.sleep(0.01)
        late.append(time.monotonic() - asked - 0.01)
    return late


def _p99_ms(lags: list[float]) -> float:
    return round(1000 * sorted(lags)[int(len(lags) * 0.99)], 1)


def _cpu() -> float:
    """Seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_of_threads() -> Counter[str]:
    """Seconds of this process by thread name."""
    seconds: Counter[str] = Counter()
    for thread in Path("/proc/self/task").iterdir():
        seconds[(thread / "comm").read_text().strip()] += cpu_of(thread / "stat")
    return seconds


@contextmanager
def speaking(
    server: LivekitServer, folder: Path, tracks: int, per_person: int, muted: int, words: str, tail_s: float
) -> Iterator[int]:
    """A crowd in room "bench" that says `words`, then nothing for `tail_s`, and so on. Yields its process id."""
    from support.livekit import KEY, SECRET, find_or_build_speakers

    speech = folder / "speech.opus20"
    write_speech(speech, words, tail_s)
    people, rest = divmod(tracks, per_person)
    assert not rest
    command = [find_or_build_speakers(), "-url", server.url, "-key", KEY, "-secret", SECRET, "-room", "bench"]
    command += ["-people", str(people), "-tracks", str(per_person), "-muted", str(muted), speech]
    log = folder / "speakers.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out)
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise SystemExit(log.read_text()[-2000:])
        yield process.pid
    finally:
        process.kill()
        process.wait()


def measure(how: str, tracks: int, per_person: int, muted: int, seconds: float) -> dict[str, Any]:
    from livekit_compare import speech_server
    from support.livekit import LivekitServer, find_or_build

    with tempfile.TemporaryDirectory() as folder:
        server = LivekitServer(find_or_build(), Path(folder) / "server.log")
        server.start()
        words = "alpha bravo charlie delta echo foxtrot golf hotel"
        try:
            with ExitStack() as rooms:
                env = {**os.environ, "BENCH_HOW": how}
                if how == "link":
                    env["BENCH_STT"] = rooms.enter_context(speech_server(Path(folder)))
                crowd = speaking(server, Path(folder), tracks, per_person, muted, words, tail_s=0.1)
                speakers = rooms.enter_context(crowd)
                command = [sys.executable, __file__, "--hear", server.url, "bench", str(tracks), str(seconds)]
                assert server.process is not None
                command += [f"server:{server.process.pid}", f"speakers:{speakers}"]
                done = subprocess.run(command, env=env, capture_output=True, timeout=seconds + 90, check=False)
        finally:
            server.stop()
    if not done.stdout:
        raise SystemExit(done.stderr.decode()[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer if not done.returncode else {**answer, "exitCode": done.returncode}


def main() -> None:
    if os.environ.get("BENCH_LINEAR") or "--linear" in sys.argv:
        from ingest import livekit_dispatch

        os.environ["BENCH_LINEAR"] = "1"
        livekit_dispatch.KNOWN_VERSION = "none"  # type: ignore[misc]
    if sys.argv[1:2] == ["--hear"]:
        import uvloop

        from ingest import livekit_visit

        livekit_visit.FRAME_MS = int(os.environ["BENCH_FRAME_MS"])  # type: ignore[misc]
        url, room, tracks, seconds, *others = sys.argv[2:]
        pids = {name: int(pid) for name, _, pid in (one.partition(":") for one in others)}
        uvloop.run(hear(url, room, int(tracks), float(seconds), pids))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", default="1,10,25")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-person", type=int, default=5, help="microphones of each participant")
    parser.add_argument("--muted", type=int, default=0, help="of each participant's microphones")
    parser.add_argument("--frame-ms", type=int, default=100, help="length of the SDK's frames")
    parser.add_argument("--linear", action="store_true", help="dispatch frames in the SDK's own way")
    parser.add_argument("--how", default="room", help="of sdk, room, link; with commas between")
    parser.add_argument("--fan-out", action="store_true", help="without server, publishers and codecs")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    os.environ["BENCH_FRAME_MS"] = str(args.frame_ms)
    for tracks in map(int, args.tracks.split(",")):
        if args.fan_out:
            import uvloop

            uvloop.run(fan_out(tracks, args.seconds))
        else:
            for how in args.how.split(","):
                result = measure(how, tracks, min(tracks, args.per_person), args.muted, args.seconds)
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
