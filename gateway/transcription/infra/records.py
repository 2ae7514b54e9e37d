"""Postgres behind the use cases' port: rows into the domain's words, storage errors into the use cases'."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

from gateway.availability import available as _available
from gateway.clock import Clock
from gateway.errors import SessionNotFound, SessionOver
from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import FinalToStore, StoredFinal
from gateway.transcription.usecases.records import (
    NumberedFinal,
    Participation,
    SessionRecord,
    StoreOutcome,
    TranscriptionRecord,
)
from gateway.transcription.usecases.speech import ProviderSession
from storage import ids
from storage.postgres import errors, usage
from storage.postgres.finals import FinalRow, Finals
from storage.postgres.pool import Database
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.segments import NewSegment, Segments, Stray
from storage.postgres.sessions import Participants, SessionRow, Sessions
from storage.postgres.transcriptions import (
    NewTranscription,
    TranscriptionRow,
    Transcriptions,
    TranscriptionState,
)

log = logging.getLogger(__name__)


Unsaved = Callable[[str, int, int], Awaitable[list[StoredFinal]]]
"""Finals that are shown and not stored yet: (session id, after, limit), by number."""


async def _none_unsaved(session_id: str, after: int, limit: int) -> list[StoredFinal]:
    return []


class PostgresRecords:
    def __init__(self, database: Database, clock: Clock, account: str = "", process: str = "") -> None:
        self.unsaved: Unsaved = _none_unsaved
        self._probe: asyncio.Task[Any] | None = None
        self._clock = clock
        self._database = database
        self._sessions = Sessions(database)
        self._participants = Participants(database)
        self._transcriptions = Transcriptions(database)
        self._finals = Finals(database)
        self._segments = Segments(database)
        self._usage = usage.Usage(database)
        self._provider_sessions = ProviderSessions(database, account, process)

    @_available
    async def ping(self) -> None:
        """Answers within two seconds. A server that hangs cannot be told to forget a question: it gets one."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._database.pool.fetchval("SELECT 1"), name="ping")
        done, _ = await asyncio.wait({self._probe}, timeout=2)
        if not done:
            self._probe.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TimeoutError
        self._probe.result()

    # --- sessions and participants ------------------------------------------------------------------------

    @_available
    async def create_session(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        space = space_id or await self._sessions.ensure_default_space()
        while True:
            try:
                row = await self._sessions.create(slug or ids.slug(), title, space, None, self._clock.now())
            except asyncpg.ForeignKeyViolationError:
                raise LookupError(space) from None
            except errors.SlugTaken:
                if slug is not None:
                    raise
                continue
            return _session(row)

    @_available
    async def session(self, slug: str) -> SessionRecord | None:
        row = await self._sessions.by_slug(slug)
        return None if row is None else _session(row)

    @_available
    async def joined(self, session_id: str, speaker: Speaker) -> str:
        """Raises: LookupError when the session is gone."""
        now = self._clock.now()
        try:
            joined = await self._participants.join(session_id, speaker.identity, speaker.name, now)
            if joined is not None:
                return joined.participant.id
            return (await self._participants.upsert(session_id, speaker.identity, speaker.name, now)).id
        except errors.SessionGone as error:
            raise LookupError(session_id) from error

    @_available
    async def participants(self, session_id: str) -> list[Participation]:
        rows = await self._participants.by_session(session_id, active_only=True)
        return [Participation(row.identity, row.name, row.role, row.joined_at, row.user_id) for row in rows]

    @_available
    async def touch(self, session_id: str) -> None:
        await self._sessions.touch(session_id, self._clock.now())

    # --- transcriptions -----------------------------------------------------------------------------------

    @_available
    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        new = NewTranscription(session.id, session.slug, source, options, stream_key)
        try:
            row, created = await self._transcriptions.claim(new, owner, lease_s, self._clock.now())
        except errors.SessionOver:
            found = await self._sessions.by_id(session.id)
            if found is None:
                raise SessionNotFound(session.slug) from None
            raise SessionOver(session.slug, found.status) from None
        return (_claimed(row) if created else None), _transcription(row)

    @_available
    async def adopt(self, owner: str, lease_s: float, *, own: bool) -> list[Claimed]:
        rows = await self._transcriptions.adopt(owner, lease_s, self._clock.now(), own=own)
        return [_claimed(row) for row in rows]

    @_available
    async def renew(self, lease: Lease, owner: str, lease_s: float) -> bool:
        return await self._transcriptions.renew(lease.transcription_id, owner, lease.fence, lease_s, self._clock.now())

    @_available
    async def release(self, lease: Lease, owner: str) -> None:
        await self._transcriptions.renew(lease.transcription_id, owner, lease.fence, 0.0, self._clock.now())

    @_available
    async def set_state(self, lease: Lease, state: str) -> None:
        await self._transcriptions.set_state(lease.transcription_id, lease.fence, TranscriptionState(state))

    @_available
    async def finish(self, lease: Lease, reason: str, finals_complete: bool) -> None:
        await self._transcriptions.finish(
            lease.transcription_id, lease.fence, self._clock.now(), reason, finals_complete
        )

    @_available
    async def transcription(self, slug: str) -> TranscriptionRecord | None:
        session = await self._sessions.by_slug(slug)
        row = None if session is None else await self._transcriptions.by_session(session.id)
        return None if row is None else _transcription(row)

    @_available
    async def running(self) -> list[TranscriptionRecord]:
        return [_transcription(row) for row in await self._transcriptions.list(active_only=True)]

    @_available
    async def host(self, transcription_id: str) -> str | None:
        return await self._transcriptions.host(transcription_id)

    @_available
    async def set_host(self, transcription_id: str, identity: str) -> bool:
        return await self._transcriptions.set_host(transcription_id, identity)

    @_available
    async def pass_host(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        return await self._transcriptions.pass_host(transcription_id, before, after)

    @_available
    async def numbering(self, session_id: str) -> Numbering | None:
        row = await self._transcriptions.by_session(session_id)
        return None if row is None else Numbering(row.epoch, row.origin, row.last_seq)

    # --- finals -------------------------------------------------------------------------------------------

    @_available
    async def keep(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        now = self._clock.now()
        appended = await self._finals.append(
            [
                FinalRow(
                    transcription_id=final.lease.transcription_id,
                    fence=final.lease.fence,
                    session_id=final.session_id,
                    epoch=final.epoch,
                    seq=final.seq,
                    participant_id=final.participant_id,
                    utterance_id=final.caption.utterance_id,
                    text=final.caption.text,
                    language=final.caption.language,
                    started_at=final.caption.started_at,
                    ended_at=final.caption.ended_at,
                    data=final.data,
                    created_at=now,
                )
                for final in finals
            ]
        )
        for key, why in appended.refused.items():
            log.error("final %s was refused by the database: %s", key, why)
        for key in appended.conflicting:
            log.error("final %s: its number belongs to another utterance", key)
        for session_id in appended.gone:
            log.warning("finals of a deleted session were dropped", extra={"sessionId": session_id})
        return StoreOutcome(frozenset(appended.fenced), frozenset(appended.gone))

    @_available
    async def keep_strays(self, finals: Sequence[FinalToStore]) -> int:
        now = self._clock.now()
        return await self._segments.keep_strays(
            Stray(
                NewSegment(
                    final.session_id,
                    final.participant_id,
                    final.caption.utterance_id,
                    final.caption.text,
                    final.caption.language,
                    True,
                    final.caption.started_at,
                    final.caption.ended_at,
                    now,
                ),
                final.lease.transcription_id,
                final.data,
            )
            for final in finals
        )

    @_available
    async def number_strays(self, session_id: str) -> list[NumberedFinal]:
        numbered = await self._transcriptions.number_strays(session_id, self._clock.now())
        return [NumberedFinal(seq, utterance_id, data) for seq, utterance_id, data in numbered]

    @_available
    async def keep_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None:
        now = self._clock.now()
        await self._segments.upsert(
            NewSegment(
                session_id,
                participant_id,
                said.utterance_id,
                said.text,
                said.language,
                said.is_final,
                said.started_at,
                said.ended_at,
                now,
            )
            for said, participant_id in captions
        )

    @_available
    async def finals(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        # Asked first: a final that is stored meanwhile is then in both answers, not in none.
        unsaved = await self.unsaved(session_id, after, limit)
        stored = await self._finals.since(session_id, after, limit)
        if not unsaved:
            return [StoredFinal(row.seq, row.data) for row in stored]
        # When somebody else has begun a numbering of its own, theirs are no numbers any more.
        stream = await self._transcriptions.by_session(session_id)
        valid = {final.seq: final for final in unsaved if stream is not None and final.epoch == stream.epoch}
        merged = valid | {row.seq: StoredFinal(row.seq, row.data) for row in stored}
        return [merged[seq] for seq in sorted(merged)[:limit]]

    # --- usage --------------------------------------------------------------------------------------------

    def usage_id(self, lease: Lease, identity: str) -> str:
        return usage.usage_id(lease.transcription_id, identity)

    @_available
    async def save_usage(
        self, claimed: Claimed, participant_ids: Mapping[str, str | None], used: Sequence[Usage]
    ) -> None:
        now = self._clock.now()
        await self._usage.save(
            [
                usage.UsageRow(
                    id=one.id,
                    transcription_id=claimed.lease.transcription_id,
                    identity=one.identity,
                    session_id=claimed.session_id,
                    participant_id=participant_ids.get(one.identity),
                    user_id=None,
                    started_at=one.started_at,
                    ended_at=one.ended_at,
                    duration_seconds=one.duration_seconds,
                    duration_minutes=one.duration_minutes,
                    audio_chunks_sent=one.audio_chunks_sent,
                    transcripts_received=one.transcripts_received,
                    final_transcripts=one.final_transcripts,
                    partial_transcripts=one.partial_transcripts,
                    cost_per_minute=one.cost_per_minute,
                    total_cost=one.total_cost,
                    errors_count=one.errors_count,
                    created_at=one.started_at,
                    updated_at=now,
                    gate=one.gate,
                    heard_seconds=one.heard_s,
                    speech_seconds=one.speech_s,
                    silent_seconds=one.silent_s,
                    kept_seconds=one.kept_s,
                )
                for one in used
            ]
        )

    @_available
    async def usage(self, transcription_id: str) -> list[Usage]:
        return [_usage(row) for row in await self._usage.by_transcription(transcription_id)]

    @_available
    async def spent(self, session_id: str) -> float:
        return sum(row.total_cost for row in await self._usage.by_session(session_id))

    @_available
    async def provider_session(self, claimed: Claimed, identity: str, session: ProviderSession) -> None:
        now = self._clock.now()
        if session.over:
            sent, resent = session.seconds_sent, session.seconds_resent
            await self._provider_sessions.closed(session.id, now, sent, session.outcome, resent)
        else:
            await self._provider_sessions.opened(
                session.id, claimed.lease.transcription_id, claimed.session_id, identity, now, session.url or None
            )

    @_available
    async def bills(self, transcription_id: str) -> list[Bill]:
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
            for row in await self._provider_sessions.by_transcription(transcription_id)
        ]


def _session(row: SessionRow) -> SessionRecord:
    return SessionRecord(row.id, row.slug, row.status, row.title, row.space_id, row.created_at)


def _transcription(row: TranscriptionRow) -> TranscriptionRecord:
    return TranscriptionRecord(
        id=row.id,
        session_id=row.session_id,
        slug=row.session_slug,
        source=row.source,
        state=row.state,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        stop_reason=row.stop_reason,
        finals_complete=row.finals_complete,
        stream_key=row.stream_key,
        options=row.options,
        last_seq=row.last_seq,
    )


def _claimed(row: TranscriptionRow) -> Claimed:
    return Claimed(
        lease=Lease(row.id, row.fence),
        session_id=row.session_id,
        slug=row.session_slug,
        source=row.source,
        options=row.options,
        stream_key=row.stream_key,
        started_at=row.started_at,
        numbering=Numbering(row.epoch, row.origin, row.last_seq),
    )


def _usage(row: usage.UsageRow) -> Usage:
    return Usage(
        id=row.id,
        identity=row.identity or "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_seconds=row.duration_seconds,
        duration_minutes=row.duration_minutes,
        audio_chunks_sent=row.audio_chunks_sent,
        transcripts_received=row.transcripts_received,
        final_transcripts=row.final_transcripts,
        partial_transcripts=row.partial_transcripts,
        cost_per_minute=row.cost_per_minute,
        total_cost=row.total_cost,
        errors_count=row.errors_count,
        gate=row.gate,
        heard_s=row.heard_seconds,
        speech_s=row.speech_seconds,
        silent_s=row.silent_seconds,
        kept_s=row.kept_seconds,
    )
