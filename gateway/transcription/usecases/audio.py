"""Where audio comes from: the sources and tracks that a transcription listens to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.transcription import Claimed, Ingest


class AudioChunk(Protocol):
    """16 kHz mono s16le; `offset` in samples since the track's anchor."""

    @property
    def offset(self) -> int: ...
    @property
    def pcm(self) -> bytes: ...
    @property
    def samples(self) -> int: ...


class AudioTrack(Protocol):
    """One speaker's audio from when it appears to when it ends."""

    @property
    def speaker(self) -> Speaker: ...

    @property
    def anchor(self) -> datetime | None:
        """Wall time of sample 0; known from the first chunk on."""

    def chunks(self) -> AsyncIterator[AudioChunk]:
        """Raises: SourceTrouble when the audio cannot be used; the text says what to do."""

    @property
    def left_out(self) -> int:
        """Samples of digital silence that the source has left out of the chunks by itself."""

    def trouble(self) -> str | None:
        """Why there is nothing to hear although somebody publishes, with what to do; None while all is well."""

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        """Show what was understood where the audio comes from, if it can be shown there. Never waits."""

    def facts(self) -> Mapping[str, object]:
        """Counters for the status page: gaps, decode errors and the like."""


class SourceTrouble(Exception):
    """A track's audio cannot be used."""


class AudioSource(Protocol):
    """Where one transcription's tracks come from."""

    @property
    def ingest(self) -> Ingest: ...

    def tracks(self) -> AsyncIterator[AudioTrack]:
        """Tracks as they appear; ends after `close`, or when there can be no more: then `trouble` says why."""

    def trouble(self) -> str | None:
        """Why no tracks can be had now, or ever again, with what to do; None while all is well."""

    async def close(self, reason: str) -> None:
        """Stop listening: every track ends, publishers are told."""


class AudioSources(Protocol):
    """Opens sources by name: `livekit`, `rtmp`, `websocket`."""

    def require(self, kind: str) -> None:
        """Raises: SourceUnavailable when this gateway takes no audio of that kind."""

    def new_key(self, kind: str) -> str | None:
        """A secret that a publisher shows, for the kinds that need one."""

    def open(self, claimed: Claimed, speaker: Speaker) -> AudioSource: ...
