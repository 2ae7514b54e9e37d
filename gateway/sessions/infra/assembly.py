"""The sessions module, put together on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.sessions.infra.repositories import (
    PostgresDuties,
    PostgresEndings,
    PostgresParticipants,
    PostgresSessions,
    PostgresTranscripts,
)
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.attendees import Attendees
from gateway.sessions.usecases.closing import Closing, Erase, FollowUp
from gateway.sessions.usecases.ports import RoomTokens, TranscriptionControl
from gateway.sessions.usecases.server_transcription import History, ServerTranscription
from gateway.sessions.usecases.transcripts import Transcripts
from gateway.sessions.usecases.upkeep import Chore, Upkeep, UpkeepOptions
from gateway.sessions.usecases.video_sessions import VideoSessions

if TYPE_CHECKING:
    from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class SessionsModule:
    """The use cases, and the repositories that they share."""

    repository: PostgresSessions
    participants: PostgresParticipants
    admission: Admission
    sessions: VideoSessions
    attendees: Attendees
    transcripts: Transcripts
    transcription: ServerTranscription
    closing: Closing
    upkeep: Upkeep


def assemble(
    database: Database,
    clock: Clock,
    control: TranscriptionControl,
    history: History,
    rooms: RoomTokens | None,
    options: UpkeepOptions,
    *,
    join_starts: str | None,
    own_tables: bool,
    most_participants: int = 0,
    audio: RoomTokens | None = None,
    follow_ups: Mapping[str, FollowUp],
    erase: Erase,
    over: Callable[[str], object] = lambda slug: None,
    chores: Mapping[str, Chore] | None = None,
) -> SessionsModule:
    """`join_starts`: the source with which a join begins a transcription; None: with none. `most_participants`: of one
    session; 0 = no limit. `audio`: tokens for this gateway's own WebSockets. `erase`, `over`: as `Closing`.
    """
    repository = PostgresSessions(database, clock, own_tables=own_tables)
    participants = PostgresParticipants(database, clock, own_tables=own_tables, most=most_participants)
    endings = PostgresEndings(database, clock)
    admission = Admission(repository, participants)
    transcription = ServerTranscription(control, history, join_starts)
    closing = Closing(repository, endings, transcription, clock, dict(follow_ups), erase, over)
    return SessionsModule(
        repository,
        participants,
        admission,
        VideoSessions(repository, admission, closing, transcription, rooms, audio),
        Attendees(repository, participants, admission, transcription),
        Transcripts(PostgresTranscripts(database, clock), participants, admission),
        transcription,
        closing,
        Upkeep(repository, endings, closing, PostgresDuties(database), clock, options, chores),
    )
