"""Finals go to the database, or to disk while the database is slow, and then to the session's watchers.

One task takes them from the queue, so that their order is the numbering's. Once something is on disk, everything newer
goes there too, and a second task brings it to the database, oldest first, until nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from gateway.clock import Clock
from gateway.delays import Delays
from gateway.outage import RETRY_S, RecordsUnavailable, until_database_answers
from gateway.tasks import Tasks
from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.domain.timing import Arrival, Passage, Timing
from gateway.transcription.domain.transcription import Lease
from gateway.transcription.usecases.backlog import Backlog
from gateway.transcription.usecases.journal import Entry, FinalToStore, Journal, TranslationToStore, UsageToStore
from gateway.transcription.usecases.live import Live
from gateway.transcription.usecases.membership import UNCERTAIN_S
from gateway.transcription.usecases.records import Records, StoreOutcome
from gateway.transcription.usecases.storing import Storing

log = logging.getLogger(__name__)
T = TypeVar("T")

REMIND_S: Final = 60.0
LEASES: Final = 1_000
"""Lost ones that are remembered."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A final in the queue. `participant` resolves to the speaker's row, or None. `passage`: of its audio."""

    final: FinalToStore
    slug: str
    participant: asyncio.Future[str | None]
    heard: Arrival
    passage: Passage

    def measure(self, delays: Delays, durable_at: float, shown_at: float) -> Timing:
        """It is stored, and watchers have it."""
        heard, said = self.heard, self.final.caption
        delays.final(heard.after_s, durable_at - heard.at, shown_at - heard.at)
        timing = heard.timing(
            self.final.seq, said.utterance_id, said.speaker.identity, self.passage, durable_at, shown_at
        )
        if timing.source_ms is not None and timing.socket_ms is not None:
            delays.chunk(timing.source_ms / 1000, timing.socket_ms / 1000)
        self.passage.timeline.add(timing)
        return timing


class Recorder:
    """A bounded queue in front of the database.

    While one batch is written the next one gathers: a lone final is written at once, a burst in few statements. A batch
    that the database has not taken after `patience_s` goes to the journal, and then to the watchers. What neither takes
    is held in memory, at most `limit` finals with the queue; then `room` makes the sources wait, which slows the
    publishers instead of losing words.

    Without a journal finals wait for the database, however long it takes.
    """

    BATCH: Final = 200

    def __init__(
        self,
        records: Records,
        live: Live,
        clock: Clock,
        journal: Journal | None = None,
        *,
        limit: int = 5_000,
        patience_s: float = 0.3,
        delays: Delays | None = None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_act`: whether what runs here is certainly ours; while it is not, finals wait."""
        self._database = Storing(records, live)
        self._live = live
        self._clock = clock
        self.delays = delays or Delays()
        """Where the time of the finals goes."""
        self._backlog = Backlog(journal) if journal is not None else None
        self._limit = limit
        self._patience_s = patience_s
        self._may_act = may_act
        self._abandoned: dict[Lease, None] = {}  # the oldest first
        self._queue: deque[_Waiting] = deque()
        self._translated: deque[TranslationToStore] = deque()  # for behind the finals in the queue
        self._pending: defaultdict[str, set[object]] = defaultdict(set)  # by transcription: what the database lacks
        self._arrived = asyncio.Event()
        self._fell_behind = asyncio.Event()
        self._written = asyncio.Event()  # set for a moment, to wake all who wait in `room` and `settled`
        self._attempts = Tasks(log_errors=False)
        self._late: set[asyncio.Task[StoreOutcome]] = set()  # attempts that outlasted `patience_s`
        self._behind_since: float | None = None
        self.on_fenced: Callable[[str], None] = lambda transcription_id: None
        """Called when the database has refused finals of a transcription: another owner has its lease."""
        self.on_gone: Callable[[str], None] = lambda session_id: None
        """Called when it has refused finals of a session: that was deleted."""
        self.stored = 0
        """Finals that the database has taken."""
        self.refused = 0
        """Finals that watchers have seen and the database has then refused, because lease or session were gone."""

    @property
    def pending(self) -> int:
        """Finals and meter readings that the database has not got yet."""
        return sum(map(len, self._pending.values()))

    def pending_of(self, transcription_id: str) -> int:
        """Those of one transcription, its translations among them."""
        return len(self._pending.get(transcription_id, ()))

    @property
    def behind_s(self) -> float:
        """Seconds since the database last took what it was given; 0 when it is not behind."""
        return 0.0 if self._behind_since is None else self._clock.monotonic() - self._behind_since

    @property
    def trouble(self) -> str | None:
        """Why finals are in memory only, while the database is behind; None while that is not so."""
        return self._backlog.trouble if self._backlog is not None else None

    def put(self, slug: str, final: FinalToStore, participant: asyncio.Future[str | None], passage: Passage) -> None:
        """Queue a final; never waits. `participant` resolves to the speaker's row, or None: it must resolve."""
        self._queue.append(_Waiting(final, slug, participant, _arrival(final, self._clock), passage))
        self._pending[final.lease.transcription_id].add(final.seq)
        self._arrived.set()

    def translate(self, translation: TranslationToStore) -> None:
        """Queue a translation; never waits. It is shown once it is stored, or is on disk."""
        self._translated.append(translation)
        self._pending[translation.transcription_id].add(_key(translation))
        self._arrived.set()

    def abandon(self, lease: Lease) -> None:
        """Another owner has it, or may have it: its finals are kept, and no longer shown."""
        self._abandoned[lease] = None
        if len(self._abandoned) > LEASES:
            del self._abandoned[next(iter(self._abandoned))]

    async def checkpoint(self, usage: UsageToStore) -> None:
        """Store meter readings as finals are stored. Raises: RecordsUnavailable when there is no journal."""
        if self._backlog is None:
            await self._database.store([usage])
        elif usage.usage:
            self._pending[usage.claimed.lease.transcription_id].add(_key(usage))
            try:
                outcome = await self._store_at_once(lambda: self._database.store([usage]))
                if outcome is None:
                    await self._set_aside([usage])
            except asyncio.CancelledError:
                # Not to be waited for: the run that is cancelled here reads its meters once more, and that one counts.
                self._account([usage], StoreOutcome())
                raise
            if outcome is not None:
                self._account([usage], outcome)
            self._tell_written()

    async def room(self) -> None:
        """Wait while `limit` finals are in memory."""
        while self._waiting >= self._limit:
            await self._written.wait()

    async def settled(self, transcription_id: str) -> None:
        """Wait until every final and reading of a transcription is stored or refused, and its finals are shown."""
        while transcription_id in self._pending:
            await self._written.wait()

    async def unstored(self, session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        """At most `limit` finals above `after` that watchers have seen and the database has not got, by number."""
        return [] if self._backlog is None else await self._backlog.finals(session_id, after, limit)

    async def recover(self) -> int:
        """Bring to the database what a former process left on disk, before `run` and before anything is numbered.

        It waits for the database without a deadline; the caller sets one. Returns: how many entries there were.
        Raises: JournalTrouble.
        """
        count, backlog = 0, self._backlog
        while backlog is not None and len(backlog):
            count += await until_database_answers(partial(self._catch_up, backlog))
        return count

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take(), name="take finals")
                if self._backlog is not None:
                    tasks.create_task(self._catch_up_for_ever(self._backlog), name="catch up")
                tasks.create_task(_remind(self, self._fell_behind), name="remind of an outage")
        finally:
            self._attempts.cancel()
            await self._attempts.wait(1)  # a server that hangs may hold them until the pool is closed

    # --- from the queue to the database or to disk --------------------------------------------------------

    @property
    def _waiting(self) -> int:
        return len(self._queue) + len(self._translated) + (self._backlog.held if self._backlog is not None else 0)

    async def _take(self) -> None:
        while True:
            await self._arrived.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self.BATCH))]
            if batch:
                await self._write(batch)
            if not self._queue:
                translated = [self._translated.popleft() for _ in range(min(len(self._translated), self.BATCH))]
                if not (self._queue or self._translated):
                    self._arrived.clear()
                if translated:
                    await self._write_translations(translated)

    async def _write(self, batch: list[_Waiting]) -> None:
        while not (self._may_act() or all(item.final.lease in self._abandoned for item in batch)):
            await asyncio.sleep(UNCERTAIN_S)
        if self._backlog is not None and (lost := [item for item in batch if item.final.lease in self._abandoned]):
            await self._set_aside([_placed(item) for item in lost])  # and from there behind the next owner's
            batch = [item for item in batch if item not in lost]
        outcome = await self._store_at_once(lambda: self._store_waiting(batch))
        if outcome is None:
            # The participants' rows may be what the database is slow with; they are asked for again when it answers.
            await self._set_aside([_placed(item) for item in batch])
        durable_at = self._clock.monotonic()
        for item in batch:
            final = item.final
            if final.lease not in self._abandoned and (outcome is None or not _is_refused(final, outcome)):
                self._live.channel(item.slug).final(final.seq, final.caption.utterance_id, final.data)
                self._live.timing(item.slug, item.measure(self.delays, durable_at, self._clock.monotonic()))
        if outcome is not None:
            self._account([item.final for item in batch], outcome)
        self._tell_written()

    async def _write_translations(self, batch: Sequence[TranslationToStore]) -> None:
        outcome = await self._store_at_once(lambda: self._database.store(batch))
        if outcome is None:
            await self._set_aside(batch)
            for one in batch:  # watchers need not wait for its number
                self._live.translation(one.slug, one.data)
        else:
            self._account(batch, outcome)
        self._tell_written()

    async def _store_at_once(self, work: Callable[[], Coroutine[Any, Any, StoreOutcome]]) -> StoreOutcome | None:
        """What became of it; None when the database has not answered within `patience_s`, or was not asked.

        It is not asked while something older waits: finals are stored in the order of their numbers.
        """
        if self._backlog is None:
            self._behind_since = self._clock.monotonic()
            outcome = await until_database_answers(work)
            self._behind_since = None
            return outcome
        if len(self._backlog) or self._late:
            return None
        self._behind_since = self._behind_since or self._clock.monotonic()
        attempt = self._attempts.start(work(), "store")
        if not (await asyncio.wait({attempt}, timeout=self._patience_s))[0]:
            self._late.add(attempt)  # never cancelled: it may still succeed, and a hung server cannot be told anyway
            log.warning("the database has not answered for %g s; finals go to disk until it does", self._patience_s)
            return None
        error = attempt.exception()
        if error is None:
            self._behind_since = None
            return attempt.result()
        log.warning("database: %s; finals go to disk until it answers", error, exc_info=_unforeseen(error))
        return None

    async def _set_aside(self, entries: Sequence[Entry]) -> None:
        assert self._backlog is not None  # noqa: S101 - `_store_at_once` answers None only with a journal
        await self._backlog.add(entries)
        self._fell_behind.set()

    # --- from disk to the database ------------------------------------------------------------------------

    async def _catch_up_for_ever(self, backlog: Backlog) -> None:
        tries = 0
        while True:
            await self._fell_behind.wait()
            while self._late:
                over, _ = await asyncio.wait(self._late)
                self._late -= over
                for late in over:
                    late.exception()  # what it stored is stored again, which changes nothing
            attempt = self._attempts.start(self._catch_up(backlog), "catch up")
            await asyncio.wait({attempt})
            error = attempt.exception()
            if error is not None:
                if tries == 0:
                    log.warning("database: %s; trying again", error, exc_info=_unforeseen(error))
                await backlog.add(())  # the disk may have room again
                self._tell_written()
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
                continue
            tries = 0
            if not len(backlog):
                self._fell_behind.clear()
                self._behind_since = None
                self._database.forget_participants()
                log.warning("the database has everything again")

    async def _catch_up(self, backlog: Backlog) -> int:
        oldest = await backlog.oldest(self.BATCH)
        entries = [await self._database.with_participant(entry) for entry in oldest.entries]
        outcome = await self._database.store(entries)
        refused = [entry for entry in entries if isinstance(entry, FinalToStore) and _is_refused(entry, outcome)]
        fenced = [final for final in refused if final.session_id not in outcome.gone]
        strays, numbered = await self._database.keep_strays(fenced)
        await backlog.done(oldest)
        if refused:
            self.refused += len(refused)
            log.error(
                "%d finals were shown but have lost their number, because the lease or the session had gone meanwhile; "
                "the words of %d are kept, %d of them have a new number and the others get one when nobody transcribes",
                len(refused),
                strays,
                numbered,
            )
        self._account(entries, outcome)
        self._tell_written()
        return len(entries)

    # --- the database -------------------------------------------------------------------------------------

    async def _store_waiting(self, batch: list[_Waiting]) -> StoreOutcome:
        if missing := {item.participant for item in batch if not item.participant.done()}:
            await asyncio.wait(missing)  # unlike `gather`, leaves them alone when cancelled
        return await self._database.store([_placed(item) for item in batch])

    def _account(self, entries: Sequence[Entry], outcome: StoreOutcome) -> None:
        """The database has stored or refused them."""
        for entry in entries:
            if isinstance(entry, FinalToStore):
                self.stored += not _is_refused(entry, outcome)
            transcription_id = _transcription(entry)
            if transcription_id in self._pending:
                self._pending[transcription_id].discard(_key(entry))
                if not self._pending[transcription_id]:
                    del self._pending[transcription_id]
        for transcription_id in outcome.fenced:
            self.on_fenced(transcription_id)
        for session_id in outcome.gone:
            self.on_gone(session_id)

    def _tell_written(self) -> None:
        self._written.set()
        self._written.clear()


async def _remind(recorder: Recorder, fell_behind: asyncio.Event) -> None:
    while True:
        await fell_behind.wait()
        await asyncio.sleep(REMIND_S)
        if recorder.behind_s >= REMIND_S:
            log.warning(
                "the database has not answered for %.0f s; %d finals and meter readings wait; "
                "`gateway check` says what it waits for",
                recorder.behind_s,
                recorder.pending,
            )


def _arrival(final: FinalToStore, clock: Clock) -> Arrival:
    return Arrival(clock.monotonic(), max(0.0, (clock.now() - final.caption.ended_at).total_seconds()))


def _placed(item: _Waiting) -> FinalToStore:
    """With its speaker's row, if that is known."""
    known = item.participant.done() and not item.participant.cancelled()
    return replace(item.final, participant_id=item.participant.result() if known else None)


def _is_refused(final: FinalToStore, outcome: StoreOutcome) -> bool:
    return final.lease.transcription_id in outcome.fenced or final.session_id in outcome.gone


def _key(entry: Entry) -> object:
    """What tells an entry from the others of its transcription, also when it was read back from disk."""
    match entry:
        case FinalToStore(seq=seq):
            return seq
        case UsageToStore(usage=usage):
            return usage
        case TranslationToStore(utterance_id=utterance_id, language=language):
            return utterance_id, language


def _transcription(entry: Entry) -> str:
    match entry:
        case FinalToStore(lease=lease):
            return lease.transcription_id
        case UsageToStore(claimed=claimed):
            return claimed.lease.transcription_id
        case TranslationToStore(transcription_id=transcription_id):
            return transcription_id


def _unforeseen(error: BaseException) -> BaseException | None:
    """A bug is logged with its trace; trouble that may pass needs none. Neither may stop the captions."""
    return None if isinstance(error, RecordsUnavailable) else error
