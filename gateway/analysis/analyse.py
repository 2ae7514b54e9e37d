"""Workers that analyse ended sessions. Any replica may take one; a failed attempt is repeated, then kept as FAILED."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from gateway.analysis.errors import AnalysisNotFailed, NoAnalysis
from gateway.analysis.rules import AnalysisStatus, Conversation, Findings, Method, Risk, Task, may_move
from gateway.clock import Clock
from gateway.errors import SessionNotFound
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.errors import SessionNotEnded
from gateway.sessions.domain.video_session import VideoSession

log = logging.getLogger(__name__)

LEASE_S: Final = 60.0
_RELEASE_S: Final = 2.0
_LONGEST_BACKOFF_S: Final = 3600.0


class AnalysisTrouble(Exception):
    """Trying again later can help. The text is for people and holds no word of a transcript."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class AnalysisImpossible(Exception):
    """Trying again cannot help before a setting or the transcript changes. The text says what to change."""


@dataclass(frozen=True, slots=True)
class Job:
    """An analysis that this worker has taken. `attempts`: this one included."""

    analysis_id: str
    session_id: str
    fence: int
    attempts: int


@dataclass(frozen=True, slots=True)
class AnalysisRecord:
    """As the database knows it."""

    status: AnalysisStatus
    method: Method | None
    summary: str | None
    tasks: tuple[Task, ...]
    risks: tuple[Risk, ...]
    reason: str | None
    attempts: int
    created_at: datetime
    updated_at: datetime


class Analyst(Protocol):
    """Makes findings of what was said."""

    async def analyse(self, conversation: Conversation) -> Findings:
        """May take minutes, may be cancelled, and may be repeated. Raises: AnalysisTrouble, AnalysisImpossible."""


class AnalysisQueue(Protocol):
    """The durable queue of all replicas. Each change is one statement; every method may raise RecordsUnavailable.

    A job is leased. Writes carry its fence, and are refused once another worker has taken the job or the session was
    deleted: then they return False. A write repeated after RecordsUnavailable may find that it has been done, and
    returns False too.
    """

    async def session_status(self, session_id: str) -> str | None:
        """Of the app's row, a SessionStatus or a label that the app has added since; None: no such session."""

    async def ensure(self, session_id: str) -> AnalysisRecord | None:
        """See to one PENDING analysis of an ENDED session; an existing one stays, in whatever state. May be repeated.

        Returns: the analysis; None for a session that is not ENDED or not there.
        """

    async def find(self, session_id: str) -> AnalysisRecord | None:
        """The session's analysis as it stands; None when it has none."""

    async def take(self, lease_s: float) -> Job | None:
        """The oldest that is due or whose lease has run out: now RUNNING and this caller's for `lease_s`.

        Returns: None when there is none. Of several calls at once, no two get the same.
        """

    async def renew(self, job: Job, lease_s: float) -> bool:
        """The job is the caller's for `lease_s` from now. False when another worker has taken it: stop."""

    async def conversation(self, session_id: str) -> Conversation:
        """All finals stored by now, in spoken order; empty for a session without any."""

    async def done(self, job: Job, findings: Findings) -> bool:
        """RUNNING → DONE with its findings, in one statement. Returns: False, with nothing written, as `renew`."""

    async def failed(self, job: Job, reason: str) -> bool:
        """RUNNING → FAILED; `reason` is for people. Returns: False, with nothing written, as `renew`."""

    async def put_back(self, job: Job, reason: str | None, due_at: datetime, *, counts: bool = True) -> bool:
        """RUNNING → PENDING, due at `due_at`. Without `counts` the attempt is not counted. Returns: as `failed`."""

    async def retry(self, session_id: str) -> bool:
        """FAILED → PENDING, due now, with no attempt counted. Returns: whether this call made the move."""

    async def counts(self) -> Mapping[str, int]:
        """How many are PENDING, RUNNING and FAILED, in all replicas."""


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """`workers`: how many analyses at once in this process; 0 leaves them to other replicas."""

    workers: int = 2
    attempts: int = 5
    lease_s: float = LEASE_S
    poll_s: float = 5.0
    backoff_s: float = 30.0
    count_s: float = 15.0


@dataclass(slots=True)
class AnalysisCounts:
    """For the metrics. `waiting` is what the database said last."""

    finished: Counter[str] = field(default_factory=Counter)  # done, failed, put_back, lost
    seconds: float = 0.0
    running: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an attempt. No reason in the log: a server's complaint may repeat what was said."""

    name: str
    level: int
    message: str


_DONE: Final = _Outcome("done", logging.INFO, "analysis done")
_FAILED: Final = _Outcome(
    "failed", logging.WARNING, "analysis failed; GET /api/sessions/{slug}/analysis has the reason"
)
_PUT_BACK: Final = _Outcome("put_back", logging.WARNING, "analysis failed for now; it will be tried again")
_LOST: Final = _Outcome("lost", logging.WARNING, "analysis was taken over or deleted meanwhile")


class Analyses:
    """The use cases (`schedule`, `find`, `retry`) and the workers (`work`) on one queue."""

    def __init__(
        self,
        queue: AnalysisQueue,
        analyst: Analyst,
        clock: Clock,
        options: AnalysisOptions | None = None,
    ) -> None:
        self.counts = AnalysisCounts()
        self._queue = queue
        self._analyst = analyst
        self._clock = clock
        self._options = options or AnalysisOptions()
        self._trouble = False
        self._news = asyncio.Event()

    # --- asked for ----------------------------------------------------------------------------------------

    async def schedule(self, session_id: str) -> None:
        """Put an ended session into the queue; repeating it changes nothing.

        Raises: SessionNotFound, SessionNotEnded, RecordsUnavailable.
        """
        if await self._queue.ensure(session_id) is None:
            status = await self._queue.session_status(session_id)
            if status is None:
                raise SessionNotFound(session_id)
            raise SessionNotEnded(session_id, status)
        self._news.set()

    async def find(self, session: VideoSession) -> AnalysisRecord:
        """Raises: NoAnalysis."""
        record = await self._queue.find(session.id)
        if record is None:
            raise NoAnalysis(session.slug)
        return record

    async def retry(self, session: VideoSession) -> AnalysisRecord:
        """Start a failed one again. Raises: NoAnalysis, AnalysisNotFailed."""
        record = await self.find(session)
        allowed = record.status is AnalysisStatus.FAILED and may_move(record.status, AnalysisStatus.PENDING)
        if not allowed or not await self._queue.retry(session.id):
            raise AnalysisNotFailed(session.slug, (await self.find(session)).status)
        log.info("analysis is started again", extra={"session": session.slug})
        self._news.set()
        return await self.find(session)

    # --- worked off ---------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Analyse what is due, `workers` at a time, until cancelled; what is in progress is put back then.

        Without workers it only counts: that nobody works is seen by what waits.
        """
        if not self._options.workers:
            await self._count()
        free = asyncio.Semaphore(self._options.workers)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count(), name="analysis-counts")
            while True:
                await free.acquire()
                self._news.clear()
                job = await self._take()
                if job is None:
                    free.release()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._options.poll_s * random.uniform(0.8, 1.2)):  # noqa: S311
                            await self._news.wait()
                    continue
                worker = group.create_task(self._process(job), name=f"analysis-of-{job.session_id}")
                worker.add_done_callback(lambda _: free.release())

    async def _take(self) -> Job | None:
        """The next job. An error is logged once, when it begins, and looks like an empty queue."""
        try:
            job = await self._queue.take(self._options.lease_s)
        except RecordsUnavailable as error:
            if not self._trouble:
                log.warning("analyses wait for the database: %s", error)
            self._trouble = True
            return None
        except Exception:
            if not self._trouble:
                log.exception("the queue of analyses cannot be read")
            self._trouble = True
            return None
        self._trouble = False
        return job

    async def _count(self) -> None:
        while True:
            with suppress(Exception):  # `_take` says what is wrong with the database
                self.counts.waiting = await self._queue.counts()
            await asyncio.sleep(self._options.count_s)

    async def _process(self, job: Job) -> None:
        began = self._clock.monotonic()
        self.counts.running += 1
        facts: dict[str, object] = {"sessionId": job.session_id, "attempt": job.attempts}
        try:
            outcome = await self._attempt(job)
            self.counts.finished[outcome.name] += 1
            log.log(
                outcome.level, outcome.message, extra=facts | {"seconds": round(self._clock.monotonic() - began, 1)}
            )
        except RecordsUnavailable as error:  # its lease lapses, and then it is tried again
            log.warning("an analysis waits for the database: %s", error, extra=facts)
        except Exception as error:
            log.error("an analysis cannot be recorded: %s", _trace(error), extra=facts)
        except asyncio.CancelledError:
            await self._leave(job)
            raise
        finally:
            self.counts.running -= 1
            self.counts.seconds += self._clock.monotonic() - began

    async def _attempt(self, job: Job) -> _Outcome:
        """Raises: RecordsUnavailable."""
        if job.attempts > self._options.attempts:  # it was never put back: its workers died of it, or with it
            reason = f"given up after {self._options.attempts} attempts that did not come to an end"
            return _FAILED if await self._queue.failed(job, reason) else _LOST
        try:
            findings = await self._holding(job)
        except AnalysisImpossible as error:
            return _FAILED if await self._queue.failed(job, str(error)) else _LOST
        except AnalysisTrouble as error:
            return await self._postpone(job, str(error), error.retry_after_s)
        except _LeaseLost:
            return _LOST
        except RecordsUnavailable:
            raise
        except Exception as error:
            log.error("an analysis failed: %s", _trace(error), extra={"sessionId": job.session_id})
            return await self._postpone(job, f"the gateway failed ({type(error).__name__}); its log has more", None)
        return _DONE if await self._queue.done(job, findings) else _LOST

    async def _postpone(self, job: Job, reason: str, retry_after_s: float | None) -> _Outcome:
        if job.attempts >= self._options.attempts:
            told = f"{reason} (given up after {job.attempts} attempts)"
            return _FAILED if await self._queue.failed(job, told) else _LOST
        pause = min(self._options.backoff_s * 2.0 ** (job.attempts - 1), _LONGEST_BACKOFF_S)
        due_at = self._clock.now() + timedelta(seconds=max(pause, retry_after_s or 0.0))
        return _PUT_BACK if await self._queue.put_back(job, reason, due_at) else _LOST

    async def _holding(self, job: Job) -> Findings:
        """The analysis, made while the lease is renewed. Raises: _LeaseLost when the lease could not be kept."""
        working = asyncio.create_task(self._analysed(job), name="analysis")
        holding = asyncio.create_task(self._hold(job), name="analysis-lease")
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _LeaseLost
            return working.result()
        finally:
            for task in (working, holding):
                task.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)

    async def _analysed(self, job: Job) -> Findings:
        return await self._analyst.analyse(await self._queue.conversation(job.session_id))

    async def _hold(self, job: Job) -> None:
        """Returns when the job is not ours any more."""
        renewed = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._options.lease_s / 3)
            try:
                if not await self._queue.renew(job, self._options.lease_s):
                    return
                renewed = self._clock.monotonic()
            except RecordsUnavailable:
                if self._clock.monotonic() - renewed > self._options.lease_s:
                    return

    async def _leave(self, job: Job) -> None:
        """At a shutdown: the next worker need not wait for the lease, and the attempt does not count."""
        with suppress(RecordsUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                await self._queue.put_back(job, None, self._clock.now(), counts=False)
                log.info("analysis left for the next worker", extra={"sessionId": job.session_id})


class _LeaseLost(Exception):
    """Another worker may have the job now."""


def _trace(error: Exception) -> str:
    """Class and place. Not the message: many quote the value that they did not like, and here that is what was said."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
    return f"{type(error).__name__} at {' < '.join(reversed(places))}"
