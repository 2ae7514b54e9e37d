"""Postgres behind the ports of the sessions module: rows into the domain's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from gateway.availability import available
from gateway.clock import Clock
from gateway.errors import SessionFull
from gateway.sessions.domain.video_session import Participant, Segment, VideoSession
from gateway.sessions.usecases.ports import Ending, Joined, Joining, NewSession, SlugTaken, TablesOfTheApp, Visit
from gateway.transcription.domain.limits import places
from storage.postgres import errors, sessions
from storage.postgres.segments import NewSegment, SegmentRow, Segments

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresSessions:
    """The port SessionRepository.

    `own_tables`: our migrations made the app's tables, so spaces are added as signed tokens name them.
    """

    def __init__(self, database: Database, clock: Clock, *, own_tables: bool) -> None:
        self._sessions = sessions.Sessions(database)
        self._clock = clock
        self._own_tables = own_tables

    @property
    def default_space(self) -> str:
        return sessions.DEFAULT_SPACE

    @available
    async def create(self, new: NewSession) -> VideoSession:
        if self._own_tables and (new.created_by_user_id is not None or new.space_id == self.default_space):
            # A user's spaces come from a signed token. What a service names must be there: it may be misspelt.
            await self._sessions.ensure_space(new.space_id)
        try:
            row = await self._sessions.create(
                new.slug,
                new.title,
                new.space_id,
                new.created_by_user_id,
                self._clock.now(),
                join_token_sha256=new.join_token_sha256,
            )
        except asyncpg.ForeignKeyViolationError:
            raise LookupError(new.space_id) from None
        except errors.SlugTaken:
            raise SlugTaken from None
        return _session(row)

    @available
    async def by_slug(self, slug: str) -> VideoSession | None:
        row = await self._sessions.by_slug(slug)
        return None if row is None else _session(row)

    @available
    async def by_id(self, session_id: str) -> VideoSession | None:
        row = await self._sessions.by_id(session_id)
        return None if row is None else _session(row)

    @available
    async def listed(self, space_id: str | None, limit: int, before: str | None) -> list[VideoSession]:
        return [_session(row) for row in await self._sessions.list_by_space(space_id, limit, before)]

    @available
    async def join_token_sha256(self, session_id: str) -> bytes | None:
        return await self._sessions.join_token_sha256(session_id)

    @available
    async def require_join_token(self, session_id: str, token_sha256: bytes) -> datetime:
        made_at = self._clock.now()
        await self._sessions.require_join_token(session_id, token_sha256, made_at)
        return made_at

    @available
    async def join_required(self, session_ids: Sequence[str]) -> Mapping[str, datetime | None]:
        return await self._sessions.join_required(session_ids)

    @available
    async def keep_from_guests(self, session_id: str, *, kept: bool) -> None:
        await self._sessions.keep_from_guests(session_id, kept=kept)

    @available
    async def kept_from_guests(self, session_ids: Sequence[str]) -> set[str]:
        return await self._sessions.kept_from_guests(session_ids)

    @available
    async def end(self, session_id: str, follow_up_at: datetime | None, inactive_since: datetime | None = None) -> bool:
        now = self._clock.now()
        return await self._sessions.end(session_id, now, follow_up_at=follow_up_at, inactive_since=inactive_since)

    @available
    async def expire(self, session_id: str) -> bool:
        return await self._sessions.expire(session_id)

    @available
    async def expire_created(self, before: datetime) -> list[VideoSession]:
        return [_session(row) for row in await self._sessions.expire_created(before)]

    @available
    async def inactive(self, since: datetime, limit: int) -> list[VideoSession]:
        return [_session(row) for row in await self._sessions.list_inactive(since, limit)]

    @available
    async def over(self, session_ids: Sequence[str]) -> set[str]:
        return await self._sessions.over(session_ids)

    @available
    async def delete(self, session_id: str) -> bool:
        return await self._sessions.delete(session_id, self._clock.now())

    @available
    async def delete_all(self) -> int:
        if not self._own_tables:
            raise TablesOfTheApp
        deleted = 0
        for session_id in await self._sessions.all_ids():
            deleted += await self._sessions.delete(session_id, self._clock.now())
        return deleted


class PostgresParticipants:
    """The port ParticipantRepository. `own_tables`: users are made as signed tokens name them.

    `most`: how many may join one session; 0 = no limit.
    """

    def __init__(self, database: Database, clock: Clock, *, own_tables: bool, most: int = 0) -> None:
        self._database = database
        self._most = most
        self._participants = sessions.Participants(database)
        self._clock = clock
        self._own_tables = own_tables

    @available
    async def enter(self, session_id: str, joining: Joining) -> Joined | None:
        if self._own_tables and joining.user_id is not None:
            await self._participants.ensure_user(joining.user_id)
        try:
            joined = await self._enter(session_id, joining, joining.user_id)
        except errors.UserUnknown:  # known from a token only: the participant matters more than the link
            joined = await self._enter(session_id, joining, None)
        return None if joined is None else Joined(_participant(joined.participant), joined.went_live)

    async def _enter(self, session_id: str, joining: Joining, user_id: str | None) -> sessions.Joined | None:
        async with self._database.transaction() as link:
            rows = sessions.Participants(link, in_transaction=True)
            most = places(self._most, guest=not joining.trusted and joining.user_id is None)
            if not await rows.has_room(session_id, joining.identity, most):
                raise SessionFull(most)
            return await rows.enter(
                session_id,
                joining.identity,
                joining.name,
                self._clock.now(),
                role=joining.role,
                user_id=user_id,
                trusted=joining.trusted,
                owns=joining.owns,
            )

    @available
    async def leave(self, session_id: str, identity: str) -> bool:
        return await self._participants.leave(session_id, identity, self._clock.now())

    @available
    async def by_identity(self, session_id: str, identity: str) -> Participant | None:
        row = await self._participants.by_identity(session_id, identity)
        return None if row is None else _participant(row)

    @available
    async def by_user(self, session_id: str, user_id: str) -> list[Participant]:
        return [_participant(row) for row in await self._participants.by_user(session_id, user_id)]

    @available
    async def owner(self, session_id: str, identity: str) -> str | None:
        return await self._participants.owner(session_id, identity)

    @available
    async def meet(self, user_id: str) -> None:
        await self._participants.know_user(user_id)

    @available
    async def visit(self, session_id: str, visit: Visit, *, begins: bool) -> bool:
        note = self._participants.visit_begins if begins else self._participants.visit_ends
        return await note(session_id, visit.identity, visit.sid, visit.joined_ms)

    @available
    async def of(self, session_id: str, *, active_only: bool) -> list[Participant]:
        return [_participant(row) for row in await self._participants.by_session(session_id, active_only=active_only)]


class PostgresTranscripts:
    """The port TranscriptRepository."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._segments = Segments(database)
        self._clock = clock

    @available
    async def append(self, session_id: str, participant_id: str | None, segment: Segment) -> None:
        row = NewSegment(
            session_id,
            participant_id,
            segment.utterance_id,
            segment.text,
            segment.language,
            segment.is_final,
            segment.started_at,
            segment.ended_at,
            self._clock.now(),
        )
        await self._segments.upsert([row])

    @available
    async def of(self, session_id: str, *, finals_only: bool) -> list[Segment]:
        return [_segment(row) for row in await self._segments.by_session(session_id, finals_only=finals_only)]

    @available
    async def by_utterance(self, session_id: str, utterance_id: str) -> Segment | None:
        row = await self._segments.by_utterance(session_id, utterance_id)
        return None if row is None else _segment(row)


class PostgresEndings:
    """The port Endings, on `gateway.session_ending`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._endings = sessions.Endings(database)
        self._clock = clock

    @available
    async def pending(self, session_id: str) -> Ending | None:
        row = await self._endings.by_session(session_id)
        return None if row is None else Ending(row.session_id, row.attempts)

    @available
    async def due(self, limit: int) -> list[Ending]:
        rows = await self._endings.due(self._clock.now(), limit)
        return [Ending(row.session_id, row.attempts) for row in rows]

    @available
    async def later(self, session_id: str, at: datetime) -> None:
        await self._endings.later(session_id, at)

    @available
    async def done(self, session_id: str) -> None:
        await self._endings.done(session_id)


class PostgresDuties:
    """The port Duties, on `gateway.duty`; leases are measured by the database's clock."""

    def __init__(self, database: Database) -> None:
        self._duties = sessions.Duties(database)

    @available
    async def take(self, name: str, owner: str, for_s: float) -> bool:
        return await self._duties.take(name, owner, for_s)

    @available
    async def leave(self, name: str, owner: str) -> None:
        await self._duties.leave(name, owner)


def _session(row: sessions.SessionRow) -> VideoSession:
    return VideoSession(
        id=row.id,
        slug=row.slug,
        title=row.title,
        created_by_user_id=row.created_by_user_id,
        space_id=row.space_id,
        status=row.status,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        last_activity_at=row.last_activity_at,
        raw_transcript_blob_url=row.raw_transcript_blob_url,
        raw_transcript_size_bytes=row.raw_transcript_size_bytes,
        raw_transcript_ready_at=row.raw_transcript_ready_at,
    )


def _participant(row: sessions.ParticipantRow) -> Participant:
    return Participant(
        row.id, row.video_session_id, row.user_id, row.identity, row.name, row.role, row.joined_at, row.left_at
    )


def _segment(row: SegmentRow) -> Segment:
    return Segment(
        row.utterance_id, row.text, row.language, row.is_final, row.started_at, row.ended_at, row.identity, row.name
    )
