"""A transcription: one run over one session, from start to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from gateway.transcription.domain.preferences import Pause, Personal, Preferences
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.stored import readable


class TranscriptionState(StrEnum):
    """Names as in the database; the API shows them in lower case."""

    STARTING = "STARTING"  # accepted; no audio has come yet
    RUNNING = "RUNNING"
    WAITING = "WAITING"  # the provider's limit of concurrent sessions is reached; audio is held
    STOPPING = "STOPPING"  # late finals are still awaited
    STOPPED = "STOPPED"

    @property
    def shown(self) -> str:
        """As the API and the stream spell it."""
        return self.value.lower()

    @property
    def is_ending(self) -> bool:
        """It takes no new work: STOPPING or STOPPED."""
        return self in (TranscriptionState.STOPPING, TranscriptionState.STOPPED)


_S = TranscriptionState
MOVES: Final[Mapping[TranscriptionState, frozenset[TranscriptionState]]] = {
    _S.STARTING: frozenset({_S.RUNNING, _S.WAITING, _S.STOPPING}),
    _S.RUNNING: frozenset({_S.WAITING, _S.STOPPING}),
    _S.WAITING: frozenset({_S.RUNNING, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.STOPPED}),
    _S.STOPPED: frozenset(),
}


class IllegalMove(Exception):
    """A move that the table does not list: a bug, never a warning."""


def move(before: TranscriptionState, after: TranscriptionState) -> TranscriptionState:
    """The new state. Staying where one is is no move and is allowed."""
    if before is not after and after not in MOVES[before]:
        raise IllegalMove(f"{before} → {after}")
    return after


# Reasons with which a call ends a transcription; the next people in the room begin a new one.
ROOM_EMPTY: Final = "nobody was in the room any more"
ROOM_OVER: Final = "the room has ended"
ROOM_REASONS: Final = frozenset({ROOM_EMPTY, ROOM_OVER})


def begins_by_itself(last: tuple[str, str | None] | None) -> bool:
    """Whether people who come begin a transcription, given state and stop reason of the session's last one.

    Not while one runs; nor after a person, a limit or the room's host has ended it: then only a start begins anew.
    """
    return last is None or (last[0] == TranscriptionState.STOPPED and last[1] in ROOM_REASONS)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """The body of `start`, checked."""

    session_slug: str
    session_id: str | None = None
    source: str = "livekit"
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    cost_cap_usd: float | None = None
    participant_identity: str | None = None
    participant_name: str | None = None
    tags: tuple[str, ...] = ()
    """The caller's own words for the bill."""
    participants: Mapping[str, Personal] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """Of the transcription that this one goes on with."""

    @property
    def preferences(self) -> Preferences:
        """What can be changed while it runs."""
        return Preferences(self.speech, self.participants, self.pauses)

    def stored(self) -> dict[str, Any]:
        """What a later owner needs to go on in the same way; stored with the transcription."""
        return {
            **self.preferences.stored(),
            "costCapUsd": self.cost_cap_usd,
            "participantIdentity": self.participant_identity,
            "participantName": self.participant_name,
            "tags": self.tags,
        }

    @classmethod
    def read(cls, slug: str, source: str, stored: Mapping[str, Any], session_id: str | None = None) -> StartRequest:
        """From what `stored` gave, perhaps in another version. What cannot be read is left out, but a pause, which goes
        on, and a cap, which is 0."""
        preferences, cap = Preferences.read(stored), stored.get("costCapUsd")
        return cls(
            slug,
            session_id,
            source,
            preferences.speech,
            None if cap is None else readable(cap, float, 0.0),
            readable(stored.get("participantIdentity"), str, "") or None,
            readable(stored.get("participantName"), str, "") or None,
            tags_of(stored),
            preferences.participants,
            preferences.pauses,
        )


def tags_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the stored options."""
    return readable(options.get("tags"), tuple[str, ...], ())


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where the publisher sends its audio."""

    rtmp_url: str | None = None
    stream_key: str | None = None
    websocket_url: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to transcribe: the writes of a run carry its fence, so that a stale owner's are refused."""

    transcription_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Numbering:
    """Where the numbering of a session's finals stands. `origin` is time zero of `startMs`.

    `former`: earlier epochs, each with the last number up to which it is the same as this one.
    """

    epoch: str
    origin: datetime
    last_seq: int
    former: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A transcription that this replica may run."""

    lease: Lease
    session_id: str
    slug: str
    source: str
    options: Mapping[str, Any]
    stream_key: str | None
    started_at: datetime
    numbering: Numbering
    lost_audio_s: float = 0.0
    """What former owners have given up unheard, seconds."""

    @property
    def traceparent(self) -> str | None:
        """The span of its start, of which all of its life is a part, whoever runs it; None: it was not traced."""
        told = self.options.get("traceparent")
        return told if isinstance(told, str) else None
