"""What one track's link to the provider costs: client CPU per second of audio, and so streams per core.

Each stream sends 100 ms of speech every 100 ms to the scripted local server in another process, which acknowledges
every chunk and answers with partials and finals. Figures are medians of several runs; the rest of the machine's work
goes into them, so compare loops within one invocation only.

    python bench/provider_link.py --streams 100 --seconds 10 --runs 3
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection

import uvloop

from stt.gladia.client import GladiaLink, Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

CHUNK = 3200
FLUSH_S = 60.0


def serve(pipe: Connection) -> None:
    async def main() -> None:
        async with LocalServer(LocalOptions(engine="scripted", record_limit_bytes=0)) as server:
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(url: str, streams: int, seconds: float) -> tuple[float, int, int]:
    """CPU seconds of this process, words heard, words said."""
    words = [VOCABULARY[n % len(VOCABULARY)] for n in range(round(seconds / 0.35))]
    pcm, said = speak(words, pauses=[0.0, 0.0, 0.36] * len(words))
    heard = 0

    def listen(event: LinkEvent) -> None:
        nonlocal heard
        if isinstance(event, Heard) and event.utterance.is_final:
            heard += len(event.utterance.words)

    async def stream(link: GladiaLink, after_s: float) -> None:
        await asyncio.sleep(after_s)
        began = time.monotonic()
        for n, at in enumerate(range(0, len(pcm), CHUNK)):
            link.send(at // 2, pcm[at : at + CHUNK])
            await asyncio.sleep(max(began + (n + 1) * 0.1 - time.monotonic(), 0))
        link.finish(FLUSH_S)

    async with Provider(ProviderOptions("bench", url)) as provider:
        began = cpu_s()
        async with asyncio.TaskGroup() as tasks:
            for n in range(streams):
                link = provider.link(LiveConfig(), listen, lambda report: None)
                tasks.create_task(link.run())
                tasks.create_task(stream(link, 0.1 * n / streams))
        return cpu_s() - began, heard, len(said) * streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = here.recv()
    try:
        for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
            shares = []
            for _ in range(asked.runs):
                used, heard, said = run(measure(url, asked.streams, asked.seconds))
                if heard != said:
                    raise SystemExit(f"{said} words were said and {heard} heard: the machine is too slow for this many")
                shares.append(used / asked.streams / asked.seconds)
            share = statistics.median(shares)
            print(
                f"{name:8} {share * 1000:6.2f} ms CPU per stream second, {1 / share:5.0f} streams per core", flush=True
            )
    finally:
        here.send(None)
        server.join()


if __name__ == "__main__":
    main()
