"""The queue of analyses in memory; held to the same contract as the one on Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gateway.analysis.analyse import AnalysisRecord, Job
from gateway.analysis.rules import AnalysisStatus, Conversation, Findings, Line, may_move
from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.video_session import VideoSession


@dataclass
class _Row:
    number: int
    record: AnalysisRecord
    due_at: datetime
    fence: int = 0
    lease_until: datetime | None = None


@dataclass
class MemoryAnalyses:
    """`down`: as if the database did not answer."""

    clock: Clock
    sessions: dict[str, VideoSession] = field(default_factory=dict)
    talks: dict[str, Conversation] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    down: bool = False

    def add(self, slug: str, *texts: str, status: str = "ENDED") -> VideoSession:
        session = VideoSession(f"id-{slug}", slug, None, "user-1", "space", status, self.clock.now())
        self.sessions[session.id] = session
        lines = (Line("Anna", text, "en", 1000 * n) for n, text in enumerate(texts, start=1))
        self.talks[session.id] = Conversation(tuple(lines))
        return session

    def _check(self) -> None:
        if self.down:
            raise RecordsUnavailable("down")

    async def session_status(self, session_id: str) -> str | None:
        session = self.sessions.get(session_id)
        return session.status if session else None

    async def ensure(self, session_id: str) -> AnalysisRecord | None:
        self._check()
        session = self.sessions.get(session_id)
        if session is None or session.status != "ENDED":
            return None
        now = self.clock.now()
        if session_id not in self.rows:
            record = AnalysisRecord(AnalysisStatus.PENDING, None, None, (), (), None, 0, now, now)
            self.rows[session_id] = _Row(len(self.rows), record, now)
        return self.rows[session_id].record

    async def find(self, session_id: str) -> AnalysisRecord | None:
        self._check()
        row = self.rows.get(session_id)
        return row.record if row else None

    async def take(self, lease_s: float) -> Job | None:
        self._check()
        now = self.clock.now()
        for session_id, row in sorted(self.rows.items(), key=lambda item: item[1].number):
            due = row.record.status is AnalysisStatus.PENDING and row.due_at <= now
            lost = row.record.status is AnalysisStatus.RUNNING and row.lease_until is not None and row.lease_until < now
            if due or lost:
                row.fence += 1
                row.lease_until = now + timedelta(seconds=lease_s)
                row.record = replace(
                    row.record, status=AnalysisStatus.RUNNING, attempts=row.record.attempts + 1, updated_at=now
                )
                return Job(session_id, session_id, row.fence, row.record.attempts)
        return None

    def _mine(self, job: Job) -> _Row | None:
        self._check()
        row = self.rows.get(job.session_id)
        good = row is not None and row.fence == job.fence and row.record.status is AnalysisStatus.RUNNING
        return row if good else None

    async def renew(self, job: Job, lease_s: float) -> bool:
        row = self._mine(job)
        if row is None:
            return False
        row.lease_until = self.clock.now() + timedelta(seconds=lease_s)
        return True

    async def conversation(self, session_id: str) -> Conversation:
        self._check()
        return self.talks[session_id]

    def _settle(self, job: Job, status: AnalysisStatus, reason: str | None = None) -> _Row | None:
        row = self._mine(job)
        if row is None:
            return None
        assert may_move(row.record.status, status)
        row.lease_until = None
        row.record = replace(row.record, status=status, reason=reason, updated_at=self.clock.now())
        return row

    async def done(self, job: Job, findings: Findings) -> bool:
        row = self._settle(job, AnalysisStatus.DONE)
        if row is None:
            return False
        row.record = replace(
            row.record,
            method=findings.method,
            summary=findings.summary,
            tasks=findings.tasks,
            risks=findings.risks,
        )
        return True

    async def failed(self, job: Job, reason: str) -> bool:
        return self._settle(job, AnalysisStatus.FAILED, reason) is not None

    async def put_back(self, job: Job, reason: str | None, due_at: datetime, *, counts: bool = True) -> bool:
        row = self._settle(job, AnalysisStatus.PENDING, reason)
        if row is None:
            return False
        row.due_at = due_at
        row.record = replace(row.record, attempts=row.record.attempts - (0 if counts else 1))
        return True

    async def retry(self, session_id: str) -> bool:
        self._check()
        row = self.rows.get(session_id)
        if row is None or row.record.status is not AnalysisStatus.FAILED:
            return False
        row.fence += 1
        row.due_at = self.clock.now()
        row.record = replace(row.record, status=AnalysisStatus.PENDING, attempts=0, reason=None)
        return True

    async def counts(self) -> Mapping[str, int]:
        self._check()
        waiting = Counter(row.record.status.value for row in self.rows.values())
        return {status: count for status, count in waiting.items() if status != "DONE"}
