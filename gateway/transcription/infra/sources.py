"""`ingest`'s publishers and rooms as audio sources."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import quote

from gateway.clock import Clock
from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.errors import SourceUnavailable
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.recent_trouble import RecentTrouble
from gateway.transcription.domain.transcription import Claimed, Ingest
from gateway.transcription.infra.websocket_source import WebsocketSource
from gateway.transcription.usecases.audio import AudioChunk, AudioSource, AudioTrack, SourceTrouble
from gateway.transcription.usecases.feed import Feed, FeedStart, NotTaken, Over
from ingest.errors import IngestError, PublishRefused
from ingest.rtmp.publisher import Publisher
from ingest.rtmp_track import RtmpTrack

RTMP_APP: Final = "live"
NO_AUDIO_AFTER_S: Final = 5.0
JOINED_S: Final = 2.0
UNDECODABLE_PACKETS: Final = 50  # in a row from the first on: about a second
_KEY_BYTES: Final = 18
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{24}")
_FORMER_KEYS: Final = 1_000
_KEYS: Final = 8  # of one path; people write it twice
_LIKE: Final = 8  # letters in a row; a key is random, so no accident
# Watchers read these sentences, so they name neither keys nor addresses.
UNKNOWN_KEY: Final = "an encoder was refused because its stream key is unknown; let it publish to ingest.rtmpUrl"
NEARLY_KEY: Final = (
    "an encoder was refused because its stream key is nearly this one's; copy ingest.rtmpUrl again, whole"
)
OLD_KEY: Final = (
    "an encoder was refused because its stream key is that of an earlier transcription of this session; let it publish "
    "to ingest.rtmpUrl of the last start's answer"
)
DISPLACED: Final = "another encoder has taken the stream key over from one that was still sending; stop one of them"
CROWDED: Final = (
    "RTMP connections are being refused because too many are open; close some, or raise GATEWAY_MAX_RTMP_CONNECTIONS "
    "or GATEWAY_MAX_RTMP_CONNECTIONS_PER_ADDRESS"
)
_HINTS: Final = {
    "rtmp": "set GATEWAY_RTMP_PORT to a port",
    "livekit": "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use source rtmp or websocket",
}


class Sources:
    """Opens sources by their name in `start`. Also the RTMP server's handler and the way in of WebSockets."""

    def __init__(
        self,
        executor: Executor,
        clock: Clock,
        rtmp_base: Callable[[], str | None],
        http_base: Callable[[], str],
        livekit: Callable[[str, int], LivekitListening] | None = None,
        may_acknowledge: Callable[[], bool] = lambda: True,
    ) -> None:
        """`rtmp_base`: `rtmp://HOST:PORT` as publishers reach us, or None when RTMP is off. `http_base`: our own URL.

        `livekit` listens in a room by name, under a fence; None without a LiveKit server. `may_acknowledge`: whether
        audio that comes now is certainly heard here to its end.
        """
        self._executor = executor
        self._clock = clock
        self._rtmp_base = rtmp_base
        self._http_base = http_base
        self._livekit = livekit
        self._may_acknowledge = may_acknowledge
        self._by_key: dict[str, RtmpSource] = {}
        self._former_keys: dict[str, str] = {}  # to slugs; newest last
        self._by_slug: dict[str, WebsocketSource] = {}
        self.fetch: Callable[[Sequence[str]], Awaitable[None]] = _nowhere
        """Takes over from another replica what has one of these stream keys. Raises: SessionError, with what to tell
        the publisher; RecordsUnavailable."""

    def require(self, kind: str) -> None:
        """Raises: SourceUnavailable, with the setting to change."""
        available = {"rtmp": self._rtmp_base() is not None, "livekit": self._livekit is not None, "websocket": True}
        if not available.get(kind):
            raise SourceUnavailable(kind, _HINTS[kind])

    def new_key(self, kind: str) -> str | None:
        """144 random bits for RTMP; the other kinds have credentials of their own."""
        return secrets.token_urlsafe(_KEY_BYTES) if kind == "rtmp" else None

    async def listen_first(self, kind: str, slug: str, fence: int) -> AudioSource | None:
        """For rooms, as they are; waits for at most JOINED_S."""
        if kind != "livekit" or self._livekit is None:
            return None
        source = self._livekit(slug, fence)
        await source.joined(JOINED_S)
        return source

    def open(self, claimed: Claimed, speaker: Speaker, streams: Sequence[Stream] = ()) -> AudioSource:
        if claimed.source == "livekit":
            room = self._livekit
            return room(claimed.slug, claimed.lease.fence) if room else NoSource(_HINTS["livekit"])
        if claimed.source == "websocket":
            return self._open_websocket(claimed, speaker, streams)
        key = claimed.stream_key or ""
        ingest = self.ingest(claimed.source, claimed.slug, key)
        source = RtmpSource(claimed.slug, ingest, speaker, self._executor, self._clock)
        self._by_key[key] = source
        source.on_close = lambda: self._forget(key)
        return source

    def _forget(self, key: str) -> None:
        source = self._by_key.pop(key, None)
        if source is not None and key:
            self._former_keys[key] = source.slug
            for oldest in list(self._former_keys)[:-_FORMER_KEYS]:
                del self._former_keys[oldest]

    def ingest(self, kind: str, slug: str, key: str | None) -> Ingest:
        """Under this replica's public URL; empty for rooms, and while RTMP is off."""
        if kind == "websocket":
            base = self._http_base().replace("http", "ws", 1)
            return Ingest(websocket_url=f"{base}/api/realtime/audio?session={quote(slug, safe='')}")
        rtmp = self._rtmp_base()
        if kind != "rtmp" or not key or rtmp is None:
            return Ingest()
        return Ingest(rtmp_url=f"{rtmp}/{RTMP_APP}/{key}", stream_key=key)

    def _open_websocket(self, claimed: Claimed, speaker: Speaker, streams: Sequence[Stream]) -> WebsocketSource:
        slug, ingest = claimed.slug, self.ingest(claimed.source, claimed.slug, None)
        source = self._by_slug[slug] = WebsocketSource(
            ingest, speaker, self._clock, streams=streams, may_acknowledge=self._may_acknowledge
        )

        def forget() -> None:
            if self._by_slug.get(slug) is source:
                del self._by_slug[slug]

        source.on_close = forget
        return source

    def enter(self, slug: str, speaker: Speaker | None, start: FeedStart, over: Over) -> Feed:
        """The way in of WebSockets. Raises: NotTaken; ValueError when the format cannot be used."""
        source = self._by_slug.get(slug)
        if source is None:
            raise NotTaken("no transcription takes audio over WebSocket here; start one with source websocket")
        return source.enter(speaker, start, over)

    def takes(self, slug: str) -> bool:
        """Whether audio for that session may be sent here."""
        return slug in self._by_slug

    # --- the RTMP server's handler ------------------------------------------------------------------------

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        """Whether the key is that of a transcription, which takes audio here from now on. Raises: PublishRefused."""
        if self._published_to(app, key) is None and (keys := _keys(app, key)):
            try:
                await self.fetch(keys)
            except SessionError as error:
                raise PublishRefused(str(error)) from error
            except RecordsUnavailable as error:  # its text names addresses
                raise PublishRefused("the database does not answer; publish again, or to another gateway") from error
        if self._published_to(app, key) is not None:
            return True
        path = f"{app}/{key}"
        former = {slug for key, slug in self._former_keys.items() if key in path}
        meant = [(source, OLD_KEY) for source in self._by_key.values() if source.slug in former]
        meant = meant or [(source, NEARLY_KEY) for key, source in self._by_key.items() if _is_like(key, path)]
        for source, why in meant:
            source.note(why)
        if not meant:
            for source in self._by_key.values():
                if not source.was_published:
                    source.note(UNKNOWN_KEY)
        return False

    def crowded(self) -> None:
        """Told to those whose encoder may be the one."""
        for source in self._by_key.values():
            if not source.is_published:
                source.note(CROWDED)

    async def published(self, publisher: Publisher) -> None:
        """Returns when the publisher's audio has been heard to its end."""
        source = self._published_to(publisher.app, publisher.key)
        if source is not None:
            await source.publish(publisher)

    def _published_to(self, app: str, name: str) -> RtmpSource | None:
        """The one source whose key is a part of the path.

        Encoders cut rtmpUrl in two at different places, and people fill the fields in their own ways: the whole URL as
        server and no key, or the key in both. A key has 144 random bits, so wherever it stands it is no accident.
        """
        known = {part for part in f"{app}/{name}".split("/") if part in self._by_key}
        return self._by_key[known.pop()] if len(known) == 1 else None


def _keys(app: str, name: str) -> list[str]:
    """The parts of a path that may be stream keys: of others nobody has to be asked."""
    found = dict.fromkeys(part for part in f"{app}/{name}".split("/") if _KEY.fullmatch(part))
    return list(found)[:_KEYS]  # a stranger's path may hold thousands


async def _nowhere(keys: Sequence[str]) -> None:
    """There are no other replicas."""


def _is_like(key: str, path: str) -> bool:
    """Whether the path holds the key's beginning or its end: cut off, mistyped, in other letters."""
    key, path = key.lower(), path.lower()
    return len(key) > _LIKE and (key[:_LIKE] in path or key[-_LIKE:] in path)


class LivekitListening(AudioSource, Protocol):
    """A source that says when it hears its room."""

    async def joined(self, within_s: float) -> None:
        """Until then, or the time is over."""


class NoSource:
    """What is left of a source that this gateway has no longer: a transcription from before a change of settings."""

    ingest = Ingest()

    def __init__(self, why: str) -> None:
        self._why = why

    async def tracks(self) -> AsyncIterator[AudioTrack]:
        return
        yield

    def trouble(self) -> str | None:
        return self._why

    def skip(self, heard: Sequence[Heard]) -> None:
        """There are no tracks."""

    async def leave(self, reason: str) -> Sequence[Stream]:
        return ()

    async def close(self, reason: str) -> None:
        """Nothing is open."""


class RtmpSource:
    """The publishes on one stream key, one after the other: each is a track of the same speaker."""

    def __init__(self, slug: str, ingest: Ingest, speaker: Speaker, executor: Executor, clock: Clock) -> None:
        self.slug = slug
        self.ingest = ingest
        self.on_close: Callable[[], object] = lambda: None
        self._speaker = speaker
        self._executor = executor
        self._clock = clock
        self._coming: asyncio.Queue[_Published | None] = asyncio.Queue()  # the server admits one publisher a key
        self._live: _Published | None = None
        self._closed = False
        self._displaced = 0
        self._recent = RecentTrouble()

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
        """One publish, from its start until its audio has been heard. Another one under way is ended before."""
        before = self._live
        if before is not None and not before.heard.is_set():
            before.publisher.displace()  # under another spelling of the same URL
            await before.heard.wait()
        if self._closed:
            return
        if before is not None and before.publisher.was_displaced:
            self._displaced += 1
            if self._displaced > 1 or before.host != publisher.peer.rpartition(":")[0]:  # else its own encoder is back
                self.note(DISPLACED)
        track = RtmpTrack(publisher, self._executor, monotonic=self._clock.monotonic, wall=self._clock.now)
        self._live = published = _Published(publisher, track, self._speaker, self._clock)
        self._coming.put_nowait(published)
        await published.heard.wait()
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

    async def leave(self, reason: str) -> Sequence[Stream]:
        await self.close(reason)
        return ()

    async def close(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self.on_close()
        if self._live is not None:
            self._live.publisher.close(reason)
        self._coming.put_nowait(None)


class _Published:
    """One publish as a track."""

    def __init__(self, publisher: Publisher, track: RtmpTrack, speaker: Speaker, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
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

    bearer = None  # whoever has the key speaks as whom the start has named
    left_out = 0
    is_opted_out = False
    ends_at: datetime | None = None
    """What an encoder sends next is a new track."""

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
