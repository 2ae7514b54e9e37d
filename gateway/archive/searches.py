"""Lines of words in Postgres: the port Index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.archive.query import Leaf
from gateway.archive.search import Line, Part, Place, Understood, Within
from gateway.availability import available
from gateway.sessions.domain.access import Reach
from storage.postgres.search import LineRow, SearchLines, Sought, Visible

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresIndex:
    """On `gateway.search_line`; one statement a method."""

    def __init__(self, database: Database) -> None:
        self._lines = SearchLines(database)

    @available
    async def read(self, leaves: Sequence[Leaf]) -> Understood:
        rows = await self._lines.leaves([leaf.kind.value for leaf in leaves], [leaf.text for leaf in leaves])
        found: dict[str, dict[Leaf, str]] = {}
        for row in rows:
            if row.config is not None:
                found.setdefault(row.config, {})[leaves[row.n - 1]] = row.query or ""
        return Understood(found, all(row.is_complete for row in rows))

    @available
    async def sessions(self, who: Reach, space_id: str | None, limit: int) -> Sequence[str]:
        return await self._lines.sessions(_visible(who), space_id, limit)

    @available
    async def behind(self, until: datetime, lines: int) -> tuple[datetime, datetime | None] | None:
        newest, start = await self._lines.behind(until, lines)
        return None if newest is None else (newest, start)

    @available
    async def find(self, query: str, shown_by: Mapping[str, str], within: Within, limit: int) -> Part:
        behind = within.behind
        sought = Sought(
            query,
            shown_by,
            within.since,
            within.until,
            within.space_id,
            within.sessions,
            None if behind is None else (behind.said_at, behind.session_id, behind.seq),
            within.each,
        )
        matched, rows = await self._lines.find(_visible(within.reach), sought, limit)
        return Part([_line(row) for row in rows], matched)

    @available
    async def catch_up(self, limit: int) -> tuple[int, bool]:
        return await self._lines.backfill(limit)


def _visible(who: Reach) -> Visible:
    return Visible(who.everything, sorted(who.spaces), who.creator, who.participant)


def _line(row: LineRow) -> Line:
    return Line(Place(row.said_at, row.session_id, row.seq), row.slug, row.title, row.data, row.text, row.shown)
