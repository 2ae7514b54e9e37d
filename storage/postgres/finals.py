"""The finals of a session, numbered 1, 2, 3 … : the app's `TranscriptSegment` and our event in one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from storage import ids
from storage.postgres.errors import row_is_to_blame
from storage.postgres.values import clean, clean_json, clean_or_none, naive, naive_or_none, read, whole

if TYPE_CHECKING:
    from storage.postgres.pool import Link

Key = tuple[str, int]
"""(session id, seq)"""


@dataclass(frozen=True, slots=True)
class FinalRow:
    transcription_id: str
    fence: int
    session_id: str
    epoch: str
    seq: int
    participant_id: str | None
    utterance_id: str
    text: str
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    data: bytes
    """The event's payload as JSON; jsonb keeps its meaning, not its spelling."""
    created_at: datetime

    @property
    def key(self) -> Key:
        """Unique, whatever the epoch."""
        return self.session_id, self.seq


@dataclass(frozen=True, slots=True)
class EventRow:
    session_id: str
    seq: int
    epoch: str
    utterance_id: str
    transcription_id: str
    data: bytes
    created_at: datetime


@dataclass(slots=True)
class Appended:
    """What became of each row of a batch. Nothing in here needs to be tried again."""

    stored: set[Key] = field(default_factory=set)
    repeated: set[Key] = field(default_factory=set)
    """The utterance was stored before, under this or another number."""
    fenced: set[str] = field(default_factory=set)
    """Transcriptions that are no longer ours: stop at once, another owner numbers on."""
    gone: set[str] = field(default_factory=set)
    """Sessions that were deleted."""
    conflicting: set[Key] = field(default_factory=set)
    """The number belongs to another utterance: two writers under one fence, which is a bug."""
    refused: dict[Key, str] = field(default_factory=dict)
    """Rows that PostgreSQL will never take, and why; without any of the row's text."""


class Finals:
    """Stores and reads numbered finals. Reading needs no lease; storing does."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def append(self, rows: Sequence[FinalRow]) -> Appended:
        """Store a batch (1 to 100 rows is the range that pays) in one round trip; the same batch twice changes nothing.

        A row that cannot be stored never takes its batch with it.
        Raises: what `errors.retryable` is true for, with nothing known about what was stored: send the batch again;
        anything else means that the database itself is not as it was checked at start.
        """
        outcome = Appended()
        fit = []
        for row in sorted(rows, key=lambda row: row.key):
            try:
                fit.append(_arguments(row))
            except (ValueError, UnicodeEncodeError, AttributeError, TypeError) as error:
                outcome.refused[row.key] = f"{type(error).__name__} before sending"
        if fit:
            await self._store(fit, outcome)
        return outcome

    async def _store(self, batch: list[tuple[object, ...]], outcome: Appended) -> None:
        try:
            records = await self._db.rows("final_append", *map(list, zip(*batch, strict=True)))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not row_is_to_blame(error):
                raise
            if len(batch) == 1:
                outcome.refused[_key(batch[0])] = _code(error)
                return
            middle = len(batch) // 2
            await self._store(batch[:middle], outcome)
            await self._store(batch[middle:], outcome)
            return
        present = []
        for record in records:
            row = batch[record["n"] - 1]
            match record["outcome"]:
                case "stored":
                    outcome.stored.add(_key(row))
                case "fenced":
                    outcome.fenced.add(str(row[0]))
                case "gone":
                    outcome.gone.add(str(row[2]))
                case _:
                    present.append(row)
        if present:
            await self._sort_out(present, outcome)

    async def _sort_out(self, batch: list[tuple[object, ...]], outcome: Appended) -> None:
        """For rows that met an existing one: is it the same utterance (a repeat) or another (a clash of numbers)?"""
        sessions, utterances = [row[2] for row in batch], [row[6] for row in batch]
        found = await self._db.rows("final_present", sessions, utterances)
        known = {(r["session_id"], r["utterance_id"]) for r in found}
        for row in batch:
            bucket = outcome.repeated if (row[2], row[6]) in known else outcome.conflicting
            bucket.add(_key(row))

    async def since(self, session_id: str, seq: int = 0, limit: int = 500) -> list[EventRow]:
        """The finals after number `seq`, in order."""
        return [read(EventRow, r) for r in await self._db.rows("final_since", session_id, seq, limit)]

    async def last(self, session_id: str, limit: int) -> Sequence[bytes]:
        """`data` of the last finals, in order."""
        return [record["data"] for record in reversed(await self._db.rows("final_last", session_id, limit))]

    async def newest(self, session_id: str) -> int:
        """The highest number; 0 when there is none."""
        return int(await self._db.value("final_newest", session_id))

    async def at(self, session_id: str, moment_ms: int) -> int | None:
        """The first number whose final ends after a moment of the session's clock; None when none does."""
        seq: int | None = await self._db.value("final_at", session_id, moment_ms)
        return seq

    async def since_each(self, after: Mapping[str, int], limit: int = 50) -> Sequence[EventRow]:
        """Of each session (by id) the finals after a number of its own, in order, at most `limit`; one statement."""
        rows = await self._db.rows("final_since_each", list(after), list(after.values()), limit)
        return [read(EventRow, record) for record in rows]

    async def pages(self, session_id: str, seq: int = 0, page: int = 500) -> AsyncIterator[list[EventRow]]:
        """All finals after `seq`, page by page; no connection is held between pages, so the reader may be slow."""
        while rows := await self.since(session_id, seq, page):
            yield rows
            seq = rows[-1].seq

    async def count_by_speaker(self, session_id: str, transcription_id: str) -> dict[str, int]:
        """How many finals of a transcription are stored, by identity."""
        rows = await self._db.rows("final_count_by_speaker", session_id, transcription_id)
        return {r["identity"]: r["finals"] for r in rows}

    async def count(self, session_id: str) -> int:
        """How many finals of the session have a number."""
        return int(await self._db.value("final_count", session_id))


def _arguments(row: FinalRow) -> tuple[object, ...]:
    """In the order of the statement's parameters."""
    return (
        row.transcription_id,
        row.fence,
        row.session_id,
        row.epoch,
        whole(row.seq),
        row.participant_id,
        clean(row.utterance_id),
        clean(row.text),
        clean_or_none(row.language),
        naive(row.started_at),
        naive_or_none(row.ended_at),
        clean_json(row.data),
        row.created_at,
        ids.cuid(),
    )


def _key(arguments: tuple[object, ...]) -> Key:
    session_id, seq = arguments[2], arguments[4]
    assert isinstance(session_id, str) and isinstance(seq, int)  # noqa: S101 - as `_arguments` made them
    return session_id, seq


def _code(error: Exception) -> str:
    return f"{type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".strip()
