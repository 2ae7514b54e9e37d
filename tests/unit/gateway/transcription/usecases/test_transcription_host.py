"""Whose browser feeds a transcription: the rule, and how it is kept while people come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import BEGIN, FakeTransport, Replica
from support.transcribing import SLUG, replica, start, told, watch

from gateway.errors import SessionNotFound
from gateway.transcription.domain.errors import NeverStarted, NotFedByBrowsers, NotPresent
from gateway.transcription.domain.host import host_after, select_host
from gateway.transcription.usecases.host import COME_BACK_LOOKS, LOOK_S, Hosts


@dataclass(frozen=True)
class Somebody:
    identity: str
    role: str = "GUEST"
    joined_at: datetime = BEGIN


def at(identity: str, minute: int, role: str = "GUEST") -> Somebody:
    return Somebody(identity, role, BEGIN + timedelta(minutes=minute))


ANNA, BEN, CARL = at("anna", 3), at("ben", 1), at("carl", 2, "HOST")


# --- the rule -----------------------------------------------------------------------------------------------


def test_the_role_goes_first_then_the_longest_present() -> None:
    assert select_host([ANNA, BEN, CARL]) == "carl"
    assert select_host([ANNA, BEN, CARL], without={"carl"}) == "ben"
    assert select_host([ANNA], without={"anna"}) is None
    assert select_host([at("b", 1), at("a", 1)]) == "a", "the same everywhere"


@pytest.mark.parametrize(
    "current, feeding, quitted, after",
    [
        (None, [], [], "carl"),
        ("anna", [], [], "anna"),  # asked for, and still to begin
        ("anna", ["anna"], [], "anna"),
        ("anna", ["ben"], ["anna"], "carl"),  # present, but its audio has ended
        ("dora", ["dora"], [], "dora"),  # its row comes later
        ("dora", [], [], "carl"),
        ("carl", [], ["carl", "ben"], "anna"),
        ("carl", [], ["carl", "ben", "anna"], None),
        (None, ["eve"], ["carl", "ben", "anna"], "eve"),
    ],
)
def test_a_host_stays_until_it_has_left(
    current: str | None, feeding: list[str], quitted: list[str], after: str | None
) -> None:
    assert host_after(current, [ANNA, BEN, CARL], feeding, quitted) == after


NAMES = st.sampled_from("abcdef")


@given(
    current=st.none() | NAMES,
    present=st.lists(
        st.builds(at, NAMES, st.integers(0, 9), st.sampled_from(["HOST", "GUEST"])), unique_by=lambda one: one.identity
    ),
    feeding=st.lists(NAMES, unique=True),
    quitted=st.sets(NAMES),
)
def test_the_host_is_always_somebody_who_is_there(
    current: str | None, present: list[Somebody], feeding: list[str], quitted: set[str]
) -> None:
    """And there is none only when nobody is; asked twice it does not waver."""
    quitted -= set(feeding)
    after = host_after(current, present, feeding, quitted)
    able = ({one.identity for one in present} - quitted) | set(feeding)
    assert after in able if able else after is None
    assert host_after(after, present, feeding, quitted) == after
    if current in able:
        assert after == current


# --- kept while people come and go --------------------------------------------------------------------------


@asynccontextmanager
async def hosted(there: Replica) -> AsyncIterator[Hosts]:
    hosts = Hosts(there.records, there.hub, lambda: there.service.runs)
    looking = asyncio.create_task(hosts.look_for_ever())
    try:
        yield hosts
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


def changes(screen: FakeTransport) -> list[tuple[str | None, str]]:
    return [(data["participantIdentity"], data["reason"]) for data in told(screen, "host.changed")]


async def look() -> None:
    await asyncio.sleep(2 * LOOK_S)


async def test_when_the_host_leaves_the_next_is_told() -> None:
    async with replica() as there, hosted(there):
        await there.service.start(start("websocket"))
        screen = await watch(there)
        anna = there.source(SLUG).appear("anna", "Anna")
        await look()
        there.records.person(SLUG, "ben")
        await asyncio.sleep(5)
        there.records.person(SLUG, "carl", role="HOST")
        await look()
        assert changes(screen) == [("anna", "first")]
        assert told(screen, "host.changed")[0]["participantName"] == "Anna"
        anna.hang_up()
        await look()
        assert changes(screen)[1:] == [("carl", "left")]
        there.records.left(SLUG, "carl")
        await look()
        assert changes(screen)[2:] == [("ben", "left")]
        there.records.left(SLUG, "ben")
        await look()
        assert changes(screen)[3:] == [(None, "left")]
        there.source(SLUG).appear("anna", "Anna")
        await look()
        assert changes(screen)[4:] == [("anna", "first")]
        late = await watch(there)
        assert changes(late) == [("anna", "first")], "whoever comes later is told as well"


async def test_who_came_and_went_between_two_looks_is_no_host() -> None:
    async with replica() as there, hosted(there):
        await there.service.start(start("websocket"))
        screen = await watch(there)
        there.records.person(SLUG, "anna")  # the row of somebody who has only left the microphone
        anna = there.source(SLUG).appear("anna")
        await asyncio.sleep(LOOK_S / 10)
        anna.hang_up()
        await look()
        assert changes(screen) == []
        there.source(SLUG).appear("ben")
        await look()
        assert changes(screen) == [("ben", "first")]


async def test_a_look_is_one_question_for_all_transcriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica() as there, hosted(there):
        asked: list[tuple[str, int]] = []
        for port, name in ((there.records.hosts, "of_all"), (there.records.sessions, "in_line")):
            answer = getattr(port, name)

            async def counted(ids: list[str], answer: Any = answer, name: str = name) -> Any:
                asked.append((name, len(ids)))
                return await answer(ids)

            monkeypatch.setattr(port, name, counted)
        for slug in ("one", "two", "three"):
            await there.records.sessions.create(slug, None, None)
            await there.service.start(start("websocket", slug))
            there.source(slug).appear(f"host of {slug}")
        screens = [await watch(there, slug) for slug in ("one", "two", "three")]
        await look()
        assert [changes(screen) for screen in screens] == [
            [(f"host of {slug}", "first")] for slug in ("one", "two", "three")
        ]
        asked.clear()
        await asyncio.sleep(5 * LOOK_S)
        assert set(asked) == {("of_all", 3)} and len(asked) in (4, 5, 6), "and none who speaks is asked for"


async def test_somebody_may_ask_for_it() -> None:
    async with replica() as there, hosted(there) as hosts:
        await there.service.start(start("websocket"))
        screen = await watch(there)
        for name in ("anna", "ben", "carl"):
            there.records.person(SLUG, name)
            await asyncio.sleep(1)
        await look()
        assert (await hosts.appoint(SLUG, "carl"))[0].identity == "carl"
        await look()
        assert (await hosts.appoint(SLUG, None))[0].identity == "anna"
        await look()
        assert (await hosts.appoint(SLUG, None))[0].identity == "ben"
        await look()
        assert changes(screen) == [("anna", "first"), ("carl", "claimed"), ("anna", "claimed"), ("ben", "claimed")]
        with pytest.raises(NotPresent):
            await hosts.appoint(SLUG, "stranger")


async def test_the_host_stays_over_a_restart() -> None:
    async with replica() as there, hosted(there):
        await there.service.start(start("websocket"))
        for name in ("anna", "ben"):
            there.records.person(SLUG, name)
            await asyncio.sleep(1)
        await look()
        await Hosts(there.records, there.hub, list).appoint(SLUG, "ben")  # through another replica
        await look()
    async with replica(there.records) as again, hosted(again):
        screen = await watch(again)
        await look()
        assert changes(screen) == [("ben", "kept")]


@asynccontextmanager
async def restarted() -> AsyncIterator[tuple[Replica, FakeTransport]]:
    """Anna was the host and fed when the gateway stopped, Ben is there as well: the gateway after that."""
    async with replica() as there, hosted(there):
        await there.service.start(start("websocket"))
        there.records.person(SLUG, "anna")
        there.source(SLUG).appear("anna")
        await look()
        there.records.person(SLUG, "ben")
    async with replica(there.records) as again, hosted(again):
        yield again, await watch(again)


async def test_a_host_who_vanished_during_a_restart_is_not_waited_for_for_ever() -> None:
    async with restarted() as (_, screen):
        await asyncio.sleep((COME_BACK_LOOKS - 2) * LOOK_S)
        assert changes(screen) == [("anna", "kept")]
        await asyncio.sleep(4 * LOOK_S)
        assert changes(screen) == [("anna", "kept"), ("ben", "left")]


async def test_whoever_follows_a_vanished_host_is_not_hurried() -> None:
    """Only the host of before the restart has a time to come back."""
    async with restarted() as (again, screen):
        again.records.person(SLUG, "carl")
        await asyncio.sleep(COME_BACK_LOOKS / 2 * LOOK_S)
        again.records.left(SLUG, "anna")
        await asyncio.sleep(COME_BACK_LOOKS * LOOK_S)
        assert changes(screen) == [("anna", "kept"), ("ben", "left")]


async def test_a_host_who_comes_back_after_a_restart_stays_the_host() -> None:
    async with restarted() as (again, screen):
        await asyncio.sleep(COME_BACK_LOOKS / 2 * LOOK_S)
        again.source(SLUG).appear("anna")
        await asyncio.sleep(COME_BACK_LOOKS * LOOK_S)
        assert changes(screen) == [("anna", "kept")]


async def test_a_database_that_is_away_changes_no_host() -> None:
    async with replica() as there, hosted(there):
        await there.service.start(start("websocket"))
        screen = await watch(there)
        anna = there.source(SLUG).appear("anna")
        await look()
        there.records.down = True
        anna.hang_up()
        await look()
        assert changes(screen) == [("anna", "first")]
        there.records.down = False
        await look()
        assert changes(screen)[1:] == [(None, "left")]


async def test_only_browsers_have_a_host() -> None:
    async with replica() as there, hosted(there) as hosts:
        with pytest.raises(SessionNotFound):
            await hosts.appoint("nowhere", None)
        with pytest.raises(NeverStarted):
            await hosts.appoint(SLUG, None)
        await there.service.start(start("rtmp"))
        there.records.person(SLUG, "anna")
        screen = await watch(there)
        with pytest.raises(NotFedByBrowsers):
            await hosts.appoint(SLUG, "anna")
        await look()
        assert changes(screen) == []
        await there.service.stop(SLUG)
        await there.service.start(start("websocket"))
        await there.service.stop(SLUG)
        with pytest.raises(NotFedByBrowsers):
            await hosts.appoint(SLUG, "anna")
