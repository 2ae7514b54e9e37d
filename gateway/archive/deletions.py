"""Deletions in Postgres: behind the ports of `erase` and `retention`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from gateway.archive.errors import DeletingRefused
from gateway.archive.retention import RetentionRefused
from gateway.availability import available
from gateway.clock import Clock
from storage.postgres.retention import Retention
from storage.postgres.sessions import Sessions

if TYPE_CHECKING:
    from storage.postgres.pool import Database

log = logging.getLogger(__name__)


class PostgresDeletions:
    """SessionDeletion and TranscriptDeletion: each call is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._clock = clock
        self._sessions = Sessions(database)
        self._retention = Retention(database)

    @available
    async def erase(self, session_id: str) -> bool:
        """Usage rows are moved to `gateway.usage_archive`. Raises and returns: as SessionDeletion."""
        try:
            return await self._sessions.delete(session_id, self._clock.now())
        except asyncpg.InsufficientPrivilegeError as error:
            log.error("a session was not deleted: %s", error)
            raise DeletingRefused from error

    @available
    async def clear(self, before: datetime, now: datetime) -> int:
        """At most 50 sessions; 0 also while another replica clears."""
        return await _allowed(self._retention.clear(before, now))

    @available
    async def drop_translations(self, before: datetime) -> int:
        """One statement."""
        return await self._retention.drop_translations(before)

    @available
    async def sweep_up(self, now: datetime) -> int:
        """At most 50 sessions; 0 also while another replica clears."""
        return await _allowed(self._retention.sweep_up(now))


async def _allowed(work: Awaitable[int]) -> int:
    try:
        return await work
    except asyncpg.InsufficientPrivilegeError as error:
        raise RetentionRefused(
            'transcripts are not removed: the role may not; GRANT DELETE ON "TranscriptSegment" and '
            'UPDATE ON "SessionAnalysis" to it'
        ) from error
