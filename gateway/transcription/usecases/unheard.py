"""Audio that a former owner could not get heard, as tracks of the replica that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Unheard

SILENT_S: Final = 10.0
"""After so long without the next piece the former owner has no more of it."""


class UnheardTrack:
    """An `AudioTrack` of pieces that come from another replica. It may be told each of them again."""

    bearer = None
    is_opted_out = False
    ends_at = None
    left_out = 0

    def __init__(self, speaker: Speaker, anchor: datetime) -> None:
        self.speaker = speaker
        self.anchor = anchor
        self._end = -1
        self._pieces: asyncio.Queue[Unheard] = asyncio.Queue()  # as much as the former owner has held, a minute

    def take(self, piece: Unheard) -> None:
        """The next one, or one that is known."""
        if piece.offset >= self._end:
            self._end = piece.end
            self._pieces.put_nowait(piece)

    async def chunks(self) -> AsyncIterator[Unheard]:
        """Until the last piece, or the former owner has gone."""
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    piece = await self._pieces.get()
            except TimeoutError:
                return
            yield piece
            if piece.is_last:
                return

    def release(self) -> None:
        """Nothing is open."""

    def trouble(self) -> str | None:
        return None

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        """The moment has passed in which it would be shown there."""

    def facts(self) -> Mapping[str, object]:
        return {"unheard": True}


class UnheardTracks:
    """Those of one run. `appeared` is called with each, once, from `begin` on."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, datetime], UnheardTrack] = {}
        self._appeared: Callable[[UnheardTrack], object] | None = None

    def begin(self, appeared: Callable[[UnheardTrack], object]) -> None:
        """Those that have come are told at once."""
        self._appeared = appeared
        for track in self._tracks.values():
            appeared(track)

    def end(self) -> None:
        """No more of them can be heard."""
        self._appeared = None

    def take(self, pieces: Iterable[Unheard]) -> None:
        """Of tracks that are known, or new ones."""
        for piece in pieces:
            key = piece.identity, piece.anchor
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = UnheardTrack(Speaker(piece.identity, piece.name), piece.anchor)
                if self._appeared is not None:
                    self._appeared(track)
            track.take(piece)
