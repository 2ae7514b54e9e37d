"""Who did what: the rows of `gateway.audit`."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from storage.postgres.values import clean, clean_or_none, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class NewAuditRow:
    """`at`: with its time zone."""

    at: datetime
    who_kind: str
    who: str
    what: str
    session_slug: str | None
    subject: str | None
    address: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: int
    at: datetime
    who_kind: str
    who: str
    what: str
    session_slug: str | None
    subject: str | None
    address: str


class AuditRows:
    """Each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, row: NewAuditRow) -> None:
        """Not to be repeated."""
        at, kind, who, what, slug, subject, address = astuple(row)
        slug, subject = clean_or_none(slug), clean_or_none(subject)
        await self._db.run("audit_add", at, kind, clean(who), what, slug, subject, clean(address))

    async def listed(
        self, since: datetime | None, until: datetime | None, slug: str | None, before: int | None, limit: int
    ) -> list[AuditRow]:
        """Newest first. `until` is exclusive; `before`: only rows with a smaller id."""
        records = await self._db.rows("audit_list", since, until, clean_or_none(slug), before, limit)
        return [read(AuditRow, record) for record in records]

    async def prune(self, before: datetime, limit: int) -> int:
        """Forget at most `limit` rows that are older. Returns: how many."""
        return await self._db.run("audit_prune", before, limit)
