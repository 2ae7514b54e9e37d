"""The accountant's report over HTTP: a page of JSON, or everything as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
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
from gateway.archive.report import Asked, Group, Line, Reports, Sums
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


_TEXTS: Final = ReportRow.__struct_fields__.index("space_id")
_TAGS: Final = ReportRow.__struct_fields__.index("tags")
"""Between the two all is text that others have chosen."""


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
                return json_answer(ReportPage([_row(line, asked.group) for line in lines], _totals(totals), cursor))
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
        pages = self.reports.everything(asked)
        first = await anext(pages, None) or []  # not `()`: Python 3.11 takes that for no value at all
        name = f"usage-{asked.since:%Y-%m-%d}-{asked.until:%Y-%m-%d}.csv"
        answer = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{name}"'})
        answer.content_type, answer.charset = "text/csv", "utf-8"
        await answer.prepare(request)
        await answer.write(_csv([ReportRow.__struct_encode_fields__]))
        await answer.write(_csv(_cells(first, asked.group)))
        async for lines in pages:
            await answer.write(_csv(_cells(lines, asked.group)))
        await answer.write_eof()
        return answer


def _totals(sums: Sums) -> ReportTotals:
    return ReportTotals(*_figures(sums))


def _figures(sums: Sums) -> tuple[Any, ...]:
    """In the order of ReportTotals, which is that of the last fields of ReportRow."""
    billed = None if sums.billed_s is None else round(sums.billed_s, 3)
    return (
        sums.rows,
        sums.duration_s,
        sums.duration_min,
        round(sums.total_usd, 6),
        billed,
        round(sums.saved_usd, 6),
    )


def _row(line: Line, group: Group) -> ReportRow:
    return ReportRow(*_fields(line, group))


def _fields(line: Line, group: Group) -> tuple[Any, ...]:
    """In the order of ReportRow."""
    return (
        line.key if group is Group.DAY else None,
        line.key if group is Group.MONTH else None,
        line.space_id,
        line.user_id,
        line.session_id,
        line.session_slug,
        line.title,
        line.identity,
        line.name,
        line.tags,
        line.started_at,
        line.ended_at,
        line.is_deleted,
        *_figures(line.sums),
    )


def _cells(lines: Sequence[Line], group: Group) -> Iterator[tuple[object, ...]]:
    for line in lines:
        fields = _fields(line, group)
        tags = None if line.tags is None else " ".join(line.tags)
        yield (*fields[:_TEXTS], *map(_harmless, fields[_TEXTS:_TAGS]), _harmless(tags), *fields[_TAGS + 1 :])


def _harmless(text: str | None) -> str | None:
    """Text that a spreadsheet would take for a formula is quoted: names and titles are strangers' words."""
    return "'" + text if text and text[0] in _FORMULA else text


def _csv(rows: object) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()
