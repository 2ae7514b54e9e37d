"""The queue of analyses on Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from gateway.analysis.analyse import AnalysisRecord, Job
from gateway.analysis.rules import AnalysisStatus, Conversation, Findings, Line, Method, Risk, Task, fitting
from gateway.availability import available
from gateway.clock import Clock
from storage.postgres.analyses import Analyses, AnalysisRow, JobRow
from storage.postgres.segments import Segments
from storage.postgres.sessions import Sessions
from storage.postgres.transcriptions import Transcriptions

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresAnalyses:
    """The port AnalysisQueue, on `SessionAnalysis` and `gateway.analysis_job`; leases, and
    what is due, go by the database's clock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._clock = clock
        self._analyses = Analyses(database)
        self._sessions = Sessions(database)
        self._segments = Segments(database)
        self._transcriptions = Transcriptions(database)

    @available
    async def session_status(self, session_id: str) -> str | None:
        row = await self._sessions.by_id(session_id)
        return None if row is None else row.status

    @available
    async def ensure(self, session_id: str) -> AnalysisRecord | None:
        return _record(await self._analyses.ensure(session_id, self._clock.now()))

    @available
    async def find(self, session_id: str) -> AnalysisRecord | None:
        return _record(await self._analyses.by_session(session_id))

    @available
    async def take(self, lease_s: float) -> Job | None:
        row = await self._analyses.take(self._clock.now(), lease_s)
        return None if row is None else Job(row.analysis_id, row.session_id, row.fence, row.attempts)

    @available
    async def renew(self, job: Job, lease_s: float) -> bool:
        return await self._analyses.renew(_row(job), lease_s)

    @available
    async def conversation(self, session_id: str) -> Conversation:
        """Finals in spoken order; times count as in the transcript."""
        session = await self._sessions.by_id(session_id)
        segments = await self._segments.by_session(session_id)
        transcription = await self._transcriptions.by_session(session_id)
        origin = transcription.origin if transcription else segments[0].started_at if segments else None
        lines = tuple(
            Line(
                segment.name or segment.identity,
                segment.text,
                segment.language,
                max(round((segment.started_at - (origin or segment.started_at)).total_seconds() * 1000), 0),
            )
            for segment in segments
            if segment.text.strip()
        )
        held_at = None if session is None else session.started_at or session.created_at
        return Conversation(lines, None if session is None else session.title, held_at)

    @available
    async def done(self, job: Job, findings: Findings) -> bool:
        tasks: list[Any] = list(findings.tasks)
        risks: list[Any] = list(findings.risks)
        now = self._clock.now()
        return await self._analyses.done(_row(job), findings.method, findings.summary, tasks, risks, now)

    @available
    async def failed(self, job: Job, reason: str) -> bool:
        return await self._analyses.failed(_row(job), reason, self._clock.now())

    @available
    async def put_back(self, job: Job, reason: str | None, due_at: datetime, *, counts: bool = True) -> bool:
        now = self._clock.now()
        return await self._analyses.put_back(_row(job), reason, (due_at - now).total_seconds(), now, counts=counts)

    @available
    async def retry(self, session_id: str) -> bool:
        return await self._analyses.retry(session_id, self._clock.now())

    @available
    async def counts(self) -> Mapping[str, int]:
        return await self._analyses.counts()


def _row(job: Job) -> JobRow:
    return JobRow(job.analysis_id, job.session_id, job.fence, job.attempts)


def _method(name: str | None) -> Method | None:
    known: dict[str, Method] = {method: method for method in get_args(Method)}
    return known.get(name or "")


def _record(row: AnalysisRow | None) -> AnalysisRecord | None:
    if row is None:
        return None
    return AnalysisRecord(
        status=AnalysisStatus(row.status),
        method=_method(row.method),
        summary=row.summary,
        tasks=tuple(fitting(Task, row.tasks_json)),
        risks=tuple(fitting(Risk, row.risks_json)),
        reason=row.reason,
        attempts=row.attempts,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
