"""Start, stop and look at transcriptions: the service behind the control API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from gateway.errors import SessionError, SessionNotFound, SessionOver
from gateway.outage import Outage, Prompt, RecordsUnavailable, until_database_answers
from gateway.tasks import Tasks
from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.captions import Speaker, Utterance
from gateway.transcription.domain.errors import CostCapReached, NeverStarted, NotReady, RunsElsewhere
from gateway.transcription.domain.handover import HandedOver, Heir
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Claimed, Ingest, StartRequest, TranscriptionState
from gateway.transcription.domain.usage import Figures, Usage, exceeds
from gateway.transcription.usecases.audio import AudioSources
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.late import LateFinals, Tell
from gateway.transcription.usecases.records import SessionRecord, TranscriptionRecord
from gateway.transcription.usecases.run import LEASE_LOST, Run
from gateway.transcription.usecases.salvage import salvage_into
from gateway.transcription.usecases.sweep import UnreconciledSession

log = logging.getLogger(__name__)

ADOPT_EVERY_S: Final = 10.0
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


@dataclass(frozen=True, slots=True)
class Seen:
    """A transcription for the status page. `run`: when this replica has it. `is_stored`: the database has answered;
    else the record is what the run knows."""

    record: TranscriptionRecord
    run: Run | None
    figures: Figures
    is_stored: bool = True


class Transcriptions:
    """Owns every run of this replica. Use inside `async with serving()`."""

    def __init__(self, context: RunContext, sources: AudioSources) -> None:
        self._context = context
        self._records = context.records
        self._finals = FinalReader(context.records, context.recorder.unstored)
        self._sources = sources
        self._runs: dict[str, Run] = {}  # by session slug
        self._prompt = Prompt()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: Tasks | None = None
        self._draining = False
        context.recorder.on_fenced = self._lease_lost
        context.recorder.on_gone = self.session_gone

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Take over what a dead replica left, run what is started, and hand everything over at the end."""
        async with asyncio.TaskGroup() as group:
            self._tasks = tasks = Tasks(group)
            # An owner's name is its data folder's, and that is locked: what it held before, a dead process held.
            await until_database_answers(lambda: self._adopt(own=True))
            adopting = group.create_task(self._adopt_for_ever(), name="adopt")
            try:
                yield
            finally:
                self._draining = True
                adopting.cancel()
                for run in self.runs:
                    run.release()
                await tasks.close(self._context.options.drain_s + STOP_MARGIN_S)

    @property
    def runs(self) -> list[Run]:
        """Those of this replica, ending ones included."""
        return list(self._runs.values())

    @property
    def draining(self) -> bool:
        """This process is shutting down and starts nothing more."""
        return self._draining

    def run_of(self, slug: str) -> Run | None:
        """The session's run, when this replica has it."""
        return self._runs.get(slug)

    # --- the control API ----------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> Started:
        """Idempotent per session, also when called twice at the same moment.

        Raises: SessionNotFound, SessionOver, SourceUnavailable, ProviderRefusedKey, CostCapReached, NotReady,
        TranscriptionOff, LimitReached, RecordsUnavailable.
        """
        if self._draining:
            raise NotReady("this gateway is shutting down")
        async with self.lock(request.session_slug):
            session = await self._session(request.session_slug, request.session_id)
            running = self._runs.get(session.slug)
            if running is not None and running.state is TranscriptionState.STOPPING:
                await self._until_finished(running)
            elif running is not None and not running.finished.is_set():
                return _started(running, created=False)
            if session.is_over:
                raise SessionOver(session.slug, session.status)
            self._sources.require(request.source)
            await self._context.transcriber.check_key()
            await self._context.limits.admit(session.id)
            spent = await self._records.usage.spent(session.id)
            cap, options = request.cost_cap_usd, self._context.options
            if cap is not None and exceeds(spent + options.cost_per_minute, cap):
                raise CostCapReached(session.slug, cap)
            key = self._sources.new_key(request.source)
            claimed, record = await self._records.leases.claim(
                session, request.source, _options(request), key, options.owner, options.lease_s
            )
            if claimed is None:
                return Started(record, record.state.shown, False, Ingest(stream_key=record.stream_key))
            return _started(self._begin(claimed, (), spent), created=True)

    async def stop(self, slug: str, *, wait: bool = True, reason: str = "stopped by request") -> Stopped | None:
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
                await self._adopt()
                run = self._runs.get(slug)
                if run is None:
                    raise RunsElsewhere(slug)
        if run is not None:
            run.stop(reason)
            if not wait:
                return None
            await self._until_finished(run)
            record = await self._records.transcriptions.newest(slug)
            if record is None:
                raise SessionNotFound(slug)  # it was deleted meanwhile
            if not record.is_stopped:
                raise RunsElsewhere(slug)  # our lease was lost meanwhile
        usage = await self._records.usage.of_transcription(record.id)
        return Stopped(record, bool(record.finals_complete), usage)

    async def seen(self, slug: str) -> Seen:
        """The session's newest transcription, within PROMPT_S. Without the database what runs here is still seen.

        Raises: SessionNotFound, NeverStarted, RecordsUnavailable.
        """
        try:
            record, used = await self._prompt(lambda: self._stored(slug))
        except RecordsUnavailable:
            run = self._runs.get(slug)
            if run is None:
                raise
            return _remembered(run)
        run = self._runs.get(slug)
        return Seen(record, run, Figures.of(run.usage() if run and not run.finished.is_set() else used))

    async def all_seen(self) -> Sequence[Seen]:
        """Every transcription that is not stopped, on whatever replica, within PROMPT_S; without the database those
        that run here.

        Raises: RecordsUnavailable when nothing runs here either.
        """
        try:
            stored = await self._prompt(self._records.transcriptions.active)
        except RecordsUnavailable:
            if not self._runs:
                raise
            return [_remembered(run) for run in self.runs]
        found = []
        for record, figures in stored:
            run = self._runs.get(record.slug)
            found.append(Seen(record, run, Figures.of(run.usage()) if run else figures))
        return found

    async def usage(self, slug: str) -> Sequence[Usage]:
        """Live figures when it runs here, else the last checkpoint. Raises as `seen`."""
        run = self._runs.get(slug)
        if run is not None and not run.finished.is_set():
            return run.usage()
        return (await self._prompt(lambda: self._stored(slug)))[1]

    async def bills(self, seen: Seen) -> Sequence[Bill] | None:
        """What the provider billed; None when only the database could tell and does not.

        Raises: RecordsUnavailable when it does not run here.
        """
        try:
            return await self._prompt(lambda: self._records.provider_sessions.bills(seen.record.id))
        except RecordsUnavailable:
            if seen.run is None:
                raise
            return None

    async def salvage(self, orphan: UnreconciledSession, heard: Sequence[Utterance]) -> None:
        """Go on with what the provider heard from a dead process, if the run is here. Raises: RecordsUnavailable."""
        run = self._by_id(orphan.transcription_id)
        if run is not None and not run.finished.is_set():
            await salvage_into(run, orphan, heard, self._records.sessions, self._finals)

    # --- changing hands -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Begin nothing more; what runs goes on."""
        self._draining = True

    def check_room(self) -> None:
        """Raises: NotReady when nothing may begin here."""
        if self._draining:
            raise NotReady("this gateway is shutting down")

    async def hand_over(self, slug: str, fence: int, heir: Heir, pause_s: float, tell: Tell) -> HandedOver:
        """Give what runs here to another replica, which hears by `tell` what comes late.

        Raises: NotReady, RunsElsewhere.
        """
        run = self._runs.get(slug)
        if run is None or run.claimed.lease.fence != fence or self._tasks is None:
            raise RunsElsewhere(slug)
        late = LateFinals(run.claimed, heir, self._context, tell)
        # A task of its own: whoever asked may be gone before it is done.
        giving = self._tasks.start(self._give(run, heir, pause_s, late), f"hand over {slug}")
        handed = await asyncio.shield(giving)
        if isinstance(handed, SessionError):
            raise handed
        return handed

    async def _give(self, run: Run, heir: Heir, pause_s: float, late: LateFinals) -> HandedOver | SessionError:
        slug = run.claimed.slug
        try:
            handed = await run.hand_over(heir, pause_s, late)
        except SessionError as error:  # not raised: an error of a task would end all others
            return error
        if self._runs.get(slug) is run:
            del self._runs[slug]
        if self._tasks is not None:
            self._tasks.start(late.run(), f"late finals {slug}")
        log.info("handed over to another replica", extra={"session": slug, "to": heir.replica})
        return handed

    async def go_on(self, claimed: Claimed, handed: HandedOver | None = None) -> Run:
        """Run what another process has run before. `handed`: what that one says of it, if it lives.

        Raises: RecordsUnavailable.
        """
        records, transcription_id = self._records, claimed.lease.transcription_id
        earlier = await records.usage.of_transcription(transcription_id)
        spent = await records.usage.spent(claimed.session_id) - sum(usage.total_cost for usage in earlier)
        counts = await records.finals.counts(claimed)
        bills = () if handed else await records.provider_sessions.bills(transcription_id)
        if (run := self._runs.get(claimed.slug)) is not None:
            return run
        run = self._begin(claimed, earlier, spent, counts, handed)
        if any(bill.closed_at is None for bill in bills):
            # A track was streaming when the former owner died: what that had not sent yet is in no record.
            run.finals_complete = False
        return run

    def session_gone(self, session_id: str) -> None:
        """The session was deleted: its run ends and writes nothing more."""
        for run in self.runs:
            if run.claimed.session_id == session_id:
                run.abandon("the session was deleted")

    # --- inside -------------------------------------------------------------------------------------------

    async def _stored(self, slug: str) -> tuple[TranscriptionRecord, Sequence[Usage]]:
        record = await self._records.transcriptions.newest(slug)
        if record is None:
            await self._session(slug)
            raise NeverStarted(slug)
        return record, await self._records.usage.of_transcription(record.id)

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

    def _by_id(self, transcription_id: str) -> Run | None:
        return next((run for run in self.runs if run.claimed.lease.transcription_id == transcription_id), None)

    def _begin(
        self,
        claimed: Claimed,
        earlier: Sequence[Usage],
        spent: float,
        recovered: Mapping[str, int] | None = None,
        handed: HandedOver | None = None,
    ) -> Run:
        if self._tasks is None:
            raise RuntimeError("Transcriptions is used inside `serving()`")
        options = claimed.options
        speaker = Speaker(options.get("participantIdentity") or claimed.source, options.get("participantName") or None)
        run = Run(
            claimed,
            SpeechOptions.read(options),
            self._sources.open(claimed, speaker, handed.streams if handed else ()),
            self._context,
            earlier=earlier,
            recovered=recovered,
            cap_usd=options.get("costCapUsd"),
            spent_usd=spent,
        )
        if handed is not None:
            run.go_on(handed)
        self._runs[claimed.slug] = run
        self._tasks.start(self._run(run), f"run {claimed.slug}")
        return run

    async def _run(self, run: Run) -> None:
        try:
            await run.run()
        finally:
            if self._runs.get(run.claimed.slug) is run:
                del self._runs[run.claimed.slug]

    async def _adopt_for_ever(self) -> None:
        outage = Outage("work of dead replicas waits")
        while True:
            await asyncio.sleep(ADOPT_EVERY_S)
            try:
                await self._adopt()
                outage.over()
            except RecordsUnavailable as error:
                outage.noticed(error)

    async def _adopt(self, *, own: bool = False) -> None:
        """Go on with transcriptions whose owner is gone; `own`: with what this very owner held before a restart."""
        records, options = self._records, self._context.options
        for run in self.runs:
            # After a long outage our own leases have run out too, and adopting them would fence our own runs.
            if not run.finished.is_set():
                await run.renew()
        for claimed in await records.leases.adopt(options.owner, options.lease_s, own=own):
            if claimed.slug in self._runs:
                continue
            level = logging.INFO if own else logging.WARNING
            said = "going on after a restart" if own else "taking over a transcription whose owner is gone"
            log.log(level, said, extra={"session": claimed.slug})
            await self.go_on(claimed)

    def _lease_lost(self, transcription_id: str) -> None:
        if run := self._by_id(transcription_id):
            run.abandon(LEASE_LOST)

    def lock(self, slug: str) -> asyncio.Lock:
        """One lock a session, gone when no call holds or awaits it."""
        return self._locks.setdefault(slug, asyncio.Lock())


def _started(run: Run, *, created: bool) -> Started:
    return Started(_record(run), run.state.shown, created, run.source.ingest)


def _remembered(run: Run) -> Seen:
    return Seen(_record(run), run, Figures.of(run.usage()), is_stored=False)


def _record(run: Run) -> TranscriptionRecord:
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
        options=claimed.options,
        last_seq=run.last_seq,
    )


def _options(request: StartRequest) -> dict[str, Any]:
    """What a later owner needs to go on in the same way; stored with the transcription."""
    return {
        **request.speech.stored(),
        "costCapUsd": request.cost_cap_usd,
        "participantIdentity": request.participant_identity,
        "participantName": request.participant_name,
    }


def again(record: TranscriptionRecord) -> StartRequest:
    """The request that would start a stopped transcription anew, in the same way."""
    options = record.options
    return StartRequest(
        record.slug,
        source=record.source,
        speech=SpeechOptions.read(options),
        cost_cap_usd=options.get("costCapUsd"),
        participant_identity=options.get("participantIdentity"),
        participant_name=options.get("participantName"),
    )
