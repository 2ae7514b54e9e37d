"""What the use cases need from the world: only the methods they call. Adapters are in `gateway.sessions.infra`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Caption, Speaker, Utterance
from gateway.transcription.domain.receipt import Listened
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Claimed, Ingest, Lease, Numbering
from gateway.transcription.domain.usage import Usage

# --- audio in -----------------------------------------------------------------------------------------------


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

    def refuse(self, kind: str) -> None:
        """Raises: SourceUnavailable when this gateway takes no audio of that kind."""

    def new_key(self, kind: str) -> str | None:
        """A secret that a publisher shows, for the kinds that need one."""

    def open(self, claimed: Claimed, speaker: Speaker) -> AudioSource: ...


# --- speech to text -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Translation:
    utterance_id: str
    original_language: str | None
    target_language: str
    text: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """What else the provider found in an utterance. `kind`: namedEntities or sentiment.

    `results` as the provider tells them, but `start` and `end` are seconds since the track's anchor.
    """

    utterance_id: str
    kind: str
    results: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The partials of this utterance get no final; their audio is heard again under another id."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class SpeechLost:
    """Audio was given up before the provider could hear it: seconds on the track's clock."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class ProviderComplaint:
    message: str


Speech = Utterance | Translation | Annotation | Withdrawn | SpeechLost | ProviderComplaint


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """One session at the provider, reported when opened and when over."""

    id: str
    over: bool
    seconds_sent: float
    outcome: str
    seconds_resent: float = 0.0
    url: str = field(default="", repr=False)
    """Carries the session's credential: for the books only."""


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """`complete`: no final can be missing. `refused`: why the provider would not work for us at all."""

    complete: bool
    refused: str | None


class SpeechLink(Protocol):
    """One track's way to the provider."""

    def send(self, offset: int, pcm: bytes) -> None: ...
    def finish(self, flush_s: float) -> None: ...
    async def run(self) -> LinkEnd: ...

    @property
    def state(self) -> str:
        """idle, creating, waiting, connecting, streaming, flushing, fetching."""

    @property
    def sent_samples(self) -> int: ...
    @property
    def messages_sent(self) -> int: ...
    @property
    def backlog_s(self) -> float: ...
    @property
    def listened(self) -> Listened:
        """What of this track's chunks was speech, silent, and kept from the provider."""

    @property
    def is_mute(self) -> bool:
        """Speech has gone to the provider for too long without any text coming back."""


class Transcriber(Protocol):
    @property
    def engine(self) -> str:
        """What is shown to people: `gladia`, `pocketsphinx`, …"""

    @property
    def trouble(self) -> str | None:
        """Why the provider serves nobody now; None while it answers."""

    @property
    def gate(self) -> str:
        """The mode of the voice-activity gate: off, shadow or on."""

    async def refuse(self) -> None:
        """Raises: ProviderRefusedKey when the provider is known to refuse us."""

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> SpeechLink: ...


# --- records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionRecord:
    id: str
    slug: str
    status: str  # CREATED, LIVE, ENDED, EXPIRED
    title: str | None
    space_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Participation:
    """Somebody who is in a session now. `role`: HOST, GUEST, or one that the app has added."""

    identity: str
    name: str | None
    role: str
    joined_at: datetime
    user_id: str | None


@dataclass(frozen=True, slots=True)
class TranscriptionRecord:
    """A transcription as the database knows it, running here, elsewhere or no more."""

    id: str
    session_id: str
    slug: str
    source: str
    state: str
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None
    finals_complete: bool | None
    stream_key: str | None
    options: Mapping[str, Any]
    last_seq: int


@dataclass(frozen=True, slots=True)
class FinalToKeep:
    """A numbered final with the bytes that watchers will see; one row and one event in the database."""

    lease: Lease
    session_id: str
    epoch: str
    seq: int
    caption: Caption
    participant_id: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch: everything not named here is in the database."""

    fenced: frozenset[str]  # transcription ids whose lease has passed to somebody else
    gone: frozenset[str]  # session ids that no longer exist


@dataclass(frozen=True, slots=True)
class KeptFinal:
    """A final read back: `data` is the JSON that watchers see. `epoch`: whose number it has, while it is not stored."""

    seq: int
    data: bytes
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class NumberedFinal:
    """A final that has just got a number, to be shown."""

    seq: int
    utterance_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class UsageToKeep:
    """The meters of one transcription at one moment. Values are absolute, so a later one makes an earlier one moot."""

    claimed: Claimed
    participant_ids: Mapping[str, str | None]
    usage: tuple[Usage, ...]


Entry = FinalToKeep | UsageToKeep


class JournalTrouble(Exception):
    """The journal is full or its disk fails; nothing of the call was kept. The text says what to do."""


class Journal(Protocol):
    """Entries on disk, in order, until the database has them. Every method may raise JournalTrouble."""

    def __len__(self) -> int: ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """All of them are on the disk when this returns, or none."""

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        """At most so many, and the mark to `forget` them by."""

    async def forget(self, mark: int) -> None: ...
    async def finals(self, session_id: str, after: int, limit: int) -> list[KeptFinal]:
        """Those that are not forgotten, by number."""


class Records(Protocol):
    """The database. Every method may raise RecordsUnavailable."""

    async def create_session(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        """Raises: LookupError when there is no such space. Without a space the default one is used."""

    async def session(self, slug: str) -> SessionRecord | None: ...
    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        """Start a transcription unless one is running: then (None, that one).

        Raises: SessionOver, SessionNotFound when the session has ended or gone at this very moment.
        """

    async def adopt(self, owner: str, lease_s: float, *, own: bool) -> list[Claimed]:
        """Take over every transcription whose owner is gone; with `own` also what this owner held before a restart.

        One that was neither handed over (`release`) nor is our own begins a new epoch: its owner may have shown finals
        that are on its disk only, under the numbers that come next.
        """

    async def renew(self, lease: Lease, owner: str, lease_s: float) -> bool: ...
    async def release(self, lease: Lease, owner: str) -> None:
        """Leave the transcription running for whoever adopts it; every final of it is in the database."""

    async def set_state(self, lease: Lease, state: str) -> None: ...
    async def finish(self, lease: Lease, reason: str, finals_complete: bool) -> None: ...
    async def transcription(self, slug: str) -> TranscriptionRecord | None:
        """The newest of the session."""

    async def running(self) -> list[TranscriptionRecord]: ...
    async def host(self, transcription_id: str) -> str | None:
        """Whose browser feeds it."""

    async def set_host(self, transcription_id: str, identity: str) -> bool:
        """Unless it has stopped. Returns: whether it is so now."""

    async def pass_host(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        """Only while `before` is the host. Returns: whether it is so now."""

    async def numbering(self, session_id: str) -> Numbering | None: ...
    async def joined(self, session_id: str, speaker: Speaker) -> str:
        """The participant's id; the first join makes the session LIVE."""

    async def participants(self, session_id: str) -> list[Participation]:
        """Who is in the session now, the longest present first."""

    async def keep(self, finals: Sequence[FinalToKeep]) -> Kept: ...
    async def keep_strays(self, finals: Sequence[FinalToKeep]) -> int:
        """Words that people have seen, of a transcription whose lease has passed to somebody else: kept without a
        number, unless the new owner has that speaker's words of that time. Returns: how many."""

    async def number_strays(self, session_id: str) -> list[NumberedFinal]:
        """Give such words the next numbers of the session, unless a transcription of it is running: its owner counts
        by itself, and asks again when it has stopped. Returns: them, in order."""

    async def keep_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None: ...
    async def finals(self, session_id: str, after: int, limit: int) -> list[KeptFinal]: ...
    def usage_id(self, lease: Lease, identity: str) -> str:
        """Always the same for one participant of one transcription, so that an adopter continues the row."""

    async def save_usage(
        self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]
    ) -> None: ...
    async def usage(self, transcription_id: str) -> list[Usage]: ...
    async def spent(self, session_id: str) -> float:
        """Money metered so far in all transcriptions of the session, USD."""

    async def touch(self, session_id: str) -> None:
        """Speech counts as activity of the session."""

    async def provider_session(self, claimed: Claimed, identity: str, session: ProviderSession) -> None: ...
    async def bills(self, transcription_id: str) -> list[Bill]:
        """Every provider session of it."""


# --- live ---------------------------------------------------------------------------------------------------


class LiveChannel(Protocol):
    """The live stream of one session: everybody who watches it."""

    def final(self, seq: int, utterance_id: str, data: bytes) -> None: ...
    def partial(self, utterance_id: str, data: bytes) -> None: ...
    def say(self, kind: str, data: bytes) -> None:
        """An event that nobody needs to be replayed: session.state, health, translation."""


class Live(Protocol):
    def channel(self, session_slug: str) -> LiveChannel: ...
    def begin(self, session_slug: str, numbering: Numbering) -> None:
        """Say where the numbering stands, before the first final of a run."""

    def set_state(self, session_slug: str, state: str, reason: str | None) -> None: ...
    def encode(self, caption: Caption) -> bytes:
        """The `data` of a transcript message."""
