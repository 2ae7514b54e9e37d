"""What a transcription consumed, one row per participant and transcription (`TranscriptionUsage`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from storage import ids
from storage.postgres.values import clean, finite, naive, naive_or_none, read, whole

if TYPE_CHECKING:
    from storage.postgres.pool import Link


@dataclass(frozen=True, slots=True)
class UsageRow:
    id: str
    """From `usage_id`, so that an adopter of the transcription continues the same row."""
    transcription_id: str | None
    """None only for rows that the app made itself."""
    identity: str | None
    session_id: str
    participant_id: str | None
    user_id: str | None
    started_at: datetime
    ended_at: datetime | None
    """None while it is running."""
    duration_seconds: int
    duration_minutes: int
    audio_chunks_sent: int
    transcripts_received: int
    final_transcripts: int
    partial_transcripts: int
    cost_per_minute: float
    total_cost: float
    errors_count: int
    created_at: datetime
    updated_at: datetime
    gate: str = "off"
    """Of the voice-activity gate: off, shadow or on. What follows is its receipt, in seconds."""
    heard_seconds: float = 0.0
    speech_seconds: float = 0.0
    silent_seconds: float = 0.0
    kept_seconds: float = 0.0


@dataclass(slots=True)
class Saved:
    saved: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    """Sessions that were deleted."""


def usage_id(transcription_id: str, identity: str) -> str:
    """The same for the same pair, so that whichever replica runs the transcription writes one row."""
    return ids.derived("usage", transcription_id, identity)


class Usage:
    """`TranscriptionUsage` with our meters beside it (`gateway.transcription_usage`)."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def save(self, rows: Sequence[UsageRow]) -> Saved:
        """Write absolute values; counters only grow, so a repeat or a late checkpoint changes nothing.

        `created_at` is taken from `started_at`. The app's participant and session may be gone meanwhile.
        Raises: ValueError for a number that is no number; what `errors.retryable` is true for.
        """
        latest = {row.id: row for row in sorted(rows, key=lambda row: row.updated_at)}
        batch = [latest[key] for key in sorted(latest)]
        if not batch:
            return Saved()
        try:
            return await self._store(batch)
        except asyncpg.ForeignKeyViolationError:
            # Only a user can be unknown here (the statement sees to the rest), and the role may not look users up.
            return await self._store([replace(row, user_id=None) for row in batch])

    async def _store(self, batch: list[UsageRow]) -> Saved:
        columns = map(list, zip(*map(_arguments, batch), strict=True))
        record = await self._db.row("usage_save", *columns)
        assert record is not None  # noqa: S101 - a SELECT without FROM is one row
        return Saved(set(record["saved"]), set(record["gone"]))

    async def by_session(self, session_id: str) -> list[UsageRow]:
        """Of all its transcriptions, the first begun first."""
        return [read(UsageRow, r) for r in await self._db.rows("usage_by_session", session_id)]

    async def by_transcription(self, transcription_id: str) -> list[UsageRow]:
        """One a participant, the first begun first."""
        return [read(UsageRow, r) for r in await self._db.rows("usage_by_transcription", transcription_id)]


def _arguments(row: UsageRow) -> tuple[object, ...]:
    if row.transcription_id is None or row.identity is None:
        raise ValueError("a usage row is saved for a transcription and an identity")
    return (
        row.id,
        row.transcription_id,
        clean(row.identity),
        row.session_id,
        row.participant_id,
        row.user_id,
        naive(row.started_at),
        naive_or_none(row.ended_at),
        whole(row.duration_seconds),
        whole(row.duration_minutes),
        whole(row.audio_chunks_sent),
        whole(row.transcripts_received),
        whole(row.final_transcripts),
        whole(row.partial_transcripts),
        finite(row.cost_per_minute),
        finite(row.total_cost),
        whole(row.errors_count),
        naive(row.updated_at),
        row.gate,
        finite(row.heard_seconds),
        finite(row.speech_seconds),
        finite(row.silent_seconds),
        finite(row.kept_seconds),
    )
