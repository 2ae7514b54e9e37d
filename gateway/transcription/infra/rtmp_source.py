"""Publishes by RTMP as an `AudioSource`: each is a track.

FFmpeg, 16 MB of memory, is loaded with the first source: in a thread, and as a rule before its encoder comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Final

from gateway.clock import Clock
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.recent_trouble import RecentTrouble
from gateway.transcription.domain.transcription import Ingest
from gateway.transcription.usecases.audio import AudioChunk, SourceTrouble
from ingest.errors import IngestError
from ingest.rtmp.publisher import TAKEN_OVER, Publisher

if TYPE_CHECKING:
    from ingest.rtmp_track import RtmpTrack

NO_AUDIO_AFTER_S: Final = 5.0
UNDECODABLE_PACKETS: Final = 50  # in a row from the first on: about a second
DISPLACED: Final = "another encoder has taken the stream key over from one that was still sending; stop one of them"


class RtmpSource:
    """The publishes on one stream key, one after the other: each is a track of the same speaker."""

    is_cut_off = False

    def __init__(
        self,
        slug: str,
        ingest: Ingest,
        speaker: Speaker,
        executor: Executor,
        clock: Clock,
        may_acknowledge: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_acknowledge`: as in `RtmpTrack`."""
        self.slug = slug
        self.ingest = ingest
        self.on_close: Callable[[], object] = lambda: None
        self._speaker = speaker
        self._executor = executor
        self._clock = clock
        self._may_acknowledge = may_acknowledge
        self._coming: asyncio.Queue[_Published | None] = asyncio.Queue()  # the server admits one publisher a key
        self._live: _Published | None = None
        self._closed = False
        self.has_left = False
        """It was not closed: encoders are still connected, and what they send is for whoever goes on."""
        self.heir: str | None = None
        """The replica that goes on, where that is known."""
        self._displaced = 0
        self._recent = RecentTrouble()
        self._loaded = executor.submit(import_module, "ingest.rtmp_track")

    @property
    def was_published(self) -> bool:
        """Since the source was opened."""
        return self._live is not None

    @property
    def is_published(self) -> bool:
        """An encoder is heard now."""
        return self._live is not None and not self._live.heard.is_set()

    def note(self, sentence: str) -> None:
        """An encoder was turned away, or does what is no use: health says so for some minutes."""
        self._recent.note(sentence, self._clock.monotonic())

    async def publish(self, publisher: Publisher) -> None:
        """One publish, from its start until its audio has been heard, or the source has left it. Another one under way
        is ended before."""
        if not self._loaded.done():
            await asyncio.shield(asyncio.wrap_future(self._loaded))  # the publisher keeps what comes meanwhile
        from ingest.rtmp_track import RtmpTrack

        before = self._live
        if before is not None and not before.heard.is_set():
            if publisher.yields_to(before.publisher):
                publisher.close(TAKEN_OVER)
                return
            before.publisher.displace()  # under another spelling of the same URL
            await before.heard.wait()
        if self._closed:
            return
        if before is not None and before.publisher.was_displaced:
            self._displaced += 1
            if self._displaced > 1 or before.host != publisher.peer.rpartition(":")[0]:  # else its own encoder is back
                self.note(DISPLACED)
        track = RtmpTrack(
            publisher,
            self._executor,
            monotonic=self._clock.monotonic,
            wall=self._clock.now,
            may_acknowledge=self._may_acknowledge,
        )
        self._live = published = _Published(publisher, track, self._speaker, self._clock)
        self._coming.put_nowait(published)
        await published.heard.wait()
        if self.has_left:
            track.give_back()
        for why in (*published.wrong(), published.turned_away()):
            if why is not None:
                self.note(why)

    async def tracks(self) -> AsyncIterator[_Published]:
        while (published := await self._coming.get()) is not None:
            yield published

    def trouble(self) -> str | None:
        """Why publishes could not be used, now or in the last minutes. One that has not come yet is no trouble."""
        if self._live is not None:
            for why in self._live.wrong():
                self.note(why)
        return self._recent.told(self._clock.monotonic())

    def skip(self, heard: Sequence[Heard]) -> None:
        """Encoders come after the hand-over."""

    async def leave(self, reason: str, heir: str | None = None) -> Sequence[Stream]:
        if self._end():
            self.has_left, self.heir = True, heir
            if self._live is not None:
                self._live.leave(was_lost=heir is None)
        return ()

    async def close(self, reason: str) -> None:
        if self._end() and self._live is not None:
            self._live.publisher.close(reason)

    def _end(self) -> bool:
        """No more tracks. Returns: whether that is new."""
        is_new, self._closed = not self._closed, True
        if is_new:
            self.on_close()
            self._coming.put_nowait(None)
        return is_new


class _Published:
    """One publish as a track."""

    def __init__(self, publisher: Publisher, track: RtmpTrack, speaker: Speaker, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self.is_continued = publisher.is_carried
        self.refused: str | None = None
        self.publisher = publisher
        self.speaker = speaker
        self.heard = asyncio.Event()
        self.host = publisher.peer.rpartition(":")[0]
        self._track = track
        self._abandoned = self._repeated = 0  # of which has been told

    @property
    def anchor(self) -> datetime | None:
        return self._track.anchor

    @property
    def ends_at(self) -> datetime | None:
        return self._track.ends_at

    bearer = None  # whoever has the key speaks as whom the start has named
    left_out = 0
    is_opted_out = False

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        is_over = True
        try:
            async for chunk in self._track.chunks():
                yield chunk
        except IngestError as error:
            self.refused = str(error)
            self.publisher.close(self.refused)  # the encoder is told as well
            raise SourceTrouble(self.refused) from error
        except Exception:
            is_over = False  # it is read on
            raise
        finally:
            if is_over:
                self.heard.set()

    def leave(self, *, was_lost: bool) -> None:
        """The publish goes on elsewhere."""
        self._track.end(was_lost=was_lost)

    def release(self) -> None:
        self.heard.set()

    def trouble(self) -> str | None:
        overdue = self._clock.monotonic() - self._began >= NO_AUDIO_AFTER_S
        if overdue and self.publisher.has_video and not self._track.stats.packets:
            return "the publisher sends video but no audio; add an audio track (ffmpeg: -c:a aac)"
        return None

    def wrong(self) -> Iterator[str]:
        """What is wrong with what comes, since this was asked last."""
        publisher, stats = self.publisher, self._track.stats
        if not stats.samples and stats.decode_errors >= UNDECODABLE_PACKETS:
            yield (
                "audio of the encoder comes and none of it can be decoded: it has not sent its codec's configuration, "
                "or sends something else; restart its stream, with audio codec AAC"
            )
        if publisher.abandoned_messages > self._abandoned:
            yield (
                "the encoder gives messages up half way, so some of its audio may be missing; update it, or let "
                "another encoder send"
            )
        if publisher.repeated_publishes > self._repeated:
            yield "the encoder asks to publish while it publishes already; its first stream is heard and no other"
        self._abandoned, self._repeated = publisher.abandoned_messages, publisher.repeated_publishes

    def turned_away(self) -> str | None:
        """Why the publish was ended by us, if it was the encoder's fault."""
        if self.refused is not None:
            return self.refused
        if self.publisher.fault is not None:
            return (
                f"the encoder was disconnected: {self.publisher.fault}; restart its stream, or let another encoder send"
            )
        return None

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        """An encoder shows nothing."""

    def facts(self) -> Mapping[str, object]:
        publisher = self.publisher
        odd = {
            "abandoned_messages": publisher.abandoned_messages,
            "repeated_publishes": publisher.repeated_publishes,
        }
        return {"peer": publisher.peer, **odd, **asdict(self._track.stats)}
