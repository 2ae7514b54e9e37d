"""The accountant's report over HTTP: a page of JSON, or everything as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.period import FROM, TO, moment
from gateway.api.schemas import Moment
from gateway.api.web import json_answer
from gateway.archive.report import Asked, Group, Line, Reports
from gateway.clock import Clock
from gateway.errors import WrongRequest

LONGEST: Final = timedelta(days=3_660)
_GROUPS: Final = [group.value for group in Group if group is not Group.ROW]
_CURSOR_LENGTH: Final = 512
_FORMULA: Final = frozenset("=+-@\t\r")


class ReportTotals(msgspec.Struct, rename="camel"):
    """`usageRows`: participants of transcriptions. `billedSeconds` is null while none of them is billed."""

    usage_rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    billed_seconds: float | None
    cost_saved: float


class ReportRow(msgspec.Struct, rename="camel"):
    """What the rows of a group do not share is null. `deleted`: sessions without their names, which are gone."""

    day: str | None
    month: str | None
    space_id: str | None
    user_id: str | None
    session_id: str | None
    session_slug: str | None
    title: str | None
    participant_identity: str | None
    participant_name: str | None
    tags: list[str] | None
    started_at: Moment | None
    ended_at: Moment | None
    deleted: bool
    usage_rows: int
    duration_seconds: int
    duration_minutes: int
    total_cost: float
    billed_seconds: float | None
    cost_saved: float


_TAGS: Final = ReportRow.__struct_fields__.index("tags")
_TEXTS: Final = range(ReportRow.__struct_fields__.index("space_id"), _TAGS + 1)
"""Text that others have chosen."""


class ReportPage(msgspec.Struct, rename="camel"):
    """`totals` are of everything asked for. `nextCursor` is null on the last page."""

    rows: list[ReportRow]
    totals: ReportTotals
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class UsageApi:
    """Handlers, for services."""

    reports: Reports
    clock: Clock

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        return [
            Route("GET", "/api/usage", self.show, "What was used and what it costs, over all sessions", parameters=(
                  FROM, TO,
                  Parameter("groupBy", "query", "one line each; without it one for each participant and transcription",
                            {"type": "string", "enum": _GROUPS}),
                  Parameter("spaceId", "query", "only this space"),
                  Parameter("userId", "query", "only what this user said"),
                  Parameter("tag", "query", "only transcriptions started with this tag"),
                  Parameter("format", "query", "json (default), or csv: everything, without pages",
                            {"type": "string", "enum": ["json", "csv"], "default": "json"}),
                  Parameter("cursor", "query", "nextCursor of the page before")),
                  answers={200: ReportPage, 400: Problem, 503: Problem}, files=("text/csv",), tag="operation"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/usage`: 200. Without `from` it begins with this month, without `to` it goes on to now."""
        asked = self._asked(request)
        match request.query.get("format", "json"):
            case "json":
                lines, cursor, totals = await self.reports.page(asked)
                return json_answer(
                    ReportPage(
                        [ReportRow(*_fields(line)) for line in lines],
                        ReportTotals(*msgspec.structs.astuple(totals)),
                        cursor,
                    )
                )
            case "csv":
                return await self._table(request, asked)
        raise WrongRequest("format must be json or csv")

    def _asked(self, request: web.Request) -> Asked:
        now = self.clock.now()
        month = datetime(now.year, now.month, 1, tzinfo=UTC)
        since, until = moment(request, "from") or month, moment(request, "to") or now
        if until <= since:
            raise WrongRequest("to must be later than from, and is not part of the period itself")
        if until - since > LONGEST:
            raise WrongRequest("from and to may be ten years apart at most")
        group, cursor = request.query.get("groupBy"), request.query.get("cursor")
        if group is not None and group not in _GROUPS:
            raise WrongRequest(f"groupBy must be one of {', '.join(_GROUPS)}")
        if cursor is not None and len(cursor) > _CURSOR_LENGTH:
            raise WrongRequest("cursor must be the nextCursor of a page")
        query = request.query
        return Asked(
            since,
            until,
            Group(group) if group else Group.ROW,
            query.get("spaceId"),
            query.get("userId"),
            query.get("tag"),
            cursor,
        )

    async def _table(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """Goes out as it comes; the first lines are read before the answer begins, so that it may be 503."""
        name = f"usage-{asked.since:%Y-%m-%d}-{asked.until:%Y-%m-%d}.csv"
        answer = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{name}"'})
        answer.content_type, answer.charset = "text/csv", "utf-8"
        async with aclosing(self.reports.everything(asked)) as pages:
            first = await anext(pages, None) or []  # not `()`: Python 3.11 takes that for no value at all
            await answer.prepare(request)
            await answer.write(_csv([ReportRow.__struct_encode_fields__, *map(_cells, first)]))
            async for lines in pages:
                await answer.write(_csv(map(_cells, lines)))
        await answer.write_eof()
        return answer


def _fields(line: Line) -> list[Any]:
    """In the order of ReportRow, which is that of Line; its key is for us."""
    return list(line[:-1])


def _cells(line: Line) -> list[Any]:
    """Text that a spreadsheet would take for a formula is quoted: names and titles are strangers' words."""
    cells = _fields(line)
    cells[_TAGS] = " ".join(line.tags or ())
    for at in _TEXTS:
        if (text := cells[at]) and text[0] in _FORMULA:
            cells[at] = "'" + text
    return cells


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
