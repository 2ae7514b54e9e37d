"""Usage of all sessions, deleted ones included: `TranscriptionUsage` and `gateway.usage_archive`, summed as asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from storage.postgres.values import clean_or_none, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database, Link, Record


STEP: Final = 500


class ReportSums(msgspec.Struct, frozen=True):
    """`rows`: rows of usage. `billed_seconds`: None while the provider has billed none of them. It has three decimals,
    money (USD) six."""

    rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    billed_seconds: float | None
    cost_saved: float


class ReportRow(NamedTuple):
    """One group, or one row of usage. What the rows of a group do not share is None. Moments as the API spells them.
    `key`: above which the next page begins; None where all are read.

    A tuple in the order of the columns: a hundred thousand of them are read for a month.
    """

    day: str | None
    month: str | None
    space_id: str | None
    user_id: str | None
    session_id: str | None
    session_slug: str | None
    title: str | None
    identity: str | None
    participant_name: str | None
    tags: tuple[str, ...] | None
    started_at: str | None
    ended_at: str | None
    is_deleted: bool
    rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    billed_seconds: float | None
    cost_saved: float
    key: str | None


def _row(record: Record) -> ReportRow:
    values = list(record.values())
    values[_TAGS] = _tags(values[_TAGS])
    return ReportRow._make(values)


_TAGS: Final = ReportRow._fields.index("tags")


@lru_cache(maxsize=1024)
def _tags(array: str | None) -> tuple[str, ...] | None:
    """Many rows have the same."""
    return None if array is None else tuple(map(str, msgspec.json.decode(array)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows of usage that begin in [since, until); None: of any space, by any user, with any tags."""

    since: datetime
    until: datetime
    space_id: str | None = None
    user_id: str | None = None
    tag: str | None = None

    def arguments(self) -> tuple[object, ...]:
        """The first five of each query."""
        return self.since, self.until, *map(clean_or_none, (self.space_id, self.user_id, self.tag))


class Report:
    """Each method is one statement, planned for its arguments."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def rows(self, chosen: Chosen, group: str, after: str | None, limit: int) -> list[ReportRow]:
        """By key, those above `after`. `group`: row, day, month, space, user or session."""
        query, *arguments = _query(chosen, group, after, limit)
        async with self._planned() as link:
            return [_row(record) for record in await link.rows(query, *arguments)]

    async def all_rows(self, chosen: Chosen, group: str, after: str | None) -> AsyncGenerator[list[ReportRow]]:
        """As `rows`, without a limit: one statement, fetched STEP rows at a time."""
        query, *arguments = _query(chosen, group, after, None)
        async with self._planned() as link, aclosing(link.stream(query, STEP, *arguments)) as steps:
            async for records in steps:
                yield [_row(record) for record in records]

    async def totals(self, chosen: Chosen) -> ReportSums:
        """Of all rows."""
        async with self._planned() as link:
            record = await link.row("report_totals", *chosen.arguments())
        assert record is not None  # noqa: S101 - an aggregate without GROUP BY is one row
        return read(ReportSums, record)

    @asynccontextmanager
    async def _planned(self) -> AsyncIterator[Link]:
        async with self._db.transaction() as link:
            await link.row("report_plan")
            yield link


def _query(chosen: Chosen, group: str, after: str | None, limit: int | None) -> tuple[Any, ...]:
    """Name and arguments. Rows by themselves need not be grouped, which takes most of the time."""
    if group == "row":
        return "report_each", *chosen.arguments(), clean_or_none(after), limit
    return "report_rows", *chosen.arguments(), group, clean_or_none(after), limit
