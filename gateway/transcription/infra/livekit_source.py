"""A LiveKit room as an `AudioSource`: every published microphone is a track."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from gateway import names
from gateway.transcription.domain import passes
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.overlap import OVERLAP_MS
from gateway.transcription.domain.transcription import ROOM_EMPTY, ROOM_OVER, Ingest
from gateway.transcription.usecases.audio import AudioChunk
from ingest.livekit_room import LivekitRoom, RoomEnd
from ingest.livekit_track import LivekitTrack
from ingest.pcm import SAMPLE_RATE

_OVERLAP: Final = timedelta(milliseconds=OVERLAP_MS)
OPT_OUT: Final = ("transcription", "off")
"""A participant attribute and its value: nothing of what they say is heard."""
_SKEW: Final = timedelta(milliseconds=150)
"""By so much the clocks of two machines may differ; in a pause nothing is heard twice by it."""


class LivekitSource:
    """Tracks come from the room's own task, which ends after `close`."""

    ingest = Ingest()

    def __init__(self, room: LivekitRoom) -> None:
        self._room = room
        self._from: dict[str, datetime] = {}

    async def joined(self, within_s: float) -> None:
        """Until the room is heard, or the time is over."""
        await self._room.joined(within_s)

    def skip(self, heard: Sequence[Heard]) -> None:
        self._from = {one.identity: one.until - (_OVERLAP if one.is_cut else _SKEW) for one in heard}

    async def tracks(self) -> AsyncIterator[_RoomTrack]:
        while (track := await self._room.next_track()) is not None:
            found = _RoomTrack(track)
            found.begins_at = self._from.pop(found.speaker.identity, None)
            yield found

    def trouble(self) -> str | None:
        match self._room.ended:
            case RoomEnd.EMPTY:
                return ROOM_EMPTY
            case RoomEnd.OVER:
                return ROOM_OVER
            case _:
                return self._room.trouble()

    @property
    def is_cut_off(self) -> bool:
        return self._room.is_cut_off

    async def leave(self, reason: str, heir: str | None = None) -> Sequence[Stream]:
        self._room.close()
        return ()

    async def close(self, reason: str) -> None:
        self._room.close()


class _RoomTrack:
    def __init__(self, track: LivekitTrack) -> None:
        self.speaker = Speaker(names.cleaned(track.identity), names.cleaned(track.name or "") or None)
        self.begins_at: datetime | None = None
        """What was spoken before has been heard by another replica."""
        self.bearer = passes.bearer(track.attributes, exact=self.speaker.identity == track.identity)
        self._track = track

    is_continued = False  # both owners listen, each by itself

    @property
    def is_opted_out(self) -> bool:
        name, value = OPT_OUT
        return self._track.attributes.get(name) == value

    @property
    def anchor(self) -> datetime | None:
        return self._track.anchor

    @property
    def ends_at(self) -> datetime | None:
        return self._track.ends_at

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        async for chunk in self._track.chunks():
            anchor, begins_at = self._track.anchor, self.begins_at
            if begins_at is None or anchor is None or anchor + timedelta(seconds=chunk.end / SAMPLE_RATE) > begins_at:
                yield chunk

    def release(self) -> None:
        """The room knows by itself when a microphone goes."""

    @property
    def left_out(self) -> int:
        return self._track.stats.silent_samples

    def trouble(self) -> str | None:
        return None  # what cannot be heard has no track; the room says why

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        # An empty text would change nothing on the screens.
        self._track.caption(utterance_id, text or " ", is_final=is_final or not text)

    def facts(self) -> Mapping[str, object]:
        return {"trackSid": self._track.sid, **asdict(self._track.stats)}
