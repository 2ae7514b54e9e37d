"""A live session in the tables, for tests of the repositories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from storage.postgres.finals import FinalRow
from storage.postgres.pool import Database
from storage.postgres.sessions import Participants, SessionRow, Sessions
from storage.postgres.transcriptions import NewTranscription, TranscriptionRow, Transcriptions

NOW = datetime(2026, 1, 5, 10, 0, 0, 120_000, UTC)


@dataclass
class World:
    """A live session with one participant and one running transcription."""

    db: Database
    session: SessionRow
    participant_id: str
    run: TranscriptionRow

    def final(self, seq: int, utterance: str | None = None, **changes: object) -> FinalRow:
        row = FinalRow(
            transcription_id=self.run.id,
            fence=self.run.fence,
            session_id=self.session.id,
            epoch=self.run.epoch,
            seq=seq,
            participant_id=self.participant_id,
            utterance_id=utterance or f"p:{seq}",
            text=f"Number {seq}.",
            language="en",
            started_at=NOW + timedelta(seconds=seq),
            ended_at=NOW + timedelta(seconds=seq + 1),
            data=b'{"seq": %d}' % seq,
            created_at=NOW + timedelta(seconds=seq + 2),
        )
        return replace(row, **changes)  # type: ignore[arg-type]


async def make_world(db: Database, slug: str) -> World:
    sessions = Sessions(db)
    space = await sessions.ensure_default_space()
    session = await sessions.create(slug, "Standup", space, "user-1", NOW)
    joined = await Participants(db).join(session.id, "anna", "Anna", NOW)
    assert joined is not None
    new = NewTranscription(session.id, session.slug, "livekit", {"language": "en"})
    run, created = await Transcriptions(db).claim(new, "replica-1", 15, NOW)
    assert created
    return World(db, session, joined.participant.id, run)
