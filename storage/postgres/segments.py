"""Transcript segments as the app reads them: one row per utterance, partial or final (`TranscriptSegment`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from storage import ids
from storage.postgres.errors import row_is_to_blame
from storage.postgres.values import clean, clean_json, clean_or_none, naive, naive_or_none, read

if TYPE_CHECKING:
    from storage.postgres.pool import Link


@dataclass(frozen=True, slots=True)
class NewSegment:
    session_id: str
    participant_id: str | None
    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    started_at: datetime
    ended_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stray:
    """A final that was shown and whose number another owner has given away. `data`: what watchers see of it, JSON."""

    segment: NewSegment
    transcription_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StrayRow:
    """`near`: `data` of the numbered finals of its speaker that were said around it."""

    utterance_id: str
    data: bytes
    near: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    id: str
    video_session_id: str
    participant_id: str | None
    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    started_at: datetime
    ended_at: datetime | None
    created_at: datetime
    identity: str | None
    name: str | None


@dataclass(slots=True)
class Upserted:
    written: int = 0
    """Rows that were inserted or changed; the others were there already, or are final and stay so."""
    gone: set[str] = field(default_factory=set)
    """Sessions that were deleted."""
    refused: int = 0
    """Rows that PostgreSQL will never take."""


class Segments:
    """Segments without a number of their own: the app's, partials, and stray finals. Numbered ones: `Finals`."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def upsert(self, rows: Iterable[NewSegment]) -> Upserted:
        """Insert or update a batch, in one round trip. A late partial never replaces a final.

        Raises: what `errors.retryable` is true for.
        """
        outcome = Upserted()
        batch = [_arguments(row) for row in fold(rows)]
        if batch:
            await self._store(batch, outcome)
        return outcome

    async def _store(self, batch: list[tuple[object, ...]], outcome: Upserted) -> None:
        try:
            record = await self._db.row("segment_upsert", *map(list, zip(*batch, strict=True)))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not row_is_to_blame(error):
                raise
            if len(batch) == 1:
                outcome.refused += 1
                return
            middle = len(batch) // 2
            await self._store(batch[:middle], outcome)
            await self._store(batch[middle:], outcome)
        else:
            assert record is not None  # noqa: S101 - a SELECT without FROM is one row
            outcome.written += record["written"]
            outcome.gone.update(record["gone"])

    async def strays(self, session_id: str) -> Sequence[StrayRow]:
        """In spoken order."""
        return [read(StrayRow, record) for record in await self._db.rows("stray_near", session_id)]

    async def trim_stray(self, segment: NewSegment, data: bytes) -> None:
        """Less was new in it than was thought."""
        times = naive(segment.started_at), naive_or_none(segment.ended_at)
        args = clean(segment.utterance_id), clean_json(data), clean(segment.text), *times
        await self._db.run("stray_trim", segment.session_id, *args)

    async def drop_strays(self, session_id: str, utterance_ids: Sequence[str]) -> int:
        """Nothing was new in them. Returns: how many there were."""
        return await self._db.run("stray_drop", session_id, [*map(clean, utterance_ids)])

    async def keep_strays(self, strays: Iterable[Stray]) -> int:
        """Keep finals without a number, unless they are stored already. Returns: how many.

        They wait for a number: `Transcriptions.number_strays`. Raises: what `errors.retryable` is true for.
        """
        known = {(stray.segment.session_id, clean(stray.segment.utterance_id)): stray for stray in strays}
        batch = [
            (*_arguments(known[key].segment), known[key].transcription_id, clean_json(known[key].data))
            for key in sorted(known)
        ]
        return await self._store_strays(batch) if batch else 0

    async def _store_strays(self, batch: list[tuple[object, ...]]) -> int:
        columns = list(map(list, zip(*batch, strict=True)))
        del columns[6]  # all are final
        try:
            return await self._db.run("segment_stray", *columns)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not row_is_to_blame(error):
                raise
            if len(batch) == 1:
                return 0
            return sum([await self._store_strays([row]) for row in batch])

    async def by_session(self, session_id: str, *, finals_only: bool = True) -> list[SegmentRow]:
        """In spoken order, with the speaker's identity and name."""
        return [read(SegmentRow, r) for r in await self._db.rows("segment_by_session", session_id, finals_only)]

    async def by_utterance(self, session_id: str, utterance_id: str) -> SegmentRow | None:
        """None when there is none."""
        record = await self._db.row("segment_by_utterance", session_id, clean(utterance_id))
        return None if record is None else read(SegmentRow, record)


def fold(rows: Iterable[NewSegment]) -> Sequence[NewSegment]:
    """One row per utterance, in one global order: twice in a statement is an error, crosswise is a deadlock.

    A final beats a partial; otherwise the last wins.
    """
    kept: dict[tuple[str, str], NewSegment] = {}
    for row in rows:
        key = row.session_id, clean(row.utterance_id)
        if row.is_final or key not in kept or not kept[key].is_final:
            kept[key] = row
    return [kept[key] for key in sorted(kept)]


def _arguments(row: NewSegment) -> tuple[object, ...]:
    return (
        ids.cuid(),
        row.session_id,
        row.participant_id,
        clean(row.utterance_id),
        clean(row.text),
        clean_or_none(row.language),
        row.is_final,
        naive(row.started_at),
        naive_or_none(row.ended_at),
        naive(row.created_at),
    )
