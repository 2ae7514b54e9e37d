"""What this replica holds is kept; what has lost its owner is taken over, by one of those with room."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from gateway import tracing
from gateway.outage import Outage, RecordsUnavailable, until_database_answers
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.run import LEASE_LOST, Run

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Between two looks for transcriptions without an owner, give or take 30 %, so that replicas look in turn."""
OVERDUE_LOOK_S: Final = 0.2
"""The same, give or take 30 %, from the end of a replica's lease on, until somebody has found it lapsed."""
KEEP_S: Final = 10.0
"""Between two renewals, which also tell what is no longer ours, and what is ours and does not run."""
SEEN: Final = 200
TAKEN: Final = 20
"""Transcriptions that one look finds, and takes, at most: a dead replica's are spread over the others."""
HEIR_FIRST_S: Final = 1.5
"""For which a transcription is left to the replica that is to take it: longer than its longest pause between looks."""
FORMER: Final = 50
"""Finals of a lost owner that its heir does not repeat: more than are said in what a sender sends again."""
UNREADABLE: Final = "internal error: what is stored of it cannot be gone on with; start it again"
ROOM_FIRST_S: Final = 10.0
"""For which it is left to replicas with room; better one too many than none."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is stored of a transcription that is gone on with. `earlier`, `recovered`: as in `Run`. `spent`: in other
    transcriptions, USD. `former`: the last finals of the session. `is_whole`: no final can be missing."""

    spent: float
    earlier: Sequence[Usage] = ()
    recovered: Mapping[str, int] = field(default_factory=dict)
    former: Sequence[Caption] = ()
    is_whole: bool = True


class Begin(Protocol):
    def __call__(self, claimed: Claimed, past: Past) -> Run:
        """Run it here."""


class Adoption:
    """`runs`: by session slug. `spawn`: runs a task of the service."""

    def __init__(
        self,
        context: RunContext,
        runs: Mapping[str, Run],
        begin: Begin,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._records = context.records
        self._options = context.options
        self._membership = context.membership
        self._clock = context.clock
        self._runs = runs
        self._begin = begin
        self._spawn = spawn
        self.taken = 0
        """Transcriptions that were taken over from others, since the process began."""
        self._found_at: dict[str, float] = {}  # by id of an orphan
        self._beginning: set[Lease] = set()
        self._idle: frozenset[Lease] = frozenset()  # held at the last renewal, without a run
        context.membership.on_lost.append(self._lose_all)

    async def take_own(self) -> None:
        """Go on with what this very owner held before a restart. Raises: RecordsUnavailable."""
        for claimed in await self._adopt(own=True):
            await self._go_on(claimed, "going on after a restart", logging.INFO)

    async def take(self, transcription_id: str) -> None:
        """Take over one transcription, if its owner is gone. Raises: RecordsUnavailable."""
        await self._membership.find_lapsed()
        for claimed in await self._adopt(only=[transcription_id]):
            self.taken += 1
            await self._go_on(claimed)

    async def run(self) -> None:
        """Look and keep until cancelled."""
        outage, keep_at = Outage("work of dead replicas waits"), self._clock.monotonic() + self._keep_s
        while True:
            await asyncio.sleep(self._pause_s())
            is_due = self._clock.monotonic() >= keep_at
            try:
                if is_due:
                    await self._keep()
                    keep_at = self._clock.monotonic() + self._keep_s
                await self._look(thorough=is_due)
            except RecordsUnavailable as error:
                outage.noticed(error)
            else:
                outage.over()

    def _pause_s(self) -> float:
        """A look falls on the end of the next lease, and on the end of a wait for an heir."""
        spread = random.uniform(0.7, 1.3)  # noqa: S311 - only spreads the looks
        soon = HEIR_FIRST_S - self._clock.monotonic()
        waits = [wait_s for found_at in self._found_at.values() if (wait_s := found_at + soon) > 0]
        due_s = min(max(self._membership.lapses_in_s, 0.0), *waits, math.inf)
        return min(LOOK_S * spread, due_s + OVERDUE_LOOK_S * spread)

    @property
    def _keep_s(self) -> float:
        return min(KEEP_S, self._options.lease_s / 3)

    def _lose_all(self) -> None:
        for run in list(self._runs.values()):
            run.abandon(LEASE_LOST)

    async def _look(self, *, thorough: bool) -> None:
        await self._membership.find_lapsed()
        if not self._membership.may_act():
            return
        found = await self._records.leases.orphans(SEEN, thorough=thorough)
        now = self._clock.monotonic()
        self._found_at = {one: self._found_at.get(one, now) for one in found}
        if chosen := [one for one in found if self._is_ours(one, now - self._found_at[one])][:TAKEN]:
            for claimed in await self._adopt(only=chosen):
                self.taken += 1
                name = f"adopt {claimed.slug}"
                self._spawn(self._go_on(claimed), name)

    def _is_ours(self, orphan: str, since_s: float) -> bool:
        has_room = self._membership.room > 0
        return (
            (has_room and since_s >= HEIR_FIRST_S)
            or (has_room and self._membership.is_heir(orphan))
            or (since_s >= ROOM_FIRST_S)
        )

    async def _keep(self) -> None:
        runs = {run.claimed.lease: run for run in self._runs.values()}
        held = frozenset(await self._records.leases.renew(self._options.owner, self._options.lease_s))
        for lease in runs.keys() - held:
            if not (runs[lease].finished.is_set() or runs[lease].is_moving):
                runs[lease].abandon(LEASE_LOST)
        # The answer that gave it to us was lost: nobody has heard anything of it from us.
        idle = held - {run.claimed.lease for run in self._runs.values()} - self._beginning
        for lease in idle & self._idle:
            await self._records.leases.release(lease, self._options.owner)
        self._idle = idle
        await self._membership.forget()

    async def _adopt(self, *, own: bool = False, only: Sequence[str] | None = None) -> Sequence[Claimed]:
        run_id, options = self._membership.run_id, self._options
        taken = await self._records.leases.adopt(options.owner, options.lease_s, own=own, only=only)
        if self._membership.run_id != run_id:
            return ()  # lost again meanwhile, with everything else
        self._beginning |= {claimed.lease for claimed in taken}
        return taken

    async def _go_on(
        self,
        claimed: Claimed,
        why: str = "taking over a transcription whose owner is gone",
        level: int = logging.WARNING,
    ) -> None:
        try:
            with tracing.span("transcription take over", {"session": claimed.slug}, parent=claimed.traceparent):
                await self._go_on_traced(claimed, why, level)
        except Exception:
            await self.give_up(claimed)

    async def give_up(self, claimed: Claimed) -> None:
        """End what has just failed to begin: the next owner would fail as well, and all others with it."""
        log.exception("a transcription could not be begun", extra={"session": claimed.slug})
        finish = self._records.leases.finish
        await until_database_answers(lambda: finish(claimed.lease, UNREADABLE, False))

    async def _go_on_traced(self, claimed: Claimed, why: str, level: int) -> None:
        log.log(level, why, extra={"session": claimed.slug})
        run_id = self._membership.run_id
        try:
            past = await until_database_answers(partial(self.past, claimed))
            former = self._runs.get(claimed.slug)
            if former is not None and former.claimed.lease == claimed.lease:
                return  # a hand-over has begun it
            if former is not None:
                await former.finished.wait()  # ours, and lost; it ends at once
                await asyncio.sleep(0)
            if self._membership.run_id != run_id:
                return
            run = self._begin(claimed, past)
            if not past.is_whole:
                run.finals_complete = False
        finally:
            self._beginning.discard(claimed.lease)

    async def past(self, claimed: Claimed) -> Past:
        """It is not whole when a track was streaming as the former owner died: what that had heard is in no record.

        Raises: RecordsUnavailable.
        """
        records, transcription_id = self._records, claimed.lease.transcription_id
        earlier = await records.usage.of_transcription(transcription_id)
        spent = await records.usage.spent(claimed.session_id) - sum(usage.total_cost for usage in earlier)
        recovered = await records.finals.counts(claimed)
        bills = await records.provider_sessions.bills(transcription_id)
        former = await records.finals.last(claimed.session_id, FORMER)
        return Past(spent, earlier, recovered, former, all(bill.closed_at is not None for bill in bills))
