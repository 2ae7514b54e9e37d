"""The provider account and its books, behind the sweeper's ports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gateway.availability import available
from gateway.transcription.domain.captions import SpokenWord, Utterance
from gateway.transcription.usecases.provider_erasure import Unwanted
from gateway.transcription.usecases.sweep import (
    AccountUnavailable,
    ListedSession,
    OrphanSession,
    ProviderReport,
    TranscriptionOwner,
    UnreconciledSession,
)
from storage.postgres import provider_sessions
from storage.postgres.pool import Database
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.transcriptions import Transcriptions
from stt.errors import ProviderRefused, SttError
from stt.gladia.client import Provider
from stt.gladia.messages import SpokenUtterance


class GladiaAccount:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def mine(self) -> Collection[str]:
        return self._provider.mine

    async def running(self) -> Sequence[ListedSession]:
        try:
            listed = await self._provider.running()
        except SttError as error:
            raise AccountUnavailable(str(error)) from error
        return [ListedSession(one.id, _texts(one.custom_metadata)) for one in listed]

    async def end(self, url: str) -> bool:
        return await self._provider.end(url)

    async def end_by_id(self, session_id: str) -> bool:
        return await self._provider.end_by_id(session_id)

    async def erase(self, session_id: str) -> None:
        try:
            await self._provider.delete(session_id)
        except ProviderRefused as error:
            if error.status != 404:
                raise AccountUnavailable(f"it answers HTTP {error.status}, {error.detail}") from error
        except SttError as error:
            raise AccountUnavailable(str(error)) from error

    async def told(self, session_id: str) -> ProviderReport | None:
        try:
            found = await self._provider.result(session_id)
        except ProviderRefused as error:
            if error.status == 404:
                return None
            raise AccountUnavailable(str(error)) from error
        except SttError as error:
            raise AccountUnavailable(str(error)) from error
        billed = found.result.billing_seconds if found.result is not None else None
        is_over = found.status in ("done", "error")
        utterances = found.result.utterances if found.result is not None and is_over else ()
        ordered = sorted(utterances, key=lambda one: one.start)
        return ProviderReport(is_over, billed, tuple(_utterance(session_id, i, one) for i, one in enumerate(ordered)))


def _utterance(session_id: str, index: int, spoken: SpokenUtterance) -> Utterance:
    """`id` says where it comes from, and is the same whenever it is read."""
    words = tuple(SpokenWord(word.word, word.start, word.end) for word in spoken.words)
    name = f"{session_id}:salvaged_{index:08d}"
    text = spoken.text.strip()
    return Utterance(name, True, text, spoken.language, spoken.start, spoken.end, spoken.confidence, words)


def _texts(labels: Mapping[str, object] | None) -> dict[str, str]:
    return {key: value for key, value in (labels or {}).items() if isinstance(value, str)}


class PostgresSessionLedger:
    """`account`, `process`: as in `ProviderSessions`."""

    def __init__(self, database: Database, account: str, process: str) -> None:
        self._sessions = ProviderSessions(database, account, process)
        self._transcriptions = Transcriptions(database)

    @available
    async def left_open(self, owner: str, limit: int) -> Sequence[UnreconciledSession]:
        return [_loose(row) for row in await self._sessions.left_open(owner, limit)]

    @available
    async def found(self, session: OrphanSession, now: datetime) -> None:
        await self._sessions.found(session.id, session.transcription_id, session.session_id, session.identity, now)

    @available
    async def closed(self, session_id: str, now: datetime, outcome: str) -> None:
        await self._sessions.closed(session_id, now, 0.0, outcome)

    @available
    async def to_audit(self, now: datetime, again_at: datetime, limit: int) -> Sequence[UnreconciledSession]:
        return [_loose(row) for row in await self._sessions.to_audit(now, again_at, limit)]

    @available
    async def audited(self, session_id: str, billing_seconds: float | None) -> None:
        await self._sessions.audited(session_id, billing_seconds)

    @available
    async def audit_again(self, session_id: str, at: datetime) -> None:
        await self._sessions.audit_again(session_id, at)

    @available
    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[Unwanted]:
        return [Unwanted(*found) for found in await self._sessions.to_erase(now, again_at, limit)]

    @available
    async def erase_again(self, session_id: str, at: datetime) -> None:
        await self._sessions.erase_again(session_id, at)

    @available
    async def erased(self, session_id: str, at: datetime | None) -> None:
        await self._sessions.erased(session_id, at)

    @available
    async def known(self, session_ids: Sequence[str]) -> set[str]:
        return await self._sessions.known(session_ids)

    @available
    async def held(self, transcription_ids: Sequence[str]) -> Mapping[str, TranscriptionOwner]:
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
    )
