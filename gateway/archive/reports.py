"""The accountant's report from Postgres: the port Ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from gateway.archive.report import Asked, Line, Sums
from gateway.availability import available
from storage.postgres.report import Chosen, Report, ReportRow, ReportSums

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresLedger:
    """One statement a method."""

    def __init__(self, database: Database) -> None:
        self._report = Report(database)

    @available
    async def lines(self, asked: Asked, limit: int) -> Sequence[Line]:
        """Grouped and ordered by the database."""
        rows = await self._report.rows(_chosen(asked), asked.group.value, asked.after, limit)
        return [_line(row) for row in rows]

    async def everything(self, asked: Asked) -> AsyncIterator[Sequence[Line]]:
        """One statement, read as fast as the reader takes it."""
        rows = self._report.all_rows(_chosen(asked), asked.group.value, asked.after)
        while step := await _next(rows):
            yield [_line(row) for row in step]

    @available
    async def totals(self, asked: Asked) -> Sums:
        """Of all pages."""
        return _sums(await self._report.totals(_chosen(asked)))


@available
async def _next(rows: AsyncIterator[list[ReportRow]]) -> list[ReportRow] | None:
    return await anext(rows, None)


def _chosen(asked: Asked) -> Chosen:
    return Chosen(asked.since, asked.until, asked.space_id, asked.user_id, asked.tag)


def _sums(row: ReportSums) -> Sums:
    """By position, as `_line`: there are a hundred thousand of them in a month."""
    return Sums(
        row.rows, row.duration_seconds, row.duration_minutes, row.total_cost, row.billed_seconds, row.cost_saved
    )


def _line(row: ReportRow) -> Line:
    return Line(
        row.key,
        _sums(row),
        row.session_id,
        row.session_slug,
        row.title,
        row.space_id,
        row.user_id,
        row.identity,
        row.participant_name,
        row.tags,
        row.started_at,
        row.ended_at,
        row.is_deleted,
    )
