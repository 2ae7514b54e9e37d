"""The app's sessions and participants in PostgreSQL, behind `SessionRecords`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.limits import places
from gateway.transcription.usecases.records import InLine, Participation, SessionRecord
from storage import ids
from storage.postgres import errors
from storage.postgres.pool import Database
from storage.postgres.sessions import ParticipantRow, Participants, SessionRow, Sessions


class PostgresSessionRecords:
    """One statement a method, but for `create` and `join`."""

    def __init__(self, database: Database, clock: Clock, most_participants: int = 0) -> None:
        self._sessions = Sessions(database)
        self._participants = Participants(database)
        self._clock = clock
        self._most = most_participants

    @available
    async def create(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        """Raises: LookupError when there is no such space; storage's SlugTaken when the slug asked for is in use."""
        space = space_id or await self._sessions.ensure_default_space()
        while True:
            try:
                row = await self._sessions.create(slug or ids.slug(), title, space, None, self._clock.now())
            except asyncpg.ForeignKeyViolationError:
                raise LookupError(space) from None
            except errors.SlugTaken:
                if slug is not None:
                    raise
                continue
            return _session(row)

    @available
    async def by_slug(self, slug: str) -> SessionRecord | None:
        row = await self._sessions.by_slug(slug)
        return None if row is None else _session(row)

    @available
    async def join(self, session_id: str, speaker: Speaker) -> str:
        """One transaction; a second one when the session has ended. Raises: LookupError when it was deleted."""
        now = self._clock.now()
        try:
            joined = await self._participants.join(session_id, speaker.identity, speaker.name, now)
            if joined is not None:
                return joined.participant.id
            return (await self._participants.upsert(session_id, speaker.identity, speaker.name, now)).id
        except errors.SessionGone as error:
            raise LookupError(session_id) from error

    @available
    async def leave(self, session_id: str, identity: str) -> None:
        await self._participants.leave(session_id, identity, self._clock.now())

    @available
    async def people(self, session_id: str) -> Sequence[Participation]:
        """By `joinedAt`, and by id where two are equal."""
        rows = await self._participants.by_session(session_id, active_only=False)
        return [_participation(row) for row in rows]

    @available
    async def names(self, session_id: str, limit: int) -> Sequence[str]:
        return await self._participants.names(session_id, limit)

    @available
    async def in_line(self, asked: Sequence[InLine]) -> Mapping[str, Sequence[Participation]]:
        """At most three rows a session."""
        found: dict[str, list[Participation]] = {}
        for row in await self._participants.in_line([(one.session_id, one.host, one.without) for one in asked]):
            found.setdefault(row.video_session_id, []).append(_participation(row))
        return found

    @available
    async def participant(self, session_id: str, identity: str) -> Participation | None:
        """One row, by its unique key."""
        row = await self._participants.by_identity(session_id, identity)
        return None if row is None or row.left_at is not None else _participation(row)

    @available
    async def owner(self, session_id: str, identity: str) -> str | None:
        """Three look-ups by key, one statement."""
        return await self._participants.owner(session_id, identity)

    @available
    async def has_room(self, session_id: str, identity: str, *, guest: bool) -> bool:
        """Counts at most as many rows as there may be."""
        return await self._participants.has_room(session_id, identity, places(self._most, guest=guest))

    @available
    async def touch(self, session_id: str) -> None:
        """`lastActivityAt`, which only grows."""
        await self._sessions.touch(session_id, self._clock.now())


def _participation(row: ParticipantRow) -> Participation:
    return Participation(row.identity, row.name, row.role, row.joined_at, row.user_id)


def _session(row: SessionRow) -> SessionRecord:
    return SessionRecord(row.id, row.slug, row.status, row.title, row.space_id, row.created_at)
