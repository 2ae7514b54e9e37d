"""Start, stop and look at transcriptions: the service behind the control API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from gateway.errors import SessionNotFound, SessionOver
from gateway.outage import Outage, RecordsUnavailable, until_database_answers
from gateway.transcription.domain.captions import Speaker, Utterance
from gateway.transcription.domain.errors import CostCapReached, NeverStarted, NotReady, RunsElsewhere
from gateway.transcription.domain.salvage import StoredUtterance, salvage
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Claimed, Ingest, StartRequest, TranscriptionState
from gateway.transcription.domain.usage import Usage, exceeds
from gateway.transcription.usecases.audio import AudioSources
from gateway.transcription.usecases.records import SessionRecord, TranscriptionRecord
from gateway.transcription.usecases.run import Run, RunContext
from gateway.transcription.usecases.sweep import UnreconciledSession

log = logging.getLogger(__name__)

ADOPT_EVERY_S: Final = 10.0
# After the provider's deadline, the database and the tasks need a moment of their own.
STOP_MARGIN_S: Final = 10.0
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Started:
    record: TranscriptionRecord
    state: str
    created: bool
    ingest: Ingest


@dataclass(frozen=True, slots=True)
class Stopped:
    record: TranscriptionRecord
    finals_complete: bool
    usage: list[Usage]


@dataclass(frozen=True, slots=True)
class Seen:
    """A transcription for the status page; `run` is there when this replica has it."""

    record: TranscriptionRecord
    run: Run | None


class Transcriptions:
    """Owns every run of this replica. Use inside `async with serving()`."""

    def __init__(self, context: RunContext, sources: AudioSources) -> None:
        self._context = context
        self._sources = sources
        self._runs: dict[str, Run] = {}  # by session slug
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: asyncio.TaskGroup | None = None
        self._run_tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._context.recorder.fenced = self._lease_lost
        self._context.recorder.gone = self.session_gone

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Take over what a dead replica left, run what is started, and hand everything over at the end."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            # An owner's name is its data folder's, and that is locked: what it held before, a dead process held.
            await until_database_answers(lambda: self._adopt(own=True))
            adopting = tasks.create_task(self._adopt_for_ever(), name="adopt")
            try:
                yield
            finally:
                self._draining = True
                adopting.cancel()
                for run in self.runs:
                    run.release()
                if self._run_tasks:
                    _, late = await asyncio.wait(self._run_tasks, timeout=self._context.options.drain_s + STOP_MARGIN_S)
                    for task in late:
                        task.cancel()

    @property
    def runs(self) -> list[Run]:
        return list(self._runs.values())

    @property
    def draining(self) -> bool:
        return self._draining

    def run_of(self, slug: str) -> Run | None:
        return self._runs.get(slug)

    # --- the control API ----------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> Started:
        """Idempotent per session, also when called twice at the same moment.

        Raises: SessionNotFound, SessionOver, SourceUnavailable, ProviderRefusedKey, CostCapReached, NotReady,
        TranscriptionOff, LimitReached.
        """
        if self._draining:
            raise NotReady("this gateway is shutting down")
        async with self._lock(request.session_slug):
            session = await self._session(request.session_slug, request.session_id)
            running = self._runs.get(session.slug)
            if running is not None and running.state is TranscriptionState.STOPPING:
                await self._until_finished(running)
            elif running is not None and not running.finished.is_set():
                return self._shown(running, created=False)
            if session.status in ("ENDED", "EXPIRED"):
                raise SessionOver(session.slug, session.status)
            self._sources.require(request.source)
            await self._context.transcriber.check_key()
            await self._context.limits.admit(session.id)
            spent = await self._context.records.spent(session.id)
            cap = request.cost_cap_usd
            if cap is not None and exceeds(spent + self._context.options.cost_per_minute, cap):
                raise CostCapReached(session.slug, cap)
            claimed, record = await self._context.records.claim(
                session,
                request.source,
                _options(request),
                self._sources.new_key(request.source),
                self._context.options.owner,
                self._context.options.lease_s,
            )
            if claimed is None:
                return Started(record, record.state.lower(), False, Ingest(stream_key=record.stream_key))
            run = self._begin(claimed, [], spent)
            return self._shown(run, created=True)

    async def stop(self, slug: str, *, wait: bool = True, reason: str = "stopped by request") -> Stopped | None:
        """Drain, then stop; idempotent. None when not waited for.

        Raises: SessionNotFound, NeverStarted, RunsElsewhere (also when the lease is lost while it waits), NotReady when
        the books cannot be closed now.
        """
        async with self._lock(slug):
            session = await self._session(slug, None)
            record = await self._context.records.transcription(session.slug)
            if record is None:
                raise NeverStarted(slug)
            run = self._runs.get(slug)
            if run is None and record.state != TranscriptionState.STOPPED:
                await self._adopt()
                run = self._runs.get(slug)
                if run is None:
                    raise RunsElsewhere(slug)
        if run is not None:
            run.stop(reason)
            if not wait:
                return None
            await self._until_finished(run)
            record = await self._context.records.transcription(slug)
            if record is None:
                raise SessionNotFound(slug)  # it was deleted meanwhile
            if record.state != TranscriptionState.STOPPED:
                raise RunsElsewhere(slug)  # our lease was lost meanwhile
        usage = await self._context.records.usage(record.id)
        return Stopped(record, bool(record.finals_complete), usage)

    async def seen(self, slug: str) -> Seen:
        """Without the database what runs here is still seen. Raises: SessionNotFound, NeverStarted."""
        try:
            session = await self._session(slug, None)
            record = await self._context.records.transcription(session.slug)
        except RecordsUnavailable:
            run = self._runs.get(slug)
            if run is None:
                raise
            return Seen(_record(run), run)
        if record is None:
            raise NeverStarted(slug)
        return Seen(record, self._runs.get(slug))

    async def all_seen(self) -> list[Seen]:
        """Every transcription that is not stopped, on whatever replica; without the database those that run here.

        Raises: RecordsUnavailable when nothing runs here either.
        """
        try:
            records = await self._context.records.running()
        except RecordsUnavailable:
            if not self._runs:
                raise
            return [Seen(_record(run), run) for run in self.runs]
        return [Seen(record, self._runs.get(record.slug)) for record in records]

    async def usage(self, slug: str) -> list[Usage]:
        """Live figures when it runs here, else the last checkpoint. Raises as `seen`."""
        seen = await self.seen(slug)
        if seen.run is not None and not seen.run.finished.is_set():
            return seen.run.usage()
        return await self._context.records.usage(seen.record.id)

    async def salvage(self, orphan: UnreconciledSession, heard: Sequence[Utterance]) -> None:
        """Go on with what the provider heard from a dead process: what has no final gets one, if its run is here."""
        found = (run for run in self.runs if run.claimed.lease.transcription_id == orphan.transcription_id)
        run = next(found, None)
        if run is None or run.finished.is_set():
            return
        records, session_id = self._context.records, run.claimed.session_id
        kept: list[StoredUtterance] = []
        name: str | None = None
        after = 0
        while page := await records.finals(session_id, after, _PAGE):
            after = page[-1].seq
            for final in page:
                said = msgspec.json.decode(final.data)
                if said["participantIdentity"] == orphan.identity:
                    name = said["participantName"]
                if said["utteranceId"].startswith(f"{orphan.id}:"):
                    kept.append(StoredUtterance(said["text"], said["startMs"]))
        opened = orphan.opened_at - run.claimed.numbering.origin
        missing = salvage(kept, heard, round(opened.total_seconds() * 1000))
        if missing is None:
            log.warning("the provider's record of a dead process's session does not fit what was kept of it")
        elif missing.utterances:
            speaker = Speaker(orphan.identity, name)
            with suppress(LookupError):  # the session was deleted
                run.salvage(speaker, await records.joined(session_id, speaker), missing)

    # --- inside -------------------------------------------------------------------------------------------

    async def _until_finished(self, run: Run) -> None:
        try:
            async with asyncio.timeout(self._context.options.drain_s + STOP_MARGIN_S):
                await run.finished.wait()
        except TimeoutError:
            raise NotReady("the transcription is stopping, but the database does not answer") from None

    async def _session(self, slug: str, session_id: str | None) -> SessionRecord:
        session = await self._context.records.session(slug)
        if session is None or (session_id is not None and session.id != session_id):
            raise SessionNotFound(slug)
        return session

    def _begin(self, claimed: Claimed, earlier: list[Usage], spent: float) -> Run:
        options = claimed.options
        speaker = Speaker(options.get("participantIdentity") or claimed.source, options.get("participantName") or None)
        run = Run(
            claimed,
            SpeechOptions.read(options),
            self._sources.open(claimed, speaker),
            self._context,
            earlier=earlier,
            cap_usd=options.get("costCapUsd"),
            spent_usd=spent,
        )
        if self._tasks is None:
            raise RuntimeError("Transcriptions is used inside `serving()`")
        self._runs[claimed.slug] = run
        task = self._tasks.create_task(run.run(), name=f"run {claimed.slug}")
        self._run_tasks.add(task)
        task.add_done_callback(lambda done: self._ended(claimed.slug, run, done))
        return run

    def _ended(self, slug: str, run: Run, task: asyncio.Task[None]) -> None:
        self._run_tasks.discard(task)
        if self._runs.get(slug) is run:
            del self._runs[slug]

    def _shown(self, run: Run, *, created: bool) -> Started:
        return Started(_record(run), run.state.shown, created, run.source.ingest)

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
        records, options = self._context.records, self._context.options
        for run in self.runs:
            # After a long outage our own leases have run out too, and adopting them would fence our own runs.
            if not run.finished.is_set():
                await run.renew()
        for claimed in await records.adopt(options.owner, options.lease_s, own=own):
            if claimed.slug in self._runs:
                continue
            level = logging.INFO if own else logging.WARNING
            said = "going on after a restart" if own else "taking over a transcription whose owner is gone"
            log.log(level, said, extra={"session": claimed.slug})
            earlier = await records.usage(claimed.lease.transcription_id)
            spent = await records.spent(claimed.session_id) - sum(usage.total_cost for usage in earlier)
            run = self._begin(claimed, earlier, spent)
            if any(bill.closed_at is None for bill in await records.bills(claimed.lease.transcription_id)):
                # Somebody spoke when the former owner died: what it had not sent yet is in no record.
                run.counts.finals_complete = False

    def _lease_lost(self, transcription_id: str) -> None:
        for run in self.runs:
            if run.claimed.lease.transcription_id == transcription_id:
                run.abandon("another replica took over")

    def session_gone(self, session_id: str) -> None:
        """The session was deleted: its run ends and writes nothing more."""
        for run in self.runs:
            if run.claimed.session_id == session_id:
                run.abandon("the session was deleted")

    def _lock(self, slug: str) -> asyncio.Lock:
        """One lock a session, gone when nobody holds or awaits it."""
        return self._locks.setdefault(slug, asyncio.Lock())


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
