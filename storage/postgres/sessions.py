"""Video sessions and who is in them: the app's tables `VideoSession`, `Participant` and `Space`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import asyncpg

from storage import ids
from storage.postgres.errors import SessionGone, SlugTaken
from storage.postgres.pool import Database, Link, Record
from storage.postgres.values import clean, clean_or_none, naive, read, whole

DEFAULT_SPACE: Final = "default"
"""The one space of a gateway that runs without the app."""


class SessionStatus(StrEnum):
    CREATED = "CREATED"
    LIVE = "LIVE"
    ENDED = "ENDED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: str
    slug: str
    title: str | None
    created_by_user_id: str | None
    status: str
    """A SessionStatus, or a label that the app has added since."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    last_activity_at: datetime | None
    space_id: str
    raw_transcript_blob_url: str | None
    raw_transcript_size_bytes: int | None
    raw_transcript_ready_at: datetime | None


@dataclass(frozen=True, slots=True)
class ParticipantRow:
    id: str
    video_session_id: str
    user_id: str | None
    identity: str
    name: str | None
    role: str
    joined_at: datetime
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class Joined:
    participant: ParticipantRow
    went_live: bool
    """This very join made the session LIVE."""


class Sessions:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def ensure_default_space(self) -> str:
        await self._db.run("space_ensure", DEFAULT_SPACE)
        return DEFAULT_SPACE

    async def create(
        self, slug: str, title: str | None, space_id: str, created_by: str | None, now: datetime
    ) -> SessionRow:
        """Raises: SlugTaken; ForeignKeyViolationError when there is no such space."""
        record = await self._db.row(
            "session_create", ids.cuid(), clean(slug), clean_or_none(title), created_by, naive(now), space_id
        )
        if record is None:
            raise SlugTaken(slug)
        return read(SessionRow, record)

    async def by_slug(self, slug: str) -> SessionRow | None:
        return _session(await self._db.row("session_by_slug", clean(slug)))

    async def by_id(self, session_id: str) -> SessionRow | None:
        return _session(await self._db.row("session_by_id", clean(session_id)))

    async def list_by_space(self, space_id: str, limit: int = 200) -> list[SessionRow]:
        """Newest first, without the expired ones."""
        return [read(SessionRow, r) for r in await self._db.rows("session_list_by_space", space_id, limit)]

    async def go_live(self, session_id: str, now: datetime) -> bool:
        """CREATED → LIVE. Returns: whether this call made the move; of two at once one does."""
        return await self._db.run("session_go_live", session_id, naive(now)) == 1

    async def touch(self, session_id: str, now: datetime) -> bool:
        """Note activity of a LIVE session. Every index of the row is written: call it each 10 to 30 s, not per word."""
        return await self._db.run("session_touch", session_id, naive(now)) == 1

    async def end(self, session_id: str, now: datetime) -> bool:
        """LIVE → ENDED. Returns: whether this call made the move."""
        return await self._db.run("session_end", session_id, naive(now)) == 1

    async def expire_created(self, before: datetime) -> list[SessionRow]:
        """CREATED → EXPIRED for all that were created earlier. Returns: those."""
        return [read(SessionRow, r) for r in await self._db.rows("session_expire_created", naive(before))]

    async def list_inactive(self, since: datetime, limit: int = 100) -> list[SessionRow]:
        """LIVE sessions without any activity since then, the quietest first."""
        return [read(SessionRow, r) for r in await self._db.rows("session_list_inactive", naive(since), limit)]

    async def set_transcript(self, session_id: str, blob_url: str, size_bytes: int, now: datetime) -> bool:
        args = (session_id, blob_url, whole(size_bytes), naive(now))
        return await self._db.run("session_set_transcript", *args) == 1

    async def delete(self, session_id: str, now: datetime) -> bool:
        """Remove a session and all that belongs to it; its usage rows are kept in gateway.usage_archive.

        One transaction. A transcription that still runs is fenced by it. Returns: whether there was a session.
        """
        async with self._db.transaction() as link:
            # The order in which `final_append` takes its locks, so that the two cannot deadlock.
            await link.run("session_delete_transcriptions", session_id)
            found = await link.value("session_lock", session_id) is not None
            if found:
                await link.run("session_archive_usage", session_id, now)
                await link.run("session_delete_usage", session_id)
                await link.run("session_delete_segments", session_id)
                await link.run("session_delete_analysis", session_id)
                await link.run("session_delete_participants", session_id)
                await link.run("session_delete", session_id)
            await link.run("document_remove", session_id, now)  # the blob itself goes after this
            await link.run("session_delete_events", session_id)
            await link.run("session_delete_stream", session_id)
            await link.run("session_delete_analysis_job", session_id)
        return found


class Participants:
    def __init__(self, link: Link) -> None:
        self._db = link

    async def join(
        self,
        session_id: str,
        identity: str,
        name: str | None,
        now: datetime,
        *,
        role: str = "GUEST",
        user_id: str | None = None,
    ) -> Joined | None:
        """The session goes live and the participant is in it, atomically; joining again clears `left_at`.

        Returns: None for a session that is ended, expired or gone.
        """
        record = await self._insert("participant_join", session_id, identity, name, role, user_id, now)
        if record is None:
            return None
        values = dict(record)
        went_live = values.pop("went_live")
        return Joined(read(ParticipantRow, values), went_live)

    async def upsert(
        self,
        session_id: str,
        identity: str,
        name: str | None,
        now: datetime,
        *,
        role: str = "GUEST",
        user_id: str | None = None,
    ) -> ParticipantRow:
        """The participant's row, made if it is missing. Role, user and a known name stay as they are.

        Raises: SessionGone.
        """
        record = await self._insert("participant_upsert", session_id, identity, name, role, user_id, now)
        assert record is not None  # noqa: S101 - ON CONFLICT DO UPDATE without WHERE always returns the row
        return read(ParticipantRow, record)

    async def leave(self, session_id: str, identity: str, now: datetime) -> bool:
        return await self._db.run("participant_leave", session_id, clean(identity), naive(now)) == 1

    async def by_identity(self, session_id: str, identity: str) -> ParticipantRow | None:
        record = await self._db.row("participant_by_identity", session_id, clean(identity))
        return None if record is None else read(ParticipantRow, record)

    async def by_session(self, session_id: str, *, active_only: bool = False) -> list[ParticipantRow]:
        """The longest present first."""
        records = await self._db.rows("participant_by_session", session_id, active_only)
        return [read(ParticipantRow, r) for r in records]

    async def _insert(
        self,
        query: str,
        session_id: str,
        identity: str,
        name: str | None,
        role: str,
        user_id: str | None,
        now: datetime,
    ) -> Record | None:
        args: list[Any] = [ids.cuid(), session_id, clean(identity), clean_or_none(name), role, user_id, naive(now)]
        try:
            return await self._db.row(query, *args)
        except asyncpg.ForeignKeyViolationError as error:
            if user_id is None or "userId" not in (error.constraint_name or ""):
                raise SessionGone(session_id) from error
        # A user that only the app's token knows: the participant matters more than the link.
        return await self._insert(query, session_id, identity, name, role, None, now)


def _session(record: Mapping[str, Any] | None) -> SessionRow | None:
    return None if record is None else read(SessionRow, record)
