"""The accountant's report from Postgres: the port Ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from gateway.archive.report import Asked, Line, Sums
from gateway.availability import available
from storage.postgres.report import Chosen, Report, ReportRow

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresLedger:
    """One statement a method. A line has the fields of storage's row, in their order."""

    def __init__(self, database: Database) -> None:
        self._report = Report(database)

    @available
    async def lines(self, asked: Asked, limit: int) -> Sequence[Line]:
        """Grouped and ordered by the database."""
        rows = await self._report.rows(_chosen(asked), asked.group.value, asked.after, limit)
        return [Line._make(row) for row in rows]

    async def everything(self, asked: Asked) -> AsyncGenerator[Sequence[Line]]:
        """One statement, read as fast as the reader takes it."""
        async with aclosing(self._report.all_rows(_chosen(asked), asked.group.value, asked.after)) as steps:
            while step := await _next(steps):
                yield [Line._make(row) for row in step]

    @available
    async def totals(self, asked: Asked) -> Sums:
        """Of all pages."""
        sums = await self._report.totals(_chosen(asked))
        return Sums(
            sums.rows, sums.duration_seconds, sums.duration_minutes, sums.total_cost, sums.billed_seconds,
            sums.cost_saved,
        )  # fmt: skip


@available
async def _next(steps: AsyncGenerator[list[ReportRow]]) -> list[ReportRow] | None:
    return await anext(steps, None)


def _chosen(asked: Asked) -> Chosen:
    return Chosen(asked.since, asked.until, asked.space_id, asked.user_id, asked.tag)
