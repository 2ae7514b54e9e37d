"""No provider session is left running, and none unbilled, whatever became of the process that opened it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.billing import ORPHANED, cause, differs
from gateway.transcription.domain.captions import Utterance
from gateway.transcription.usecases.speech import Translation

log = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 5.0
# Further apart than a POST may take: a session that is in two lists, but not in the ledger, is an orphan.
LIST_EVERY_S: Final = 60.0
TAKEN_S: Final = 60.0
"""How long an audit is left to the replica that took it; then another one tries."""
FIRST_AGAIN_S: Final = 2.0
LAST_AGAIN_S: Final = 300.0
MOST_AUDITS: Final = 14  # about half an hour
AUDITS_OF_NOTHING: Final = 5  # of one that the provider does not know, or that is over and has no bill: half a minute
END_AGAIN_AT: Final = 3
"""Audits after which a session that should have ended, and still runs, is told to stop once more."""
LONGEST: Final = timedelta(hours=3, minutes=10)
"""The provider ends every session at three hours."""
MOST_WAITS: Final = 6  # sweeps
AT_ONCE: Final = 8
BATCH: Final = 50


class AccountUnavailable(Exception):
    """The provider gives no answer now."""


@dataclass(frozen=True, slots=True)
class UnreconciledSession:
    """A session in the ledger that is to be ended or billed. `audits` counts the present one.

    Seconds as the link has counted them; `outcome`: how the link left it. `url` carries the session's credential.
    """

    id: str
    transcription_id: str
    identity: str
    opened_at: datetime
    seconds_sent: float = 0.0
    seconds_resent: float = 0.0
    outcome: str | None = None
    url: str | None = field(default=None, repr=False)
    audits: int = 0
    is_own: bool = False
    """This process has opened it."""


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session that runs at the provider. `labels`: its `custom_metadata`, as the POST gave it."""

    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """The provider's own record of a session. `heard`: in order, times in seconds on the session's own clock;
    `translations`: of those, by their ids."""

    is_over: bool
    billing_seconds: float | None
    heard: tuple[Utterance, ...] = ()
    translations: tuple[Translation, ...] = ()


@dataclass(frozen=True, slots=True)
class OrphanSession:
    """A session that runs at the provider and is not in the ledger. Empty strings: not known."""

    id: str
    transcription_id: str
    session_id: str
    identity: str


@dataclass(frozen=True, slots=True)
class TranscriptionOwner:
    """Which replica holds a transcription's lease, lapsed or not. `owner` None: it is stopped."""

    session_id: str
    owner: str | None


Salvage = Callable[[UnreconciledSession, ProviderReport], Awaitable[object]]
"""Store what an ended session had heard and its dead process had not stored. May raise RecordsUnavailable."""


class Account(Protocol):
    """The account at the provider, asked about sessions that no link carries. Each call may be repeated."""

    @property
    def mine(self) -> Collection[str]:
        """Sessions that links of this process carry, or are just ending."""

    async def running(self) -> Sequence[ListedSession]:
        """Everything that runs in the account, of whatever replica. Raises: AccountUnavailable."""

    async def end(self, url: str) -> bool:
        """End a session through its own address. Returns: whether it has taken note, or is gone. Raises nothing."""

    async def end_by_id(self, session_id: str) -> bool:
        """The same for one whose address is not known, which takes longer."""

    async def report(self, session_id: str) -> ProviderReport | None:
        """The session's record; its bill and words appear a while after the end. None: the provider knows no such
        session. Raises: AccountUnavailable."""


class SessionLedger(Protocol):
    """The rows of provider sessions of this account. Every method may raise RecordsUnavailable and may be repeated."""

    async def left_open(self, owner: str, limit: int, mine: Collection[str]) -> Sequence[UnreconciledSession]:
        """At most `limit` open sessions of processes that are dead, in transcriptions that `owner` holds or none does.

        And those of this process that are not `mine`.
        """

    async def enter(self, session: OrphanSession, now: datetime) -> None:
        """Add a session of no process; so `left_open` finds it."""

    async def close(self, session_id: str, now: datetime, outcome: str) -> None:
        """The session is over; it is to be audited from now on."""

    async def to_audit(self, now: datetime, again_at: datetime, limit: int) -> Sequence[UnreconciledSession]:
        """At most `limit` closed sessions without a bill whose audit is due; they are the caller's until `again_at`."""

    async def audited(self, session_id: str, billing_seconds: float | None) -> None:
        """The audits are over. None: the provider has told no bill."""

    async def postpone_audit(self, session_id: str, at: datetime) -> None:
        """The next audit is due then."""

    async def known(self, session_ids: Sequence[str]) -> set[str]:
        """Those of them that are in the ledger, open or closed."""

    async def owners(self, transcription_ids: Sequence[str]) -> Mapping[str, TranscriptionOwner]:
        """By transcription id; without those that do not exist."""


@dataclass(slots=True)
class SweepCounts:
    """Since the process began. Seconds are those of sessions that both sides have counted."""

    orphans_ended: int = 0
    orphans_unended: int = 0
    billed: int = 0
    unbilled: int = 0
    differing: int = 0
    seconds_sent: float = 0.0
    seconds_resent: float = 0.0
    seconds_billed: float = 0.0


def is_orphan(
    labels: Mapping[str, str], held: TranscriptionOwner | None, *, owner: str, process: str, seen_before: bool
) -> bool:
    """Whether a session that runs at the provider, and that neither the ledger nor a link here knows, is ours to end.

    `held`: who has the lease of its transcription; None: there is no such transcription. Never when another replica has
    it. At once when we have it and another process opened the session: that one is dead, or has lost the lease.
    Otherwise when the session was in the former list too: its POST may be under way.
    """
    is_own = labels.get("process") == process
    if held is None:
        return is_own and seen_before
    if held.owner is not None and held.owner != owner:
        return False
    return seen_before or (held.owner == owner and not is_own)


class Sweeper:
    """Ends sessions of dead processes at the provider, and compares every bill with what was sent.

    `owner`: this replica's name in leases. `process`: this run of it. `swept` is called once, when what a former
    process of this replica left has been ended. `salvage` gets what an orphan has heard, once the provider tells it,
    and before the orphan is closed in the ledger.
    """

    def __init__(
        self,
        account: Account,
        ledger: SessionLedger,
        clock: Clock,
        *,
        owner: str,
        process: str,
        swept: Callable[[], Awaitable[object]] | None = None,
        salvage: Salvage | None = None,
    ) -> None:
        self.counts = SweepCounts()
        self._account = account
        self._ledger = ledger
        self._clock = clock
        self._owner = owner
        self._process = process
        self._swept = swept
        self._salvage = salvage
        self._waits: dict[str, int] = {}  # sweeps that an ended session's record has been awaited for
        self._listed: frozenset[str] = frozenset()
        self._own: frozenset[str] = frozenset()  # of this process, and left open at the last sweep
        self._list_at = 0.0
        self._trouble: str | None = None

    async def run(self) -> None:
        """Sweep and audit every SWEEP_EVERY_S until cancelled. Trouble with database or provider is logged once."""
        while True:
            try:
                await self.sweep()
                await self.audit()
                self._trouble = None
            except (RecordsUnavailable, AccountUnavailable) as error:
                if self._trouble is None:
                    log.warning("provider sessions cannot be swept now: %s", error)
                self._trouble = str(error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self) -> None:
        """End sessions that no living process answers for. Raises: RecordsUnavailable, AccountUnavailable."""
        trouble: AccountUnavailable | None = None
        if self._clock.monotonic() >= self._list_at:
            try:
                await self._look_at_list()
                self._list_at = self._clock.monotonic() + LIST_EVERY_S
            except AccountUnavailable as error:
                trouble = error  # what is in the ledger can be ended all the same
        left = await self._ledger.left_open(self._owner, BATCH, self._account.mine)
        # One of our own that was left a moment ago may just be noted as closed.
        await few_at_once([self._end(one) for one in left if not one.is_own or one.id in self._own])
        self._own = frozenset(one.id for one in left if one.is_own)
        if self._swept is not None:
            await self._swept()
            self._swept = None
        if trouble is not None:
            raise trouble

    async def _look_at_list(self) -> None:
        """Enter sessions whose POST got no answer, or whose process died before it had noted them."""
        running = [one for one in await self._account.running() if "transcription" in one.labels]
        known = await self._ledger.known([one.id for one in running])
        strange = [one for one in running if one.id not in known and one.id not in self._account.mine]
        held = await self._ledger.owners([one.labels["transcription"] for one in strange])
        for one in strange:
            holder = held.get(one.labels["transcription"])
            seen_before = one.id in self._listed
            if is_orphan(one.labels, holder, owner=self._owner, process=self._process, seen_before=seen_before):
                log.warning("a provider session runs that nobody carries", extra={"providerSession": one.id})
                session_id = holder.session_id if holder is not None else ""
                found = OrphanSession(one.id, one.labels["transcription"], session_id, one.labels.get("identity", ""))
                await self._ledger.enter(found, self._clock.now())
        self._listed = frozenset(one.id for one in strange)

    async def _end(self, orphan: UnreconciledSession) -> None:
        try:
            is_ended = await (self._account.end(orphan.url) if orphan.url else self._account.end_by_id(orphan.id))
            told = await self._account.report(orphan.id)
            is_over = told is None or told.is_over
            if is_ended and not is_over and self._waits_for(orphan.id):
                return  # what it heard is told a while after its end
            if told is not None and told.heard and self._salvage is not None and not orphan.is_own:
                await self._salvage(orphan, told)
            is_ended = is_ended or is_over
        except AccountUnavailable:
            is_ended = False
        now = self._clock.now()
        if is_ended:
            self.counts.orphans_ended += 1
            log.info("a provider session that was left running has been ended", extra={"providerSession": orphan.id})
        elif now - orphan.opened_at > LONGEST:
            log.warning("a provider session has outlived its maximum duration", extra={"providerSession": orphan.id})
        else:
            self.counts.orphans_unended += 1
            return
        self._waits.pop(orphan.id, None)
        await self._ledger.close(orphan.id, now, ORPHANED)

    def _waits_for(self, session_id: str) -> bool:
        self._waits[session_id] = self._waits.get(session_id, 0) + 1
        return self._waits[session_id] <= MOST_WAITS

    async def audit(self) -> None:
        """Read the bills of sessions that are over; they come a while after the end. Raises: RecordsUnavailable."""
        now = self._clock.now()
        due = await self._ledger.to_audit(now, now + timedelta(seconds=TAKEN_S), BATCH)
        await few_at_once([self._audit(one) for one in due])

    async def _audit(self, one: UnreconciledSession) -> None:
        try:
            told = await self._account.report(one.id)
        except AccountUnavailable as error:
            log.info("the bill of a session cannot be read: %s", error, extra={"providerSession": one.id})
            told = ProviderReport(is_over=False, billing_seconds=None)
        billed = told.billing_seconds if told is not None else None
        is_running = told is not None and not told.is_over
        if billed is None and one.audits < (MOST_AUDITS if is_running else AUDITS_OF_NOTHING):
            if is_running and one.audits >= END_AGAIN_AT and one.url:
                await self._account.end(one.url)
            pause = min(FIRST_AGAIN_S * 2 ** (one.audits - 1), LAST_AGAIN_S)
            await self._ledger.postpone_audit(one.id, self._clock.now() + timedelta(seconds=pause))
            return
        await self._ledger.audited(one.id, billed)
        if billed is None:
            self.counts.unbilled += 1
            log.warning("the provider tells no bill for a session", extra={"providerSession": one.id})
        else:
            self._compare(one, billed)

    def _compare(self, one: UnreconciledSession, billed: float) -> None:
        self.counts.billed += 1
        if one.outcome == ORPHANED:
            return
        self.counts.seconds_sent += one.seconds_sent
        self.counts.seconds_resent += one.seconds_resent
        self.counts.seconds_billed += billed
        if differs(one.seconds_sent, billed):
            self.counts.differing += 1
            log.warning(
                "the provider bills %.1f s of a session, %.1f s were sent: %s",
                billed,
                one.seconds_sent,
                cause(one.seconds_sent, one.seconds_resent, billed),
                extra={"providerSession": one.id, "transcription": one.transcription_id},
            )


async def few_at_once(works: Sequence[Awaitable[None]]) -> None:
    """Await all of them, AT_ONCE at a time. Raises what the first that fails raises."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(work: Awaitable[None]) -> None:
        async with room:
            await work

    await asyncio.gather(*(one(work) for work in works))
