"""The analysis of an ended session (`SessionAnalysis`), which is also the queue of what is to be analysed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from storage import ids
from storage.postgres.pool import Link
from storage.postgres.values import clean, json_bytes, naive, read


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    id: str
    session_id: str
    status: str
    """PENDING, RUNNING, DONE or FAILED."""
    created_at: datetime
    updated_at: datetime
    summary: str | None
    tasks_json: Any
    risks_json: Any


class Analyses:
    def __init__(self, link: Link) -> None:
        self._db = link

    async def ensure(self, session_id: str, now: datetime) -> AnalysisRow | None:
        """One PENDING analysis for an ENDED session; an existing one stays. Returns: None for any other session."""
        await self._db.run("analysis_ensure", ids.cuid(), session_id, naive(now))
        return await self.by_session(session_id)

    async def by_session(self, session_id: str) -> AnalysisRow | None:
        return _row(await self._db.row("analysis_by_session", session_id))

    async def take(self, now: datetime, lost_before: datetime) -> AnalysisRow | None:
        """The oldest that waits, or that has been RUNNING since before `lost_before`, now RUNNING and the caller's."""
        return _row(await self._db.row("analysis_take", naive(now), naive(lost_before)))

    async def done(self, analysis_id: str, summary: str, tasks: Any, risks: Any, now: datetime) -> bool:
        args = (analysis_id, clean(summary), _json(tasks), _json(risks), naive(now))
        return await self._db.run("analysis_done", *args) == 1

    async def failed(self, analysis_id: str, now: datetime) -> bool:
        return await self._db.run("analysis_failed", analysis_id, naive(now)) == 1

    async def retry(self, session_id: str, now: datetime) -> bool:
        """FAILED → PENDING."""
        return await self._db.run("analysis_retry", session_id, naive(now)) == 1


def _json(document: Any) -> bytes | None:
    return None if document is None else json_bytes(document)


def _row(record: Mapping[str, Any] | None) -> AnalysisRow | None:
    if record is None:
        return None
    values = dict(record)
    for name in ("tasksJson", "risksJson"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return read(AnalysisRow, values)
