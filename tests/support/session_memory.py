"""The world of the sessions module in memory. Passes the same contract suite as Postgres and Redis:
tests/integration/gateway_sessions/test_gateway_sessions_contract.py.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gateway.errors import SessionError, SessionFull, SessionOver
from gateway.sessions.domain.video_session import Participant, Role, Segment, SessionStatus, VideoSession, may_move
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.attendees import Attendees
from gateway.sessions.usecases.closing import Closing
from gateway.sessions.usecases.ports import Begun, Ending, Joined, Joining, NewSession, SlugTaken, Visit, Wanted
from gateway.sessions.usecases.server_transcription import ServerTranscription
from gateway.sessions.usecases.transcripts import Transcripts
from gateway.sessions.usecases.upkeep import Upkeep, UpkeepOptions
from gateway.sessions.usecases.video_sessions import VideoSessions
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import TranscriptionState
from gateway.transcription.usecases.records import TranscriptionRecord

BEGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()

    def go_on(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Rows:
    """What the tables hold."""

    sessions: dict[str, VideoSession] = field(default_factory=dict)  # by id
    join_tokens: dict[str, bytes] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    people: dict[tuple[str, str], Participant] = field(default_factory=dict)
    segments: dict[tuple[str, str], Segment] = field(default_factory=dict)
    endings: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    duties: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    visits: dict[tuple[str, str], tuple[Visit, bool]] = field(default_factory=dict)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class MemorySessions:
    default_space = "default"

    def __init__(self, rows: Rows, clock: HandClock) -> None:
        self._rows = rows
        self._clock = clock

    async def create(self, new: NewSession) -> VideoSession:
        await asyncio.sleep(0)
        if new.created_by_user_id is None and new.space_id != self.default_space:
            raise LookupError(new.space_id)
        if await self.by_slug(new.slug) is not None:
            raise SlugTaken
        made = VideoSession(
            f"session-{next(self._rows.ids):04}",
            new.slug,
            new.title,
            new.created_by_user_id,
            new.space_id,
            SessionStatus.CREATED,
            self._clock.now(),
        )
        self._rows.sessions[made.id] = made
        if new.join_token_sha256 is not None:
            self._rows.join_tokens[made.id] = new.join_token_sha256
        return made

    async def by_slug(self, slug: str) -> VideoSession | None:
        await asyncio.sleep(0)
        return next((one for one in self._rows.sessions.values() if one.slug == slug), None)

    async def by_id(self, session_id: str) -> VideoSession | None:
        await asyncio.sleep(0)
        return self._rows.sessions.get(session_id)

    async def listed(self, space_id: str | None, limit: int, before: str | None) -> list[VideoSession]:
        def age(one: VideoSession) -> tuple[datetime, str]:
            return one.created_at, one.id

        last = None if before is None else await self.by_slug(before)
        if before is not None and last is None:
            return []
        found = [
            one
            for one in self._rows.sessions.values()
            if one.status != SessionStatus.EXPIRED and space_id in (None, one.space_id)
        ]
        return [one for one in sorted(found, key=age, reverse=True) if last is None or age(one) < age(last)][:limit]

    async def join_token_sha256(self, session_id: str) -> bytes | None:
        return self._rows.join_tokens.get(session_id)

    async def require_join_token(self, session_id: str, token_sha256: bytes) -> datetime:
        self._rows.join_tokens[session_id] = token_sha256
        return self._clock.now()

    async def join_required(self, session_ids: Sequence[str]) -> Mapping[str, datetime | None]:
        return dict.fromkeys(set(session_ids) & set(self._rows.join_tokens))

    async def keep_from_guests(self, session_id: str, *, kept: bool) -> None:
        (self._rows.kept.add if kept else self._rows.kept.discard)(session_id)

    async def kept_from_guests(self, session_ids: Sequence[str]) -> set[str]:
        return set(session_ids) & self._rows.kept

    async def end(self, session_id: str, follow_up_at: datetime | None, inactive_since: datetime | None = None) -> bool:
        await asyncio.sleep(0)
        row = self._rows.sessions.get(session_id)
        if row is None or not may_move(row.status, SessionStatus.ENDED):
            return False
        if inactive_since is not None and not _is_quiet(row, inactive_since):
            return False
        self._rows.sessions[session_id] = replace(row, status=SessionStatus.ENDED, ended_at=self._clock.now())
        if follow_up_at is not None:
            self._rows.endings.setdefault(session_id, (follow_up_at, 0))
        return True

    async def expire(self, session_id: str) -> bool:
        row = self._rows.sessions.get(session_id)
        if row is None or not may_move(row.status, SessionStatus.EXPIRED):
            return False
        self._rows.sessions[session_id] = replace(row, status=SessionStatus.EXPIRED)
        return True

    async def expire_created(self, before: datetime) -> list[VideoSession]:
        stale = [one for one in self._rows.sessions.values() if one.status == "CREATED" and one.created_at < before]
        return [self._rows.sessions[one.id] for one in stale if await self.expire(one.id)]

    async def inactive(self, since: datetime, limit: int) -> list[VideoSession]:
        live = [one for one in self._rows.sessions.values() if one.status == "LIVE" and _is_quiet(one, since)]
        return sorted(live, key=lambda one: one.last_activity_at or BEGIN)[:limit]

    async def over(self, session_ids: Sequence[str]) -> set[str]:
        rows = self._rows.sessions
        return {one for one in session_ids if one in rows and rows[one].status in ("ENDED", "EXPIRED")}

    async def delete(self, session_id: str) -> bool:
        await asyncio.sleep(0)
        rows = self._rows
        rows.join_tokens.pop(session_id, None)
        rows.endings.pop(session_id, None)
        for table in (rows.people, rows.segments):
            for key in [key for key in table if key[0] == session_id]:
                del table[key]  # type: ignore[attr-defined]
        return rows.sessions.pop(session_id, None) is not None

    async def delete_all(self) -> int:
        return sum([await self.delete(session_id) for session_id in list(self._rows.sessions)])


class MemoryParticipants:
    most = 0

    def __init__(self, rows: Rows, clock: HandClock) -> None:
        self._rows = rows
        self._clock = clock

    async def enter(self, session_id: str, joining: Joining) -> Joined | None:
        await asyncio.sleep(0)
        session = self._rows.sessions.get(session_id)
        if session is None or session.status not in ("CREATED", "LIVE"):
            return None
        key, now = (session_id, joining.identity), self._clock.now()
        known = self._rows.people.get(key)
        is_others = known is not None and known.user_id not in (None, joining.user_id)
        if is_others and not (joining.trusted or joining.owns):
            return None
        if known is None and self.most and len(await self.of(session_id, active_only=False)) >= self.most:
            raise SessionFull(self.most)
        went_live = session.status == "CREATED"
        if went_live:
            session = replace(session, status=SessionStatus.LIVE, started_at=now)
        self._rows.sessions[session_id] = replace(session, last_activity_at=now)
        if known is None:
            made = Participant(
                f"person-{next(self._rows.ids):04}",
                session_id,
                joining.user_id,
                joining.identity,
                joining.name,
                joining.role or Role.GUEST,
                now,
            )
        else:
            made = replace(
                known,
                user_id=joining.user_id if joining.owns else known.user_id or joining.user_id,
                name=joining.name if joining.name is not None else known.name,
                role=joining.role or known.role,
                left_at=None,
            )
        self._rows.people[key] = made
        return Joined(made, went_live)

    async def leave(self, session_id: str, identity: str) -> bool:
        known = self._rows.people.get((session_id, identity))
        if known is None or known.left_at is not None:
            return False
        self._rows.people[session_id, identity] = replace(known, left_at=self._clock.now())
        return True

    async def by_identity(self, session_id: str, identity: str) -> Participant | None:
        await asyncio.sleep(0)
        return self._rows.people.get((session_id, identity))

    async def by_user(self, session_id: str, user_id: str) -> list[Participant]:
        await asyncio.sleep(0)
        found = [one for one in self._rows.people.values() if one.session_id == session_id]
        mine = [one for one in found if one.user_id == user_id or (one.user_id is None and one.identity == user_id)]
        return sorted(mine, key=lambda one: one.role != Role.HOST)

    async def owner(self, session_id: str, identity: str) -> str | None:
        await asyncio.sleep(0)
        creators = {one.created_by_user_id for one in self._rows.sessions.values()}
        if identity in self._rows.users | creators:
            return identity
        known = self._rows.people.get((session_id, identity))
        return None if known is None else known.user_id

    async def meet(self, user_id: str) -> None:
        await asyncio.sleep(0)
        self._rows.users.add(user_id)

    async def visit(self, session_id: str, visit: Visit, *, begins: bool) -> bool:
        key = session_id, visit.identity
        known, is_over = self._rows.visits.get(key, (None, False))
        if known is not None:
            same, later = known.sid == visit.sid, visit.joined_ms - known.joined_ms
            if begins and (later < 0 or (same and is_over)):
                return False
            if not begins and not (same or later > 0 or (not visit.sid and later == 0)):
                return False
            visit = replace(visit, sid=visit.sid or known.sid, joined_ms=max(visit.joined_ms, known.joined_ms))
        self._rows.visits[key] = visit, not begins
        return True

    async def of(self, session_id: str, *, active_only: bool) -> list[Participant]:
        found = [one for one in self._rows.people.values() if one.session_id == session_id]
        return sorted(
            (one for one in found if one.left_at is None or not active_only), key=lambda one: (one.joined_at, one.id)
        )


class MemoryTranscripts:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def append(self, session_id: str, participant_id: str | None, segment: Segment) -> None:
        known = self._rows.segments.get((session_id, segment.utterance_id))
        if known is not None and known.is_final and not segment.is_final:
            return
        speaker = next((one for one in self._rows.people.values() if one.id == participant_id), None)
        identity, name = (speaker.identity, speaker.name) if speaker else (None, None)
        started_at = known.started_at if known else segment.started_at
        self._rows.segments[session_id, segment.utterance_id] = replace(
            segment, identity=identity, name=name, started_at=started_at
        )

    async def of(self, session_id: str, *, finals_only: bool) -> list[Segment]:
        found = [one for (owner, _), one in self._rows.segments.items() if owner == session_id]
        return sorted((one for one in found if one.is_final or not finals_only), key=lambda one: one.started_at)

    async def by_utterance(self, session_id: str, utterance_id: str) -> Segment | None:
        return self._rows.segments.get((session_id, utterance_id))


class MemoryEndings:
    def __init__(self, rows: Rows, clock: HandClock) -> None:
        self._rows = rows
        self._clock = clock

    async def pending(self, session_id: str) -> Ending | None:
        known = self._rows.endings.get(session_id)
        return None if known is None else Ending(session_id, known[1])

    async def due(self, limit: int) -> list[Ending]:
        due = sorted((at, key, count) for key, (at, count) in self._rows.endings.items() if at <= self._clock.now())
        return [Ending(key, count) for _, key, count in due[:limit]]

    async def later(self, session_id: str, at: datetime) -> None:
        if session_id in self._rows.endings:
            self._rows.endings[session_id] = (at, self._rows.endings[session_id][1] + 1)

    async def done(self, session_id: str) -> None:
        self._rows.endings.pop(session_id, None)


class MemoryDuties:
    def __init__(self, rows: Rows, clock: HandClock) -> None:
        self._rows = rows
        self._clock = clock

    async def take(self, name: str, owner: str, for_s: float) -> bool:
        now = self._clock.now()
        holder, until = self._rows.duties.get(name, (owner, now))
        if holder != owner and until > now:
            return False
        self._rows.duties[name] = (owner, now + timedelta(seconds=for_s))
        return True

    async def leave(self, name: str, owner: str) -> None:
        if self._rows.duties.get(name, ("", BEGIN))[0] == owner:
            del self._rows.duties[name]


def _is_quiet(session: VideoSession, since: datetime) -> bool:
    return (session.last_activity_at or session.started_at or session.created_at) < since


# --- what transcribes ---------------------------------------------------------------------------------------


class FakeControl:
    """A gateway that transcribes. `troubles`: raised by the next starts, one each."""

    def __init__(self, sessions: MemorySessions, clock: HandClock) -> None:
        self.started: list[tuple[str, str]] = []
        self.wanted: list[Wanted | None] = []
        self.stopped: list[str] = []
        self.running: set[str] = set()
        self.troubles: list[Exception] = []
        self.stop_trouble: SessionError | None = None
        self.stops = True
        self.last: dict[str, tuple[str, str | None]] = {}
        self._sessions = sessions
        self._clock = clock

    async def start(self, slug: str, source: str, wanted: Wanted | None = None) -> Begun:
        await asyncio.sleep(0)
        if self.troubles:
            raise self.troubles.pop(0)
        session = await self._sessions.by_slug(slug)
        assert session is not None
        if session.status in ("ENDED", "EXPIRED"):
            raise SessionOver(slug, session.status)
        created = slug not in self.running
        self.running.add(slug)
        self.started.append((slug, source))
        self.wanted.append(wanted)
        return Begun("t-1", slug, source, "starting", created, self._clock.now(), None)

    async def stop(self, slug: str, reason: str) -> bool:
        await asyncio.sleep(0)
        if self.stop_trouble is not None:
            raise self.stop_trouble
        if self.stops:
            self.running.discard(slug)
            self.stopped.append(slug)
        return self.stops

    async def newest(self, slug: str) -> TranscriptionRecord | None:
        await asyncio.sleep(0)
        if slug not in self.last:
            return None
        state, reason = self.last[slug]
        return TranscriptionRecord(
            "t-0",
            "session",
            slug,
            "livekit",
            TranscriptionState(state),
            BEGIN,
            None,
            reason,
            None,
            None,
            {},
            last_seq=0,
        )


class FakeRooms:
    url = "wss://rooms.example.com"

    def mint(self, room: str, identity: str, name: str | None, bearer: MintedFor) -> str:
        return f"token of {identity} for {room}"


class Module:
    """The whole module over rows in memory."""

    def __init__(self, *, source: str | None = "livekit", rooms: FakeRooms | None = None) -> None:
        self.clock = HandClock()
        self.rows = Rows()
        self.repository = MemorySessions(self.rows, self.clock)
        self.people = MemoryParticipants(self.rows, self.clock)
        self.endings = MemoryEndings(self.rows, self.clock)
        self.duties = MemoryDuties(self.rows, self.clock)
        self.control = FakeControl(self.repository, self.clock)
        self.followed: list[tuple[str, str]] = []
        self.told_over: list[str] = []
        self.trouble: dict[str, Exception] = {}
        self.admission = Admission(self.repository, self.people)
        self.transcription = ServerTranscription(self.control, self.control, source, retry_after_s=(0.0, 0.0))
        self.closing = Closing(
            self.repository,
            self.endings,
            self.transcription,
            self.clock,
            {"document": self._follow("document"), "analysis": self._follow("analysis")},
            self._erase,
            self.told_over.append,
        )
        self.sessions = VideoSessions(
            self.repository, self.admission, self.closing, self.transcription, rooms or FakeRooms()
        )
        self.attendees = Attendees(self.repository, self.people, self.admission, self.transcription)
        self.transcripts = Transcripts(MemoryTranscripts(self.rows), self.people, self.admission)

    def upkeep(self, owner: str = "me", **options: float) -> Upkeep:
        chosen = UpkeepOptions(owner, **options)
        return Upkeep(self.repository, self.endings, self.closing, self.duties, self.clock, chosen)

    async def _erase(self, session_id: str, slug: str) -> None:
        await self.repository.delete(session_id)

    def _follow(self, name: str):  # type: ignore[no-untyped-def]
        async def follow(session_id: str) -> None:
            if name in self.trouble:
                raise self.trouble[name]
            self.followed.append((name, session_id))

        return follow
