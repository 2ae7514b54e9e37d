"""Audio over WebSockets as an `AudioSource`: every identity is a speaker of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

from gateway.clock import Clock
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.recent_trouble import RecentTrouble
from gateway.transcription.domain.transcription import Ingest
from gateway.transcription.usecases.audio import AudioChunk, AudioTrack
from gateway.transcription.usecases.feed import Ending, FeedStart, NotTaken, Over
from ingest.websocket_audio import PcmFormat, PcmTrack

# How long a sender that was cut off may take to go on with its stream; its track waits for it.
GRACE_S: Final = 15.0
SPEAKERS: Final = 100


class WebsocketSource:
    """The senders of one transcription. A second connection of the same identity takes over from the first."""

    is_cut_off = False

    def __init__(
        self,
        ingest: Ingest,
        speaker: Speaker,
        clock: Clock,
        grace_s: float = GRACE_S,
        streams: Sequence[Stream] = (),
        may_acknowledge: Callable[[], bool] = lambda: True,
    ) -> None:
        """`streams`: those of the former owner, which their senders go on with here. `may_acknowledge`: whether audio
        that comes now is certainly heard here to its end. While it is not, it is heard all the same, and acknowledged
        when it is again; else its sender sends it to the next owner, so that both have heard the seam.
        """
        self.ingest = ingest
        self.may_acknowledge = may_acknowledge
        self._former = {(one.identity, one.name): one for one in streams}
        self.on_close: Callable[[], object] = lambda: None
        self._speaker = speaker
        self._clock = clock
        self._grace_s = grace_s
        self._coming: asyncio.Queue[_Sender | None] = asyncio.Queue()  # at most SPEAKERS, taken at once
        self._senders: dict[str, _Sender] = {}  # by identity
        self._closed = False
        self._recent = RecentTrouble()

    def enter(self, speaker: Speaker | None, start: FeedStart, over: Over) -> _Feed:
        """As `Entrance.enter`. Raises: NotTaken; ValueError when the format cannot be used."""
        format = PcmFormat(start.sample_rate, start.channels)
        if self._closed:
            raise NotTaken("the transcription is stopping")
        speaker = speaker or self._speaker
        before = self._senders.get(speaker.identity)
        if before is not None and before.goes_on(start.stream, format):
            return before.connect(over)
        if before is None and len(self._senders) >= SPEAKERS:
            raise NotTaken(f"{SPEAKERS} speakers is the most for one transcription", come_back=True)
        if before is not None:
            if before.feed is not None and before.track.is_fed:
                self._note(
                    f"{speaker.identity!r} sends audio over two connections; the newer is heard, stop the other",
                    speaker.identity,
                )
            before.end("another connection of this identity has taken over", Ending.REPLACED)
        taken, age_s = self._left_by(speaker.identity, start, format)
        track = PcmTrack(
            format,
            monotonic=self._clock.monotonic,
            wall=self._clock.now,
            age_s=age_s,
            taken=taken,
            tells_gaps=start.tells_gaps,
        )
        sender = _Sender(self, speaker, track, start.stream, self._grace_s)
        self._senders[speaker.identity] = sender
        self._coming.put_nowait(sender)
        return sender.connect(over)

    def _left_by(self, identity: str, start: FeedStart, format: PcmFormat) -> tuple[int, float | None]:
        """Frames of this stream that the former owner has taken, and how long ago what follows them was spoken."""
        left = self._former.pop((identity, start.stream or ""), None)
        if left is None or (left.sample_rate, left.channels) != (format.sample_rate, format.channels):
            return 0, start.age_s
        if left.ends_at is None:
            return left.taken, start.age_s
        return left.taken, (self._clock.now() - left.ends_at).total_seconds()  # negative: it came before its time

    def gone(self, sender: _Sender) -> None:
        """A sender's track has ended."""
        if self._senders.get(sender.speaker.identity) is sender:
            del self._senders[sender.speaker.identity]

    async def tracks(self) -> AsyncIterator[AudioTrack]:
        while (sender := await self._coming.get()) is not None:
            yield sender

    def trouble(self) -> str | None:
        for identity, sender in self._senders.items():
            rate = sender.track.format.sample_rate
            if sender.track.runs_fast:
                self._note(
                    f"the audio of {identity!r} comes faster than it is spoken; if it is no file, "
                    f"its sampleRate is not {rate}",
                    identity,
                )
            elif sender.track.runs_slow:
                self._note(
                    f"the audio of {identity!r} comes slower than it is spoken: its sampleRate is not {rate}, or its "
                    "sender leaves audio out",
                    identity,
                )
        return self._recent.told(self._clock.monotonic())

    def _note(self, sentence: str, identity: str) -> None:
        self._recent.note(sentence, self._clock.monotonic(), about=identity)

    def skip(self, heard: Sequence[Heard]) -> None:
        """Samples are counted: nothing is heard twice."""

    async def leave(self, reason: str, heir: str | None = None) -> Sequence[Stream]:
        streams = [stream for sender in self._senders.values() if (stream := sender.left_to_heir()) is not None]
        self._end(reason, Ending.MOVED)
        return [*streams, *self._former.values()]

    async def close(self, reason: str) -> None:
        self._end(reason, Ending.STOPPED)

    def _end(self, reason: str, ending: Ending) -> None:
        if not self._closed:
            self._closed = True
            self.on_close()
            for sender in list(self._senders.values()):
                sender.end(reason, ending)
            self._coming.put_nowait(None)


class _Feed:
    """One connection of a sender; when another one has taken its place it does nothing any more."""

    def __init__(self, sender: _Sender, over: Over) -> None:
        self.over = over
        self.speaker = sender.speaker
        self._sender = sender

    @property
    def taken(self) -> int:
        return self._sender.taken

    def put(self, pcm: bytes) -> None:
        if self._sender.feed is self:
            self._sender.take(pcm)

    def skip(self, seconds: float) -> None:
        if self._sender.feed is self:
            self._sender.skip(seconds)

    async def room(self) -> None:
        if self._sender.feed is self:
            await self._sender.track.room()

    def leave(self, *, for_good: bool) -> None:
        if self._sender.feed is self:
            self._sender.left(for_good=for_good)


class _Sender:
    """One identity's audio: a track for the transcription, and the feed of the connection that it has now."""

    def __init__(
        self, source: WebsocketSource, speaker: Speaker, track: PcmTrack, stream: str | None, grace_s: float
    ) -> None:
        self.speaker = speaker
        self.track = track
        self.feed: _Feed | None = None
        self._source = source
        self._stream = stream
        self._grace_s = grace_s
        self._waiting: asyncio.TimerHandle | None = None
        self._ended = False
        self._connections = 0
        self.is_continued = track.taken > 0
        self.taken = track.taken
        """Frames that may be acknowledged."""
        self._again = 0  # frames that the track has had, and that are sent again because they were not acknowledged

    def take(self, pcm: bytes) -> None:
        if self._again:
            known = pcm[: self._again * self.track.format.frame_bytes]
            self._again -= len(known) // self.track.format.frame_bytes
            pcm = pcm[len(known) :]
        if pcm:
            self.track.feed(pcm)
        if not self._again and self._source.may_acknowledge():
            self.taken = self.track.taken

    def skip(self, seconds: float) -> None:
        if not self._again:
            self.track.skip(seconds)

    def goes_on(self, stream: str | None, format: PcmFormat) -> bool:
        return not self._ended and stream is not None and stream == self._stream and format == self.track.format

    def connect(self, over: Over) -> _Feed:
        """A new connection of the stream; the old one may not have noticed yet that it is dead."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._again = self.track.taken - self.taken
        before, self.feed = self.feed, _Feed(self, over)
        if before is not None:
            before.over("the same stream goes on over another connection", Ending.REPLACED)
        self._connections += 1
        return self.feed

    def left(self, *, for_good: bool) -> None:
        self.feed = None
        if for_good or self._stream is None:
            self.end("")
        else:
            self._waiting = asyncio.get_running_loop().call_later(self._grace_s, self.end, "")

    def left_to_heir(self) -> Stream | None:
        """How far the sender's named stream was taken."""
        if self._stream is None:
            return None
        track, format = self.track, self.track.format
        ends_at = track.ends_at
        return Stream(self._stream, self.speaker.identity, format.sample_rate, format.channels, track.taken, ends_at)

    def end(self, why: str, ending: Ending = Ending.STOPPED) -> None:
        if self._ended:
            return
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()
        self.track.end()
        self._source.gone(self)
        before, self.feed = self.feed, None
        if before is not None:
            before.over(why, ending)

    # --- the track --------------------------------------------------------------------------------------------

    bearer = None  # the door has asked
    left_out = 0
    is_opted_out = False  # a sender that asks for it is paused by name

    @property
    def anchor(self) -> datetime | None:
        return self.track.anchor

    @property
    def ends_at(self) -> datetime | None:
        return self.track.ends_at

    def chunks(self) -> AsyncIterator[AudioChunk]:
        return self.track.chunks()

    def release(self) -> None:
        """The connection tells when its sender goes."""

    def trouble(self) -> str | None:
        return None  # a muted microphone may be silent for as long as it likes

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        """The page reads the stream."""

    def facts(self) -> Mapping[str, object]:
        shown = {"connected": self.feed is not None, "connections": self._connections}
        return shown | asdict(self.track.format) | asdict(self.track.stats)
