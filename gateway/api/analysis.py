"""What came out of analysing a session, and starting a failed analysis again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from aiohttp import web

from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import Moment
from gateway.live import credentials
from gateway.live.credentials import Access, Forbidden
from gateway.live.protocol import timestamp
from gateway.sessions.domain.analysis import Method, Risk, Task
from gateway.sessions.usecases.analyse import AnalysedSession, Analyses, AnalysisRecord

_SLUG = Parameter("slug", "path", "the session's slug")


class AnalysisView(msgspec.Struct, rename="camel", omit_defaults=True):
    """`method`: `model`, or `extractive` when no language model is configured; null until it is done. `reason`: why the
    last attempt failed. `attempts`: since it was made, or since the last retry."""

    session_slug: str
    status: Literal["PENDING", "RUNNING", "DONE", "FAILED"]
    method: Method | None
    summary: str | None
    tasks: list[Task]
    risks: list[Risk]
    attempts: int
    created_at: Moment
    updated_at: Moment
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AnalysisApi:
    """`check`: what a credential proves."""

    analyses: Analyses
    check: Callable[[str | None], Awaitable[Access]]

    def routes(self) -> list[Route]:
        problems: dict[int, type | None] = {401: Problem, 403: Problem, 404: Problem, 503: Problem}
        return [
            Route("GET", "/api/sessions/{slug}/analysis", self.show, "Summary, tasks and risks of an ended session",
                  credential="watch", parameters=(_SLUG,), answers={200: AnalysisView, **problems}, tag="sessions"),
            Route("POST", "/api/sessions/{slug}/analysis/retry", self.retry, "Start a failed analysis again; for the "
                  "session's creator and services", credential="watch", parameters=(_SLUG,),
                  answers={202: AnalysisView, 409: Problem, **problems}, tag="sessions"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        session, _ = await self._session(request)
        return _answer(session, await self.analyses.find(session), 200)

    async def retry(self, request: web.Request) -> web.Response:
        session, access = await self._session(request)
        creates = access.room is None and session.created_by is not None and access.subject == session.created_by
        if not (access.is_service or creates):
            raise Forbidden("only the session's creator or a service may start its analysis again")
        return _answer(session, await self.analyses.retry(session), 202)

    async def _session(self, request: web.Request) -> tuple[AnalysedSession, Access]:
        token = credentials.bearer(request.headers.get("Authorization", ""))
        access = await self.check(token)
        session = await self.analyses.session(request.match_info["slug"])
        access.check_session(session.slug, session.space_id)
        return session, access


def _answer(session: AnalysedSession, record: AnalysisRecord, status: int) -> web.Response:
    view = AnalysisView(
        session_slug=session.slug,
        status=record.status.value,
        method=record.method,
        summary=record.summary,
        tasks=list(record.tasks),
        risks=list(record.risks),
        attempts=record.attempts,
        created_at=timestamp(record.created_at),
        updated_at=timestamp(record.updated_at),
        reason=record.reason,
    )
    return web.Response(body=msgspec.json.encode(view), status=status, content_type="application/json")
