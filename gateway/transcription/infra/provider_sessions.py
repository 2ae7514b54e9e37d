"""The rows of `gateway.provider_session`: what a run notes, what the sweeper reconciles, what the erasure deletes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.provider_erasure import SessionToErase
from gateway.transcription.usecases.speech import ProviderSession
from gateway.transcription.usecases.sweep import OrphanSession, TranscriptionOwner, UnreconciledSession
from storage.postgres import provider_sessions
from storage.postgres.pool import Database
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.transcriptions import Transcriptions


class PostgresProviderSessionRecords:
    """Rows of the sessions that this process opens. `account`, `process`: as in `ProviderSessions`."""

    def __init__(self, database: Database, clock: Clock, account: str, process: str) -> None:
        self._sessions = ProviderSessions(database, account, process)
        self._clock = clock

    @available
    async def note(self, claimed: Claimed, identity: str, session: ProviderSession) -> None:
        """A row for one that is open, figures and outcome for one that is over."""
        now = self._clock.now()
        if session.over:
            sent, resent = session.seconds_sent, session.seconds_resent
            await self._sessions.closed(session.id, now, sent, session.outcome, resent)
        else:
            await self._sessions.opened(
                session.id, claimed.lease.transcription_id, claimed.session_id, identity, now, session.url or None
            )

    @available
    async def bills(self, transcription_id: str) -> Sequence[Bill]:
        return [
            Bill(
                row.id,
                row.identity,
                row.opened_at,
                row.closed_at,
                row.seconds_sent,
                row.seconds_resent,
                row.billing_seconds,
                row.outcome,
            )
            for row in await self._sessions.by_transcription(transcription_id)
        ]


class PostgresSessionLedger:
    """Rows of all processes, one statement a method; also the `ErasureQueue`. `account`, `process`: as in
    `ProviderSessions`."""

    def __init__(self, database: Database, account: str, process: str) -> None:
        self._sessions = ProviderSessions(database, account, process)
        self._transcriptions = Transcriptions(database)

    @available
    async def left_open(self, owner: str, limit: int, mine: Collection[str]) -> Sequence[UnreconciledSession]:
        return [_loose(row) for row in await self._sessions.left_open(owner, limit, mine)]

    @available
    async def enter(self, session: OrphanSession, now: datetime) -> None:
        await self._sessions.found(session.id, session.transcription_id, session.session_id, session.identity, now)

    @available
    async def close(self, session_id: str, now: datetime, outcome: str) -> None:
        """With no seconds sent: a dead process has not told how many."""
        await self._sessions.closed(session_id, now, 0.0, outcome)

    @available
    async def to_audit(self, now: datetime, again_at: datetime, limit: int) -> Sequence[UnreconciledSession]:
        return [_loose(row) for row in await self._sessions.to_audit(now, again_at, limit)]

    @available
    async def audited(self, session_id: str, billing_seconds: float | None) -> None:
        await self._sessions.audited(session_id, billing_seconds)

    @available
    async def postpone_audit(self, session_id: str, at: datetime) -> None:
        await self._sessions.audit_again(session_id, at)

    @available
    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[SessionToErase]:
        return [SessionToErase(*found) for found in await self._sessions.to_erase(now, again_at, limit)]

    @available
    async def postpone_erasure(self, session_id: str, at: datetime) -> None:
        await self._sessions.erase_again(session_id, at)

    @available
    async def erased(self, session_id: str, at: datetime | None) -> None:
        await self._sessions.erased(session_id, at)

    @available
    async def known(self, session_ids: Sequence[str]) -> set[str]:
        return await self._sessions.known(session_ids)

    @available
    async def owners(self, transcription_ids: Sequence[str]) -> Mapping[str, TranscriptionOwner]:
        found = await self._transcriptions.owners(transcription_ids)
        return {id_: TranscriptionOwner(session_id, owner) for id_, (session_id, owner) in found.items()}


def _loose(row: provider_sessions.LooseEnd) -> UnreconciledSession:
    return UnreconciledSession(
        row.id,
        row.transcription_id,
        row.identity,
        row.opened_at,
        row.seconds_sent,
        row.seconds_resent,
        row.outcome,
        row.url,
        row.audits,
        row.is_own,
    )
