"""What came out of analysing a session, and starting a failed analysis again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway.analysis.analyse import Analyses, AnalysisRecord
from gateway.analysis.rules import Method, Risk, Task
from gateway.api.errors import Problem
from gateway.api.openapi import Route
from gateway.api.schemas import Moment
from gateway.api.sessions import SLUG, caller_of
from gateway.api.web import json_answer
from gateway.live import credentials
from gateway.moment import timestamp
from gateway.sessions.domain.access import What
from gateway.sessions.domain.video_session import VideoSession
from gateway.sessions.usecases.admission import Admission

if TYPE_CHECKING:
    from aiohttp import web


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
    """`check`: finds out what a credential is."""

    analyses: Analyses
    admission: Admission
    check: Callable[[str | None], Awaitable[credentials.Access]]

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        problems: dict[int, type | None] = {401: Problem, 403: Problem, 404: Problem, 503: Problem}
        return [
            Route("GET", "/api/sessions/{slug}/analysis", self.show, "Summary, tasks and risks of an ended session",
                  credential="watch", parameters=(SLUG,), answers={200: AnalysisView, **problems}, tag="sessions"),
            Route("POST", "/api/sessions/{slug}/analysis/retry", self.retry, "Start a failed analysis again; for the "
                  "session's creator and services", credential="watch", parameters=(SLUG,),
                  answers={202: AnalysisView, 409: Problem, **problems}, tag="sessions"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/sessions/{slug}/analysis`, for members of the session: 200, or 404 before the session has ended."""
        session = await self._session(request, What.VIEW)
        return _answer(session, await self.analyses.find(session), 200)

    async def retry(self, request: web.Request) -> web.Response:
        """`POST …/analysis/retry`, for the session's creator and services: 202, or 409 unless the analysis failed."""
        session = await self._session(request, What.RETRY_ANALYSIS)
        return _answer(session, await self.analyses.retry(session), 202)

    async def _session(self, request: web.Request, what: What) -> VideoSession:
        access = await self.check(credentials.bearer(request.headers.get("Authorization", "")))
        return await self.admission.session(caller_of(access), request.match_info["slug"], what)


def _answer(session: VideoSession, record: AnalysisRecord, status: int) -> web.Response:
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
    return json_answer(view, status)
