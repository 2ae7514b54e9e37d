"""Meter readings in PostgreSQL: the app's `TranscriptionUsage` and our receipt, behind `UsageRecords`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage
from storage.postgres import usage as rows
from storage.postgres.pool import Database
from storage.postgres.usage import UsageRow


class PostgresUsageRecords:
    """One statement a method. Counters of a row only grow."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._rows = rows.Usage(database)
        self._clock = clock

    def row_id(self, lease: Lease, identity: str) -> str:
        """A hash of both."""
        return rows.usage_id(lease.transcription_id, identity)

    @available
    async def save(self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]) -> None:
        """Of two writers the one with the newer clock decides whether the row is open."""
        now = self._clock.now()
        await self._rows.save([_row(claimed, participant_ids.get(one.identity), one, now) for one in usage])

    @available
    async def of_transcription(self, transcription_id: str) -> Sequence[Usage]:
        return [_usage(row) for row in await self._rows.by_transcription(transcription_id)]

    @available
    async def spent(self, session_id: str) -> float:
        return sum(row.total_cost for row in await self._rows.by_session(session_id))


def _row(claimed: Claimed, participant_id: str | None, one: Usage, now: datetime) -> UsageRow:
    return UsageRow(
        id=one.id,
        transcription_id=claimed.lease.transcription_id,
        identity=one.identity,
        session_id=claimed.session_id,
        participant_id=participant_id,
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
        kept_seconds=one.withheld_s,
    )


def _usage(row: UsageRow) -> Usage:
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
        withheld_s=row.kept_seconds,
    )
