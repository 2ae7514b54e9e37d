"""Words that are kept no longer: of sessions that are over long since, and of sessions that the app has deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from storage.postgres.values import naive

if TYPE_CHECKING:
    from storage.postgres.pool import Database, Link

# A session's row is there before its numbering; the app may still be at it in a transaction of its own.
_SETTLED: Final = timedelta(hours=1)


class Retention:
    """One replica at a time deletes: a transaction-level advisory lock, which the others do not wait for."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def clear(self, before: datetime, now: datetime, limit: int = 50) -> int:
        """Remove what was said in sessions that are over since before a moment; sessions, people and bills stay.

        One transaction. Returns: how many sessions; 0 also when another replica is at it.
        """
        async with self._db.transaction() as link:
            if not await link.value("retention_lock"):
                return 0
            found = [record["id"] for record in await link.rows("retention_due", naive(before), limit)]
            for session_id in found:
                await link.run("session_delete_segments", session_id)
                await link.run("session_delete_events", session_id)
                await link.run("retention_clear_analysis", session_id, naive(now))
                await link.run("retention_clear_analysis_reason", session_id)
                await link.rows("document_remove", session_id, now)
                await link.run("document_forget_url", session_id)
                await link.run("provider_session_unwanted", session_id, now)
        return len(found)

    async def drop_translations(self, before: datetime) -> int:
        """Of finals that never came, stored before a moment. Returns: how many."""
        return await self._db.run("translation_drop", before)

    async def sweep_up(self, now: datetime, limit: int = 50) -> int:
        """Remove what is ours of sessions that the app has deleted by itself. Returns: how many."""
        async with self._db.transaction() as link:
            if not await link.value("retention_lock"):
                return 0
            records = await link.rows("retention_left_behind", now - _SETTLED, limit)
            for record in records:
                await _forget(link, record["session_id"], now)
        return len(records)


async def _forget(link: Link, session_id: str, now: datetime) -> None:
    await link.run("session_delete_transcriptions", session_id)
    await link.rows("document_remove", session_id, now)
    await link.run("provider_session_unwanted", session_id, now)
    await link.run("session_delete_events", session_id)
    await link.run("session_delete_stream", session_id)
    await link.run("session_delete_analysis_job", session_id)
    await link.run("session_delete_notes", session_id)
