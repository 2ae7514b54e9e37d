"""What our own code costs a session each second: audio to the provider, its answers, captions to ten watchers.

    PYTHONPATH=tests:. python bench/hot_path.py [--sessions 50] [--seconds 1] [--rounds 60]

The gated gateway of `bench/whole_gateway.py` in one process, without the kernel and TLS: the provider's bytes are
handed to the protocol of its socket, and what goes out is only counted. Of many short rounds the least is read: also a
busy machine has moments in which nothing disturbs. Compare what was run in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, cast

import uvloop
from support.fakes import MemoryRecords
from websockets.utils import accept_key
from whole_gateway import CHUNK, PER_S, TRANSCRIPTS_PER_S, Pacer, _Sources, transcript
from yarl import URL

from gateway.app.system_clock import SystemClock
from gateway.live.hub import Hub
from gateway.transcription.domain.limits import Limits
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import Voice, VoiceOptions
from gateway.transcription.usecases.context import RunContext, RunOptions
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.transcriptions import StartRequest, Transcriptions
from stt.gladia import client
from stt.gladia.messages import LiveConfig, SessionCreated
from stt.gladia.places import Place
from stt.gladia.socket import Receiver, Socket

WATCHERS = 10
WARM_UP = 3
"""Rounds before any is counted: sessions are opened, and nothing is said in the first second."""


class Sink:
    """A transport that takes everything at once."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def abort(self) -> None:
        pass


class Service(client.Provider):
    """A provider whose connections end here."""

    def __init__(self) -> None:
        super().__init__(client.ProviderOptions("bench", "http://bench"))
        self.lines: list[tuple[Socket, Sink]] = []
        client.connect = self.connect  # type: ignore[assignment]

    async def check(self) -> None:
        """The key is good."""

    async def create(self, config: LiveConfig, place: Place | None = None) -> SessionCreated:
        return SessionCreated(f"{len(self.lines):032x}", "ws://bench/live")

    async def connect(self, url: str, receiver: Receiver, *, takes_garbled: bool = False) -> Socket:
        socket, sink = Socket(URL(url), receiver, takes_garbled=takes_garbled), Sink()
        socket.connection_made(cast("asyncio.BaseTransport", sink))
        key = sink.written.pop().split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        self.lines.append((socket, sink))
        socket.data_received(f"{head}{accept_key(key)}\r\n\r\n".encode())
        return socket


def framed(text: str) -> bytes:
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2)
    return b"\x81" + length + data


def acknowledged(at: int) -> bytes:
    return framed(
        '{"type":"audio_chunk","session_id":"5e1f0c5e-2d0b-4b5e-9f3e-0c5e2d0b4b5e","acknowledged":true,"error":null,'
        f'"data":{{"byte_range":[{(at - 1) * CHUNK},{at * CHUNK}],"time_range":[{(at - 1) / PER_S},{at / PER_S}]}}}}'
    )


async def measure(sessions: int, seconds: int, rounds: int) -> None:
    """Say what a session costs a second, and end the process."""
    pacer, clock, service = Pacer(), SystemClock(), Service()
    delivered = 0

    def send_all(descriptors: Any, begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
        nonlocal delivered
        delivered += end - begin
        return []

    async with AsyncExitStack() as rooms:
        records, hub = MemoryRecords(clock), Hub(clock.now, send_all=send_all)
        recorder = Recorder(records, hub, clock)
        transcriber = GladiaTranscriber(
            service, "gladia", Voice(VoiceOptions()), process="bench", endpointing_s=None, maximum_utterance_s=None
        )
        keeper = LimitKeeper(Limits(), records.ledger, clock)
        context = RunContext(records, recorder, hub, transcriber, clock, RunOptions(owner="bench"), keeper)
        runs = Transcriptions(context, cast("Any", _Sources(pacer)))
        tasks = await rooms.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(recorder.run())
        await rooms.enter_async_context(runs.serving())
        for session in range(sessions):
            await records.sessions.create(f"s{session}", None, None)
            await runs.start(StartRequest(f"s{session}", source="rtmp"))
            for watcher in range(WATCHERS):
                joined = hub.join(f"s{session}", cast("Any", Sink()), lambda code: None, descriptor=watcher + 1000)
                joined.go_live([])
        spent, heard, turn = [], 0, 0
        gc.collect()
        gc.freeze()
        for _ in range(WARM_UP + rounds):
            began = time.process_time()
            for _ in range(seconds * PER_S):
                for take in pacer.takers:
                    take(pacer._pieces[turn % len(pacer._pieces)])
                turn += 1
                for _ in range(12 if len(service.lines) == sessions else 200):
                    await asyncio.sleep(0)
                heard += len(service.lines) == sessions
                is_said = heard > PER_S and heard % (PER_S // TRANSCRIPTS_PER_S) == 0
                number = heard * TRANSCRIPTS_PER_S // PER_S
                started = (number - number % TRANSCRIPTS_PER_S - 1) / TRANSCRIPTS_PER_S  # with the final before it
                answer, said = acknowledged(heard), framed(transcript(number, started, heard / PER_S))
                for socket, sink in service.lines:
                    if sink.written:
                        sink.written.clear()
                        socket.data_received(answer)
                    if is_said:
                        socket.data_received(said)
                for _ in range(12):
                    await asyncio.sleep(0)
            spent.append((time.process_time() - began) / (sessions * seconds) * 1e6)
        print(f"{min(spent[WARM_UP:]):.0f} µs a session-second; {delivered} deliveries")
        sys.stdout.flush()
        os._exit(0)  # without the ends of the runs, which nobody measures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    asked = parser.parse_args()
    uvloop.run(measure(asked.sessions, asked.seconds, asked.rounds))


if __name__ == "__main__":
    main()
