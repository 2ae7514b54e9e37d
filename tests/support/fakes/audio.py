"""Audio sources whose tracks a test lets appear, speak and end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.clock import Clock
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.errors import SourceUnavailable
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import Claimed, Ingest


@dataclass(frozen=True, slots=True)
class Chunk:
    offset: int
    pcm: bytes

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def end(self) -> int:
        return self.offset + self.samples


class FakeTrack:
    """A speaker whose audio a test hands over with `speak`, as many seconds as it likes at once."""

    def __init__(self, clock: Clock, speaker: Speaker) -> None:
        self.speaker = speaker
        self.anchor: datetime | None = None
        self.complaint: str | None = None
        self.is_released = False
        self.captions: list[tuple[str, str, bool]] = []
        self._clock = clock
        self._coming: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self._samples = 0

    bearer: MintedFor | None = None
    left_out = 0
    is_continued = is_opted_out = False
    ends_at: datetime | None = None

    def speak(self, seconds: float) -> None:
        self.anchor = self.anchor or self._clock.now()
        pcm = bytes(2 * round(seconds * 16_000))
        self._coming.put_nowait(Chunk(self._samples, pcm))
        self._samples += len(pcm) // 2

    def hang_up(self) -> None:
        self._coming.put_nowait(None)

    def fail(self, error: Exception) -> None:
        """SourceTrouble is foreseen; anything else is a bug of the source."""
        self._coming.put_nowait(error)

    async def chunks(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._coming.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def release(self) -> None:
        self.is_released = True

    def trouble(self) -> str | None:
        return self.complaint

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        self.captions.append((utterance_id, text, is_final))

    def facts(self) -> Mapping[str, object]:
        return {"gaps": 0}


class FakeSource:
    """Tracks appear with `appear` and end with `close`."""

    def __init__(self, clock: Clock, claimed: Claimed | None, speaker: Speaker) -> None:
        key = claimed.stream_key if claimed else None
        self.ingest = Ingest(rtmp_url=f"rtmp://test/live/{key}", stream_key=key)
        self.closed: str | None = None
        self.left = self.is_cut_off = False
        self.heir: str | None = None
        self.complaint: str | None = None
        self.speaker = speaker
        self.skipped: list[Heard] = []
        self.streams: list[Stream] = []
        """What it says when it is left, or was told when it was opened."""
        self._clock = clock
        self._coming: asyncio.Queue[FakeTrack | None] = asyncio.Queue()
        self.appeared: list[FakeTrack] = []

    def appear(
        self, identity: str | None = None, name: str | None = None, bearer: MintedFor | None = None
    ) -> FakeTrack:
        track = FakeTrack(self._clock, Speaker(identity, name) if identity else self.speaker)
        track.bearer = bearer
        self.appeared.append(track)
        self._coming.put_nowait(track)
        return track

    async def tracks(self) -> AsyncIterator[FakeTrack]:
        while (track := await self._coming.get()) is not None:
            yield track

    def trouble(self) -> str | None:
        return self.complaint

    def skip(self, heard: Sequence[Heard]) -> None:
        self.skipped = list(heard)

    async def leave(self, reason: str, heir: str | None = None) -> list[Stream]:
        self.left, self.heir = True, heir
        await self.close(reason)
        return self.streams

    async def close(self, reason: str) -> None:
        if self.closed is None:
            self.closed = reason
            for track in self.appeared:
                track.hang_up()
            self._coming.put_nowait(None)


class FakeSources:
    """All kinds but `unknown`; the sources opened so far by session."""

    def __init__(self, clock: Clock) -> None:
        self.opened: dict[str, FakeSource] = {}
        self.off: set[str] = set()
        """Kinds that this gateway does not take."""
        self.first: list[tuple[str, str, int]] = []
        """For which it was listened before a hand-over."""
        self._clock = clock
        self._keys = itertools.count(1)

    def require(self, kind: str) -> None:
        if kind not in ("rtmp", "websocket", "livekit") or kind in self.off:
            raise SourceUnavailable(kind, "use source rtmp")

    def new_key(self, kind: str) -> str | None:
        return f"key-{next(self._keys)}"

    def ingest(self, kind: str, slug: str, key: str | None) -> Ingest:
        return Ingest(stream_key=key)

    async def listen_first(self, kind: str, slug: str, fence: int) -> FakeSource | None:
        self.first.append((kind, slug, fence))
        if kind != "livekit":
            return None
        source = self.opened[slug] = FakeSource(self._clock, None, Speaker(kind, None))
        return source

    def open(self, claimed: Claimed, speaker: Speaker, streams: Sequence[Stream] = ()) -> FakeSource:
        source = self.opened[claimed.slug] = FakeSource(self._clock, claimed, speaker)
        source.streams = list(streams)
        return source
