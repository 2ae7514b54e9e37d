"""The demo's LiveKit leg: a room in which two people speak at once, each heard as themselves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from gateway.cli.client import Client
from gateway.cli.livekit_local import LocalLivekit
from gateway.transcription.infra import livekit_tokens
from gateway.transcription.infra.livekit_tokens import Keys

_THERE_S: Final = 20.0
_LATENESS_S: Final = 20.0  # of a process that has its own sound to play


class RoomFailed(Exception):
    """The leg could not be run; the text says where it stopped."""


@dataclass(frozen=True, slots=True)
class Part:
    """Who says which seconds of the sample."""

    identity: str
    name: str
    from_s: float
    to_s: float


CAST: Final = (Part("anna", "Anna", 0.8, 3.8), Part("bob", "Bob", 4.7, 7.5))


@dataclass(frozen=True, slots=True)
class _Speaker:
    process: asyncio.subprocess.Process
    tell: asyncio.StreamWriter
    said: asyncio.StreamReader


@dataclass(frozen=True, slots=True)
class People:
    """All of CAST, in the room."""

    speakers: list[_Speaker]

    async def speak(self) -> None:
        """All at once; returns when the last has left the room. Raises: RoomFailed."""
        for one in self.speakers:
            one.tell.write(b"speak\n")
        longest_s = max(part.to_s - part.from_s for part in CAST)
        try:
            async with asyncio.timeout(longest_s + _LATENESS_S):
                for one in self.speakers:
                    await one.process.wait()
        except TimeoutError:
            raise RoomFailed("a speaker did not come to an end") from None


@asynccontextmanager
async def people(livekit: LocalLivekit, sample: Path, slug: str) -> AsyncIterator[People]:
    """All of CAST in the room with an open microphone, silent, until the block ends. Raises: RoomFailed."""
    async with AsyncExitStack() as processes:
        speakers = [await processes.enter_async_context(_speaker(livekit, sample, slug, part)) for part in CAST]
        try:
            async with asyncio.timeout(_THERE_S):
                for one in speakers:
                    if await one.said.readline() != b"there\n":
                        raise RoomFailed("a speaker could not join the room")
        except TimeoutError:
            raise RoomFailed("a speaker did not get into the room; its media ports may be closed") from None
        yield People(speakers)


@asynccontextmanager
async def _speaker(livekit: LocalLivekit, sample: Path, slug: str, part: Part) -> AsyncIterator[_Speaker]:
    keys = Keys(livekit.key, livekit.secret)
    token = livekit_tokens.participant(keys, slug, part.identity, part.name, timedelta(minutes=5))
    command = ("-m", "gateway.cli.speak", str(sample), str(part.from_s), str(part.to_s), livekit.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RoomFailed("a speaker has no pipes")
        process.stdin.write(token.encode() + b"\n")
        yield _Speaker(process, process.stdin, process.stdout)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_heard(client: Client, slug: str) -> None:
    """Until the gateway hears every microphone. Raises: RoomFailed."""
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(_THERE_S):
            while len(seen.get("tracks", ())) < len(CAST):
                await asyncio.sleep(0.1)
                seen = await client.call("GET", f"/api/transcription/{slug}")
    except TimeoutError:
        why = "; ".join(seen.get("health", {}).get("reasons", ())) or "nobody is heard"
        raise RoomFailed(f"the gateway hears {len(seen.get('tracks', ()))} of {len(CAST)} people: {why}") from None
