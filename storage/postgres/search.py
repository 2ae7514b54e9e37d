"""Lines of words, by which finals are found (`gateway.search_line`). Triggers keep them; see the migration `search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from storage.postgres.values import clean, clean_or_none, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class Visible:
    """Sessions that somebody may see: all, those of spaces, those that a user has created, or takes part in."""

    everything: bool
    spaces: Sequence[str]
    creator: str | None
    participant: str | None

    def arguments(self) -> tuple[object, ...]:
        """The first four of each query."""
        return self.everything, [*map(clean, self.spaces)], *map(clean_or_none, (self.creator, self.participant))


@dataclass(frozen=True, slots=True)
class Sought:
    """`query`: a tsquery. `shown_by`: its form in each text search configuration. `behind`: (said at, session id, seq)
    of the last result before; only what is lower follows. `sessions`: only these."""

    query: str
    shown_by: Mapping[str, str]
    since: datetime
    until: datetime
    space_id: str | None
    sessions: Sequence[str] | None
    behind: tuple[datetime, str, int] | None
    each: bool
    """Look at each line in this time and these sessions, not into the index."""


@dataclass(frozen=True, slots=True)
class LineRow:
    session_id: str
    slug: str
    title: str | None
    seq: int
    said_at: datetime
    data: bytes
    text: str
    shown: str


@dataclass(frozen=True, slots=True)
class LeafRow:
    """`n` counts from 1. None: there is no line in any configuration."""

    config: str | None
    n: int
    query: str | None
    is_complete: bool


class SearchLines:
    """Each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def leaves(self, kinds: Sequence[str], texts: Sequence[str]) -> list[LeafRow]:
        """Parts of a query (words, phrase, prefix, or pairs: a tsquery already) in each configuration."""
        return [read(LeafRow, record) for record in await self._db.rows("search_leaves", kinds, [*map(clean, texts)])]

    async def sessions(self, visible: Visible, space_id: str | None, limit: int) -> list[str]:
        """Ids of at most `limit` sessions, of one space if it is given."""
        arguments = *visible.arguments(), clean_or_none(space_id), limit
        return [record["id"] for record in await self._db.rows("search_sessions", *arguments)]

    async def behind(self, until: datetime, lines: int) -> tuple[datetime | None, datetime | None]:
        """When the newest line before a moment was said, and the one so many behind it."""
        record = await self._db.row("search_since", until, lines)
        assert record is not None  # noqa: S101 - a SELECT without FROM is one row
        return record["newest"], record["start"]

    async def find(self, visible: Visible, sought: Sought, limit: int) -> tuple[int, list[LineRow]]:
        """How many lines there are, whoever may see them; and the newest `limit` of those that may be seen."""
        records = await self._db.rows(
            "search_find",
            *visible.arguments(),
            clean_or_none(sought.space_id),
            sought.query,
            sought.since,
            sought.until,
            sought.sessions,
            *(sought.behind or (None, None, None)),
            limit,
            list(sought.shown_by),
            list(sought.shown_by.values()),
            sought.each,
        )
        rows = [dict(record) for record in records]
        matched = [row.pop("matched") for row in rows]
        return matched[0], [read(LineRow, row) for row in rows if row["seq"] is not None]

    async def backfill(self, limit: int) -> tuple[int, bool]:
        """Lines of at most `limit` finals that were stored before there were lines. Returns: how many, 0 also when
        another replica is at it; and whether there may be more."""
        record = await self._db.row("search_backfill", limit)
        assert record is not None  # noqa: S101 - a SELECT without FROM is one row
        return record["lines"], record["is_left"]
