"""Meter readings in PostgreSQL: the app's `TranscriptionUsage` and our receipt, behind `UsageRecords`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage
from storage.postgres import usage as rows
from storage.postgres.errors import retryable
from storage.postgres.pool import Database
from storage.postgres.usage import UsageRow

GATHER_S: Final = 0.005
"""All runs of a replica read their meters at the same time, give or take a few turns of the loop."""
BATCH: Final = 200
"""Rows of a statement."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """`done`: what kept it from being written; None: it is."""

    readings: Sequence[UsageRow]
    done: asyncio.Future[Exception | None]


class Gathering:
    """Readings that come together are written together, and so are those that come meanwhile, behind them."""

    def __init__(self, write: Callable[[Sequence[UsageRow]], Awaitable[object]]) -> None:
        self._write = write
        self._waiting: list[_Asked] = []
        self._turn = asyncio.Lock()

    async def save(self, readings: Sequence[UsageRow]) -> None:
        """Raises: what `write` raises of these."""
        mine = _Asked(readings, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._turn:
            if not mine.done.done():
                await asyncio.sleep(GATHER_S)
                asked, self._waiting = self._waiting, []
                try:
                    for batch in _batches(asked):
                        await self._write_together(batch)
                except asyncio.CancelledError:
                    self._waiting[:0] = [one for one in asked if one is not mine and not one.done.done()]
                    raise
        if (error := mine.done.result()) is not None:
            raise error

    async def _write_together(self, batch: Sequence[_Asked]) -> None:
        error: Exception | None = None
        try:
            await self._write([reading for one in batch for reading in one.readings])
        except Exception as failed:
            if len(batch) > 1 and not retryable(failed):  # one of them is to blame, and takes no other with it
                for one in batch:
                    await self._write_together([one])
                return
            error = failed
        for one in batch:
            one.done.set_result(error)


def _batches(asked: Sequence[_Asked]) -> Iterator[Sequence[_Asked]]:
    batch: list[_Asked] = []
    for one in asked:
        if batch and sum(len(other.readings) for other in batch) + len(one.readings) > BATCH:
            yield batch
            batch = []
        batch.append(one)
    yield batch


class PostgresUsageRecords:
    """One statement a method, and one for all readings that come together. Counters of a row only grow."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._rows = rows.Usage(database)
        self._clock = clock
        self._gathering = Gathering(self._rows.save)

    def row_id(self, lease: Lease, identity: str) -> str:
        """A hash of both."""
        return rows.usage_id(lease.transcription_id, identity)

    @available
    async def save(self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]) -> None:
        """Of two writers the one with the newer clock decides whether the row is open."""
        now = self._clock.now()
        await self._gathering.save([_row(claimed, participant_ids.get(one.identity), one, now) for one in usage])

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
