"""Audio that a former owner could not get heard, as tracks of the replica that goes on.

Where a speaker was interrupted in their words, the beginning of what they say here is heard behind it once more: else
the first half of a word would be in one telling, its second half in the other, and the word in none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import SEAM_S, Unheard
from gateway.transcription.usecases.audio import AudioChunk, AudioTrack
from gateway.transcription.usecases.track import SAMPLE_RATE

SILENT_S: Final = 10.0
"""After so long without the next piece the former owner has no more of it."""
SEAM_WAIT_S: Final = 3.0
"""So long the speaker is waited for here, and their next audio."""
_SEAM_SAMPLES: Final = round(SEAM_S * SAMPLE_RATE)


class Seam:
    """What a speaker says here first, for the end of their unheard track; bounded by its length."""

    def __init__(self, missed: Callable[[], object]) -> None:
        """`missed`: called when nothing of it came in time."""
        self._missed = missed
        self._began_at: int | None = None
        self._coming: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    def take(self, chunk: AudioChunk) -> bool:
        """The next one of the speaker's track here. False: no more of them are needed."""
        if self._began_at is None:
            self._began_at = chunk.offset
        at = chunk.offset - self._began_at
        self._coming.put_nowait((at, chunk.pcm))
        return at + chunk.samples < _SEAM_SAMPLES

    async def pieces(self) -> AsyncIterator[tuple[int, bytes]]:
        """Each with its place behind the last sample of the former owner."""
        heard = 0
        while heard < _SEAM_SAMPLES:
            try:
                async with asyncio.timeout(SEAM_WAIT_S):
                    at, pcm = await self._coming.get()
            except TimeoutError:
                break
            yield at, pcm
            heard = at + len(pcm) // 2
        if not heard:
            self._missed()


class UnheardTrack:
    """An `AudioTrack` of pieces that come from another replica. It may be told each of them again."""

    bearer = None
    is_continued = is_opted_out = False
    ends_at = None
    left_out = 0

    def __init__(self, speaker: Speaker, anchor: datetime, seam: Seam | None = None) -> None:
        self.speaker = speaker
        self.anchor = anchor
        self._seam = seam
        self._end = -1
        self._pieces: asyncio.Queue[Unheard] = asyncio.Queue()  # as much as the former owner has held, a minute

    def take(self, piece: Unheard) -> None:
        """The next one, or one that is known."""
        if piece.offset >= self._end:
            self._end = piece.end
            self._pieces.put_nowait(piece)

    async def chunks(self) -> AsyncIterator[Unheard]:
        """Until the last piece and the seam behind it, or the former owner has gone."""
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    piece = await self._pieces.get()
            except TimeoutError:
                return
            yield piece
            if piece.is_last:
                break
        if self._seam is not None:
            async for at, pcm in self._seam.pieces():
                yield Unheard(self.speaker.identity, self.speaker.name, self.anchor, self._end + at, pcm)

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
        self._seams: dict[str, Seam] = {}

    def expect(self, identities: Collection[str], missed: Callable[[str], object]) -> None:
        """These were interrupted in their words. `missed`: called with those who did not speak on in time."""
        self._seams = {identity: Seam(partial(missed, identity)) for identity in identities}

    def seam(self, track: AudioTrack) -> Seam | None:
        """What takes the beginning of this track, if its speaker was interrupted. Once for each."""
        return self._seams.get(track.speaker.identity) if track.is_continued else None

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
                speaker = Speaker(piece.identity, piece.name)
                track = self._tracks[key] = UnheardTrack(speaker, piece.anchor, self._seams.get(piece.identity))
                if self._appeared is not None:
                    self._appeared(track)
            track.take(piece)
