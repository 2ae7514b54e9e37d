"""A room heard directly, without a gateway: what each track said, as the scripted recogniser hears it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit import api
from livekit.rtc._ffi_client import FfiClient
from support.livekit import KEY, SECRET, LivekitServer

from ingest.errors import RoomTrouble
from ingest.livekit_room import LivekitRoom, RoomOptions
from ingest.livekit_track import LivekitTrack
from stt.local.recogniser import Event, Heard, Listening
from stt.local.scripted import ScriptedRecogniser


@dataclass
class HeardTrack:
    track: LivekitTrack
    words: list[str] = field(default_factory=list)
    chunks: list[tuple[int, int]] = field(default_factory=list)  # offset, samples
    over: bool = False

    @property
    def seconds(self) -> float:
        return sum(samples for _, samples in self.chunks) / 16_000


@dataclass
class Listener:
    """`tracks` in order of appearance."""

    room: LivekitRoom
    tracks: list[HeardTrack] = field(default_factory=list)

    def of(self, identity: str) -> list[HeardTrack]:
        return [one for one in self.tracks if one.track.identity == identity]

    def words(self, identity: str) -> list[str]:
        return [word for one in self.of(identity) for word in one.words]

    async def until(self, holds: Callable[[Listener], bool], within_s: float = 60) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not holds(self):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            seen = [(one.track.identity, one.words, one.over) for one in self.tracks]
            raise AssertionError(f"it never held; tracks {seen}, trouble {self.room.trouble()}") from None

    async def follow(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while (track := await self.room.next_track()) is not None:
                heard = HeardTrack(track)
                self.tracks.append(heard)
                tasks.create_task(self._hear(heard))

    async def _hear(self, heard: HeardTrack) -> None:
        def hear(event: Event) -> None:
            if isinstance(event, Heard) and event.is_final:
                heard.words += [word.text for word in event.words]

        recogniser = ScriptedRecogniser(Listening(endpointing_s=0.3), hear)
        position = 0
        async for chunk in heard.track.chunks():
            assert chunk.offset >= position
            heard.chunks.append((chunk.offset, chunk.samples))
            recogniser.feed(bytes(2 * (chunk.offset - position)) + chunk.pcm)
            position = chunk.end
        recogniser.finish()
        recogniser.close()
        heard.over = True


def ask(server_url: str, room: str, *, key: str = KEY, secret: str = SECRET) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def exists() -> bool:
        try:
            async with api.LiveKitAPI(server_url, key, secret, failover=False) as service:
                return bool((await service.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms)
        except Exception as error:
            raise RoomTrouble(f"not reachable: {error}") from error

    return exists


@asynccontextmanager
async def listening(
    server: LivekitServer, name: str, options: RoomOptions | None = None, *, check_left: bool = True
) -> AsyncIterator[Listener]:
    """Closes the room at the end, and checks that nothing of it is left."""
    subscribers = len(FfiClient.instance.queue._subscribers)

    def token(identity: str) -> str:
        grants = api.VideoGrants(room_join=True, room=name, hidden=True, can_publish=False, can_publish_data=True)
        made = api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grants).with_kind("agent")
        return made.with_ttl(timedelta(minutes=5)).to_jwt()

    async with asyncio.TaskGroup() as tasks:
        room = LivekitRoom(
            name,
            options or RoomOptions(server.url, look_s=0.1),
            token=token,
            exists=ask(server.http_url, name),
            spawn=tasks.create_task,
            monotonic=time.monotonic,
            wall=lambda: datetime.now(UTC),
        )
        listener = Listener(room)
        running = tasks.create_task(room.run())
        following = tasks.create_task(listener.follow())
        try:
            yield listener
        finally:
            room.close()
            async with asyncio.timeout(60):
                await asyncio.wait({running, following})
    assert all(one.over for one in listener.tracks)
    if check_left:
        assert len(FfiClient.instance.queue._subscribers) <= subscribers, "the SDK still delivers to somebody"
