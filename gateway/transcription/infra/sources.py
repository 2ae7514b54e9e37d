"""`ingest`'s publishers and rooms as audio sources."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote

from gateway.clock import Clock
from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.errors import SourceUnavailable
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.transcription import Claimed, Ingest
from gateway.transcription.infra.rtmp_source import RtmpSource
from gateway.transcription.infra.websocket_source import WebsocketSource
from gateway.transcription.usecases.audio import AudioSource, AudioTrack
from gateway.transcription.usecases.feed import Feed, FeedStart, NotTaken, Over
from gateway.transcription.usecases.run import MOVED
from ingest.errors import PublishRefused
from ingest.rtmp.publisher import Publisher

log = logging.getLogger(__name__)

OpenRtmp: TypeAlias = Callable[[str, Ingest, Speaker], RtmpSource]
"""Of a session by its slug: where encoders publish to, and who speaks."""

Carry: TypeAlias = "Callable[[Publisher, str | None, Callable[[], bool]], Awaitable[bool]]"
"""Brings what a publisher sends to the replica that transcribes, the second argument where that is known, until the
publish is over, or it is to be heard here again, which the third one tells. Returns: whether it is."""

RTMP_APP: Final = "live"
JOINED_S: Final = 2.0
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
        rtmp: OpenRtmp,
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
        self._rtmp = rtmp
        self._clock = clock
        self._rtmp_base = rtmp_base
        self._http_base = http_base
        self._livekit = livekit
        self._may_acknowledge = may_acknowledge
        self._by_key: dict[str, RtmpSource] = {}
        self._former_keys: dict[str, str] = {}  # to slugs; newest last
        self._by_slug: dict[str, WebsocketSource] = {}
        self.fetch: Callable[[Sequence[str]], Awaitable[bool]] = _nowhere
        """Takes over from another replica what has one of these stream keys. Returns: whether audio is to be carried
        there instead. Raises: SessionError, with what to tell the publisher; RecordsUnavailable."""
        self.carry: Carry = _nobody

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
        source = self._rtmp(claimed.slug, self.ingest(claimed.source, claimed.slug, key), speaker)
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
        """Whether the key is that of a transcription, which takes audio here from now on, or to which it is carried.

        Raises: PublishRefused.
        """
        if self._published_to(app, key) is None and (keys := stream_keys(app, key)):
            try:
                if await self.fetch(keys):
                    return True
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
        """Told to those whose encoder may be the one, and to the operator."""
        log.warning(CROWDED)
        for source in self._by_key.values():
            if not source.is_published:
                source.note(CROWDED)

    async def published(self, publisher: Publisher) -> None:
        """Returns when the publisher's audio has been heard to its end, here and where its transcription has gone."""
        heir: str | None = None
        while True:
            source = self._published_to(publisher.app, publisher.key)
            if source is not None:
                await source.publish(publisher)
                if publisher.is_over or not source.has_left:
                    return
                heir = source.heir
            if publisher.is_carried:  # by whoever has the encoder, who finds the next one, too
                publisher.move(MOVED)
                return
            if not await self.carry(publisher, heir, partial(self.takes_publish, publisher.app, publisher.key)):
                return

    def takes_publish(self, app: str, name: str) -> bool:
        """Whether one that says so is heard here."""
        return self._published_to(app, name) is not None

    def _published_to(self, app: str, name: str) -> RtmpSource | None:
        """The one source whose key is a part of the path.

        Encoders cut rtmpUrl in two at different places, and people fill the fields in their own ways: the whole URL as
        server and no key, or the key in both. A key has 144 random bits, so wherever it stands it is no accident.
        """
        known = {part for part in f"{app}/{name}".split("/") if part in self._by_key}
        return self._by_key[known.pop()] if len(known) == 1 else None


def stream_keys(app: str, name: str) -> list[str]:
    """The parts of a path that may be stream keys: of others nobody has to be asked."""
    found = dict.fromkeys(part for part in f"{app}/{name}".split("/") if _KEY.fullmatch(part))
    return list(found)[:_KEYS]  # a stranger's path may hold thousands


async def _nowhere(keys: Sequence[str]) -> bool:
    """There are no other replicas."""
    return False


async def _nobody(publisher: Publisher, heir: str | None, is_back: Callable[[], bool]) -> bool:
    """To whom it could be carried."""
    publisher.close(MOVED)
    return False


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
    is_cut_off = False

    def __init__(self, why: str) -> None:
        self._why = why

    async def tracks(self) -> AsyncIterator[AudioTrack]:
        return
        yield

    def trouble(self) -> str | None:
        return self._why

    def skip(self, heard: Sequence[Heard]) -> None:
        """There are no tracks."""

    async def leave(self, reason: str, heir: str | None = None) -> Sequence[Stream]:
        return ()

    async def close(self, reason: str) -> None:
        """Nothing is open."""
