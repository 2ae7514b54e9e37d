"""The rows that `MemoryRecords` keeps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering, TranscriptionState
from gateway.transcription.domain.usage import Usage
from gateway.transcription.domain.vocabulary import Vocabulary
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import Participation, SessionRecord, TranscriptionRecord
from gateway.transcription.usecases.speech import ProviderSession

HANDED_OVER = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class TranscriptionRow:
    id: str
    session_id: str
    slug: str
    source: str
    options: Mapping[str, Any]
    stream_key: str | None
    started_at: datetime
    owner: str
    lease_until: datetime
    fence: int = 1
    state: TranscriptionState = TranscriptionState.STARTING
    stopped_at: datetime | None = None
    stop_reason: str | None = None
    finals_complete: bool | None = None
    host: str | None = None
    owner_run: str | None = None
    lost_audio_s: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.state is not TranscriptionState.STOPPED


@dataclass(slots=True)
class StreamRow:
    epoch: str
    origin: datetime
    last_seq: int = 0
    former: dict[str, int] = field(default_factory=dict)


class Tables:
    """Dictionaries in place of tables. `down`: every port raises RecordsUnavailable. `hangs`: none answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down = False
        self.hangs = False
        self.calls = 0
        self.sessions: dict[str, SessionRecord] = {}  # by slug
        self.participants: dict[tuple[str, str], str] = {}  # session id, identity → participant id
        self.most_participants = 0
        self.present: dict[tuple[str, str], Participation] = {}
        self.activity: dict[str, datetime] = {}
        self.transcriptions: dict[str, TranscriptionRow] = {}
        self.states: list[TranscriptionState] = []
        self.streams: dict[str, StreamRow] = {}  # by session id
        self.finals: dict[str, dict[int, FinalToStore]] = {}
        self.strays: list[FinalToStore] = []
        self.partials: dict[str, tuple[Caption, str | None]] = {}
        self.usage: dict[str, tuple[str, str, Usage]] = {}  # usage id → session, transcription, usage
        self.provider_sessions: dict[str, ProviderSession] = {}
        self.opened: dict[str, tuple[str, str, datetime]] = {}  # by the same id: transcription, identity, when
        self.vocabularies: dict[str, Vocabulary] = {}  # by space id
        self._ids = itertools.count(1)

    async def answer(self) -> None:
        """A database call takes a turn of the loop, so that others come between."""
        self.calls += 1
        while self.hangs:
            await asyncio.sleep(1)
        await asyncio.sleep(0)
        if self.down:
            raise RecordsUnavailable("switched off by the test")

    def new_id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids)}"

    def alive(self, session_id: str) -> SessionRecord | None:
        return next((one for one in self.sessions.values() if one.id == session_id), None)

    def owned(self, lease: Lease) -> TranscriptionRow | None:
        """The row, if the lease is still good."""
        row = self.transcriptions.get(lease.transcription_id)
        return row if row is not None and row.fence == lease.fence and row.is_active else None

    def active(self, session_id: str) -> TranscriptionRow | None:
        found = (row for row in self.transcriptions.values() if row.session_id == session_id and row.is_active)
        return next(found, None)

    def lease(self, row: TranscriptionRow, lease_s: float) -> None:
        """From now on; none at all hands it over."""
        row.lease_until = self.clock.now() + timedelta(seconds=lease_s) if lease_s else HANDED_OVER

    def numbering(self, session_id: str) -> Numbering | None:
        stream = self.streams.get(session_id)
        return None if stream is None else Numbering(stream.epoch, stream.origin, stream.last_seq, dict(stream.former))

    def claimed(self, row: TranscriptionRow) -> Claimed:
        stream = self.streams[row.session_id]
        return Claimed(
            lease=Lease(row.id, row.fence),
            session_id=row.session_id,
            slug=row.slug,
            source=row.source,
            options=row.options,
            stream_key=row.stream_key,
            started_at=row.started_at,
            numbering=Numbering(stream.epoch, stream.origin, stream.last_seq, dict(stream.former)),
            lost_audio_s=row.lost_audio_s,
        )

    def record(self, row: TranscriptionRow) -> TranscriptionRecord:
        return TranscriptionRecord(
            id=row.id,
            session_id=row.session_id,
            slug=row.slug,
            source=row.source,
            state=row.state,
            started_at=row.started_at,
            stopped_at=row.stopped_at,
            stop_reason=row.stop_reason,
            finals_complete=row.finals_complete,
            stream_key=row.stream_key,
            options=row.options,
            last_seq=self.streams[row.session_id].last_seq,
            owner=row.owner,
            lost_audio_s=row.lost_audio_s,
        )
