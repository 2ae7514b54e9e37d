"""The analysis of an ended session (`SessionAnalysis`), which is also the queue of what is to be analysed.

The app's table says how far it is and what came out; `gateway.analysis_job` says who works on it, until when, and how
often it was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from storage import ids
from storage.postgres.values import clean, clean_or_none, json_bytes, naive, read

if TYPE_CHECKING:
    from storage.postgres.pool import Link


class AnalysisStatus(StrEnum):
    """Labels of the app's enum of the same name."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    id: str
    session_id: str
    status: str
    """An AnalysisStatus."""
    created_at: datetime
    updated_at: datetime
    summary: str | None
    tasks_json: Any
    risks_json: Any
    method: str | None
    """`model` or `extractive`; None until it is done, or when the app did it."""
    reason: str | None
    """Why the last attempt failed."""
    attempts: int


@dataclass(frozen=True, slots=True)
class JobRow:
    """An analysis that the caller has taken. Its writes are refused once another worker has (`fence`)."""

    analysis_id: str
    session_id: str
    fence: int
    attempts: int
    """This one included."""


class Analyses:
    """The queue and its results. Each change is one statement. What is due, and leases, go by the database's clock;
    `now` only dates the app's rows."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def ensure(self, session_id: str, now: datetime) -> AnalysisRow | None:
        """One PENDING analysis for an ENDED session; an existing one stays. Returns: None for any other session."""
        await self._db.run("analysis_ensure", ids.cuid(), session_id, naive(now))
        return await self.by_session(session_id)

    async def by_session(self, session_id: str) -> AnalysisRow | None:
        """None when it has none."""
        return _row(await self._db.row("analysis_by_session", session_id))

    async def take(self, now: datetime, lease_s: float) -> JobRow | None:
        """The oldest that is due or whose worker is lost, now RUNNING and the caller's for `lease_s`.

        Those whose session is still being transcribed have to wait.
        """
        record = await self._db.row("analysis_take", lease_s, naive(now))
        return None if record is None else read(JobRow, record)

    async def renew(self, job: JobRow, lease_s: float) -> bool:
        """Returns: False when it is not the caller's any more."""
        return await self._db.run("analysis_renew", job.analysis_id, job.fence, lease_s) == 1

    async def done(self, job: JobRow, method: str, summary: str, tasks: Any, risks: Any, now: datetime) -> bool:
        """RUNNING → DONE. Returns: False when it was not the caller's any more."""
        results = (clean(summary), json_bytes(tasks), json_bytes(risks), method)
        return await self._settle(job, AnalysisStatus.DONE, now, results)

    async def failed(self, job: JobRow, reason: str, now: datetime) -> bool:
        """RUNNING → FAILED."""
        return await self._settle(job, AnalysisStatus.FAILED, now, reason=reason)

    async def put_back(
        self, job: JobRow, reason: str | None, due_s: float, now: datetime, *, counts: bool = True
    ) -> bool:
        """RUNNING → PENDING, not to be taken before `due_s` from now. Without `counts`: as if it had not been tried."""
        forgiven = 0 if counts else 1
        return await self._settle(job, AnalysisStatus.PENDING, now, reason=reason, due_s=due_s, forgiven=forgiven)

    async def retry(self, session_id: str, now: datetime) -> bool:
        """FAILED → PENDING, with all attempts before it."""
        return int(await self._db.value("analysis_retry", session_id, naive(now))) == 1

    async def counts(self) -> dict[str, int]:
        """How many are PENDING, RUNNING and FAILED; states without any are left out."""
        return {record["status"]: record["count"] for record in await self._db.rows("analysis_counts")}

    async def _settle(
        self,
        job: JobRow,
        status: AnalysisStatus,
        now: datetime,
        results: tuple[str | None, bytes | None, bytes | None, str | None] = (None, None, None, None),
        *,
        reason: str | None = None,
        due_s: float = 0.0,
        forgiven: int = 0,
    ) -> bool:
        tail = (clean_or_none(reason), due_s, forgiven, naive(now))
        return await self._db.run("analysis_settle", job.analysis_id, job.fence, status.value, *results, *tail) == 1


def _row(record: Mapping[str, Any] | None) -> AnalysisRow | None:
    if record is None:
        return None
    values = dict(record)
    for name in ("tasksJson", "risksJson"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return read(AnalysisRow, values)
