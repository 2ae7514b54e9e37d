"""Finals go to the database first, then to everybody who watches. One writer, so that the order is the numbering's."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from gateway.sessions.usecases.ports import Clock, FinalToKeep, Live, Records, RecordsUnavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a database call until the database answers. The caller bounds it by cancelling."""
    tries = 0
    while True:
        try:
            return await call()
        except RecordsUnavailable as error:
            if tries == 0:
                log.warning("database: %s; trying again", error)
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1


@dataclass(frozen=True, slots=True)
class _Waiting:
    final: FinalToKeep
    slug: str
    participant: asyncio.Future[str | None]


class Recorder:
    """A bounded queue in front of the database.

    While one batch is written the next one gathers: a lone final is written at once, a burst in few statements.
    When the queue is full, `room` makes the sources wait, which slows the publishers instead of losing words.
    """

    BATCH: Final = 200

    def __init__(self, records: Records, live: Live, clock: Clock, limit: int = 5_000) -> None:
        self._records = records
        self._live = live
        self._clock = clock
        self._limit = limit
        self._queue: deque[_Waiting] = deque()
        self._pending: Counter[str] = Counter()  # transcription id → finals not yet in the database
        self._arrived = asyncio.Event()
        self._written = asyncio.Condition()
        self._behind_since: float | None = None
        self.fenced: Callable[[str], None] = lambda transcription_id: None
        self.gone: Callable[[str], None] = lambda session_id: None
        self.kept = 0

    @property
    def pending(self) -> int:
        return sum(self._pending.values())

    @property
    def behind_s(self) -> float:
        """Seconds since the database last took what it was given; 0 when it is not behind."""
        return 0.0 if self._behind_since is None else self._clock.monotonic() - self._behind_since

    def put(self, slug: str, final: FinalToKeep, participant: asyncio.Future[str | None]) -> None:
        """Queue a final; never waits. `participant` resolves to the speaker's row."""
        self._queue.append(_Waiting(final, slug, participant))
        self._pending[final.lease.transcription_id] += 1
        self._arrived.set()

    async def room(self) -> None:
        """Wait while the queue is full."""
        if len(self._queue) >= self._limit:
            async with self._written:
                await self._written.wait_for(lambda: len(self._queue) < self._limit)

    async def settled(self, transcription_id: str) -> None:
        """Wait until every final of a transcription is in the database and with the watchers."""
        async with self._written:
            await self._written.wait_for(lambda: transcription_id not in self._pending)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._arrived.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self.BATCH))]
            if not self._queue:
                self._arrived.clear()
            if batch:
                await self._write(batch)

    async def _write(self, batch: list[_Waiting]) -> None:
        finals = [replace(item.final, participant_id=await item.participant) for item in batch]
        self._behind_since = self._clock.monotonic()
        kept = await insist(lambda: self._records.keep(finals))
        self._behind_since = None
        for item in batch:
            final = item.final
            if final.lease.transcription_id in kept.fenced or final.session_id in kept.gone:
                continue
            self.kept += 1
            self._live.channel(item.slug).final(final.seq, final.caption.utterance_id, final.data)
        for transcription_id in kept.fenced:
            self.fenced(transcription_id)
        for session_id in kept.gone:
            self.gone(session_id)
        async with self._written:
            self._pending -= Counter(item.final.lease.transcription_id for item in batch)  # keeps what is above zero
            self._written.notify_all()
