"""The accountant's report: what was used and what it costs, over all sessions, deleted ones included."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import msgspec

PAGE: Final = 500


class Group(StrEnum):
    """What one line of a report stands for. `ROW`: one participant in one transcription."""

    ROW = "row"
    DAY = "day"
    MONTH = "month"
    SPACE = "space"
    USER = "user"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Asked:
    """Usage that began in [since, until), with their time zones. A row counts where it began, also over midnight UTC.

    `tag`: one that the transcription was started with.
    """

    since: datetime
    until: datetime
    group: Group = Group.ROW
    space_id: str | None = None
    user_id: str | None = None
    tag: str | None = None
    after: str | None = None
    """Key of the last line of the page before."""


class Sums(msgspec.Struct, frozen=True):
    """`rows`: of usage. Seconds and minutes of audio as metered; minutes are rounded up in each row. Money in USD.

    `billed_s`: what the provider billed for them; None while it has billed none. Three decimals, money has six.
    """

    rows: int
    duration_s: int
    duration_min: int
    total_usd: float
    billed_s: float | None
    saved_usd: float


class Line(NamedTuple):
    """One group. What its rows do not share is None. Moments are spelt as in the API. Figures as in Sums.

    `is_deleted`: some of it is of sessions that were deleted, without names and titles. `key`: above which the next
    page begins; it orders the lines and is unique; None where everything is read. A tuple, since a month has a hundred
    thousand of them.
    """

    day: str | None
    month: str | None
    space_id: str | None
    user_id: str | None
    session_id: str | None
    session_slug: str | None
    title: str | None
    identity: str | None
    name: str | None
    tags: Sequence[str] | None
    started_at: str | None
    ended_at: str | None
    is_deleted: bool
    rows: int
    duration_s: int
    duration_min: int
    total_usd: float
    billed_s: float | None
    saved_usd: float
    key: str | None


class Ledger(Protocol):
    """Where usage is kept. Every method may raise RecordsUnavailable."""

    async def lines(self, asked: Asked, limit: int) -> Sequence[Line]:
        """In the order of their keys, above `asked.after`."""

    def everything(self, asked: Asked) -> AsyncGenerator[Sequence[Line]]:
        """The same without a limit, some at a time, in constant memory. To be closed."""

    async def totals(self, asked: Asked) -> Sums:
        """Of everything asked for, whatever the page."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Pages of a report, or all of it line by line in constant memory."""

    ledger: Ledger

    async def page(self, asked: Asked) -> tuple[Sequence[Line], str | None, Sums]:
        """Lines, the key to go on after (None on the last page), the totals. Raises: RecordsUnavailable."""
        lines = list(await self.ledger.lines(asked, PAGE + 1))
        shown = lines[:PAGE]
        return shown, shown[-1].key if len(lines) > PAGE else None, await self.ledger.totals(asked)

    def everything(self, asked: Asked) -> AsyncGenerator[Sequence[Line]]:
        """From `asked.after` on, some lines at a time. Raises: RecordsUnavailable, also in the middle. To be closed."""
        return self.ledger.everything(asked)
