"""How many LiveKit tracks one process hears in real time, and what each costs.

    PYTHONPATH=tests:. python bench/livekit_tracks.py [--tracks 1,10,25] [--seconds 10] [--linear] [--fan-out]

A real livekit-server, publishers in processes of their own (48 kHz Opus, nobody ever pauses), and one process that
hears them all as the gateway does, without a provider. Printed per number of tracks: CPU of the hearing process as a
share of one core, per track too; its memory; lag of its event loop; samples heard against real time (below 1: the
machine was too slow for everybody on it, which the publishers reach first).

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TRACKS_PER_PERSON = 25  # a peer connection costs more than a track: a machine carries more of these


async def publish(url: str, room: str, first: int, count: int) -> None:
    """One person with `count` microphones, all speaking until standard input ends."""
    from livekit import rtc
    from support.livekit import SDK_RATE, LivekitServer, frames

    from stt.local.scripted import speak

    server = LivekitServer(Path(), Path(), port=int(url.rpartition(":")[2]))
    pcm, _ = speak("alpha bravo charlie delta echo foxtrot golf hotel", tail_s=0.1)
    sounds = list(frames(pcm, 100))  # every capture costs the publisher a round trip

    async def talk(source: rtc.AudioSource) -> None:
        while True:
            for frame in sounds:
                await source.capture_frame(frame)

    async with server.join(room, f"p{first}") as person:
        talking = []
        for n in range(count):
            source = rtc.AudioSource(SDK_RATE, 1, queue_size_ms=200)
            track = rtc.LocalAudioTrack.create_audio_track(f"mic{n}", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=False, dtx=False)
            await person.room.local_participant.publish_track(track, options)
            talking.append(asyncio.create_task(talk(source)))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in talking:
            task.cancel()
        await asyncio.wait(talking)


async def hear(url: str, room: str, tracks: int, seconds: float) -> None:
    from livekit import api
    from support.livekit import KEY, SECRET

    from gateway.sessions.infra import livekit_tokens
    from gateway.sessions.infra.livekit_tokens import Keys
    from ingest.livekit_room import LivekitRoom, RoomOptions

    async def exists() -> bool:
        async with api.LiveKitAPI(url.replace("ws", "http"), KEY, SECRET) as service:
            return bool((await service.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms)

    async with asyncio.TaskGroup() as tasks:
        there = LivekitRoom(
            room,
            RoomOptions(url),
            token=lambda identity: livekit_tokens.transcriber(Keys(KEY, SECRET), room, identity, captions=False),
            exists=exists,
            spawn=tasks.create_task,
            monotonic=time.monotonic,
            wall=lambda: datetime.now(UTC),
        )
        tasks.create_task(there.run())
        heard: list[Any] = []

        async def take(track: Any) -> None:
            async for _ in track.chunks():
                pass

        async def follow() -> None:
            while (track := await there.next_track()) is not None:
                heard.append(track)
                tasks.create_task(take(track))

        tasks.create_task(follow())
        async with asyncio.timeout(40):
            while len([track for track in heard if track.anchor]) < tracks:
                await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        before = [track.stats.heard_samples + track.stats.silent_samples for track in heard]
        cpu, wall = _cpu(), time.monotonic()
        lags = await _lags(seconds)
        wall, cpu = time.monotonic() - wall, _cpu() - cpu
        after = [track.stats.heard_samples + track.stats.silent_samples for track in heard]
        there.close()
    slowest = min(b - a for a, b in zip(before, after, strict=True))
    result = {
        "tracks": tracks,
        "cpuPercent": round(100 * cpu / wall, 1),
        "cpuPercentPerTrack": round(100 * cpu / wall / tracks, 2),
        "memoryMb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "loopLagP99Ms": _p99_ms(lags),
        "realTime": round(slowest / 16_000 / wall, 3),
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
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(tracks: int, seconds: float) -> dict[str, Any]:
    from support.livekit import LivekitServer, find_or_build

    with tempfile.TemporaryDirectory() as folder:
        server = LivekitServer(find_or_build(), Path(folder) / "server.log")
        server.start()
        publishers = []
        try:
            for first in range(0, tracks, TRACKS_PER_PERSON):
                count = min(TRACKS_PER_PERSON, tracks - first)
                command = [sys.executable, __file__, "--publish", server.url, "bench", str(first), str(count)]
                publishers.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                )
            for one in publishers:
                assert one.stdout is not None and one.stdout.readline() == b"ready\n"
            command = [sys.executable, __file__, "--hear", server.url, "bench", str(tracks), str(seconds)]
            done = subprocess.run(command, capture_output=True, timeout=seconds + 60, check=False)
            if done.returncode:
                raise SystemExit(done.stderr.decode()[-2000:])
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return answer
        finally:
            for one in publishers:
                one.kill()
                one.wait()
            server.stop()


def main() -> None:
    if os.environ.get("BENCH_LINEAR") or "--linear" in sys.argv:
        from ingest import livekit_dispatch

        os.environ["BENCH_LINEAR"] = "1"
        livekit_dispatch.KNOWN_VERSION = "none"  # type: ignore[misc]
    if sys.argv[1:2] == ["--publish"]:
        asyncio.run(publish(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
        return
    if sys.argv[1:2] == ["--hear"]:
        import uvloop

        uvloop.run(hear(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", default="1,10,25")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--linear", action="store_true", help="dispatch frames in the SDK's own way")
    parser.add_argument("--fan-out", action="store_true", help="without server, publishers and codecs")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    for tracks in map(int, args.tracks.split(",")):
        if args.fan_out:
            import uvloop

            uvloop.run(fan_out(tracks, args.seconds))
        else:
            print(json.dumps(measure(tracks, args.seconds)), flush=True)


if __name__ == "__main__":
    main()
