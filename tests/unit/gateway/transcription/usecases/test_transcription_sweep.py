"""Whose a running provider session is, how it is ended, and how its bill is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from support.fakes import BEGIN

from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.billing import Bill, balance, cause, differs
from gateway.transcription.usecases.sweep import (
    MOST_AUDITS,
    MOST_WAITS,
    AccountUnavailable,
    ListedSession,
    OrphanSession,
    ProviderReport,
    Sweeper,
    TranscriptionOwner,
    UnreconciledSession,
    is_orphan,
)
from stt.transcript import Utterance

MINE, DEAD, OTHERS = "me/2", "me/1", "you/1"


@dataclass
class HandClock:
    at: float = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at


@dataclass
class FakeAccount:
    """`stubborn`: sessions that cannot be ended."""

    listed: dict[str, Mapping[str, str]] = field(default_factory=dict)
    mine: Collection[str] = ()
    bills: dict[str, float] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    """Ended, and their record is not ready."""
    heard: tuple[Utterance, ...] = ()
    ended: list[str] = field(default_factory=list)
    away: bool = False

    async def running(self) -> Sequence[ListedSession]:
        if self.away:
            raise AccountUnavailable("away")
        return [ListedSession(key, labels) for key, labels in self.listed.items()]

    async def end(self, url: str) -> bool:
        return await self.end_by_id(url.removeprefix("wss://"))

    async def end_by_id(self, session_id: str) -> bool:
        if self.away or session_id in self.stubborn:
            return False
        self.listed.pop(session_id, None)
        self.ended.append(session_id)
        return True

    async def report(self, session_id: str) -> ProviderReport | None:
        if self.away:
            raise AccountUnavailable("away")
        if session_id in self.listed or session_id in self.stubborn or session_id in self.pending:
            return ProviderReport(is_over=False, billing_seconds=None)
        return ProviderReport(True, self.bills.get(session_id), self.heard) if session_id in self.bills else None


@dataclass
class FakeLedger:
    """`open`: left by a dead process. `due`: when to audit what is closed."""

    open: dict[str, UnreconciledSession] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    rows: dict[str, UnreconciledSession] = field(default_factory=dict)
    transcriptions: dict[str, TranscriptionOwner] = field(default_factory=dict)
    told: dict[str, float | None] = field(default_factory=dict)
    down: bool = False

    async def left_open(self, owner: str, limit: int, mine: Collection[str]) -> Sequence[UnreconciledSession]:
        if self.down:
            raise RecordsUnavailable("down")
        return [one for one in self.open.values() if not (one.is_own and one.id in mine)][:limit]

    async def enter(self, session: OrphanSession, now: datetime) -> None:
        self.open[session.id] = self.rows[session.id] = UnreconciledSession(
            session.id, session.transcription_id, session.identity, now
        )

    async def close(self, session_id: str, now: datetime, outcome: str) -> None:
        self.rows[session_id] = replace(self.open.pop(session_id), outcome=outcome)
        self.due[session_id] = now

    async def to_audit(self, now: datetime, again_at: datetime, limit: int) -> Sequence[UnreconciledSession]:
        due = [key for key, at in self.due.items() if at <= now][:limit]
        for key in due:
            self.due[key] = again_at
            self.rows[key] = replace(self.rows[key], audits=self.rows[key].audits + 1)
        return [self.rows[key] for key in due]

    async def audited(self, session_id: str, billing_seconds: float | None) -> None:
        self.told[session_id] = billing_seconds
        del self.due[session_id]

    async def postpone_audit(self, session_id: str, at: datetime) -> None:
        self.due[session_id] = at

    async def known(self, session_ids: Sequence[str]) -> set[str]:
        return set(session_ids) & self.rows.keys()

    async def owners(self, transcription_ids: Sequence[str]) -> Mapping[str, TranscriptionOwner]:
        return {key: self.transcriptions[key] for key in transcription_ids if key in self.transcriptions}


class World:
    def __init__(self) -> None:
        self.account, self.ledger, self.clock = FakeAccount(), FakeLedger(), HandClock()
        self.swept = 0
        self.salvaged: list[tuple[str, tuple[Utterance, ...]]] = []
        self.sweeper = Sweeper(
            self.account,
            self.ledger,
            self.clock,
            owner="me",
            process=MINE,
            swept=self._swept,
            salvage=self._salvage,
        )

    async def _salvage(self, orphan: UnreconciledSession, told: ProviderReport) -> None:
        self.salvaged.append((orphan.id, told.heard))

    async def _swept(self) -> None:
        self.swept += 1

    def closed(self, name: str, sent: float, resent: float = 0.0) -> None:
        """A session that its own process has closed."""
        self.ledger.rows[name] = UnreconciledSession(name, "t", "anna", BEGIN, sent, resent, "closed", f"wss://{name}")
        self.ledger.due[name] = self.clock.now()

    async def audit_for(self, seconds: float) -> None:
        until = self.clock.at + seconds
        while self.clock.at < until:
            await self.sweeper.audit()
            self.clock.at += 1.0


@pytest.mark.parametrize(
    ("process", "owner", "seen_before", "orphan"),
    [
        (DEAD, "me", False, True),  # mine now, opened by a process that is dead: at once
        (OTHERS, "me", False, True),  # adopted
        (MINE, "me", False, False),  # its POST may be under way
        (MINE, "me", True, True),  # its answer was lost
        (OTHERS, "you", True, False),  # a living replica's
        (DEAD, "you", True, False),  # adopted by a living replica: its to end
        (OTHERS, None, False, False),  # stopped just now, perhaps
        (OTHERS, None, True, True),
        (MINE, None, True, True),
    ],
)
def test_whose_a_running_session_is(process: str, owner: str | None, seen_before: bool, orphan: bool) -> None:
    labels = {"transcription": "t", "process": process}
    assert (
        is_orphan(labels, TranscriptionOwner("s", owner), owner="me", process=MINE, seen_before=seen_before) is orphan
    )


@pytest.mark.parametrize("process", [DEAD, OTHERS, ""])
def test_of_unknown_transcriptions_only_ones_own_are_touched(process: str) -> None:
    """Another installation on the same account has transcriptions, too."""
    assert not is_orphan({"process": process}, None, owner="me", process=MINE, seen_before=True)
    assert is_orphan({"process": MINE}, None, owner="me", process=MINE, seen_before=True)


async def test_a_session_of_our_own_that_no_link_carries_is_ended_with_the_second_look() -> None:
    """At the first it may just be noted as closed; what it has heard was told by its link."""
    world = World()
    for name in ("left", "closing", "carried"):
        world.ledger.open[name] = UnreconciledSession(name, "t", "anna", BEGIN, url=f"wss://{name}", is_own=True)
    world.account.mine = {"carried"}
    world.account.bills["left"] = 7.0
    world.account.heard = (Utterance("u", True, "hello", None, 0.0, 1.0, 1.0, ()),)
    await world.sweeper.sweep()
    del world.ledger.open["closing"]
    assert world.account.ended == []
    await world.sweeper.sweep()
    assert world.account.ended == ["left"]
    assert list(world.ledger.open) == ["carried"]
    assert world.salvaged == []


async def test_what_a_dead_process_left_is_ended_closed_and_billed() -> None:
    world = World()
    world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN, url="wss://p")
    world.account.bills["p"] = 7.0
    await world.sweeper.sweep()
    assert world.account.ended == ["p"]
    assert world.swept == 1
    await world.sweeper.audit()
    assert world.ledger.told == {"p": 7.0}
    assert (world.sweeper.counts.orphans_ended, world.sweeper.counts.billed) == (1, 1)
    assert world.sweeper.counts.differing == 0  # nobody knows how much was sent
    await world.sweeper.sweep()
    assert world.swept == 1


async def test_what_an_orphan_has_heard_is_salvaged_when_it_is_told_and_before_its_row_is_closed() -> None:
    world = World()
    world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN, url="wss://p")
    word = Utterance("p:salvaged_00000000", True, "hello", "en", 0.0, 1.0, 0.9)
    world.account.bills["p"] = 7.0
    world.account.pending = {"p"}
    await world.sweeper.sweep()
    await world.sweeper.sweep()
    assert (list(world.ledger.open), world.salvaged) == (["p"], [])
    world.account.pending.clear()
    world.account.heard = (word,)
    await world.sweeper.sweep()
    assert (list(world.ledger.open), world.salvaged) == ([], [("p", (word,))])


async def test_an_orphan_whose_record_never_comes_is_closed_all_the_same() -> None:
    world = World()
    world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN, url="wss://p")
    world.account.pending = {"p"}
    for _ in range(MOST_WAITS + 1):
        await world.sweeper.sweep()
    assert not world.ledger.open


async def test_a_session_whose_answer_was_lost_is_ended_when_two_lists_have_it() -> None:
    world = World()
    world.ledger.transcriptions["t"] = TranscriptionOwner("s", "me")
    world.account.listed = {"lost": {"transcription": "t", "process": MINE}, "mine": {"transcription": "t"}, "no": {}}
    world.account.mine = {"mine"}
    await world.sweeper.sweep()
    world.clock.at += 30.0  # too soon for another list
    await world.sweeper.sweep()
    assert world.account.ended == []
    world.clock.at += 31.0
    await world.sweeper.sweep()
    assert world.account.ended == ["lost"]
    assert sorted(world.account.listed) == ["mine", "no"]


async def test_one_that_cannot_be_ended_is_tried_again_until_the_provider_has_ended_it() -> None:
    world = World()
    world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN)
    world.account.stubborn = {"p"}
    for _ in range(3):
        await world.sweeper.sweep()
    assert (list(world.ledger.open), world.sweeper.counts.orphans_unended) == (["p"], 3)
    world.clock.at = 4 * 3600.0
    await world.sweeper.sweep()
    assert not world.ledger.open


async def test_what_is_in_the_books_is_ended_although_there_is_no_list() -> None:
    world = World()
    world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN, url="wss://p")

    async def no_list() -> Sequence[ListedSession]:
        raise AccountUnavailable("no list")

    world.account.running = no_list  # type: ignore[method-assign]
    with pytest.raises(AccountUnavailable):
        await world.sweeper.sweep()
    assert world.account.ended == ["p"]


async def test_a_bill_that_is_late_is_asked_for_again_and_again_with_growing_pauses() -> None:
    world = World()
    world.closed("p", 10.0)
    world.account.bills["p"] = 10.0
    world.account.stubborn = {"p"}
    await world.audit_for(100.0)
    assert 5 <= world.ledger.rows["p"].audits < 10
    world.account.stubborn.clear()
    await world.audit_for(100.0)
    assert world.ledger.told == {"p": 10.0}


async def test_a_session_that_runs_on_after_its_end_is_told_to_stop_once_more() -> None:
    world = World()
    world.closed("p", 10.0)
    world.account.bills["p"], world.account.listed["p"] = 10.0, {}
    await world.audit_for(60.0)
    assert world.account.ended == ["p"]
    assert world.ledger.told == {"p": 10.0}


async def test_a_session_that_the_provider_does_not_know_is_asked_for_a_few_times() -> None:
    world = World()
    world.closed("p", 10.0)
    await world.audit_for(20.0)
    assert world.ledger.told == {}
    await world.audit_for(100.0)
    assert world.ledger.told == {"p": None}


async def test_a_bill_that_never_comes_is_given_up_and_counted() -> None:
    world = World()
    world.closed("p", 10.0)
    world.account.stubborn = {"p"}
    world.ledger.rows["p"] = replace(world.ledger.rows["p"], audits=MOST_AUDITS - 1)
    await world.sweeper.audit()
    assert world.ledger.told == {"p": None}
    assert world.sweeper.counts.unbilled == 1


async def test_a_difference_is_counted_and_said_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for name, sent, resent, billed in (("fine", 100.0, 0.0, 100.4), ("off", 100.0, 3.0, 97.5)):
        world.closed(name, sent, resent)
        world.account.bills[name] = billed
    with caplog.at_level(logging.WARNING):
        await world.sweeper.audit()
    assert world.sweeper.counts.differing == 1
    [said] = caplog.messages
    assert "bills 97.5 s" in said and "100.0 s were sent" in said and "3.0 s were sent again" in said
    assert world.sweeper.counts.seconds_billed == pytest.approx(197.9)


async def test_trouble_is_said_once_and_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.ledger.down = True
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(world.sweeper.run())
        await asyncio.sleep(60)
        world.ledger.down = False
        world.ledger.open["p"] = UnreconciledSession("p", "t", "anna", BEGIN, url="wss://p")
        await asyncio.sleep(10)
        task.cancel()
    assert world.account.ended == ["p"]
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("sent", "billed", "apart"),
    [(0.0, 0.05, False), (10.0, 10.09, False), (100.0, 100.4, False), (100.0, 100.6, True), (100.0, 99.0, True)],
)
def test_what_rounding_explains_is_no_difference(sent: float, billed: float, apart: bool) -> None:
    assert differs(sent, billed) is apart


def test_resends_are_named_where_they_explain_it() -> None:
    assert "lost once" in cause(100.0, 3.0, 97.5)
    assert "does not explain" in cause(100.0, 1.0, 90.0)
    assert "nothing was sent again" in cause(100.0, 0.0, 90.0)


def test_the_balance_compares_only_what_both_sides_have_counted() -> None:
    bills = [
        Bill("a", "anna", BEGIN, BEGIN, 100.0, 1.0, 99.0, "closed"),
        Bill("b", "anna", BEGIN, BEGIN, 50.0, 0.0, None, "closed"),
        Bill("c", "anna", BEGIN, BEGIN, 0.0, 0.0, 8.0, "orphaned"),
        Bill("d", "anna", BEGIN, None, 0.0, 0.0, None, None),
    ]
    found = balance(bills)
    assert (found.sent, found.billed, found.resent, found.percent) == (100.0, 99.0, 1.0, -1.0)
    assert (found.open, found.unbilled) == (1, 1)
    assert balance([]).percent is None
    assert [bill.difference for bill in bills] == [-1.0, None, None, None]
