"""Start and stop over three replicas in memory, which answer, refuse, hang, die and move what they own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from support.fakes import LoopClock, MemoryRecords
from support.fakes import Replica as Service
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.errors import SessionNotFound
from gateway.transcription.domain.errors import NeverStarted, NoRoom, RefusedThere, RunsElsewhere
from gateway.transcription.domain.transcription import StartRequest, TranscriptionState
from gateway.transcription.usecases.steering import NoAnswer, StartedThere, Steering


@dataclass
class World:
    """`order`: in which replicas are asked to start. `hung`: those that answer nothing. `wrong`: whom one names."""

    records: MemoryRecords
    services: dict[str, Service] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    hung: set[str] = field(default_factory=set)
    refusals: dict[str, Exception] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)

    def steering(self, me: str) -> Steering:
        return Steering(self.services[me].service, self.records, Others(self, me), 2.0, 5.0)


class Others:
    def __init__(self, world: World, me: str) -> None:
        self._world = world
        self.me = me

    async def candidates(self) -> Sequence[str]:
        return self._world.order or [self.me]

    async def start(self, replica: str, request: StartRequest) -> StartedThere:
        there = await self._asked(replica)
        if (refusal := self._world.refusals.get(replica)) is not None:
            raise refusal
        started = await there.service.start(request)
        return StartedThere(started.created, started.state, started.ingest)

    async def stop(self, replica: str, slug: str, reason: str) -> None:
        self._world.stops.append(replica)
        there = await self._asked(replica)
        if replica in self._world.wrong:
            raise RunsElsewhere(slug, self._world.wrong[replica])
        await there.service.stop(slug, wait=False, reason=reason)

    async def is_stopping(self, replica: str, slug: str) -> bool:
        run = self._world.services[replica].service.run_of(slug) if replica in self._world.services else None
        return run is not None and run.state is TranscriptionState.STOPPING

    async def _asked(self, replica: str) -> Service:
        await asyncio.sleep(0)
        if replica in self._world.hung or replica not in self._world.services:
            raise NoAnswer("it hangs")
        return self._world.services[replica]


@asynccontextmanager
async def three() -> AsyncIterator[World]:
    clock = LoopClock()
    world = World(MemoryRecords(clock))
    async with AsyncExitStack() as stack:
        for name in ("a", "b", "c"):
            world.services[name] = await stack.enter_async_context(
                replica(world.records, clock=clock, owner=name, drain_s=2.0, lease_s=5.0)
            )
        yield world


def running(world: World) -> list[str]:
    return [name for name, one in world.services.items() if one.service.run_of(SLUG) is not None]


async def test_the_first_that_has_room_begins_it_and_every_replica_finds_it() -> None:
    async with three() as world:
        world.order = ["b", "c", "a"]
        world.refusals = {"b": NoRoom("full")}
        started = await world.steering("a").start(start(cost_cap_usd=3.0))
        assert started.created and started.record.owner == "c" and running(world) == ["c"]
        for name in ("a", "b", "c"):
            again = await world.steering(name).start(start())
            assert (again.created, again.record.id) == (False, started.record.id)
            assert again.ingest.stream_key == started.ingest.stream_key
        with pytest.raises(SessionNotFound):
            await world.steering("a").start(start(session_id="another"))


async def test_a_refusal_is_final_and_no_answer_is_none() -> None:
    async with three() as world:
        world.order, world.hung = ["b", "c"], {"b"}
        world.refusals = {"c": RefusedThere(402, "Cost cap reached", "too dear", "raise it", None)}
        with pytest.raises(RefusedThere, match="too dear"):
            await world.steering("a").start(start())
        world.refusals = {"c": NoRoom("full")}
        with pytest.raises(NoRoom, match="full"):
            await world.steering("a").start(start())
        assert running(world) == []


async def test_one_whose_answer_was_lost_has_begun_it_and_it_begins_once() -> None:
    async with three() as world:
        world.order = ["b", "a"]
        [lost, started] = await asyncio.gather(
            world.services["b"].service.start(start()), world.steering("a").start(start())
        )
        assert lost.record.id == started.record.id
        assert sorted((lost.created, started.created)) == [False, True]
        assert len(running(world)) == 1


async def test_a_stop_reaches_the_owner_and_comes_back_with_the_usage() -> None:
    async with three() as world:
        await world.services["b"].service.start(start())
        world.services["b"].source(SLUG).appear("anna").speak(2)
        await until(lambda: bool(world.services["b"].transcriber.links))
        assert await world.steering("a").stop(SLUG, wait=False) is None
        stopped = await world.steering("c").stop(SLUG, reason="because")
        assert stopped is not None and stopped.record.state is TranscriptionState.STOPPED
        assert stopped.record.stop_reason == "stopped by request", "the first reason stands"
        assert [used.identity for used in stopped.usage] == ["anna"]
        assert await world.steering("a").stop(SLUG) == stopped
        with pytest.raises(SessionNotFound):
            await world.steering("a").stop("nowhere")
        await world.records.sessions.create("quiet", None, None)
        with pytest.raises(NeverStarted):
            await world.steering("a").stop("quiet")


async def test_who_owns_it_no_more_names_who_does_and_is_asked_once() -> None:
    async with three() as world:
        await world.services["c"].service.start(start())
        world.records.steal(SLUG, "b")  # as PostgreSQL told it a moment ago
        world.wrong = {"b": "c"}
        assert await world.steering("a").stop(SLUG, wait=False) is None
        assert world.stops == ["b", "c"]
        world.stops.clear()
        world.wrong = {"b": "c", "c": "b"}
        with pytest.raises(RunsElsewhere):
            await world.steering("a").stop(SLUG, wait=False)
        assert set(world.stops) == {"b", "c"}


async def test_a_dead_owner_is_waited_for_until_its_lease_is_over_and_then_replaced() -> None:
    async with three() as world:
        session = await world.records.sessions.by_slug(SLUG)
        assert session is not None
        await world.records.leases.claim(session, "rtmp", {}, "key", "dead", 4.0)
        stopped = await world.steering("a").stop(SLUG)
        assert stopped is not None and stopped.record.state is TranscriptionState.STOPPED
        assert stopped.record.owner != "dead"


async def test_an_owner_that_hangs_and_keeps_its_lease_is_told_of() -> None:
    async with three() as world:
        session = await world.records.sessions.by_slug(SLUG)
        assert session is not None
        await world.records.leases.claim(session, "rtmp", {}, "key", "hung", 3600.0)
        with pytest.raises(RunsElsewhere) as told:
            await world.steering("a").stop(SLUG)
        assert told.value.owner == "hung" and told.value.retry_after_s


async def test_a_start_waits_for_one_that_is_stopping_elsewhere() -> None:
    async with three() as world:
        await world.services["b"].service.start(start())
        world.order = ["a", "b", "c"]
        await world.steering("a").stop(SLUG, wait=False)
        started = await world.steering("a").start(start())
        assert started.created and running(world) == ["a"]


async def test_starts_at_the_same_moment_do_not_share_the_last_place() -> None:
    """A refused one takes none, and a stop gives one back."""
    async with replica(max_tracks=2) as there:
        for slug in ("one", "two", "three"):
            await there.records.sessions.create(slug, None, None)
        begun = await asyncio.gather(
            *(there.service.start(start(slug=slug)) for slug in ("one", "two", "three", "nowhere")),
            return_exceptions=True,
        )
        assert [type(one) for one in begun[2:]] == [NoRoom, SessionNotFound]
        assert there.service.is_full and there.service.tracks == 2
        await there.service.stop("one")
        assert (await there.service.start(start(slug="three"))).created
