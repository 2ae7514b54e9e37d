"""This process's row among the replicas: kept by a beat, and with it the right to act for what the process owns.

The right ends by this process's own clock, a second before any other replica may take over; so one that was frozen
finds on waking that it may say nothing, before anybody has told it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from gateway.outage import RETRY_S, Outage, RecordsUnavailable
from gateway.replicas.members import Members
from gateway.replicas.replica import Load, Replica
from gateway.replicas.standing import Verdict, verdict
from gateway.replicas.succession import heir

log = logging.getLogger(__name__)

BEAT_S: Final = 2.0
MARGIN_S: Final = 1.0
"""How long before the end of its lease a replica stops acting."""
OVERDUE_S: Final = 2 * BEAT_S + 0.5
"""A longer silence cannot be explained by when the other one and this one have beaten last: a beat was missed."""
AGAIN_S: Final = 0.25
"""Pause after a beat without an answer."""
ASK_S: Final = 1.0
_NEVER: Final = datetime.fromtimestamp(0, UTC)
_CLOCK: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic
)
"""Goes on while the machine is suspended, which Linux's monotonic one does not."""

Ask = Callable[[Replica], Awaitable[bool | None]]
"""Asks another replica whether it reaches the database; None: it does not say. Cancelled after ASK_S."""


class Roster(Protocol):
    """The members in the database. Every method answers soon or raises RecordsUnavailable; then it may be repeated."""

    async def enter(self, me: Replica, process: str, lease_s: float, lost: str | None) -> Sequence[Replica]:
        """A run begins; those before it under the same id are over. `lost`: the one before it in this process, whose
        transcriptions are anybody's. Returns: all members, this one included."""

    async def beat(self, me: Replica) -> Sequence[Replica] | None:
        """Keep the row. Returns: all members; None when others have found the row lapsed, and the run is lost."""

    async def leave(self, me: Replica) -> None:
        """The run is over, and owns nothing any more."""

    async def find_lapsed(self) -> int:
        """Find the members that have not beaten for their lease: they are lost from here on. Returns: how many."""

    async def forget(self) -> None:
        """Lost replicas that own nothing are of no interest any more."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`id`, `version`, `url`: as in `Replica`. `process`: names it in the rows of provider sessions."""

    id: str
    process: str
    version: str
    url: str | None = None


class Membership:
    """Entered with `enter`, kept by `run`, ended with `leave`."""

    def __init__(
        self,
        roster: Roster,
        identity: Identity,
        lease_s: float,
        ask: Ask | None = None,
        clock: Callable[[], float] = _CLOCK,
    ) -> None:
        """`ask` None: no replica can be asked, and a database that does not answer is taken for an outage of all."""
        self.load: Callable[[], Load] = Load
        """What is reported with every beat."""
        self.on_lost: list[Callable[[], None]] = []
        """Called at once when everything that this process owns is lost. Must not wait or raise."""
        self.on_time: Callable[[datetime, float], object] = lambda now, took_s: None
        """Called with what time the database says it is, in an answer that has just come, and the seconds it took."""
        self.lapsed = asyncio.Event()
        """Set from a loss until the process is a member again, under a new run."""
        self.ask = ask
        self._roster = roster
        self._identity = identity
        self._lease_s = lease_s
        self.overdue_s = max(OVERDUE_S, lease_s - MARGIN_S - 0.5)
        """Whoever is silent for longer has missed a beat, and its lease is about to end."""
        self._clock = clock
        self._run = ""
        self._good_until = -math.inf
        self._steady_since = -math.inf
        self.seen = Members(identity.id)
        """All that beat, as of the last beat."""
        self.losses = 0
        """How often everything was lost, since the process began."""
        self._is_draining = False
        self._is_doubted = False
        self._wake = asyncio.Event()
        self._outage = Outage("finals wait on disk, and no session changes its owner,")

    def may_act(self) -> bool:
        """Whether what this process owns is certainly still its own. For every door, so cheap."""
        return self._clock() < self._good_until

    def may_acknowledge(self) -> bool:
        """Whether what comes in now will be heard here to its end. Not from a beat without an answer on, unless the
        database is away for all: what is taken from there to the deadline is heard, but perhaps for nobody."""
        return self.may_act() and not self._is_doubted

    @property
    def reaches_database(self) -> bool:
        """Whether the last beat was answered. Not any other statement: who says no here cannot take over anything for a
        whole lease, and the one who asks relies on that."""
        return self._steady_since != math.inf

    @property
    def may_judge(self) -> bool:
        """Whether others that do not beat are to be taken for dead: not until a lease after an outage, in which nobody
        could beat."""
        return self.may_act() and self._clock() - self._steady_since >= self._lease_s

    @property
    def run_id(self) -> str:
        """The run under which this process owns what it takes now."""
        return self._run

    def me(self) -> Replica:
        """This process, now."""
        who, row = self._identity, self.seen.mine
        started_at, seen_at = (row.started_at, row.seen_at) if row is not None else (_NEVER, _NEVER)
        return Replica(who.id, self._run, who.version, who.url, started_at, seen_at, self._is_draining, self.load())

    async def members(self) -> Sequence[Replica]:
        """All that beat, this one included; as of the last beat, so it does not wait."""
        return [self.me() if one.id == self._identity.id else one for one in self.seen.all]

    def silent_s(self, replica: str) -> float:
        """As in `Members`, now."""
        return self.seen.silent_s(replica, self._clock())

    def advertise(self, url: str | None) -> None:
        """Tell the others where they reach this process; to be called once it answers there."""
        self._identity = replace(self._identity, url=url)
        self._wake.set()

    def drain(self) -> None:
        """Tell the others that nothing new is to come here."""
        self._is_draining = True
        self._wake.set()

    # --- for those who look for what has no owner -----------------------------------------------------------

    async def find_lapsed(self) -> None:
        """Find out who does not beat any more, where that can be told now. Raises: RecordsUnavailable."""
        if self.may_judge and (found := await self._roster.find_lapsed()):
            log.warning("replicas have not shown a sign of life for their lease: %d", found)

    @property
    def lapses_in_s(self) -> float:
        """Until a lease of another one may have ended, unless that one beats meanwhile; negative when it has been found
        by nobody since; infinite while nobody may be judged."""
        return self._lease_s - self.seen.longest_silence_s(self._clock()) if self.may_judge else math.inf

    async def forget(self) -> None:
        """Drop what is left of replicas that are long lost. Raises: RecordsUnavailable."""
        await self._roster.forget()

    def is_heir(self, key: str) -> bool:
        """Whether this process is to take over what has lost its owner. Others wait a while for it to do so: each goes
        by what all have been told, also of itself."""
        me = self._identity.id
        alive = [one for one in self.seen.all if one.id == me or self.silent_s(one.id) < self._lease_s]
        return heir(alive, key) == me

    @property
    def room(self) -> int:
        """Tracks that can be taken besides those that are here."""
        load = self.load()
        return 0 if self._is_draining else max(0, load.capacity - load.tracks)

    # --- the beat -----------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Become a member. Raises: RecordsUnavailable."""
        sent = self._clock()
        me = replace(self.me(), run=secrets.token_hex(4))
        lost = self._run if self.lapsed.is_set() else None
        members = await self._roster.enter(me, self._identity.process, self._lease_s, lost)
        self._run = me.run
        self._renewed(sent, members)
        self.lapsed.clear()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            began = self._clock()
            has_answer = await self.beat()
            if self.lapsed.is_set():
                await self._enter_again()
            pause_s = began + BEAT_S - self._clock() if has_answer else AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause_s)):
                    await self._wake.wait()
            self._wake.clear()

    async def beat(self) -> bool:
        """Once. Returns: whether the database has answered."""
        sent = self._clock()
        try:
            members = await self._roster.beat(self.me())
        except RecordsUnavailable as error:
            await self._unanswered(error)
            return False
        if members is None:
            self._lose("other replicas have found this one lapsed, and may have taken over what it owned")
        else:
            self._renewed(sent, members)
        return True

    async def leave(self) -> None:
        """Go, for good. Others find out by themselves when the database does not answer."""
        self._good_until = -math.inf
        with suppress(RecordsUnavailable):
            await self._roster.leave(self.me())

    def _renewed(self, sent: float, members: Sequence[Replica]) -> None:
        if self._steady_since == math.inf or (self._good_until > -math.inf and not self.may_act()):
            self._steady_since = self._clock()  # an outage, or this process stood still, as the others may have
        self._good_until = sent + self._lease_s - MARGIN_S
        self._is_doubted = False
        self.seen = Members(self._identity.id, members, self._clock())
        if self.seen.mine is not None:
            self.on_time(self.seen.mine.seen_at, self.seen.at - sent)
        self._outage.over()

    async def _unanswered(self, error: RecordsUnavailable) -> None:
        """Outage, or cut off? The others know. Until the deadline there is time to find out."""
        self._outage.noticed(error)
        self._steady_since, self._is_doubted = math.inf, True
        asked = self._clock()
        if verdict(await self._answers()) is Verdict.OUTAGE:
            # Whoever could take over does not before it has reached the database for a whole lease.
            self._good_until = max(self._good_until, asked + self._lease_s - MARGIN_S)
            self._is_doubted = False
        elif not self.may_act():
            self._lose("this replica is cut off from the database, which others reach or may reach")

    async def _answers(self) -> Sequence[bool | None]:
        ask, others = self.ask, self.seen.others
        if ask is None:
            return ()

        async def one(replica: Replica) -> bool | None:
            if replica.url is None:
                return None  # it may reach the database, and cannot be asked
            try:
                async with asyncio.timeout(ASK_S):
                    return await ask(replica)
            except Exception as error:  # whatever it is: no answer
                log.debug("replica %s has not answered: %r", replica.id, error)
                return None

        return await asyncio.gather(*(one(replica) for replica in others))

    def _lose(self, why: str) -> None:
        self._good_until = -math.inf
        self.losses += 1
        self.lapsed.set()
        log.error("%s; it says and writes nothing more of it", why, extra={"replica": self._identity.id})
        for tell in self.on_lost:
            tell()

    async def _enter_again(self) -> None:
        tries = 0
        while self.lapsed.is_set():
            try:
                await self.enter()
            except RecordsUnavailable as error:
                self._outage.noticed(error)
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
