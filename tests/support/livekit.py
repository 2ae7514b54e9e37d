"""A real livekit-server on free loopback ports, and people who speak in its rooms."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
from livekit import api, rtc
from support.builds import CannotBuild, go_program
from support.ports import free_port
from support.tools import missing

from gateway.cli.livekit_local import NoLivekit, config, own_address
from stt.local.scripted import speak

KEY = "devkey"
SECRET = "a-secret-of-the-tests-0123456789abcdef"
SDK_RATE = 48_000


def find_or_build() -> Path:
    """`livekit-server` of the path; else the pinned one of `tools/`. Raises: CannotBuild."""
    found = shutil.which("livekit-server")
    return Path(found) if found else go_program("livekit-server")


def find_or_build_speakers() -> Path:
    """The crowd of `tools/livekit-speakers`. Raises: CannotBuild."""
    return go_program("livekit-speakers")


def needed_server() -> Path:
    """For fixtures: skips loudly where the server cannot be had; in CI that is a failure."""
    try:
        own_address()
        return find_or_build()
    except (NoLivekit, CannotBuild) as error:
        missing(str(error))


@dataclass
class LivekitServer:
    """One server; `stop` and `start` again keep its ports."""

    program: Path
    log: Path
    webhook_url: str | None = None
    port: int = field(default_factory=free_port)
    udp_port: int = field(default_factory=free_port)
    departure_timeout_s: int = 20
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        body = config(self.port, self.udp_port, KEY, SECRET)
        body["room"] = {"empty_timeout": 30, "departure_timeout": self.departure_timeout_s}
        if self.webhook_url:
            body["webhook"] = {"api_key": KEY, "urls": [self.webhook_url]}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # JSON is YAML
                [str(self.program), "--config-body", json.dumps(body)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(OSError), urllib.request.urlopen(self.http_url, timeout=1) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"livekit-server does not answer:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """At once, as in a crash: a polite end waits for everybody to leave."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @asynccontextmanager
    async def api(self) -> AsyncIterator[api.LiveKitAPI]:
        async with api.LiveKitAPI(self.http_url, KEY, SECRET) as service:
            yield service

    def token(self, identity: str, name: str | None, room: str) -> str:
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grants).with_ttl(timedelta(hours=1))
        return (token.with_name(name) if name else token).to_jwt()

    @asynccontextmanager
    async def join(
        self, room: str, identity: str, name: str | None = None, *, encrypted: bool = False
    ) -> AsyncIterator[Person]:
        """Somebody in the room until the end of the block."""
        person = Person(rtc.Room(), identity)
        options = rtc.RoomOptions(auto_subscribe=False)
        if encrypted:
            options.encryption = rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=b"secret"))
        await person.room.connect(self.url, self.token(identity, name, room), options)
        try:
            yield person
        finally:
            await person.leave()


@dataclass
class Person:
    """A publisher, as a browser would be one."""

    room: rtc.Room
    identity: str
    source: rtc.AudioSource | None = None
    track: rtc.LocalAudioTrack | None = None
    publication: rtc.LocalTrackPublication | None = None

    async def publish(self, source: rtc.TrackSource.ValueType = rtc.TrackSource.SOURCE_MICROPHONE) -> None:
        # A browser speaks from a thread that never waits for Python. A tenth of that queue was empty on busy cores.
        self.source = rtc.AudioSource(SDK_RATE, 1, queue_size_ms=1000)
        self.track = rtc.LocalAudioTrack.create_audio_track("mic", self.source)
        options = rtc.TrackPublishOptions(source=source)
        self.publication = await self.room.local_participant.publish_track(self.track, options)

    async def unpublish(self) -> None:
        assert self.publication is not None and self.source is not None
        await self.room.local_participant.unpublish_track(self.publication.sid)
        await self.source.aclose()
        self.source = self.publication = self.track = None

    async def say(self, words: str, *, lead_s: float = 0.3, tail_s: float = 0.6) -> None:
        """In real time; returns when the last sample has left."""
        pcm, _ = speak(words, lead_s=lead_s, tail_s=tail_s)
        await self.play(pcm)

    async def play(self, pcm16k: bytes) -> None:
        assert self.source is not None
        for frame in frames(pcm16k):
            await self.source.capture_frame(frame)
        await self.source.wait_for_playout()

    def mute(self) -> None:
        assert self.track is not None
        self.track.mute()

    def unmute(self) -> None:
        assert self.track is not None
        self.track.unmute()

    async def leave(self) -> None:
        """In a bounded time: the SDK waits for ever for the answer of a server that is gone."""
        with suppress(Exception):
            async with asyncio.timeout(2):
                if self.publication is not None and self.room.isconnected():
                    await self.room.local_participant.unpublish_track(self.publication.sid)
        if self.source is not None:
            await self.source.aclose()
            self.source = None
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await self.room.disconnect()


def frames(pcm16k: bytes, frame_ms: int = 20) -> Iterator[rtc.AudioFrame]:
    """As a publisher captures it, at 48 kHz."""
    import soxr

    samples = np.frombuffer(pcm16k, "<i2")
    high = soxr.resample(samples, 16_000, SDK_RATE, quality="HQ").astype("<i2")
    size = SDK_RATE * frame_ms // 1000
    for at in range(0, len(high), size):
        part = high[at : at + size]
        part = np.pad(part, (0, size - len(part)))
        yield rtc.AudioFrame(part.tobytes(), SDK_RATE, 1, size)


@contextmanager
def no_proxy() -> Iterator[None]:
    """The SDK's signalling honours proxies, loopback included."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    held = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)
