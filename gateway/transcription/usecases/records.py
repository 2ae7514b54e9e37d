"""The database, as transcriptions need it: its rows, and one port for each kind of them.

Every coroutine here may raise RecordsUnavailable; then it is unknown whether the call took effect. A method that
"may be repeated" changes nothing more when it is called again with the same arguments, so that the caller can use
`until_database_answers`. A write that is *fenced* carries the lease of its transcription: once another owner has the
lease, the statement changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.handover import Heir
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering, TranscriptionState
from gateway.transcription.domain.usage import Figures, Usage
from gateway.transcription.domain.vocabulary import Vocabulary
from gateway.transcription.usecases.journal import FinalToStore, TranslationToStore
from gateway.transcription.usecases.speech import ProviderSession

_OVER: Final = frozenset({"ENDED", "EXPIRED"})


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The app's `VideoSession`. `status`: CREATED, LIVE, ENDED, EXPIRED, or a label that the app has added since."""

    id: str
    slug: str
    status: str
    title: str | None
    space_id: str
    created_at: datetime

    @property
    def is_over(self) -> bool:
        """Ended or expired: nothing new is transcribed, and it is never reopened."""
        return self.status in _OVER


@dataclass(frozen=True, slots=True)
class Participation:
    """A participant who is in a session now. `role`: HOST, GUEST, or one that the app has added since."""

    identity: str
    name: str | None
    role: str
    joined_at: datetime
    user_id: str | None


@dataclass(frozen=True, slots=True)
class InLine:
    """Whom to look for in a session. `without`: identities that are not next in line."""

    session_id: str
    host: str | None
    without: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class TranscriptionRecord:
    """A transcription as the database knows it: run by this replica, by another one, or stopped."""

    id: str
    session_id: str
    slug: str
    source: str
    state: TranscriptionState
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None
    finals_complete: bool | None
    stream_key: str | None
    options: Mapping[str, Any]
    last_seq: int
    owner: str = ""
    """Id of the replica that runs it, or ran it last."""
    lost_audio_s: float = 0.0
    """Audio that was given up unheard, seconds, by all who have run it."""

    @property
    def is_stopped(self) -> bool:
        """It has ended for good, and has no owner."""
        return self.state is TranscriptionState.STOPPED


@dataclass(frozen=True, slots=True)
class Owned:
    """A transcription that is not stopped, and who has it."""

    claimed: Claimed
    owner: str


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of a batch of finals. Each one whose transcription or session is not named here is stored."""

    fenced: frozenset[str] = frozenset()
    """Ids of transcriptions whose lease another owner has, or whose row was deleted."""
    gone: frozenset[str] = frozenset()
    """Ids of sessions that were deleted while their transcription's row still stands."""


@dataclass(frozen=True, slots=True)
class NumberedTranslation:
    """`seq` counts 1, 2, 3 … in its language; `of_seq` is the number of its final. `data`: without both."""

    session_id: str
    utterance_id: str
    language: str
    seq: int
    of_seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class NumberedFinal:
    """A final that has just been given its number and is now to be shown to watchers."""

    seq: int
    utterance_id: str
    data: bytes


class SessionRecords(Protocol):
    """The app's sessions and their participants."""

    async def create(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        """A session in state CREATED. Without a slug it gets a new one, without a space the default space.

        Not to be repeated. Raises: LookupError when there is no such space.
        """

    async def by_slug(self, slug: str) -> SessionRecord | None:
        """None when there is none; any text may be asked for."""

    async def join(self, session_id: str, speaker: Speaker) -> str:
        """The id of the speaker's participant row, made at its first call; that also makes a CREATED session LIVE.

        It works after the session's end too, without reopening it or bringing anybody back: the last finals may arrive
        then. May be repeated.
        Raises: LookupError when the session was deleted.
        """

    async def leave(self, session_id: str, identity: str) -> None:
        """The participant is gone from now on; nothing when they are already. May be repeated."""

    async def people(self, session_id: str) -> Sequence[Participation]:
        """Everybody who was ever there, also those who have left."""

    async def names(self, session_id: str, limit: int) -> Sequence[str]:
        """Of those who have joined and not left, the newest first; in one query."""

    async def in_line(self, asked: Sequence[InLine]) -> Mapping[str, Sequence[Participation]]:
        """Of each session in which somebody is, by its id, those of them that matter for who is host, in any order: the
        host, who is next in line, and one other than the host; in one query, however many there are."""

    async def participant(self, session_id: str, identity: str) -> Participation | None:
        """One of those present; None when it has not joined, or has left."""

    async def owner(self, session_id: str, identity: str) -> str | None:
        """The user to whom an identity belongs there: who has that id, having come or not; else whose participant it
        is. None: no user's."""

    async def has_room(self, session_id: str, identity: str, *, guest: bool) -> bool:
        """Whether it is in the session already, or may be one more. `guest`: nobody has signed in for it."""

    async def touch(self, session_id: str) -> None:
        """Note activity now, which keeps the session from being ended for inactivity. May be repeated."""


class Leases(Protocol):
    """The right to run a transcription, and the writes that only its holder may make."""

    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        """Begin a transcription of a session that has none; else (None, the one that it has).

        Of any number of calls at once, on any replicas, one begins it. When an answer is lost, the next call finds the
        transcription running: it may be repeated, but the claim is then had only by `adopt`.
        Raises: SessionOver, SessionNotFound when the session has ended or was deleted since `session` was read.
        """

    async def orphans(self, limit: int, *, thorough: bool) -> Sequence[str]:
        """Ids of at most `limit` transcriptions that `adopt` would take, the longest without an owner first.

        Cheap, so that it may be asked each second; `thorough` also finds those that are hard to find.
        """

    async def adopt(
        self, owner: str, lease_s: float, *, own: bool, only: Sequence[str] | None = None
    ) -> Sequence[Claimed]:
        """Take transcriptions whose owner is gone, under a new fence; each goes to one caller. `only`: none but these.

        `own`: also those that `owner` itself holds; for a process that has just started, and so cannot run them.
        A transcription that was neither released nor owned before begins a new epoch: its former owner may have shown
        finals that are on its disk only, under the numbers that come next. When an answer is lost, those taken by it
        are adopted again only when the caller is gone, or with `own`.
        """

    async def renew(self, owner: str, lease_s: float) -> Collection[Lease]:
        """What `owner` holds now, kept for `lease_s` from those who do not see whether it lives. May be repeated."""

    async def release(self, lease: Lease, owner: str) -> None:
        """Let the transcription go on without its owner: the next `adopt` takes it in the same epoch.

        Only after its last final and last meter reading are stored. Fenced; may be repeated.
        """

    async def hand_over(self, lease: Lease, owner: str, heir: Heir, lease_s: float) -> bool:
        """Make it the heir's, with the next fence and for `lease_s`, in the same epoch. False: it is not `owner`'s.

        Only after its last final and last meter reading are stored. Fenced; when an answer is lost, see `of`.
        """

    async def of(self, heir: Heir) -> Sequence[Claimed]:
        """All that this run of a replica has, whether it transcribes them or not."""

    async def published(self, keys: Sequence[str]) -> Owned | None:
        """The transcription with one of these stream keys, unless it has stopped; None also where several have."""

    async def set_state(self, lease: Lease, state: TranscriptionState) -> None:
        """For those who read the row; STOPPED is set by `finish`. Fenced; may be repeated."""

    async def set_options(self, lease: Lease, options: Mapping[str, Any]) -> bool:
        """What each later owner goes on with. False: it has another owner, or has stopped. Fenced; may be repeated."""

    async def set_health(self, lease: Lease, reasons: Sequence[str]) -> None:
        """What is wrong with it now, as watchers are told, for the app's webhooks. Fenced; may be repeated."""

    async def set_lost_audio(self, lease: Lease, seconds: float) -> None:
        """What was given up unheard, in all. Fenced; may be repeated."""

    async def finish(self, lease: Lease, reason: str, finals_complete: bool, *, is_limited: bool = False) -> bool:
        """STOPPED, for good. Only after its last final and last meter reading are stored. Fenced; may be repeated.

        `is_limited`: a limit ended it. Returns: False when the lease is another owner's, or the session was deleted:
        nothing is written.
        """


class TranscriptionRecords(Protocol):
    """Transcriptions of all replicas, read only."""

    async def newest(self, slug: str) -> TranscriptionRecord | None:
        """The session's last one; None when there is no such session, or it was never transcribed."""

    async def active(self) -> Sequence[tuple[TranscriptionRecord, Figures]]:
        """All that are not stopped, on all replicas, with their meters as last stored; in one query."""

    async def numbering(self, session_id: str) -> Numbering | None:
        """Where the session's numbering stands; None before its first transcription."""


class HostRecords(Protocol):
    """Which participant's browser feeds a transcription. Any replica may change it."""

    async def current(self, transcription_id: str) -> str | None:
        """The host's identity; None when there is none, or no such transcription."""

    async def of_all(self, transcription_ids: Sequence[str]) -> Mapping[str, str | None]:
        """Of each transcription that exists, as `current`; in one query."""

    async def appoint(self, transcription_id: str, identity: str) -> bool:
        """Make a participant the host. False: the transcription has stopped or does not exist. May be repeated."""

    async def replace(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        """Change the host from `before` to `after` in one step. False, and nothing is changed, when the host is
        another one by now, or the transcription has stopped. When an answer is lost, read `current`."""


class FinalRecords(Protocol):
    """The finals of sessions: the app's segments and the numbered events, written together."""

    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        """Store a batch, in any order; what cannot be stored holds up no other final of it.

        Fenced, final by final. May be repeated: a final whose utterance the session has already is left as it is.
        """

    async def counts(self, claimed: Claimed) -> Mapping[str, int]:
        """How many finals of a transcription are stored, by the speaker's identity."""

    async def store_strays(self, finals: Sequence[FinalToStore]) -> int:
        """Keep the words of finals that `store` has fenced, without a number. Returns: of how many.

        Left out are those whose utterance is stored, and words that the new owner has heard of the same speaker at the
        same time (`overlap.unheard`). Not fenced; may be repeated.
        """

    async def number_strays(self, session_id: str) -> Sequence[NumberedFinal]:
        """Give the session's strays the numbers behind its last one, but for words that are stored with a number by
        now. Returns: them, in order.

        None while a transcription of the session is active: its owner counts by itself, and calls this when it has
        stopped. May be repeated, but those of a lost answer are not returned again.
        """

    async def store_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None:
        """Partials, each with its participant's id; the newest of an utterance counts, and a final always wins.

        Not fenced; may be repeated.
        """

    async def last(self, session_id: str, limit: int) -> Sequence[Caption]:
        """The last `limit` numbered finals, in order."""

    async def since(self, session_id: str, after: int, limit: int) -> Sequence[StoredFinal]:
        """At most `limit` finals with a number above `after`, in order. See `FinalReader` for those not stored yet."""

    async def newest(self, session_id: str) -> int:
        """The highest number stored, which is also how many there are; 0 when there is none."""

    async def at(self, session_id: str, moment_ms: int) -> int | None:
        """The first number whose final ends after a moment, counted as `startMs`; None when none stored does."""


class VocabularyRecords(Protocol):
    """The words that spaces keep."""

    async def of_space(self, space_id: str) -> Vocabulary:
        """Empty where the space keeps none."""

    async def save(self, space_id: str, vocabulary: Vocabulary) -> None:
        """Replace it. Of two at once the later one stands; may be repeated."""


class TranslationRecords(Protocol):
    """The translations of finals. Not fenced: any replica may store what its provider has said."""

    async def store(self, translations: Sequence[TranslationToStore]) -> Sequence[NumberedTranslation]:
        """Store a batch, behind its finals. May be repeated: what is stored stays as it is. Those of deleted sessions
        are left out; one whose final is not stored waits for it.

        Returns: those of the batch's sessions that have got their number now, in order.
        """

    async def since(self, session_id: str, language: str, after: int, limit: int) -> Sequence[NumberedTranslation]:
        """At most `limit` of a language with a number above `after`, in order, without a hole."""

    async def of_finals(self, session_id: str, first: int, last: int, language: str) -> Sequence[NumberedTranslation]:
        """Those of the finals `first` to `last`, in their order."""

    async def languages(self, session_id: str) -> Sequence[str]:
        """Those that the session's transcriptions have asked for, and those that there are; sorted."""


class UsageRecords(Protocol):
    """The meters: one row for each participant of a transcription."""

    def row_id(self, lease: Lease, identity: str) -> str:
        """The row's id, which is a function of both: the next owner of the transcription goes on with the row."""

    async def save(self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]) -> None:
        """Readings with absolute values, of which the largest stand: any order will do. Dropped without an error when
        the session was deleted. Not fenced; may be repeated. `participant_ids`: by identity."""

    async def of_transcription(self, transcription_id: str) -> Sequence[Usage]:
        """The last reading of every participant."""

    async def spent(self, session_id: str) -> float:
        """Cost of all transcriptions of the session so far, USD."""


class ProviderSessionRecords(Protocol):
    """Sessions opened at the speech provider, so that none is left running there and each is billed."""

    async def note(self, claimed: Claimed, identity: str, session: ProviderSession) -> None:
        """Enter a session that was opened, or the figures of one that is over. Per session in that order.

        Not fenced: who opened it has to answer for it. May be repeated.
        """

    async def bills(self, transcription_id: str) -> Sequence[Bill]:
        """Every provider session of a transcription, with the provider's own figure where it is known."""


@dataclass(frozen=True)
class Records:
    """All ports of one database, opened together. A use case keeps those that it calls."""

    sessions: SessionRecords
    leases: Leases
    transcriptions: TranscriptionRecords
    hosts: HostRecords
    finals: FinalRecords
    usage: UsageRecords
    translations: TranslationRecords
    provider_sessions: ProviderSessionRecords
    vocabularies: VocabularyRecords
