"""The audit log: who did what, a durable row each."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable

log = logging.getLogger(__name__)

WAITING: Final = 1_000
NOTE_S: Final = 2.0
LOOK_EVERY_S: Final = 30.0
READS: Final = frozenset({"export", "search"})
ONCE_IN: Final = timedelta(minutes=10)
"""Such deeds in a session by the same one from the same address are one within this time: pages read on and on."""
_PRUNED: Final = 1_000
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Deed:
    """`kind`: service, user, guest or room (a LiveKit token of the app's making). `who`: a service token's fingerprint,
    a user's id, an identity; empty for a guest without a token. `subject`: what it was done to, beside the session.
    """

    at: datetime
    kind: str
    who: str
    what: str
    session_slug: str | None
    subject: str | None
    address: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A deed as it is kept. `id` grows."""

    id: int
    deed: Deed


class Trail(Protocol):
    """Where deeds are kept. Every method may raise RecordsUnavailable."""

    async def add(self, deed: Deed) -> None:
        """Append one. When an answer is lost, repeating it may keep it twice."""

    async def listed(
        self, since: datetime | None, until: datetime | None, slug: str | None, before: int | None, limit: int
    ) -> Sequence[Entry]:
        """Newest first, at most `limit`. `until` is exclusive; `before`: only those with a smaller id."""

    async def prune(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` that are older. Returns: how many. May be repeated."""


class Audit:
    """`days`: how long deeds are kept; 0 = for ever.

    While the database does not answer they wait here, at most WAITING; what does not fit is in the log alone, counted.
    """

    def __init__(self, trail: Trail, clock: Clock, days: int) -> None:
        self.lost = 0
        self._trail = trail
        self._clock = clock
        self._days = days
        self._waiting: deque[Deed] = deque()
        self._reads: OrderedDict[tuple[str, str | None, str], datetime] = OrderedDict()  # the oldest first

    async def note(self, kind: str, who: str, what: str, slug: str | None, subject: str | None, address: str) -> None:
        """Keep a deed that was done just now. Waits at most NOTE_S for the database, and never raises for it."""
        deed = Deed(self._clock.now(), kind, who, what, slug, subject, address)
        if what in READS and self._is_repeated(deed):
            return
        if len(self._waiting) >= WAITING:
            self.lost += 1
            log.error("audit: %s", deed)
            return
        self._waiting.append(deed)
        try:
            async with asyncio.timeout(NOTE_S):
                await self._flush()
        except (RecordsUnavailable, TimeoutError) as error:
            log.warning("database: %s; %d audit rows wait", error, len(self._waiting))

    def _is_repeated(self, deed: Deed) -> bool:
        key = f"{deed.what} {deed.kind} {deed.who}", deed.session_slug, deed.address
        before = self._reads.get(key)
        if before is not None and deed.at - before < ONCE_IN:
            return True
        self._reads.pop(key, None)
        self._reads[key] = deed.at
        if len(self._reads) > _REMEMBERED:
            self._reads.popitem(last=False)
        return False

    async def listed(
        self, since: datetime | None, until: datetime | None, slug: str | None, before: int | None, limit: int
    ) -> Sequence[Entry]:
        """As `Trail.listed`."""
        return await self._trail.listed(since, until, slug, before, limit)

    async def sweep(self) -> None:
        """Store what waits, and delete what is too old. Raises: RecordsUnavailable."""
        await self._flush()
        if self._days:
            before = self._clock.now() - timedelta(days=self._days)
            while await self._trail.prune(before, _PRUNED) == _PRUNED:
                pass

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Sweep every `every_s` seconds until cancelled."""
        while True:
            try:
                await self.sweep()
            except RecordsUnavailable as error:
                log.warning("database: %s", error)
            await asyncio.sleep(every_s)

    async def _flush(self) -> None:
        while self._waiting:
            deed = self._waiting.popleft()  # before it is written, so that no other call writes it, too
            try:
                await self._trail.add(deed)
            except BaseException:
                self._waiting.appendleft(deed)
                raise
