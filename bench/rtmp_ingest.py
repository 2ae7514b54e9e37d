"""What one publisher costs: server CPU per second of stream, audio only parsed, and decoded to 16 kHz PCM.

Each publisher sends, in real time, AAC 48 kHz stereo (128 kb/s) and 2.5 Mb/s of video, one socket write per frame, from
a process of its own. Read the ratios within one run: the machine's other work goes into the absolute figures.

    python bench/rtmp_ingest.py --publishers 40 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction

import av
import numpy as np
import uvloop

from ingest.rtmp import amf0
from ingest.rtmp.chunk_stream import Message, write
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.publisher import Publisher
from ingest.rtmp.server import RtmpServer
from ingest.rtmp_track import RtmpTrack

AUDIO_RATE, FRAME_SAMPLES = 48_000, 1_024
VIDEO_BYTES_S, VIDEO_FPS = 2_500_000 // 8, 30
STARTED, ENDED = 1.5, 0.5  # seconds before and after the measured window


class Parse:
    """Takes every packet and throws it away."""

    def __init__(self) -> None:
        self._arrivals: asyncio.Queue[str] = asyncio.Queue()

    async def all_there(self, publishers: int) -> None:
        for _ in range(publishers):
            await self._arrivals.get()

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        return True

    def crowded(self) -> None:
        pass

    async def published(self, publisher: Publisher) -> None:
        self._arrivals.put_nowait(publisher.key)
        while await publisher.read():
            pass


class Decode(Parse):
    """The whole way to chunks of 16 kHz PCM."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        super().__init__()
        self.executor = executor
        self.samples = 0

    async def published(self, publisher: Publisher) -> None:
        self._arrivals.put_nowait(publisher.key)
        track = RtmpTrack(publisher, self.executor, monotonic=time.monotonic, wall=lambda: datetime.now(UTC))
        async for chunk in track.chunks():
            self.samples += chunk.samples


async def measure(handler: Parse, publishers: int, seconds: float, chunk_bytes: int) -> float:
    """CPU milliseconds of this process per second of one stream."""
    options = RtmpOptions(host="127.0.0.1", port=0, connections_per_address=publishers)
    server = RtmpServer(options, handler)
    await server.start()
    arguments = ["--publish", str(server.port), "--publishers", str(publishers), "--chunk", str(chunk_bytes)]
    arguments += ["--seconds", str(seconds + STARTED + ENDED)]
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments)
    try:
        async with asyncio.timeout(20):
            await handler.all_there(publishers)
        await asyncio.sleep(STARTED)
        packets, cpu, clock = server.counters.audio_packets, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        cpu, clock = time.process_time() - cpu, time.monotonic() - clock
        packets = server.counters.audio_packets - packets
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.wait()
        await server.close()
    streamed = packets * FRAME_SAMPLES / AUDIO_RATE
    if streamed < 0.97 * clock * publishers:
        print(f"  (the publishers fell behind: {streamed:.0f} of {clock * publishers:.0f} s)", file=sys.stderr)
    return cpu * 1000 / streamed


def aac(seconds: int) -> tuple[bytes, list[bytes]]:
    """Configuration and frames of something that is not silence."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = AUDIO_RATE, "stereo", "fltp"
    encoder.bit_rate, encoder.time_base = 128_000, Fraction(1, AUDIO_RATE)
    noise = np.random.default_rng(1)
    frames = []
    for at in range(0, seconds * AUDIO_RATE, FRAME_SAMPLES):
        t = np.arange(at, at + FRAME_SAMPLES) / AUDIO_RATE
        tone = np.sin(2 * np.pi * (200 + 100 * np.sin(3 * t)) * t) * 0.3
        sound = np.stack([tone, tone]) + noise.normal(0, 0.02, (2, FRAME_SAMPLES))
        frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = AUDIO_RATE, at
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return bytes(encoder.extradata), frames


def stream(
    chunk_bytes: int, config: bytes, frames: list[bytes], has_video: bool = True
) -> Iterator[tuple[float, bytes]]:
    """When (seconds) to write what, for ever."""
    video = write(Message(9, 1, 0, b"\x27\x01" + bytes(VIDEO_BYTES_S // VIDEO_FPS - 2)), chunk_bytes, 6)
    yield 0.0, write(Message(8, 1, 0, b"\xaf\x00" + config), chunk_bytes, 4)
    sounds = pictures = 0
    while True:
        sound, picture = sounds * FRAME_SAMPLES / AUDIO_RATE, pictures / VIDEO_FPS
        if not has_video or sound <= picture:
            body = b"\xaf\x01" + frames[sounds % len(frames)]
            yield sound, write(Message(8, 1, int(sound * 1000), body), chunk_bytes, 4)
            sounds += 1
        else:
            yield picture, video
            pictures += 1


async def publish(
    port: int,
    key: str,
    delay: float,
    seconds: float,
    chunk_bytes: int,
    sound: tuple[bytes, list[bytes]],
    has_video: bool = True,
) -> float:
    """One publisher in real time. Returns: when (monotonic) it sent its first frame."""
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x03" + bytes(1536))
    await reader.readexactly(1 + 1536 * 2)
    writer.write(bytes(1536))

    def command(*values: object) -> bytes:
        return write(Message(20, 0, 0, amf0.encode(*values)), 128, 3)

    size = write(Message(1, 0, 0, chunk_bytes.to_bytes(4, "big")), 128, 2)
    writer.write(command("connect", 1, {"app": "live"}) + command("createStream", 2, None))
    writer.write(command("publish", 3, None, key, "live") + size)
    answers = b""
    while b"NetStream.Publish.Start" not in answers:
        answers += await reader.read(4096)
    start = asyncio.get_running_loop().time()
    for due, data in stream(chunk_bytes, *sound, has_video):
        wait = start + due - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
        writer.write(data)
        if due > seconds:
            break
    writer.close()
    return start


async def publish_all(port: int, publishers: int, seconds: float, chunk_bytes: int) -> None:
    sound = aac(5)
    async with asyncio.TaskGroup() as group:
        for number in range(publishers):
            group.create_task(publish(port, f"key{number}", number / publishers, seconds + 1, chunk_bytes, sound))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishers", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--chunk", type=int, default=4096, help=argparse.SUPPRESS)
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        uvloop.run(publish_all(arguments.publish, arguments.publishers, arguments.seconds, arguments.chunk))
        return
    print(f"{arguments.publishers} publishers, AAC 48 kHz stereo + 2.5 Mb/s video, {arguments.seconds:g} s a row")
    print(f"{'loop':8} {'chunks':>6} {'work':8} {'CPU ms per stream second':>25} {'publishers per core':>20}")
    loops: dict[str, Callable[..., float]] = {"uvloop": uvloop.run, "asyncio": asyncio.run}
    with ThreadPoolExecutor(2) as executor:
        for loop, run in loops.items():
            for chunk_bytes in (4096, 128):
                for handler in (Parse(), Decode(executor)):
                    cost = run(measure(handler, arguments.publishers, arguments.seconds, chunk_bytes))
                    work = type(handler).__name__.lower()
                    print(f"{loop:8} {chunk_bytes:6} {work:8} {cost:25.1f} {1000 / cost:20.0f}", flush=True)


if __name__ == "__main__":
    main()
