"""The context of a transcription in memory: database, provider, sources, clock.

`MemoryRecords` passes the same contract suite as the real database: tests/integration/gateway_records.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.clock import Clock
from gateway.errors import SessionNotFound, SessionOver
from gateway.live.hub import Hub
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Caption, Speaker, Utterance
from gateway.transcription.domain.errors import ProviderRefusedKey, SourceUnavailable
from gateway.transcription.domain.limits import Limits, Overrides, Standing
from gateway.transcription.domain.receipt import Listened
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Claimed, Ingest, Lease, Numbering
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import FinalToStore, StoredFinal
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import (
    NumberedFinal,
    Participation,
    SessionRecord,
    StoreOutcome,
    TranscriptionRecord,
)
from gateway.transcription.usecases.run import RunContext, RunOptions
from gateway.transcription.usecases.speech import LinkEnd, ProviderSession, Speech
from gateway.transcription.usecases.transcriptions import Transcriptions

BEGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
HANDED_OVER = datetime.fromtimestamp(0, UTC)


class LoopClock:
    """Wall time that runs with the loop's."""

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


# --- records ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """A run as the database has it."""

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
    state: str = "STARTING"
    stopped_at: datetime | None = None
    stop_reason: str | None = None
    finals_complete: bool | None = None
    host: str | None = None


@dataclass(slots=True)
class _Stream:
    epoch: str
    origin: datetime
    last_seq: int = 0


class MemoryRecords:
    """What PostgresRecords does, in dictionaries. `down`: every call raises RecordsUnavailable."""

    def __init__(self, clock: Clock) -> None:
        self.down = False
        self.keeps = 0
        """Calls of `keep` that were answered."""
        self.activity: dict[str, datetime] = {}
        self.partials: dict[str, tuple[Caption, str | None]] = {}
        self.provider_sessions: dict[str, ProviderSession] = {}
        self.saves: list[tuple[datetime, tuple[Usage, ...]]] = []
        self.states: list[str] = []
        self.strays: list[FinalToStore] = []
        self._clock = clock
        self._ids = itertools.count(1)
        self._sessions: dict[str, SessionRecord] = {}
        self._participants: dict[tuple[str, str], str] = {}
        self._present: dict[tuple[str, str], Participation] = {}
        self._rows: dict[str, _Row] = {}
        self._streams: dict[str, _Stream] = {}
        self._events: dict[str, dict[int, FinalToStore]] = {}
        self._usage: dict[str, tuple[str, str, Usage]] = {}  # usage id → session, transcription, usage
        self.ledger = MemoryLedger(self)

    async def _answer(self) -> None:
        """A database call takes a turn of the loop, so that others come between."""
        await asyncio.sleep(0)
        if self.down:
            raise RecordsUnavailable("switched off by the test")

    # sessions

    async def create_session(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        await self._answer()
        if space_id is not None and space_id != "default":
            raise LookupError(space_id)
        number = next(self._ids)
        session = SessionRecord(
            f"session-{number}", slug or f"slug{number:04}", "CREATED", title, "default", self._clock.now()
        )
        self._sessions[session.slug] = session
        return session

    async def session(self, slug: str) -> SessionRecord | None:
        await self._answer()
        return self._sessions.get(slug)

    def end_session(self, slug: str, status: str = "ENDED") -> None:
        """The app ends a session; also makes it LIVE, and so on."""
        self._sessions[slug] = replace(self._sessions[slug], status=status)

    def delete_session(self, slug: str) -> None:
        """The app deletes a session with all that belongs to it."""
        session = self._sessions.pop(slug)
        for row in [row for row in self._rows.values() if row.session_id == session.id]:
            del self._rows[row.id]
        self._streams.pop(session.id, None)
        self._events.pop(session.id, None)
        self._usage = {key: used for key, used in self._usage.items() if used[0] != session.id}

    async def joined(self, session_id: str, speaker: Speaker) -> str:
        await self._answer()
        session = self._alive(session_id)
        if session is None:
            raise LookupError(session_id)
        if session.status == "CREATED":
            self._sessions[session.slug] = replace(session, status="LIVE")
        self._present.setdefault(
            (session_id, speaker.identity),
            Participation(speaker.identity, speaker.name, "GUEST", self._clock.now(), None),
        )
        return self._participants.setdefault((session_id, speaker.identity), f"participant-{next(self._ids)}")

    async def participants(self, session_id: str) -> list[Participation]:
        await self._answer()
        return [person for (session, _), person in self._present.items() if session == session_id]

    def person(self, slug: str, identity: str, *, role: str = "GUEST", user_id: str | None = None) -> None:
        """The app lets somebody join."""
        person = Participation(identity, None, role, self._clock.now(), user_id)
        self._present[self._sessions[slug].id, identity] = person

    def left(self, slug: str, identity: str) -> None:
        """The app notes that somebody left."""
        self._present.pop((self._sessions[slug].id, identity), None)

    async def touch(self, session_id: str) -> None:
        await self._answer()
        self.activity[session_id] = self._clock.now()

    def _alive(self, session_id: str) -> SessionRecord | None:
        return next((one for one in self._sessions.values() if one.id == session_id), None)

    # transcriptions

    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        await self._answer()
        running = [row for row in self._rows.values() if row.session_id == session.id and row.state != "STOPPED"]
        if running:
            return None, self._record(running[0])
        found = self._alive(session.id)
        if found is None:
            raise SessionNotFound(session.slug)
        if found.status in ("ENDED", "EXPIRED"):
            raise SessionOver(session.slug, found.status)
        now = self._clock.now()
        self._streams.setdefault(session.id, _Stream(f"epoch{next(self._ids)}", now))
        row = _Row(
            id=f"transcription-{next(self._ids)}",
            session_id=session.id,
            slug=session.slug,
            source=source,
            options=dict(options),
            stream_key=stream_key,
            started_at=now,
            owner=owner,
            lease_until=now + timedelta(seconds=lease_s),
        )
        self._rows[row.id] = row
        return self._claimed(row), self._record(row)

    async def adopt(self, owner: str, lease_s: float, *, own: bool) -> list[Claimed]:
        await self._answer()
        now = self._clock.now()
        taken = [
            row
            for row in self._rows.values()
            if row.state != "STOPPED" and (row.lease_until < now or (own and row.owner == owner))
        ]
        for row in taken:
            if row.lease_until > HANDED_OVER and not (own and row.owner == owner):
                self._streams[row.session_id].epoch = f"epoch{next(self._ids)}"
            row.owner, row.fence, row.lease_until = owner, row.fence + 1, now + timedelta(seconds=lease_s)
        return [self._claimed(row) for row in taken]

    async def renew(self, lease: Lease, owner: str, lease_s: float) -> bool:
        await self._answer()
        row = self._owned(lease)
        if row is None or row.owner != owner:
            return False
        row.lease_until = self._clock.now() + timedelta(seconds=lease_s) if lease_s else HANDED_OVER
        return True

    async def release(self, lease: Lease, owner: str) -> None:
        await self.renew(lease, owner, 0.0)

    async def set_state(self, lease: Lease, state: str) -> None:
        await self._answer()
        if row := self._owned(lease):
            row.state = state
            self.states.append(state)

    async def finish(self, lease: Lease, reason: str, finals_complete: bool) -> None:
        await self._answer()
        if row := self._owned(lease):
            row.state, row.stopped_at = "STOPPED", self._clock.now()
            row.stop_reason, row.finals_complete = reason, finals_complete

    async def transcription(self, slug: str) -> TranscriptionRecord | None:
        await self._answer()
        session = self._sessions.get(slug)
        rows = [row for row in self._rows.values() if session is not None and row.session_id == session.id]
        return self._record(rows[-1]) if rows else None

    async def running(self) -> list[TranscriptionRecord]:
        await self._answer()
        return [self._record(row) for row in self._rows.values() if row.state != "STOPPED"]

    async def host(self, transcription_id: str) -> str | None:
        await self._answer()
        row = self._rows.get(transcription_id)
        return row.host if row is not None else None

    async def set_host(self, transcription_id: str, identity: str) -> bool:
        await self._answer()
        return self._set_host(transcription_id, identity)

    async def pass_host(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        await self._answer()
        row = self._rows.get(transcription_id)
        return row is not None and row.host == before and self._set_host(transcription_id, after)

    def _set_host(self, transcription_id: str, identity: str | None) -> bool:
        row = self._rows.get(transcription_id)
        if row is None or row.state == "STOPPED":
            return False
        row.host = identity
        return True

    async def numbering(self, session_id: str) -> Numbering | None:
        await self._answer()
        stream = self._streams.get(session_id)
        return None if stream is None else Numbering(stream.epoch, stream.origin, stream.last_seq)

    def steal(self, slug: str, owner: str, lease_s: float = 3600.0) -> None:
        """Another replica takes the lease although nobody's has run out."""
        for row in self._rows.values():
            if row.slug == slug and row.state != "STOPPED":
                row.owner, row.fence = owner, row.fence + 1
                row.lease_until = self._clock.now() + timedelta(seconds=lease_s)

    def _owned(self, lease: Lease) -> _Row | None:
        row = self._rows.get(lease.transcription_id)
        return row if row is not None and row.fence == lease.fence and row.state != "STOPPED" else None

    def _claimed(self, row: _Row) -> Claimed:
        stream = self._streams[row.session_id]
        return Claimed(
            lease=Lease(row.id, row.fence),
            session_id=row.session_id,
            slug=row.slug,
            source=row.source,
            options=row.options,
            stream_key=row.stream_key,
            started_at=row.started_at,
            numbering=Numbering(stream.epoch, stream.origin, stream.last_seq),
        )

    def _record(self, row: _Row) -> TranscriptionRecord:
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
            last_seq=self._streams[row.session_id].last_seq,
        )

    # finals

    async def keep(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        await self._answer()
        self.keeps += 1
        fenced, gone = set(), set()
        for final in finals:
            row = self._rows.get(final.lease.transcription_id)
            if row is None or row.fence != final.lease.fence:
                fenced.add(final.lease.transcription_id)
                continue
            if self._alive(final.session_id) is None:
                gone.add(final.session_id)
                continue
            events = self._events.setdefault(final.session_id, {})
            known = {one.caption.utterance_id for one in events.values()}
            if final.seq not in events and final.caption.utterance_id not in known:
                events[final.seq] = final
                stream = self._streams[final.session_id]
                stream.last_seq = max(stream.last_seq, final.seq)
        return StoreOutcome(frozenset(fenced), frozenset(gone))

    async def keep_strays(self, finals: Sequence[FinalToStore]) -> int:
        await self._answer()
        known = {kept.caption.utterance_id for events in self._events.values() for kept in events.values()}
        known |= {stray.caption.utterance_id for stray in self.strays}
        fresh = [final for final in finals if final.caption.utterance_id not in known]
        self.strays += fresh
        return len(fresh)

    async def number_strays(self, session_id: str) -> list[NumberedFinal]:
        await self._answer()
        if any(row.session_id == session_id and row.state != "STOPPED" for row in self._rows.values()):
            return []
        numbered: list[NumberedFinal] = []
        if self._alive(session_id) is None:
            return numbered
        stream, events = self._streams[session_id], self._events.setdefault(session_id, {})
        for stray in [one for one in self.strays if one.session_id == session_id]:
            self.strays.remove(stray)
            stream.last_seq += 1
            events[stream.last_seq] = stray
            numbered.append(NumberedFinal(stream.last_seq, stray.caption.utterance_id, stray.data))
        return numbered

    async def keep_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None:
        await self._answer()
        self.partials |= {said.utterance_id: (said, participant) for said, participant in captions}

    async def finals(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        await self._answer()
        events = self._events.get(session_id, {})
        return [StoredFinal(seq, events[seq].data) for seq in sorted(events) if seq > after][:limit]

    def kept(self, slug: str) -> list[FinalToStore]:
        """In the order of their numbers."""
        events = self._events.get(self._sessions[slug].id, {})
        return [events[seq] for seq in sorted(events)]

    # usage

    def usage_id(self, lease: Lease, identity: str) -> str:
        return f"{lease.transcription_id}/{identity}"

    def metered(self) -> list[tuple[str, str, Usage]]:
        """Session, transcription, usage."""
        return list(self._usage.values())

    async def space_of(self, session_id: str) -> str | None:
        await self._answer()
        return next((session.space_id for session in self._sessions.values() if session.id == session_id), None)

    async def save_usage(
        self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]
    ) -> None:
        await self._answer()
        self.saves.append((self._clock.now(), tuple(usage)))
        if self._alive(claimed.session_id) is None:
            return
        for one in usage:
            _, _, before = self._usage.get(one.id, ("", "", one))
            grown = replace(
                one,
                started_at=before.started_at,
                cost_per_minute=before.cost_per_minute,
                **{name: max(getattr(before, name), getattr(one, name)) for name in _GROWING},
            )
            self._usage[one.id] = (claimed.session_id, claimed.lease.transcription_id, grown)

    async def usage(self, transcription_id: str) -> list[Usage]:
        await self._answer()
        return [used for _, owner, used in self._usage.values() if owner == transcription_id]

    async def spent(self, session_id: str) -> float:
        await self._answer()
        return sum(used.total_cost for session, _, used in self._usage.values() if session == session_id)

    async def provider_session(self, claimed: Claimed, identity: str, session: ProviderSession) -> None:
        await self._answer()
        self.provider_sessions[session.id] = session

    async def bills(self, transcription_id: str) -> list[Bill]:
        await self._answer()
        return []


_GROWING = (
    "duration_seconds",
    "duration_minutes",
    "audio_chunks_sent",
    "transcripts_received",
    "final_transcripts",
    "partial_transcripts",
    "total_cost",
    "errors_count",
    "heard_s",
    "speech_s",
    "silent_s",
    "kept_s",
)


# --- audio in -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chunk:
    offset: int
    pcm: bytes

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class FakeTrack:
    """A speaker whose audio a test hands over with `speak`, as many seconds as it likes at once."""

    def __init__(self, clock: Clock, speaker: Speaker) -> None:
        self.speaker = speaker
        self.anchor: datetime | None = None
        self.complaint: str | None = None
        self.captions: list[tuple[str, str, bool]] = []
        self._clock = clock
        self._coming: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self._samples = 0

    left_out = 0

    def speak(self, seconds: float) -> None:
        self.anchor = self.anchor or self._clock.now()
        pcm = bytes(2 * round(seconds * 16_000))
        self._coming.put_nowait(Chunk(self._samples, pcm))
        self._samples += len(pcm) // 2

    def hang_up(self) -> None:
        self._coming.put_nowait(None)

    def fail(self, error: Exception) -> None:
        """SourceTrouble is foreseen; anything else is a bug of the source."""
        self._coming.put_nowait(error)

    async def chunks(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._coming.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def trouble(self) -> str | None:
        return self.complaint

    def caption(self, utterance_id: str, text: str, *, is_final: bool) -> None:
        self.captions.append((utterance_id, text, is_final))

    def facts(self) -> Mapping[str, object]:
        return {"gaps": 0}


class FakeSource:
    """Tracks appear with `appear` and end with `close`."""

    def __init__(self, clock: Clock, claimed: Claimed, speaker: Speaker) -> None:
        self.ingest = Ingest(rtmp_url=f"rtmp://test/live/{claimed.stream_key}", stream_key=claimed.stream_key)
        self.closed: str | None = None
        self.complaint: str | None = None
        self.speaker = speaker
        self._clock = clock
        self._coming: asyncio.Queue[FakeTrack | None] = asyncio.Queue()
        self._tracks: list[FakeTrack] = []

    def appear(self, identity: str | None = None, name: str | None = None) -> FakeTrack:
        track = FakeTrack(self._clock, Speaker(identity, name) if identity else self.speaker)
        self._tracks.append(track)
        self._coming.put_nowait(track)
        return track

    async def tracks(self) -> AsyncIterator[FakeTrack]:
        while (track := await self._coming.get()) is not None:
            yield track

    def trouble(self) -> str | None:
        return self.complaint

    async def close(self, reason: str) -> None:
        if self.closed is None:
            self.closed = reason
            for track in self._tracks:
                track.hang_up()
            self._coming.put_nowait(None)


class FakeSources:
    """Two kinds, `rtmp` and `websocket`; the sources opened so far by session."""

    def __init__(self, clock: Clock) -> None:
        self.opened: dict[str, FakeSource] = {}
        self._clock = clock
        self._keys = itertools.count(1)

    def require(self, kind: str) -> None:
        if kind not in ("rtmp", "websocket"):
            raise SourceUnavailable(kind, "use source rtmp")

    def new_key(self, kind: str) -> str | None:
        return f"key-{next(self._keys)}"

    def open(self, claimed: Claimed, speaker: Speaker) -> FakeSource:
        source = self.opened[claimed.slug] = FakeSource(self._clock, claimed, speaker)
        return source


# --- speech to text -----------------------------------------------------------------------------------------


class FakeLink:
    """A provider that hears what the test says it hears. `flush_s`: how long its last words take after `finish`."""

    def __init__(self, transcriber: FakeTranscriber, identity: str, hear: Callable[[Speech], None]) -> None:
        self.state = "streaming"
        self.sent_samples = 0
        self.messages_sent = 0
        self.backlog_s = 0.0
        self.listened = Listened()
        self.is_mute = False
        self.identity = identity
        self.hear = hear
        self.finished_with: float | None = None
        self.report: Callable[[ProviderSession], None] = lambda session: None
        self._transcriber = transcriber
        self._over: asyncio.Future[LinkEnd] = asyncio.get_running_loop().create_future()
        self._said = itertools.count(1)

    def send(self, offset: int, pcm: bytes) -> None:
        self.sent_samples += len(pcm) // 2
        self.listened += Listened(heard=len(pcm) // 2)
        self.messages_sent += 1

    def final(self, text: str, utterance_id: str | None = None, *, start: float = 0.0, end: float = 1.0) -> str:
        return self._say(text, utterance_id, start, end, is_final=True)

    def partial(self, text: str, utterance_id: str | None = None, *, start: float = 0.0, end: float = 1.0) -> str:
        return self._say(text, utterance_id, start, end, is_final=False)

    def _say(self, text: str, utterance_id: str | None, start: float, end: float, *, is_final: bool) -> str:
        chosen = utterance_id or f"{self.identity}:{next(self._said)}"
        self.hear(Utterance(chosen, is_final, text, "en", start, end, 0.9))
        return chosen

    def finish(self, flush_s: float) -> None:
        self.finished_with = flush_s
        loop = asyncio.get_running_loop()
        loop.call_later(self._transcriber.flush_s, self._flush)

    def _flush(self) -> None:
        for text in self._transcriber.last_words:
            self.final(text)
        self.end(complete=self._transcriber.complete)

    def end(self, *, complete: bool = True, refused: str | None = None) -> None:
        if not self._over.done():
            self._over.set_result(LinkEnd(complete, refused))

    async def run(self) -> LinkEnd:
        return await self._over


class FakeTranscriber:
    """Opens links and keeps them in order. `refusal`: the provider rejects the key."""

    engine = "fake"
    gate = "on"

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.options: list[SpeechOptions] = []
        self.refusal: str | None = None
        self.trouble: str | None = None
        self.complete = True
        self.flush_s = 0.0
        self.last_words: tuple[str, ...] = ()

    async def check_key(self) -> None:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise ProviderRefusedKey(self.refusal)

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> FakeLink:
        link = FakeLink(self, labels["identity"], hear)
        link.report = report
        self.links.append(link)
        self.options.append(options)
        return link


# --- live ---------------------------------------------------------------------------------------------------


class FakeTransport:
    """A socket whose reader takes what the test says: `stuck` keeps everything in the buffer until `read`."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.buffered = bytearray()
        self.arrived = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        if self.closing:
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.buffered += data
        if not self.stuck:
            self.read()

    def send(self, data: bytes) -> int:
        """Past the transport, into a kernel that takes little for a stuck reader. Returns: how much it took."""
        assert not self.buffered, "bytes would overtake others"
        taken = 0 if self.closing else min(len(data), 9) if self.stuck else len(data)
        self.arrived += data[:taken]
        return taken

    def read(self, size: int | None = None) -> None:
        taken = len(self.buffered) if size is None else size
        self.arrived += self.buffered[:taken]
        del self.buffered[:taken]

    def get_write_buffer_size(self) -> int:
        return len(self.buffered)

    def is_closing(self) -> bool:
        return self.closing


# --- limits -------------------------------------------------------------------------------------------------


class MemoryLedger:
    """The limits' view of MemoryRecords: every meter counts as today's."""

    def __init__(self, records: MemoryRecords) -> None:
        self._records = records
        self._overrides: dict[str, Overrides] = {}

    async def standing(self, session_id: str, transcription_id: str, live_s: float) -> Standing | None:
        space = await self._records.space_of(session_id)
        if space is None:
            return None
        others = [row for row in self._records.metered() if row[1] != transcription_id]
        here = [used for session, _, used in others if await self._records.space_of(session) == space]
        return Standing(
            self._overrides.get(space, Overrides()),
            session_s=sum(used.duration_seconds for session, _, used in others if session == session_id),
            space_s=sum(used.duration_seconds for used in here),
            space_live=sum(used.ended_at is None for used in here),
        )

    async def overrides(self, space_id: str) -> Overrides:
        return self._overrides.get(space_id, Overrides())

    async def override(self, space_id: str, overrides: Overrides) -> None:
        self._overrides[space_id] = overrides

    async def spent_today(self, space_id: str) -> int:
        return sum(used.duration_seconds for _, _, used in self._records.metered())


# --- all of it ----------------------------------------------------------------------------------------------


@dataclass
class Replica:
    """One process's service over records that others may share. Use inside `serving`."""

    records: MemoryRecords
    clock: LoopClock = field(default_factory=LoopClock)
    options: RunOptions = field(default_factory=lambda: RunOptions(owner="replica-1"))
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.hub = Hub(self.clock.now)
        self.recorder = Recorder(self.records, self.hub, self.clock)
        self.transcriber = FakeTranscriber()
        self.sources = FakeSources(self.clock)
        self.keeper = LimitKeeper(self.limits, self.records.ledger, self.clock)
        context = RunContext(
            self.records, self.recorder, self.hub, self.transcriber, self.clock, self.options, self.keeper
        )
        self.service = Transcriptions(context, self.sources)

    def source(self, slug: str) -> FakeSource:
        return self.sources.opened[slug]

    @property
    def link(self) -> FakeLink:
        """The newest."""
        return self.transcriber.links[-1]
