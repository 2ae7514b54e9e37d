"""Video sessions and who is in them: the app's tables `VideoSession`, `Participant` and `Space`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from storage import ids
from storage.postgres.errors import SessionGone, SlugTaken, UserUnknown
from storage.postgres.values import clean, clean_or_none, json_bytes, naive, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database, Link, Record

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
    """The app's `VideoSession` and `Space`. A move of the state is one conditional UPDATE."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def ensure_default_space(self) -> str:
        return await self.ensure_space(DEFAULT_SPACE)

    async def ensure_space(self, space_id: str) -> str:
        """For tables of our own; where the app has made them, its spaces have more columns, and are the app's."""
        await self._db.run("space_ensure", clean(space_id))
        return space_id

    async def create(
        self,
        slug: str,
        title: str | None,
        space_id: str,
        created_by: str | None,
        now: datetime,
        *,
        join_token_sha256: bytes | None = None,
    ) -> SessionRow:
        """Raises: SlugTaken; ForeignKeyViolationError when there is no such space."""
        created_by = clean_or_none(created_by)
        args = (ids.cuid(), clean(slug), clean_or_none(title), created_by, naive(now), clean(space_id))
        async with self._db.transaction() as link:
            record = await link.row("session_create", *args)
            if record is None:
                raise SlugTaken(slug)
            row = read(SessionRow, record)
            if join_token_sha256 is not None:
                await link.run("session_join_require", row.id, join_token_sha256, row.created_at)
        return row

    async def join_token_sha256(self, session_id: str) -> bytes | None:
        """Of the token that guests of this session must show; None when they need none."""
        found: bytes | None = await self._db.value("session_join_token", session_id)
        return found

    async def require_join_token(self, session_id: str, token_sha256: bytes, made_at: datetime) -> None:
        """From now on guests must show this one; a former one is good no more."""
        await self._db.run("session_join_require", session_id, token_sha256, made_at)

    async def join_required(self, session_ids: Sequence[str]) -> dict[str, datetime | None]:
        """Those of them whose guests must show a token, and when it was made, if that is known."""
        rows = await self._db.rows("session_join_required", list(session_ids))
        return {record["session_id"]: record["made_at"] for record in rows}

    async def keep_from_guests(self, session_id: str, *, kept: bool) -> None:
        """Whether guests may not read it any more once it is over."""
        await self._db.run("session_keep" if kept else "session_unkeep", session_id)

    async def kept_from_guests(self, session_ids: Sequence[str]) -> set[str]:
        """Those of them that guests may not read any more once they are over."""
        return {record["session_id"] for record in await self._db.rows("session_kept", list(session_ids))}

    async def by_slug(self, slug: str) -> SessionRow | None:
        """None when there is none."""
        return _session(await self._db.row("session_by_slug", clean(slug)))

    async def by_id(self, session_id: str) -> SessionRow | None:
        """None when there is none."""
        return _session(await self._db.row("session_by_id", clean(session_id)))

    async def list_by_space(
        self, space_id: str | None, limit: int = 200, before: str | None = None
    ) -> list[SessionRow]:
        """Newest first, without the expired ones; None: of all spaces. `before`: the slug of the last one seen."""
        before = clean_or_none(before)
        if space_id is None:
            records = await self._db.rows("session_list_everywhere", limit, before)
        else:
            records = await self._db.rows("session_list", clean(space_id), limit, before)
        return [read(SessionRow, r) for r in records]

    async def go_live(self, session_id: str, now: datetime) -> bool:
        """CREATED → LIVE. Returns: whether this call made the move; of two at once one does."""
        return await self._db.run("session_go_live", session_id, naive(now)) == 1

    async def touch(self, session_id: str, now: datetime) -> bool:
        """Note activity of a LIVE session. Every index of the row is written: call it each 10 to 30 s, not per word."""
        return await self._db.run("session_touch", session_id, naive(now)) == 1

    async def end(
        self,
        session_id: str,
        now: datetime,
        *,
        follow_up_at: datetime | None = None,
        inactive_since: datetime | None = None,
    ) -> bool:
        """LIVE → ENDED, and everybody has left. Returns: whether this call made the move.

        With `follow_up_at` what has to follow is noted in the same transaction (`Endings`), due then. With
        `inactive_since` only a session without activity since then is ended.
        """
        async with self._db.transaction() as link:
            if inactive_since is None:
                moved = await link.run("session_end", session_id, naive(now)) == 1
            else:
                moved = await link.run("session_end_inactive", session_id, naive(now), naive(inactive_since)) == 1
            if moved:
                await link.run("participant_leave_all", session_id, naive(now))
            if moved and follow_up_at is not None:
                await link.run("ending_note", session_id, follow_up_at)
        return moved

    async def expire(self, session_id: str) -> bool:
        """CREATED → EXPIRED. Returns: whether this call made the move."""
        return await self._db.run("session_expire", session_id) == 1

    async def over(self, session_ids: Sequence[str]) -> set[str]:
        """Those of them that are ended or expired."""
        return {record["id"] for record in await self._db.rows("session_over", list(session_ids))}

    async def expire_created(self, before: datetime) -> list[SessionRow]:
        """CREATED → EXPIRED for all that were created earlier. Returns: those."""
        return [read(SessionRow, r) for r in await self._db.rows("session_expire_created", naive(before))]

    async def list_inactive(self, since: datetime, limit: int = 100) -> list[SessionRow]:
        """LIVE sessions without any activity since then, the quietest first."""
        return [read(SessionRow, r) for r in await self._db.rows("session_list_inactive", naive(since), limit)]

    async def all_ids(self) -> list[str]:
        """In the order of creation; for emptying tables of our own."""
        return [record["id"] for record in await self._db.rows("session_all")]

    async def delete(self, session_id: str, now: datetime) -> bool:
        """Remove a session and all that belongs to it; its usage rows are kept in gateway.usage_archive.

        One transaction. A transcription that still runs is fenced by it. Returns: whether there was a session.
        """
        async with self._db.transaction() as link:
            # The order in which `final_append` takes its locks, so that the two cannot deadlock.
            gone = await link.rows("session_delete_transcriptions", session_id)
            found = await link.value("session_lock", session_id) is not None
            if found:
                tags = {row["id"]: msgspec.Raw(row["tags"]) for row in gone}
                await link.run("session_archive_usage", session_id, now, msgspec.json.encode(tags))
                await link.run("session_delete_usage", session_id)
                await link.run("session_delete_segments", session_id)
                await link.run("session_delete_analysis", session_id)
                await link.run("session_delete_participants", session_id)
                await link.run("session_delete", session_id)
            await link.run("document_remove", session_id, now)  # the blob itself goes after this
            await link.run("provider_session_unwanted", session_id, now)  # and so does what the provider keeps
            await link.run("session_delete_events", session_id)
            await link.run("session_delete_stream", session_id)
            await link.run("session_delete_analysis_job", session_id)
            await link.run("session_delete_notes", session_id)
        return found


@dataclass(frozen=True, slots=True)
class EndingRow:
    session_id: str
    attempts: int


class Endings:
    """What has to follow the end of a session and is not done yet (`gateway.session_ending`)."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def by_session(self, session_id: str) -> EndingRow | None:
        """None when nothing is noted."""
        record = await self._db.row("ending_by_session", session_id)
        return None if record is None else read(EndingRow, record)

    async def due(self, now: datetime, limit: int = 100) -> list[EndingRow]:
        """At most `limit`, the longest due first; nothing is reserved."""
        return [read(EndingRow, r) for r in await self._db.rows("ending_due", now, limit)]

    async def later(self, session_id: str, at: datetime) -> None:
        """It did not work; another attempt is due then."""
        await self._db.run("ending_later", session_id, at)

    async def done(self, session_id: str) -> None:
        """Forget it; repeating it changes nothing."""
        await self._db.run("ending_done", session_id)


class Duties:
    """Work that one replica at a time does for all of them (`gateway.duty`), by the database's clock."""

    def __init__(self, link: Link) -> None:
        self._db = link

    async def take(self, name: str, owner: str, for_s: float) -> bool:
        """Take or keep a duty for so long. Returns: False when another one has it."""
        return await self._db.run("duty_take", name, owner, for_s) == 1

    async def leave(self, name: str, owner: str) -> None:
        """Free at once; nothing changes when `owner` does not have it."""
        await self._db.run("duty_leave", name, owner)


class Participants:
    """The app's `Participant`: one row an identity and session. `in_transaction`: of the caller, over `link`."""

    def __init__(self, link: Link, *, in_transaction: bool = False) -> None:
        self._db = link
        self._in_transaction = in_transaction

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
        return _joined(await self._insert("participant_join", session_id, identity, name, role, user_id, now))

    async def enter(
        self,
        session_id: str,
        identity: str,
        name: str | None,
        now: datetime,
        *,
        role: str | None,
        user_id: str | None,
        trusted: bool,
        owns: bool = False,
    ) -> Joined | None:
        """As `join`, for a caller who states role, name and user: what is given replaces what is stored.

        Returns: None also when the identity is another user's; `trusted` callers may use any. `owns`: the identity is
        the id of that user. Raises: UserUnknown in a transaction; else such a user's row is left without a user.
        """
        more = (trusted, owns)
        try:
            return _joined(
                await self._insert("participant_enter", session_id, identity, name, role, user_id, now, *more)
            )
        except SessionGone:
            return None

    async def has_room(self, session_id: str, identity: str, limit: int) -> bool:
        """Whether `identity` has joined already, or fewer than `limit` have (0: always).

        In a transaction it holds the session's row until the insert; else as many too many may come as come at once.
        """
        if self._in_transaction:
            await self._db.value("session_lock", session_id)
        room: bool = await self._db.value("participant_has_room", session_id, clean(identity), limit)
        return room

    async def owner(self, session_id: str, identity: str) -> str | None:
        """The user to whom an identity belongs in that session, having come or not; None: no user."""
        found: str | None = await self._db.value("identity_owner", session_id, clean(identity))
        return found

    async def know_user(self, user_id: str) -> None:
        """A signed-in user has been here; repeating it changes nothing."""
        await self._db.run("user_known", clean(user_id))

    async def by_user(self, session_id: str, user_id: str) -> list[ParticipantRow]:
        """Those of one user, also under an identity that is its id; at most 16, hosts first."""
        return [read(ParticipantRow, r) for r in await self._db.rows("participant_of_user", session_id, clean(user_id))]

    async def visit_begins(self, session_id: str, identity: str, sid: str, joined_ms: int) -> bool:
        """A connection to the room. Returns: False when it is over already, or an older one than the last known."""
        return await self._db.run("visit_begin", session_id, clean(identity), clean(sid), joined_ms) == 1

    async def visit_ends(self, session_id: str, identity: str, sid: str, joined_ms: int) -> bool:
        """Returns: whether it was the newest connection of that identity; an empty `sid` stands for that."""
        return await self._db.run("visit_end", session_id, clean(identity), clean(sid), joined_ms) == 1

    async def ensure_user(self, user_id: str) -> None:
        """For tables of our own, where users are known from their tokens only."""
        await self._db.run("user_ensure", clean(user_id))

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
        """The participant's row in a session that is over, made if it is missing, as of one who has left.

        Role, user and a known name stay as they are.

        Raises: SessionGone.
        """
        record = await self._insert("participant_upsert", session_id, identity, name, role, user_id, now)
        assert record is not None  # noqa: S101 - ON CONFLICT DO UPDATE without WHERE always returns the row
        return read(ParticipantRow, record)

    async def leave(self, session_id: str, identity: str, now: datetime) -> bool:
        """Returns: whether that participant was there; a repeat changes nothing."""
        return await self._db.run("participant_leave", session_id, clean(identity), naive(now)) == 1

    async def by_identity(self, session_id: str, identity: str) -> ParticipantRow | None:
        """Present or not; None when that identity has never joined."""
        record = await self._db.row("participant_by_identity", session_id, clean(identity))
        return None if record is None else read(ParticipantRow, record)

    async def by_session(self, session_id: str, *, active_only: bool = False) -> list[ParticipantRow]:
        """The longest present first."""
        records = await self._db.rows("participant_by_session", session_id, active_only)
        return [read(ParticipantRow, r) for r in records]

    async def in_line(self, asked: Sequence[tuple[str, str | None, Collection[str]]]) -> list[ParticipantRow]:
        """`asked`: session, host, and who is out of question. Of each session at most three of those who are there: the
        host; who is next in line, by role HOST, then the longest present; and anybody but the host."""
        told = [{"session_id": one, "host": host, "without": [*without]} for one, host, without in asked]
        return [read(ParticipantRow, r) for r in await self._db.rows("participant_in_line", json_bytes(told))]

    async def names(self, session_id: str, limit: int) -> list[str]:
        """Of those who are there, the newest first."""
        return [r["name"] for r in await self._db.rows("participant_names", session_id, limit)]

    async def _insert(
        self,
        query: str,
        session_id: str,
        identity: str,
        name: str | None,
        role: str | None,
        user_id: str | None,
        now: datetime,
        *more: object,
    ) -> Record | None:
        args: list[Any] = [ids.cuid(), session_id, clean(identity), clean_or_none(name), role, clean_or_none(user_id)]
        try:
            return await self._db.row(query, *args, naive(now), *more)
        except asyncpg.ForeignKeyViolationError as error:
            if user_id is None or "userId" not in (error.constraint_name or ""):
                raise SessionGone(session_id) from error
            if self._in_transaction:
                raise UserUnknown(user_id) from error
        # A user that only the app's token knows: the participant matters more than the link.
        return await self._insert(query, session_id, identity, name, role, None, now, *more)


def _joined(record: Record | None) -> Joined | None:
    if record is None:
        return None
    values = dict(record)
    went_live = values.pop("went_live")
    return Joined(read(ParticipantRow, values), went_live)


def _session(record: Mapping[str, Any] | None) -> SessionRow | None:
    return None if record is None else read(SessionRow, record)
