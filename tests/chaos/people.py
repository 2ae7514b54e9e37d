"""Those who use the gateways: senders of audio, encoders, watchers. They come back as the shipped clients do."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from chaos.oracle import Reader, Voice
from support.gateway import TOKEN, Process, write_wav
from support.livekit import LivekitServer

from stt.local.scripted import RATE, speak

Route = Callable[[], int]
"""The load balancer: the number of a replica that takes connections."""

QUIET_S: Final = 5.0  # as the JavaScript sender
QUIET_READER_S: Final = 12.0
PAUSE_S: Final = 7.0  # a hole of which the gateway ends a word after 8 s
HOLE_S: Final = 0.3  # three blocks late
BLOCK: Final = RATE // 10
CONNECT_S: Final = 5.0


@dataclass(slots=True)
class Place:
    """Where a replica listens. `metrics`: its page with /metrics and /debug/; 0: there is none."""

    http: int
    rtmp: int
    metrics: int = 0


def _break(socket: aiohttp.ClientWebSocketResponse | aiohttp.ClientResponse | None) -> bool:
    if isinstance(socket, aiohttp.ClientResponse):
        link = socket.connection.transport if socket.connection else None
    else:
        link = socket
    transport = link.get_extra_info("socket") if link is not None else None
    if transport is None:
        return False
    transport.shutdown(2)
    return True


def sound(words: Sequence[str], pause_s: float = 0.5) -> tuple[bytes, list[tuple[str, float]]]:
    """Utterances of two words. Returns: 16 kHz mono s16le; each word and when it begins, seconds."""
    pcm, said = speak(words, lead_s=0.3, tail_s=0.6, pauses=[0.0, pause_s] * (len(words) // 2))
    return pcm, [(word, start) for word, start, _ in said]


@dataclass(slots=True)
class Sender:
    """A page with a microphone: what is not acknowledged is kept and sent again, wherever it comes to next."""

    slug: str
    voice: Voice
    pcm: bytes
    route: Route
    places: Sequence[Place]
    http: aiohttp.ClientSession
    began: float = 0.0
    stream: str = field(default_factory=lambda: f"{random.getrandbits(64):x}")
    tries: int = 0
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """From when to when it sent nothing although it spoke, `time.monotonic()`: held up, or without a connection. After
    8 s of that the gateway lets the provider hear silence, which may cut a word."""
    holes: list[tuple[float, float]] = field(default_factory=list)
    """The same, also of shorter ones."""
    _acked: int = 0
    _origin: int = 0
    _sent_at: float = 0.0
    _socket: aiohttp.ClientWebSocketResponse | None = None

    async def run(self) -> None:
        """Until everything is sent and taken. `began`: when the first sample is spoken, `time.monotonic()`."""
        self.began = time.monotonic()
        while True:
            self.tries += 1
            try:
                if await self._connection(self.places[self.route()]):
                    return
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(random.uniform(0.1, 0.4))

    def reset(self) -> bool:
        """The line breaks. Returns: whether there was one."""
        return _break(self._socket)

    async def _connection(self, place: Place) -> bool:
        """Returns: whether all has been taken."""
        url = f"http://127.0.0.1:{place.http}/api/realtime/audio"
        async with asyncio.timeout(CONNECT_S):
            socket = await self.http.ws_connect(
                url,
                params={"session": self.slug, "identity": self.voice.identity},
                protocols=("audio.v1", f"bearer.{TOKEN}"),
            )
        self._socket = socket
        try:
            age_s = time.monotonic() - self.began - self._acked / RATE
            start = {"type": "start", "sampleRate": RATE, "channels": 1, "stream": self.stream, "gaps": True}
            await socket.send_str(json.dumps(start | {"ageMs": round(max(age_s, 0.0) * 1000)}))
            ready = await self._ready(socket)
            if ready is None:
                return False
            if ready:
                self._acked = max(self._acked, self._origin + ready)
                unsent = self._origin + ready
            else:
                unsent = self._origin = self._acked
            return await self._talk(socket, unsent)
        finally:
            self._socket = None
            await socket.close()

    async def _ready(self, socket: aiohttp.ClientWebSocketResponse) -> int | None:
        message = await socket.receive(CONNECT_S)
        return json.loads(message.data).get("samples", 0) if message.type is aiohttp.WSMsgType.TEXT else None

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse, unsent: int) -> bool:
        speaking = asyncio.create_task(self._speak(socket, unsent))
        try:
            while True:
                message = await socket.receive(QUIET_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return socket.close_code == 1000 and speaking.done() and not speaking.cancelled()
                said = json.loads(message.data)
                if said["type"] == "ack":
                    self._acked = max(self._acked, self._origin + said["samples"])
        finally:
            speaking.cancel()
            with suppress(asyncio.CancelledError, OSError, aiohttp.ClientError):
                await speaking

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse, unsent: int) -> None:
        total = len(self.pcm) // 2
        while unsent < total:
            until = min(unsent + BLOCK, total)
            await asyncio.sleep(max(self.began + until / RATE - time.monotonic(), 0.0))
            now = time.monotonic()
            if self._sent_at and now - self._sent_at > HOLE_S:
                self.holes.append((self._sent_at, now))
                if now - self._sent_at > PAUSE_S:
                    self.pauses.append((self._sent_at, now))
            self._sent_at = now
            await socket.send_bytes(self.pcm[2 * unsent : 2 * until])
            unsent = until
        await socket.send_str('{"type":"stop"}')


@dataclass(slots=True)
class Encoder:
    """ffmpeg, live: what nobody takes is gone. Begins at the replica that `start` named, `first`."""

    first: int
    key: str
    voice: Voice
    pcm: bytes
    route: Route
    places: Sequence[Place]
    folder: Path
    clock: Callable[[], float]
    began: float = 0.0
    tries: int = 0
    where: int = 0
    """The replica that it is connected to, or tries."""
    _process: Process | None = None

    async def run(self) -> None:
        """Until the end of the speech."""
        file = write_wav(self.folder / f"{self.key}.wav", self.pcm)
        length_s = len(self.pcm) / 2 / RATE
        self.began = time.monotonic()
        left: float | None = None
        while (at_s := time.monotonic() - self.began) < length_s - 0.2:
            self.tries += 1
            self.where = self.route() if self.tries > 1 else self.first
            place = self.places[self.where]
            began = self.clock()
            url = f"rtmp://127.0.0.1:{place.rtmp}/live/{self.key}"
            args = ("ffmpeg", "-loglevel", "error", "-re", "-ss", f"{at_s:.3f}", "-i", str(file))
            self._process = await Process.start(*args, "-c:a", "aac", "-ar", "44100", "-f", "flv", url)
            try:
                code = await self._process.wait(length_s + 60)
            finally:
                if self._process.process.returncode is None:
                    self._process.process.kill()
            # ffmpeg names the URL when it could not begin: refused at once, or held for seconds and refused then.
            if not any(line.startswith(f"{url}:") for line in self._process.lines):
                if left is not None:
                    self.voice.lapses.append((left, began))
                left = self.clock()
            elif left is None:
                left = began
            if code == 0:
                return
            await asyncio.sleep(random.uniform(0.1, 0.4))
        if left is not None:
            self.voice.lapses.append((left, self.clock()))

    def reset(self) -> bool:
        """False: an encoder that is cut off loses audio, which is another fault."""
        return False

    def cut(self, since: float) -> None:
        """The load balancer has found its replica dead: what was sent `since` then has come nowhere."""
        self.voice.lapses.append((since, self.clock()))
        if self._process is not None and self._process.process.returncode is None:
            self._process.process.kill()


@dataclass(slots=True)
class Attendee:
    """Somebody in a LiveKit room; whichever replica owns the session listens there."""

    slug: str
    voice: Voice
    pcm: bytes
    livekit: LivekitServer
    began: float = 0.0

    async def run(self) -> None:
        """Until everything is said."""
        async with self.livekit.join(self.slug, self.voice.identity) as person:
            await person.publish()
            await asyncio.sleep(3)  # the gateway joins and subscribes
            self.began = time.monotonic()
            await person.play(self.pcm)
            await asyncio.sleep(1)

    def reset(self) -> bool:
        """False: its line is the SDK's own matter."""
        return False


@dataclass(slots=True)
class Watcher:
    """A page: comes back with the number of its last final."""

    slug: str
    reader: Reader
    places: Sequence[Place]
    route: Route
    http: aiohttp.ClientSession
    clock: Callable[[], float]
    connections: int = 0
    _socket: aiohttp.ClientWebSocketResponse | aiohttp.ClientResponse | None = None

    async def run(self) -> None:
        """Until cancelled. First to its own replica, afterwards anywhere."""
        where = self.reader.replica
        while True:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await self._connection(self.places[where])
            where = self.route()
            await asyncio.sleep(random.uniform(0.05, 0.3))

    def reset(self) -> bool:
        """The line breaks. Returns: whether there was one."""
        return _break(self._socket)

    async def _connection(self, place: Place) -> None:
        query: dict[str, str] = {"session": self.slug, "beat": "1", "epochs": "1"}
        if self.reader.point:
            query["since"] = self.reader.point
        async with asyncio.timeout(CONNECT_S):
            socket = await self.http.ws_connect(
                f"http://127.0.0.1:{place.http}/api/realtime/transcribe",
                params=query,
                protocols=("transcript.v1", f"bearer.{TOKEN}"),
            )
        self._socket = socket
        self.connections += 1
        try:
            while True:
                message = await socket.receive(QUIET_READER_S + 8)  # the beat comes each 15 s
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                heard: dict[str, Any] = json.loads(message.data)
                self.reader.hear(heard, self.clock())
        finally:
            self._socket = None
            await socket.close()


class EventWatcher(Watcher):
    """The same over server-sent events."""

    async def _connection(self, place: Place) -> None:
        query: dict[str, str] = {"session": self.slug, "epochs": "1"}
        if self.reader.point:
            query["since"] = self.reader.point
        quiet = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=QUIET_READER_S + 8)  # a comment each 15 s
        async with self.http.get(
            f"http://127.0.0.1:{place.http}/api/realtime/transcribe",
            params=query,
            headers={"Accept": "text/event-stream", "Authorization": f"Bearer {TOKEN}"},
            timeout=quiet,
        ) as answer:
            if answer.status != 200:
                return
            self._socket = answer
            self.connections += 1
            try:
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        self.reader.hear(json.loads(line.removeprefix(b"data: ")), self.clock())
            finally:
                self._socket = None
