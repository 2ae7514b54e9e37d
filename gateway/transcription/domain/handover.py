"""What one replica tells another when a transcription changes hands between them. Pure; it travels as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.usage import Usage


class Heir(msgspec.Struct, frozen=True):
    """The replica that goes on with it. `run`: under which it owns what it takes now."""

    replica: str
    run: str


class Stream(msgspec.Struct, frozen=True):
    """A named stream of a WebSocket sender. `taken`: frames so far; `ends_at`: the wall time behind the last one."""

    name: str
    identity: str
    sample_rate: int
    channels: int
    taken: int
    ends_at: datetime | None


SEAM_S: Final = 2.0
"""Of the audio behind a place at which nobody had heard a sender so far, both owners' tellings hear so much."""


class Heard(msgspec.Struct, frozen=True):
    """How far a participant was heard by the owner: up to this wall time. `is_cut`: in the middle of their words.

    Of a sender whom the owner could not get heard: in the middle of the seam.
    """

    identity: str
    until: datetime
    is_cut: bool


class Counted(msgspec.Struct, frozen=True):
    """What a participant's meter has counted, finals apart, which the heir counts itself. Samples at 16 kHz."""

    identity: str
    name: str | None
    samples_sent: int
    chunks_sent: int
    partials: int
    errors: int
    heard: int
    speech: int
    silent: int
    withheld: int


class HandedOver(msgspec.Struct, frozen=True):
    """It is the heir's, and every final up to here is stored. `fence`: the heir's. `usage`: as it is stored.

    `lost_audio_s`: what was given up unheard up to here, former owners' included.
    """

    fence: int
    usage: tuple[Usage, ...]
    counted: tuple[Counted, ...]
    streams: tuple[Stream, ...]
    heard: tuple[Heard, ...] = ()
    lost_audio_s: float = 0.0


class Unheard(msgspec.Struct, frozen=True):
    """A piece of a track that the former owner could not get heard. `offset`: sample since the track's `anchor`; `pcm`:
    s16le at 16 kHz, at most a second. `is_last`: of that track.

    To be heard again by whoever gets it, who reads it as any chunk of audio.
    """

    identity: str
    name: str | None
    anchor: datetime
    offset: int
    pcm: bytes
    is_last: bool = False

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def end(self) -> int:
        """Offset of the sample after the last one."""
        return self.offset + self.samples


class Late(msgspec.Struct, frozen=True):
    """What came of the former owner's audio after the hand-over: finals that have no number. May be told again.

    `fence`: the heir's. `counted`, `lost_audio_s`: as they stand at the end. `is_last`: nothing more comes;
    `is_complete`: and none is missing. `unheard`: in the order of each track.
    """

    transcription_id: str
    fence: int
    captions: tuple[Caption, ...]
    counted: tuple[Counted, ...]
    is_last: bool = False
    is_complete: bool = True
    lost_audio_s: float = 0.0
    unheard: tuple[Unheard, ...] = ()
