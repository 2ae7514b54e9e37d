"""The same fault plans through other clients of the provider: words lost and doubled by each, and by ours.

Every client runs in its own environment; this script runs where the ones it shall compare are installed, and says which
are not. Server and client share one loop whose time jumps, so patience costs nothing.

    python -m venv others
    others/bin/pip install gladiaio-sdk==2.2.0 livekit-plugins-gladia 'pipecat-ai[gladia]' aiohttp msgspec numpy
    PYTHONPATH=. LOGURU_LEVEL=CRITICAL others/bin/python bench/compare_clients.py
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration" / "stt_gladia"))

from stt_gladia_clock import run

from stt.gladia.client import GladiaLink, Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

RATE = 16_000
CHUNK = 3200  # bytes: 100 ms
PATIENCE_S = 60.0  # after the last audio, for whatever a client waits for
WORDS = [VOCABULARY[n % len(VOCABULARY)] for n in range(30)]
PCM, TRUTH = speak(WORDS, pauses=[0.0, 0.0, 0.3] * 10, lead_s=0.2, tail_s=0.5)
POISON = "017f"
_AT = round(TRUTH[11][2] * RATE + 0.1 * RATE) * 2  # in a pause
PCM = PCM[:_AT] + bytes.fromhex(POISON) * 800 + PCM[_AT + 1600 :]
ODD = (
    "[]",
    '{"type":"transcript","data":null}',
    '{"type":"transcript","data":{"id":null,"is_final":true,"utterance":null}}',
    '{"type":"speech_start","data":{"time":"soon"}}',
    '{"type":"translation","data":{"utterance_id":7,"utterance":null}}',
    '{"type":"audio_chunk","acknowledged":true,"data":{"byte_range":[-1,1e300]}}',
    '{"type":"named_entity_recognition","data":{"results":[{"start":1e308}]}}',
)
CUTS = [{"at_byte": at} for at in range(30_000, len(PCM) - 10_000, 60_002)]

PLANS: dict[str, dict[str, Any]] = {
    "nothing goes wrong": {},
    "five cuts, unacknowledged audio is forgotten": {"every": {"cuts": CUTS}},
    "five cuts, unacknowledged audio is kept": {
        "every": {"cuts": CUTS, "unacknowledged": "keep", "acks": {"lag_bytes": 9600}}
    },
    "five cuts, and what is said meanwhile is not repeated": {
        "every": {"cuts": CUTS, "undelivered": "lose", "finals": {"delay_s": 0.3}}
    },
    "a cut within a final, twice": {
        "every": {"cuts": [{"at_final": n, "message_bytes": 50} for n in (2, 6)], "undelivered": "lose"}
    },
    "a cut when it is told to stop": {"every": {"cuts": [{"at_stop": True}]}},
    "the session is lost (404 on the way back)": {
        "sessions": {"1": {"cuts": [{"at_byte": 160_000}], "upgrade": [{"status": 404, "after": 1}]}}
    },
    "it ends in the middle, at its maximum duration": {"sessions": {"1": {"max_duration_s": 5.0}}},
    "it stops acknowledging and reading": {"sessions": {"1": {"stop_reading_at_byte": 100_000}}},
    "finals come twice, or only in the result": {"every": {"finals": {"repeated": [2, 4], "missing": [3]}}},
    "a piece of audio ends every connection": {"every": {"poison": {"sound": POISON, "code": 1011}}},
    "so it does half a second later": {"every": {"poison": {"sound": POISON, "code": 1011, "after_s": 0.5}}},
    "two cuts, words moved by 0.2 s and without length": {
        "every": {"cuts": CUTS[1:3], "finals": {"moved_s": 0.2, "words": "no_length"}}
    },
    "two cuts, ids begin again, finals without words": {
        "every": {"cuts": CUTS[1:3], "restart_ids": True, "finals": {"words": "none"}}
    },
    "finals without any times": {"every": {"finals": {"words": "untimed"}}},
    "messages with odd values": {
        "every": {"inject": [{"kind": "raw", "text": text, "at_byte": 40_000 * n} for n, text in enumerate(ODD)]}
    },
    "the quota ends in mid-call (close 1008), and credit is added": {
        "sessions": {
            "1": {
                "cuts": [{"at_byte": 160_000, "code": 1008}],
                "inject": [{"kind": "error", "code": "quota_exceeded", "at_byte": 150_000}],
                "upgrade": [{"status": 402, "after": 1}],
            }
        }
    },
}

Said = Callable[[str], None]
Play = Callable[[str, Said], Awaitable[None]]


def chunks() -> list[bytes]:
    return [PCM[at : at + CHUNK] for at in range(0, len(PCM), CHUNK)]


async def ours(url: str, said: Said) -> None:
    def hear(event: LinkEvent) -> None:
        if isinstance(event, Heard) and event.utterance.is_final:
            said(event.utterance.text)

    async with Provider(ProviderOptions("key", url)) as provider:
        clock = asyncio.get_running_loop().time
        link = GladiaLink(provider, LiveConfig(), hear, lambda report: None, clock=clock)
        running = asyncio.create_task(link.run())
        for n, chunk in enumerate(chunks()):
            link.send(n * CHUNK // 2, chunk)
            await asyncio.sleep(0.1)
        link.finish(PATIENCE_S)
        await running


async def official_sdk(url: str, said: Said) -> None:
    """As its documentation says, and safe against what it is known to raise."""
    from gladiaio_sdk import GladiaClient

    session = (
        GladiaClient(api_key="any", api_url=url)
        .live_v2_async()
        .start_session({"encoding": "wav/pcm", "sample_rate": RATE, "bit_depth": 16, "channels": 1})
    )
    opened, ended = asyncio.Event(), asyncio.Event()

    def heard(message: Any) -> None:
        if message.type == "transcript" and message.data.is_final:
            said(message.data.utterance.text)

    session.on("error", lambda error: None)
    session.on("connected", lambda message: opened.set())
    session.on("ended", lambda message: (opened.set(), ended.set()))
    session.on("message", heard)
    await opened.wait()
    for chunk in chunks():
        with suppress(RuntimeError):  # it is in the buffer all the same
            session.send_audio(chunk)
        await asyncio.sleep(0.1)
    session.stop_recording()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
    session.end_session()


async def livekit_plugin(url: str, said: Said) -> None:
    from livekit import rtc
    from livekit.agents.stt import SpeechEventType
    from livekit.plugins import gladia

    async with aiohttp.ClientSession() as http:
        engine = gladia.STT(base_url=f"{url}/v2/live", api_key="any", http_session=http, languages=["en"])
        stream = engine.stream()

        async def listen() -> None:
            async for event in stream:
                if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                    said(event.alternatives[0].text)

        listening = asyncio.create_task(listen())
        for chunk in chunks():
            with suppress(RuntimeError):  # the stream has ended
                stream.push_frame(rtc.AudioFrame(chunk, RATE, 1, len(chunk) // 2))
            await asyncio.sleep(0.1)
        with suppress(RuntimeError):
            stream.end_input()
        await asyncio.wait([listening], timeout=PATIENCE_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await stream.aclose()


async def pipecat_service(url: str, said: Said) -> None:
    from pipecat.frames.frames import EndFrame, InputAudioRawFrame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.gladia.stt import GladiaSTTService

    class Sink(FrameProcessor):
        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TranscriptionFrame):
                said(frame.text)
            await self.push_frame(frame, direction)

    service = GladiaSTTService(api_key="any", url=f"{url}/v2/live", sample_rate=RATE)
    task = PipelineTask(
        Pipeline([service, Sink()]),
        params=PipelineParams(audio_in_sample_rate=RATE),
        cancel_on_idle_timeout=False,
    )
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    await asyncio.sleep(1.0)
    for chunk in chunks():
        await task.queue_frame(InputAudioRawFrame(audio=chunk, sample_rate=RATE, num_channels=1))
        await asyncio.sleep(0.1)
    await asyncio.sleep(3.0)  # a pause at the end, as in a call
    await task.queue_frame(EndFrame())
    await asyncio.wait([running], timeout=PATIENCE_S)
    if not running.done():
        await task.cancel()
        await asyncio.wait([running], timeout=5.0)


CLIENTS: dict[str, Play] = {
    "official SDK": official_sdk,
    "LiveKit plugin": livekit_plugin,
    "Pipecat service": pipecat_service,
    "ours": ours,
}


def score(heard: list[str]) -> tuple[int, int]:
    """Words that never came, and words too many. In whatever order: a withheld final may come at the end."""
    wanted, got = Counter(WORDS), Counter(heard)
    return (wanted - got).total(), (got - wanted).total()


async def play(client: Play, plan: dict[str, Any]) -> tuple[int, int]:
    heard: list[str] = []
    async with LocalServer(LocalOptions(engine="scripted", faults=plan, record_limit_bytes=0)) as server:
        with suppress(TimeoutError):
            async with asyncio.timeout(len(PCM) / 2 / RATE + 3 * PATIENCE_S):
                await client(server.url, lambda text: heard.extend(text.split()))
    return score(heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="*", default=list(CLIENTS), choices=list(CLIENTS))
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"{len(WORDS)} words; lost / too many\n")
    print(f"| | {' | '.join(asked.clients)} |\n| --- |{' --- |' * len(asked.clients)}")
    for name, plan in PLANS.items():
        cells = []
        for client in asked.clients:
            try:
                lost, more = run(play(CLIENTS[client], plan))
                cells.append(f"{lost} / {more}")
            except ImportError:
                cells.append("not installed")
            except Exception as error:
                cells.append(f"{type(error).__name__}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
