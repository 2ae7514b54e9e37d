"""What the use cases need from the world: only the methods they call. Adapters are in `gateway.sessions.infra`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import FinalToStore, StoredFinal
from gateway.transcription.usecases.speech import ProviderSession


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
class StoreOutcome:
    """What became of a batch: everything not named here is in the database."""

    fenced: frozenset[str]  # transcription ids whose lease has passed to somebody else
    gone: frozenset[str]  # session ids that no longer exist


@dataclass(frozen=True, slots=True)
class NumberedFinal:
    """A final that has just got a number, to be shown."""

    seq: int
    utterance_id: str
    data: bytes


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

    async def keep(self, finals: Sequence[FinalToStore]) -> StoreOutcome: ...
    async def keep_strays(self, finals: Sequence[FinalToStore]) -> int:
        """Words that people have seen, of a transcription whose lease has passed to somebody else: kept without a
        number, unless the new owner has that speaker's words of that time. Returns: how many."""

    async def number_strays(self, session_id: str) -> list[NumberedFinal]:
        """Give such words the next numbers of the session, unless a transcription of it is running: its owner counts
        by itself, and asks again when it has stopped. Returns: them, in order."""

    async def keep_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None: ...
    async def finals(self, session_id: str, after: int, limit: int) -> list[StoredFinal]: ...
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
