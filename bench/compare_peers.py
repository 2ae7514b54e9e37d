"""The peers of `bench/compare.py`, each in a process of its own and with its own interpreter.

Started as `compare_peers.py KIND SPEECH-SERVER PCM-FILE STREAMS`. It imports, says "ready", waits for a line, opens its
streams and lets each hear the file (16 kHz mono s16le) over and over, 100 ms every 100 ms. Once a second it prints how
many partials and finals have come: two numbers a line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

CHUNK = 3200
PER_S = 10
CONFIG = {
    "encoding": "wav/pcm",
    "bit_depth": 16,
    "sample_rate": 16_000,
    "channels": 1,
    "language_config": {"languages": ["en"], "code_switching": False},
    "messages_config": {"receive_partial_transcripts": True, "receive_final_transcripts": True},
}

Hear = Callable[[AsyncIterator[bytes]], Awaitable[None]]


class Heard:
    """What all streams have been told."""

    def __init__(self) -> None:
        self.partials = self.finals = 0

    def __call__(self, is_final: bool) -> None:
        self.finals += is_final
        self.partials += not is_final


async def spoken(pcm: bytes, after_s: float) -> AsyncIterator[bytes]:
    """One speaker's audio, for ever."""
    await asyncio.sleep(after_s)
    began = time.monotonic()
    pieces = [pcm[at : at + CHUNK] for at in range(0, len(pcm) - CHUNK, CHUNK)]
    for n, piece in enumerate(itertools.cycle(pieces)):
        yield piece
        await asyncio.sleep(max(began + (n + 1) / PER_S - time.monotonic(), 0))


# --- each returns what carries one stream; what it imports is loaded by then ----------------------------------


def bare(url: str, heard: Heard) -> Hear:
    """aiohttp and json, doing what the others do and nothing else: the floor."""
    import aiohttp

    async def send(stream: aiohttp.ClientWebSocketResponse, audio: AsyncIterator[bytes]) -> None:
        async for piece in audio:
            await stream.send_bytes(piece)

    async def hear(audio: AsyncIterator[bytes]) -> None:
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{url}/v2/live", json=CONFIG, headers={"X-Gladia-Key": "any"}) as made:
                where = (await made.json())["url"]
            async with http.ws_connect(where) as stream:
                sending = asyncio.create_task(send(stream, audio))
                async for message in stream:
                    told = json.loads(message.data)
                    if told["type"] == "transcript":
                        heard(told["data"]["is_final"])
                sending.cancel()

    return hear


def link(url: str, heard: Heard) -> Hear:
    """The gateway's own link to the provider."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from stt.gladia.client import Provider, ProviderOptions
    from stt.gladia.events import Heard as Words
    from stt.gladia.messages import LiveConfig

    def listen(event: object) -> None:
        if isinstance(event, Words):
            heard(event.utterance.is_final)

    async def hear(audio: AsyncIterator[bytes]) -> None:
        async with Provider(ProviderOptions("any", url)) as provider:
            one = provider.link(LiveConfig(), listen, lambda report: None)
            running = asyncio.create_task(one.run())
            offset = 0
            async for piece in audio:
                one.send(offset, piece)
                offset += len(piece) // 2
            await running

    return hear


def agents(url: str, heard: Heard) -> Hear:
    """The Gladia plugin of LiveKit Agents by itself: no room, no agent, no detector."""
    import aiohttp
    from livekit import rtc
    from livekit.agents import stt
    from livekit.plugins import gladia

    async def send(stream: Any, audio: AsyncIterator[bytes]) -> None:
        async for piece in audio:
            stream.push_frame(rtc.AudioFrame(piece, 16_000, 1, len(piece) // 2))

    async def hear(audio: AsyncIterator[bytes]) -> None:
        async with aiohttp.ClientSession() as http:
            speech = gladia.STT(
                base_url=f"{url}/v2/live", api_key="any", languages=["en"], code_switching=False, http_session=http
            )
            async with speech.stream() as stream:
                sending = asyncio.create_task(send(stream, audio))
                async for event in stream:
                    if event.type is stt.SpeechEventType.INTERIM_TRANSCRIPT:
                        heard(False)
                    elif event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                        heard(True)
                sending.cancel()

    return hear


def pipecat(url: str, heard: Heard) -> Hear:
    """A pipeline of Pipecat's Gladia service and a place where its frames end; one a stream."""
    from loguru import logger
    from pipecat.frames.frames import Frame, InputAudioRawFrame, InterimTranscriptionFrame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.gladia.config import LanguageConfig, MessagesConfig
    from pipecat.services.gladia.stt import GladiaSTTService
    from pipecat.workers.runner import WorkerRunner

    logger.remove()
    logger.add(sys.stderr, level="WARNING")

    class Count(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InterimTranscriptionFrame):
                heard(False)
            elif isinstance(frame, TranscriptionFrame):
                heard(True)
            await self.push_frame(frame, direction)

    async def hear(audio: AsyncIterator[bytes]) -> None:
        settings = GladiaSTTService.Settings(
            language_config=LanguageConfig(languages=["en"], code_switching=False),
            messages_config=MessagesConfig(receive_partial_transcripts=True, receive_acknowledgments=True),
        )
        speech = GladiaSTTService(api_key="any", url=f"{url}/v2/live", sample_rate=16_000, settings=settings)
        worker = PipelineWorker(
            Pipeline([speech, Count()]),
            params=PipelineParams(audio_in_sample_rate=16_000),
            enable_rtvi=False,
            enable_turn_tracking=False,
            cancel_on_idle_timeout=False,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        async for piece in audio:
            await worker.queue_frame(InputAudioRawFrame(piece, 16_000, 1))
        await running

    return hear


# --- RTMP -----------------------------------------------------------------------------------------------------


def ffmpeg(url: str, heard: Heard) -> Hear:
    """One ffmpeg a stream takes an encoder's RTMP on the next port of those given; its PCM goes the bare way."""
    carry, ports = bare(url, heard), iter(sys.argv[5:])

    async def hear(audio: AsyncIterator[bytes]) -> None:
        where = f"rtmp://127.0.0.1:{next(ports)}/live/stream"
        told = ("-hide_banner", "-loglevel", "error", "-listen", "1", "-i", where, "-vn")
        pcm = ("-f", "s16le", "-ar", "16000", "-ac", "1", "-flush_packets", "1", "pipe:1")
        child = await asyncio.create_subprocess_exec("ffmpeg", *told, *pcm, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        out = child.stdout

        async def pieces() -> AsyncIterator[bytes]:
            while len(piece := await out.readexactly(CHUNK)) == CHUNK:
                yield piece

        await carry(pieces())

    return hear


KINDS = {kind.__name__: kind for kind in (bare, link, agents, pipecat, ffmpeg)}


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(pcm: bytes) -> None:
    kind, url, _, streams = sys.argv[1:5]
    heard = Heard()
    hear = KINDS[kind](url, heard)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    running = [asyncio.create_task(hear(spoken(pcm, n / PER_S / int(streams)))) for n in range(int(streams))]
    while not any(task.done() for task in running):
        await asyncio.sleep(1)
        say(heard.partials, heard.finals)
    for task in running:
        if task.done():
            task.result()
    raise SystemExit("a stream has ended")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[3]).read_bytes()))
