"""Start, stop and look at transcriptions: the service behind the control API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

from gateway import tracing
from gateway.errors import SessionNotFound, SessionOver
from gateway.outage import until_database_answers
from gateway.tasks import Tasks
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.errors import (
    CostCapReached,
    NeverStarted,
    NoRoom,
    NotReady,
    NotRunning,
    RunsElsewhere,
)
from gateway.transcription.domain.handover import HandedOver
from gateway.transcription.domain.preferences import Change
from gateway.transcription.domain.transcription import Claimed, Ingest, StartRequest, TranscriptionState
from gateway.transcription.domain.usage import Usage, exceeds
from gateway.transcription.usecases.adoption import Adoption, Past
from gateway.transcription.usecases.asked import InForce
from gateway.transcription.usecases.audio import AudioSource, AudioSources
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.limits import cap_reached
from gateway.transcription.usecases.records import SessionRecord, TranscriptionRecord
from gateway.transcription.usecases.run import DELETED, LEASE_LOST, Run
from gateway.transcription.usecases.salvage import salvage_into
from gateway.transcription.usecases.sweep import ProviderReport, UnreconciledSession

log = logging.getLogger(__name__)

STOPPED_BY_REQUEST: Final = "stopped by request"
# After the provider's deadline, the database and the tasks need a moment of their own.
STOP_MARGIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Started:
    """Answer to `start`. `created`: by this call; else it was running already. `state`: as the API spells it."""

    record: TranscriptionRecord
    state: str
    created: bool
    ingest: Ingest


@dataclass(frozen=True, slots=True)
class Stopped:
    """Answer to `stop`, with the last meter readings."""

    record: TranscriptionRecord
    finals_complete: bool
    usage: Sequence[Usage]


class Transcriptions:
    """Owns every run of this replica. Use inside `async with serving()`."""

    def __init__(self, context: RunContext, sources: AudioSources) -> None:
        self._context = context
        self._records = context.records
        self._finals = FinalReader(context.records, context.recorder.unstored)
        self.sources = sources
        self._runs: dict[str, Run] = {}  # by session slug
        self._beginning = 0  # starts that are under way, each with a place
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: Tasks | None = None
        self.draining = False
        """This process is shutting down and starts nothing more."""
        self.adoption = Adoption(context, self._runs, self._begin, self._spawn)
        context.recorder.on_fenced = self._lease_lost
        context.recorder.on_gone = self.session_gone

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Take over what a dead replica left, run what is started, and hand everything over at the end."""
        async with asyncio.TaskGroup() as group:
            self._tasks = tasks = Tasks(group)
            # An owner's name is its data folder's, and that is locked: what it held before, a dead process held.
            await until_database_answers(self.adoption.take_own)
            adopting = group.create_task(self.adoption.run(), name="adopt")
            try:
                yield
            finally:
                self.draining = True
                adopting.cancel()
                for run in self.runs:
                    run.release()
                await tasks.close(self._context.options.drain_s + STOP_MARGIN_S)

    @property
    def runs(self) -> list[Run]:
        """Those of this replica, ending ones included."""
        return list(self._runs.values())

    @property
    def tracks(self) -> int:
        """How many this replica has to carry: at least one for each run, whose speakers may be about to come."""
        return self._beginning + sum(max(len(run.tracks), 1) for run in self._runs.values())

    @property
    def is_full(self) -> bool:
        """It begins no more transcriptions; those that run here go on, and get further tracks."""
        most = self._context.options.max_tracks
        return bool(most) and self.tracks >= most

    def run_of(self, slug: str) -> Run | None:
        """The session's run, when this replica has it, and may speak for it."""
        return self._runs.get(slug) if self._context.membership.may_act() else None

    def turned_away(self, slug: str, who: str | None, why: str) -> bool:
        """As `Run.turned_away`, for those who name a session that runs here. False: it does not."""
        run = self._runs.get(slug)
        if run is not None:
            run.turned_away(who, why)
        return run is not None

    # --- the control API ----------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> Started:
        """Begin it on this replica, or find it running on any. Idempotent per session, also when called twice at once.

        Raises: SessionNotFound, SessionOver, SourceUnavailable, ProviderRefusedKey, CostCapReached, NotReady, NoRoom,
        TranscriptionOff, LimitReached, RecordsUnavailable.
        """
        if self.draining:
            raise NotReady("this gateway is shutting down")
        _require_certainty(self._context)
        async with self.lock(request.session_slug):
            session = await self._session(request.session_slug, request.session_id)
            running = self._runs.get(session.slug)
            if running is not None and running.state is TranscriptionState.STOPPING:
                await self._until_finished(running)
            elif running is not None and not running.finished.is_set():
                return self._started(running, created=False)
            if session.is_over:
                raise SessionOver(session.slug, session.status)
            if self.is_full:
                raise NoRoom(f"this gateway carries {self.tracks} tracks, as many as GATEWAY_MAX_TRACKS allows")
            self._beginning += 1
            try:
                with tracing.span("transcription start", {"session": session.slug}):
                    return await self._claim(session, request)
            finally:
                self._beginning -= 1

    def elsewhere(self, record: TranscriptionRecord) -> Started:
        """The answer to a start of what another replica runs."""
        ingest = self.sources.ingest(record.source, record.slug, record.stream_key)
        return Started(record, record.state.shown, False, ingest)

    async def stop(self, slug: str, *, wait: bool = True, reason: str = STOPPED_BY_REQUEST) -> Stopped | None:
        """Drain, then stop; idempotent. None when not waited for.

        Raises: SessionNotFound, NeverStarted, RunsElsewhere (also when the lease is lost while it waits), NotReady when
        the books cannot be closed now, RecordsUnavailable.
        """
        async with self.lock(slug):
            session = await self._session(slug)
            record = await self._records.transcriptions.newest(session.slug)
            if record is None:
                raise NeverStarted(slug)
            run = self._runs.get(slug)
            if run is None and not record.is_stopped:
                await self.adoption.take(record.id)
                run = self._runs.get(slug)
                if run is None:
                    raise RunsElsewhere(slug, record.owner)
        if run is not None:
            _require_certainty(self._context)
            run.stop(reason)
            if not wait:
                return None
            await self._until_finished(run)
            record = await self._records.transcriptions.newest(slug)
            if record is None:
                raise SessionNotFound(slug)  # it was deleted meanwhile
            if not record.is_stopped:
                raise RunsElsewhere(slug, record.owner)  # our lease was lost meanwhile
        usage = await self._records.usage.of_transcription(record.id)
        return Stopped(record, bool(record.finals_complete), usage)

    async def change(self, slug: str, change: Change) -> InForce:
        """What is asked for while it runs here. Idempotent.

        Raises: SessionNotFound, NeverStarted, NotRunning, RunsElsewhere, NotReady, RecordsUnavailable.
        """
        run = self._runs.get(slug)
        if run is None or run.state.is_ending:
            await self._session(slug)
            record = await self._records.transcriptions.newest(slug)
            if record is None:
                raise NeverStarted(slug)
            if record.is_stopped or run is not None:
                raise NotRunning(slug)
            await self.adoption.take(record.id)
            run = self._runs.get(slug)
            if run is None:
                raise RunsElsewhere(slug, record.owner)
        _require_certainty(self._context)
        changed = await run.asked.change(change)
        return run.asked.in_force(run.state, changed=changed)

    async def salvage(self, orphan: UnreconciledSession, told: ProviderReport) -> None:
        """Go on with what the provider tells of a dead process's session, if the run is here.

        Raises: RecordsUnavailable.
        """
        run = _by_id(self.runs, orphan.transcription_id)
        if run is not None and not run.finished.is_set():
            await salvage_into(run, orphan, told, self._records.sessions, self._finals)

    # --- changing hands -----------------------------------------------------------------------------------

    def let_go(self, run: Run) -> None:
        """It is another replica's now; what it still does here is its own matter."""
        if self._runs.get(run.claimed.slug) is run:
            del self._runs[run.claimed.slug]

    async def go_on(self, claimed: Claimed, handed: HandedOver | None = None, source: AudioSource | None = None) -> Run:
        """Run what another process has run before. `handed`: what that one says of it, if it lives. `source`: one that
        listens already.

        Raises: RecordsUnavailable.
        """
        past = await self.adoption.past(claimed)
        if (run := self._runs.get(claimed.slug)) is not None:
            return run
        run = self._begin(claimed, past, handed, source)
        run.finals_complete = past.is_whole or handed is not None
        return run

    def session_gone(self, session_id: str) -> None:
        """The session was deleted: its run ends and writes nothing more."""
        for run in self.runs:
            if run.claimed.session_id == session_id:
                run.abandon(DELETED)

    # --- inside -------------------------------------------------------------------------------------------

    async def _claim(self, session: SessionRecord, request: StartRequest) -> Started:
        self.sources.require(request.source)
        await self._context.transcriber.check_key()
        await self._context.limits.admit(session.id)
        spent = await self._records.usage.spent(session.id)
        cap, options = request.cost_cap_usd, self._context.options
        if cap is not None and exceeds(spent + options.cost_per_minute, cap):
            await self._context.limits.refused(session.id, cap_reached(cap))
            raise CostCapReached(session.slug, cap)
        kept = await self._records.vocabularies.of_space(session.space_id)
        request = replace(request, speech=kept.into(request.speech))
        key = self.sources.new_key(request.source)
        run_id = self._context.membership.run_id
        claimed, record = await self._records.leases.claim(
            session, request.source, request.stored() | tracing.headers(), key, options.owner, options.lease_s
        )
        if claimed is None:
            return self.elsewhere(record)
        if self._context.membership.run_id != run_id:
            raise NotReady("this gateway was cut off from the database meanwhile; start it again")
        try:
            run = self._begin(claimed, Past(spent))
        except Exception:
            await self.adoption.give_up(claimed)
            raise
        return self._started(run, created=True)

    async def _until_finished(self, run: Run) -> None:
        try:
            async with asyncio.timeout(self._context.options.drain_s + STOP_MARGIN_S):
                await run.finished.wait()
        except TimeoutError:
            raise NotReady("the transcription is stopping, but the database does not answer") from None

    async def _session(self, slug: str, session_id: str | None = None) -> SessionRecord:
        """`session_id`: the caller's, which has to be the slug's."""
        session = await self._records.sessions.by_slug(slug)
        if session is None or (session_id is not None and session.id != session_id):
            raise SessionNotFound(slug)
        return session

    def _started(self, run: Run, *, created: bool) -> Started:
        return Started(self.record_of(run), run.state.shown, created, run.source.ingest)

    def record_of(self, run: Run) -> TranscriptionRecord:
        """A run as the database would tell it."""
        claimed = run.claimed
        return TranscriptionRecord(
            id=claimed.lease.transcription_id,
            session_id=claimed.session_id,
            slug=claimed.slug,
            source=claimed.source,
            state=run.state,
            started_at=claimed.started_at,
            stopped_at=None,
            stop_reason=None,
            finals_complete=None,
            stream_key=claimed.stream_key,
            options=run.asked.options,
            last_seq=run.last_seq,
            owner=self._context.options.owner,
            lost_audio_s=run.counts.lost_audio_s,
        )

    def _begin(
        self,
        claimed: Claimed,
        past: Past,
        handed: HandedOver | None = None,
        source: AudioSource | None = None,
    ) -> Run:
        asked = StartRequest.read(claimed.slug, claimed.source, claimed.options)
        speaker = Speaker(asked.participant_identity or claimed.source, asked.participant_name)
        run = Run(
            claimed,
            asked.preferences,
            source or self.sources.open(claimed, speaker, handed.streams if handed else ()),
            self._context,
            earlier=past.earlier,
            recovered=past.recovered,
            cap_usd=asked.cost_cap_usd,
            spent_usd=past.spent,
        )
        if handed is not None:
            run.go_on(handed, past.former)
        else:
            run.recall(past.former)
        self._runs[claimed.slug] = run
        with tracing.within(claimed.traceparent):
            self._spawn(self._run(run), f"run {claimed.slug}")
        if self.draining:  # it was taken over while this replica began to leave
            run.release()
        return run

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            raise RuntimeError("Transcriptions is used inside `serving()`")
        self._tasks.start(work, name)

    async def _run(self, run: Run) -> None:
        try:
            await run.run()
        finally:
            self.let_go(run)

    def _lease_lost(self, transcription_id: str) -> None:
        if run := _by_id(self.runs, transcription_id):
            run.abandon(LEASE_LOST)

    def lock(self, slug: str) -> asyncio.Lock:
        """One lock a session, gone when no call holds or awaits it."""
        return self._locks.setdefault(slug, asyncio.Lock())


def _by_id(runs: Sequence[Run], transcription_id: str) -> Run | None:
    return next((run for run in runs if run.claimed.lease.transcription_id == transcription_id), None)


def _require_certainty(context: RunContext) -> None:
    """Raises: NotReady."""
    if not context.membership.may_act():
        raise NotReady("this gateway does not reach the database, and others may have taken over what it runs")


def again(record: TranscriptionRecord) -> StartRequest:
    """The request that would start a stopped transcription anew, in the same way."""
    return StartRequest.read(record.slug, record.source, record.options)
