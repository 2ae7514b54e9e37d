"""The audit log in Postgres: the port Trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.archive.audit import Deed, Entry
from gateway.availability import available
from storage.postgres.audit import AuditRow, AuditRows, NewAuditRow

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresTrail:
    """On `gateway.audit`; one statement a method."""

    def __init__(self, database: Database) -> None:
        self._rows = AuditRows(database)

    @available
    async def add(self, deed: Deed) -> None:
        """One row."""
        row = NewAuditRow(deed.at, deed.kind, deed.who, deed.what, deed.session_slug, deed.subject, deed.address)
        await self._rows.add(row)

    @available
    async def listed(
        self, since: datetime | None, until: datetime | None, slug: str | None, before: int | None, limit: int
    ) -> Sequence[Entry]:
        """By id, which the database gives."""
        return [_entry(row) for row in await self._rows.listed(since, until, slug, before, limit)]

    @available
    async def prune(self, before: datetime, limit: int) -> int:
        """The oldest first."""
        return await self._rows.prune(before, limit)


def _entry(row: AuditRow) -> Entry:
    return Entry(row.id, Deed(row.at, row.who_kind, row.who, row.what, row.session_slug, row.subject, row.address))
