from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.fakes.roster import MemoryRoster

from gateway.replicas.membership import OVERDUE_S, Identity, Membership
from gateway.replicas.replica import Load, Replica

LEASE_S = 6.0


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def member(roster: MemoryRoster, clock: Hand, name: str = "a") -> Membership:
    return Membership(roster, Identity(name, f"{name}/1", "1.0", f"http://{name}"), LEASE_S, clock=clock)


def other(name: str = "b") -> Replica:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    return Replica(name, "r", "1.0", f"http://{name}", now, now, False, Load(1, 2, 3, 10))


@pytest.fixture
def roster() -> MemoryRoster:
    return MemoryRoster()


@pytest.fixture
def clock() -> Hand:
    return Hand()


async def test_it_may_act_until_a_second_before_its_lease_ends(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)
    assert not one.may_act(), "it is no member yet"
    await one.enter()
    clock.at += LEASE_S - 1.01
    assert one.may_act()
    clock.at += 0.02
    assert not one.may_act(), "frozen and thawed: nobody had to tell"
    await one.beat()
    assert one.may_act(), "nobody had found it lapsed"


async def test_the_deadline_counts_from_before_the_beat_was_sent(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)
    await one.enter()
    real = roster.beat

    async def slow(me: Replica) -> object:
        answer = await real(me)
        clock.at += 1.4
        return answer

    roster.beat = slow  # type: ignore[method-assign, assignment]
    await one.beat()
    clock.at += LEASE_S - 1 - 1.4
    assert not one.may_act()


async def test_whoever_was_found_lapsed_loses_all_and_enters_as_another_run(roster: MemoryRoster, clock: Hand) -> None:
    one, told = member(roster, clock), []
    one.on_lost.append(lambda: told.append(one.may_act()))
    await one.enter()
    run = one.run_id
    roster.lost.add(run)
    assert await one.beat()
    assert (told, one.lapsed.is_set(), one.may_act()) == ([False], True, False)
    await one.enter()
    assert one.run_id != run
    assert one.may_act()
    assert not one.lapsed.is_set()


@pytest.mark.parametrize(("answer", "goes_on"), [(False, True), (True, False), (None, False)])
async def test_without_the_database_the_others_say_whether_it_goes_on(
    roster: MemoryRoster, clock: Hand, answer: bool | None, goes_on: bool
) -> None:
    one = member(roster, clock)
    asked: list[str] = []

    async def ask(replica: Replica) -> bool | None:
        asked.append(replica.id)
        if answer is None:
            raise OSError("no answer")
        return answer

    one.ask = ask
    roster.rows["b"] = other()
    await one.enter()
    roster.is_away = True
    for _ in range(10):
        clock.at += 2
        assert not await one.beat()
    assert set(asked) == {"b"}
    assert one.may_act() is goes_on
    assert one.may_acknowledge() is goes_on
    assert one.lapsed.is_set() is not goes_on


async def test_another_one_that_cannot_be_asked_may_reach_the_database(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)

    async def ask(replica: Replica) -> bool | None:
        raise AssertionError("it has no address")

    one.ask = ask
    roster.rows["b"] = replace(other(), url=None)
    await one.enter()
    roster.is_away = True
    for _ in range(10):
        clock.at += 2
        await one.beat()
    assert one.lapsed.is_set() and not one.may_act()


async def test_nothing_is_acknowledged_from_a_beat_without_an_answer_on_while_others_may_take_over(
    roster: MemoryRoster, clock: Hand
) -> None:
    """There are seconds left to hear what has been acknowledged before."""
    one = member(roster, clock)

    async def ask(replica: Replica) -> bool:
        return True

    one.ask = ask
    roster.rows["b"] = other()
    await one.enter()
    assert one.may_acknowledge()
    roster.is_away = True
    clock.at += 2
    assert not await one.beat()
    assert one.may_act() and not one.may_acknowledge()
    roster.is_away = False
    assert await one.beat()
    assert one.may_acknowledge()


async def test_alone_it_goes_on_for_as_long_as_the_database_is_away(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)
    await one.enter()
    roster.is_away = True
    for _ in range(100):
        clock.at += 2
        await one.beat()
        assert one.may_act()


async def test_nobody_is_taken_for_dead_until_all_have_had_time_to_beat(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)
    await one.enter()
    assert one.may_judge
    assert one.reaches_database
    roster.is_away = True
    clock.at += 2
    await one.beat()
    assert not one.may_judge
    assert not one.reaches_database
    roster.is_away = False
    clock.at += 2
    for _ in range(3):
        await one.beat()
        assert not one.may_judge
        clock.at += 2
    await one.beat()
    assert one.may_judge


async def test_whoever_stood_still_takes_nobody_for_dead_at_once(roster: MemoryRoster, clock: Hand) -> None:
    """The machine was suspended, and the others with it: they wake up a moment later."""
    one = member(roster, clock)
    await one.enter()
    clock.at += 60
    await one.beat()
    assert one.may_act()
    assert not one.may_judge
    clock.at += LEASE_S
    await one.beat()
    assert not one.may_judge, "and stood still again"
    for _ in range(4):
        clock.at += 2
        await one.beat()
    assert one.may_judge


async def test_when_the_next_lease_ends_is_known_ahead(roster: MemoryRoster, clock: Hand) -> None:
    """By the database's clock, whatever the machines' clocks say; not while nobody may be judged."""
    one = member(roster, clock)
    await one.enter()
    assert one.lapses_in_s == LEASE_S, "there is nobody else"
    at = datetime(2026, 1, 5, tzinfo=UTC)
    roster.rows["a"] = replace(roster.rows["a"], seen_at=at)
    roster.rows["b"] = replace(other(), seen_at=at - timedelta(seconds=1.5))
    roster.beat = beats_at(roster, at)  # type: ignore[method-assign]
    await one.beat()
    assert (one.silent_s("b"), one.lapses_in_s) == (1.5, LEASE_S - 1.5)
    assert one.silent_s("nobody") == math.inf
    clock.at += 1
    assert one.silent_s("b") == 2.5
    clock.at += 3
    assert one.silent_s("b") > OVERDUE_S
    assert one.lapses_in_s == 0.5
    roster.is_away = True
    await one.beat()
    assert one.lapses_in_s == math.inf


def beats_at(roster: MemoryRoster, at: datetime) -> Callable[[Replica], Awaitable[Sequence[Replica] | None]]:
    """The database puts its own time into the row."""
    beat = roster.beat

    async def beats(me: Replica) -> Sequence[Replica] | None:
        return await beat(replace(me, seen_at=at))

    return beats


async def test_it_reports_its_load_and_that_it_drains(roster: MemoryRoster, clock: Hand) -> None:
    one = member(roster, clock)
    one.load = lambda: Load(3, 4, 5, 10)
    roster.rows["b"] = other()
    await one.enter()
    one.drain()
    await one.beat()
    mine, others = sorted(await one.members(), key=lambda found: found.id)
    assert mine == roster.rows["a"] == one.me()
    assert (mine.load, mine.is_draining, mine.takes_sessions) == (Load(3, 4, 5, 10), True, False)
    assert others.takes_sessions
    await one.leave()
    assert not one.may_act()
    assert list(roster.rows) == ["b"]
