"""Where audio comes from: the sources and tracks that a transcription listens to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Heard, Stream
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import Claimed, Ingest


class AudioChunk(Protocol):
    """A piece of a track's audio: 16 kHz mono, 100 ms as a rule."""

    @property
    def offset(self) -> int:
        """Samples between the track's anchor and the first one of this chunk."""

    @property
    def pcm(self) -> bytes:
        """s16le."""

    @property
    def samples(self) -> int:
        """Half as many as bytes."""

    @property
    def end(self) -> int:
        """Offset of the sample after the last one."""


class AudioTrack(Protocol):
    """One speaker's audio from when it appears to when it ends."""

    @property
    def speaker(self) -> Speaker:
        """The same for the whole track."""

    @property
    def bearer(self) -> MintedFor | None:
        """For whom we have made the token that the speaker came with; None where the app answers for who it is, or
        a door of ours has asked."""

    @property
    def is_continued(self) -> bool:
        """Its first sample follows the last one that a former owner of the transcription has taken."""

    @property
    def is_opted_out(self) -> bool:
        """The speaker does not want to be heard now, and has said so where the audio comes from."""

    @property
    def anchor(self) -> datetime | None:
        """Wall time of sample 0; known from the first chunk on."""

    @property
    def ends_at(self) -> datetime | None:
        """Wall time behind the last sample that has come, whether its chunk was taken or not."""

    def chunks(self) -> AsyncIterator[AudioChunk]:
        """In the order of their offsets, which may leave gaps; ends with the track.

        Read once; after an error that is not foreseen once more, from behind what has failed.

        An empty chunk says that the source delivers nothing for now (a muted microphone, a stalled uplink), a second
        one that it still does not. Behind a gap it says that there was nothing to deliver.

        Raises: SourceTrouble when the audio cannot be used; the text says what to do.
        """

    def release(self) -> None:
        """Nobody reads it any more. Twice is harmless."""

    @property
    def left_out(self) -> int:
        """Samples of digital silence that the source has left out of the chunks by itself."""

    def trouble(self) -> str | None:
        """Why no audio comes although a publisher is connected, with what to do; None while all is well."""

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        """Show what was understood where the audio comes from, if it can be shown there. Never waits.

        Of words under way only those that are stable; an empty text takes them back.
        """

    def facts(self) -> Mapping[str, object]:
        """Counters for the status page: gaps, decode errors and the like."""


class SourceTrouble(Exception):
    """A track's audio cannot be used."""


class AudioSource(Protocol):
    """Where one transcription's tracks come from."""

    @property
    def ingest(self) -> Ingest:
        """Where a publisher sends its audio; empty for sources that fetch it."""

    def tracks(self) -> AsyncIterator[AudioTrack]:
        """Tracks as they appear. Read once; ends after `close`, or when no more can come: then `trouble` says why."""

    def trouble(self) -> str | None:
        """Why no tracks can be had now, or ever again, with what to do; None while all is well."""

    @property
    def is_cut_off(self) -> bool:
        """The server that it fetches audio from is not reached now. Never where publishers come by themselves."""

    async def close(self, reason: str) -> None:
        """Stop listening: every track ends, and publishers are told the reason. May be repeated. Raises nothing."""

    def skip(self, heard: Sequence[Heard]) -> None:
        """Of those participants, leave out what another replica has heard, but for a little. Before any track."""

    async def leave(self, reason: str, heir: str | None = None) -> Sequence[Stream]:
        """As `close`, when another replica goes on, `heir` where it is known: publishers are told to come back, or what
        they send is carried there. Returns: how far named streams were taken, for them to go on from there."""


class AudioSources(Protocol):
    """Opens sources by name: `livekit`, `rtmp`, `websocket`."""

    def require(self, kind: str) -> None:
        """Raises: SourceUnavailable when this gateway takes no audio of that kind."""

    def new_key(self, kind: str) -> str | None:
        """A fresh secret for a publisher to show, for the kinds that need one."""

    def ingest(self, kind: str, slug: str, key: str | None) -> Ingest:
        """Where a publisher sends its audio to this replica, whichever runs the transcription; empty for kinds that
        fetch it, and for those that are off."""

    async def listen_first(self, kind: str, slug: str, fence: int) -> AudioSource | None:
        """Begin to listen before the transcription is ours, under the fence that it will have then; returns when audio
        is heard, or that takes too long. None for kinds whose publishers come by themselves. To be closed, or used."""

    def open(self, claimed: Claimed, speaker: Speaker, streams: Sequence[Stream] = ()) -> AudioSource:
        """Begin to listen for a transcription, without waiting. `speaker`: of audio that names none. `streams`: those
        that the former owner has left.

        When this gateway takes no audio of the kind any more, the source has no tracks, and its `trouble` says why.
        """
