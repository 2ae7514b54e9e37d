"""The transcript document of a session: what goes into it, where it is kept, what is still to be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from storage.postgres.sessions import ParticipantRow, Participants, SessionRow, Sessions
from storage.postgres.transcriptions import TranscriptionRow, Transcriptions
from storage.postgres.values import naive, read, whole

if TYPE_CHECKING:
    from storage.postgres.pool import Database

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class SegmentRow:
    id: str
    participant_id: str | None
    utterance_id: str
    text: str
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    identity: str | None
    name: str | None
    seq: int | None
    data: bytes | None
    """The event as watchers received it; None for a segment that the app has written itself."""
    translations: bytes | None
    """JSON: text by language; None where there are none."""


@dataclass(frozen=True, slots=True)
class DueRow:
    session_id: str
    key: str
    removing: bool
    tries: int


@dataclass(frozen=True, slots=True)
class HeadRows:
    session: SessionRow
    participants: list[ParticipantRow]
    last_run: TranscriptionRow | None


class Documents:
    """`gateway.document`: one row a session and place. Each change is one statement or transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def head(self, session_id: str) -> HeadRows | None:
        """Three statements, not one transaction. None when the session was deleted."""
        session = await Sessions(self._db).by_id(session_id)
        if session is None:
            return None
        participants = await Participants(self._db).by_session(session_id)
        return HeadRows(session, participants, await Transcriptions(self._db).by_session(session_id))

    async def segments(self, session_id: str, after: SegmentRow | None = None, limit: int = PAGE) -> list[SegmentRow]:
        """One page of the finals, in spoken order."""
        at, last = (naive(after.started_at), after.id) if after else (None, "")
        return [read(SegmentRow, r) for r in await self._db.rows("document_segments", session_id, at, last, limit)]

    async def want(self, session_id: str, place: str, key: str, now: datetime, until: datetime) -> str | None:
        """Note that a document is wanted, and that the caller writes it before `until`.

        Returns: the key to write it under, this one or an earlier call's; None when the session is being erased.
        """
        found: str | None = await self._db.value("document_want", session_id, place, key, now, until)
        return found

    async def take(self, place: str, now: datetime, until: datetime, limit: int) -> list[DueRow]:
        """What is due in a place; no other caller gets it before `until`."""
        return [read(DueRow, r) for r in await self._db.rows("document_take", place, now, until, limit)]

    async def ready(
        self, session_id: str, place: str, began: datetime, url: str, size_bytes: int, now: datetime, until: datetime
    ) -> bool:
        """`until`: as the caller said that it would write. What was wanted after `began` is still due.

        Returns: False when the session is gone or being erased, and the blob with it has to go.
        """
        args = (session_id, place, began, url, whole(size_bytes), naive(now), now, until)
        return await self._db.value("document_ready", *args) is not None

    async def later(self, session_id: str, place: str, when: datetime) -> None:
        """Due again at `when`; the attempt was counted when it was taken."""
        await self._db.run("document_later", session_id, place, when)

    async def remove(self, session_id: str, now: datetime) -> None:
        """From now on every document of the session has to go, and the app's columns are empty."""
        async with self._db.transaction() as link:
            await link.run("document_remove", session_id, now)
            await link.run("document_forget_url", session_id)

    async def removed(self, session_id: str, place: str, now: datetime) -> bool:
        """The blob is gone. Returns: False while another replica may still be writing it: delete it once more later."""
        return await self._db.run("document_removed", session_id, place, now) == 1

    async def key(self, session_id: str, place: str) -> str | None:
        """Of the finished document in that place; None when there is none, or the session is being erased."""
        found: str | None = await self._db.value("document_key", session_id, place)
        return found
