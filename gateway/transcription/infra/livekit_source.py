"""A LiveKit room as an `AudioSource`: every published microphone is a track."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from gateway import names
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Stream
from gateway.transcription.domain.transcription import ROOM_EMPTY, ROOM_OVER, Ingest
from gateway.transcription.usecases.audio import AudioChunk
from ingest.livekit_room import LivekitRoom, RoomEnd
from ingest.livekit_track import LivekitTrack


class LivekitSource:
    """Tracks come from the room's own task, which ends after `close`."""

    ingest = Ingest()

    def __init__(self, room: LivekitRoom) -> None:
        self._room = room

    async def tracks(self) -> AsyncIterator[_RoomTrack]:
        while (track := await self._room.next_track()) is not None:
            yield _RoomTrack(track)

    def trouble(self) -> str | None:
        match self._room.ended:
            case RoomEnd.EMPTY:
                return ROOM_EMPTY
            case RoomEnd.OVER:
                return ROOM_OVER
            case _:
                return self._room.trouble()

    async def leave(self, reason: str) -> Sequence[Stream]:
        self._room.close()
        return ()

    async def close(self, reason: str) -> None:
        self._room.close()


class _RoomTrack:
    def __init__(self, track: LivekitTrack) -> None:
        self.speaker = Speaker(names.cleaned(track.identity), names.cleaned(track.name or "") or None)
        self._track = track

    @property
    def anchor(self) -> datetime | None:
        return self._track.anchor

    def chunks(self) -> AsyncIterator[AudioChunk]:
        return self._track.chunks()

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
