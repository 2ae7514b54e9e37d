"""What runs here while it is not certain that it is ours, and when it is lost; who takes over what has no owner."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import FakeMembership, FakeTransport, LoopClock, MemoryRecords, Replica
from support.transcribing import OPTIONS, SLUG, replica, start, told, watch
from support.waiting import until

from gateway.transcription.domain.errors import NotReady
from gateway.transcription.usecases.adoption import HEIR_FIRST_S, KEEP_S, LOOK_S, OVERDUE_LOOK_S, ROOM_FIRST_S
from gateway.transcription.usecases.said import LOST_FLUSH_S

LOOKS_S = LOOK_S * 1.3


async def speaking(there: Replica, closed: list[int] | None = None) -> FakeTransport:
    """Anna has said something, and somebody watches."""
    await there.service.start(start())
    screen = await watch(there, closed=closed)
    there.source(SLUG).appear("anna").speak(1)
    await until(lambda: bool(there.transcriber.links))
    there.link.final("One.")
    await until(lambda: len(told(screen, "transcript.final")) == 1)
    return screen


async def test_nothing_goes_out_while_it_is_not_certain_and_all_of_it_afterwards() -> None:
    """Frozen and thawed: nobody has taken over, but that has to be heard first."""
    async with replica() as there:
        screen = await speaking(there)
        carla = there.source(SLUG).appear("carla")
        carla.speak(1)
        await until(lambda: [link.sent_samples for link in there.transcriber.links] == [16_000, 16_000])
        before = len(screen.arrived)
        there.membership.is_certain = False
        carla.speak(1)
        there.link.partial("Two")
        there.link.final("Two.")
        there.source(SLUG).appear("ben").speak(1)
        await asyncio.sleep(5)
        assert len(screen.arrived) == before
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["One."]
        assert [link.sent_samples for link in there.transcriber.links] == [16_000, 16_000, 0]
        assert there.service.run_of(SLUG) is None
        with pytest.raises(NotReady):
            await there.service.stop(SLUG)
        there.membership.is_certain = True
        await until(lambda: len(told(screen, "transcript.final")) == 2)
        await until(lambda: [link.sent_samples for link in there.transcriber.links] == [16_000, 32_000, 16_000])
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["One.", "Two."]


async def test_audio_waits_while_memory_is_full_of_finals_that_the_database_does_not_take() -> None:
    async with replica(finals=10) as there:
        await there.service.start(start())
        anna = there.source(SLUG).appear("anna")
        anna.speak(1)
        await until(lambda: bool(there.transcriber.links) and there.link.sent_samples == 16_000)
        there.records.down = True
        there.link.final("Word.", "w:0")
        await asyncio.sleep(0.1)  # the writer holds it, and takes no other
        for number in range(1, 11):
            there.link.final("Word.", f"w:{number}")
        anna.speak(1)
        await asyncio.sleep(0.1)
        assert there.link.sent_samples == 16_000
        there.records.down = False
        await until(lambda: there.link.sent_samples == 32_000)


async def test_what_is_lost_is_silent_and_its_watchers_come_back() -> None:
    async with replica() as there:
        there.transcriber.flush_s = 1.0
        closed: list[int] = []
        screen = await speaking(there, closed)
        link, before = there.link, len(screen.arrived)
        there.membership.is_certain = False
        link.final("Held.")
        await asyncio.sleep(1)
        there.records.steal(SLUG, "replica-2")
        there.membership.is_certain = True
        there.membership.lose()
        assert closed == [4000]
        link.partial("No", "p:8")
        link.final("No.", "p:9")
        await until(lambda: not there.service.runs)
        assert len(screen.arrived) == before
        assert link.finished_with == LOST_FLUSH_S, "what it has heard already is waited for, and kept"
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["One."]
        assert there.recorder.pending == 0


async def test_a_process_that_has_lost_its_own_takes_it_again_when_nobody_else_does() -> None:
    """After its former run has ended, under another fence."""
    async with replica() as there:
        there.transcriber.flush_s = 2.0
        await speaking(there)
        former = there.service.runs[0]
        there.membership.lose()
        [row] = there.records.tables.transcriptions.values()
        there.records.tables.lease(row, -1)  # let go, as `Roster.enter` does
        await until(lambda: there.service.runs not in ([], [former]))
        assert former.finished.is_set()
        assert there.service.runs[0].claimed.lease.fence == 2


async def orphaned(records: MemoryRecords, count: int = 1) -> None:
    for number in range(count):
        session = await records.sessions.create(f"orphan-{number}", None, None)
        await records.leases.claim(session, "rtmp", {}, f"key-{number}", "dead", -1)


@pytest.mark.parametrize(
    ("inherits", "room", "after_s"), [(True, 10, 0.0), (False, 10, HEIR_FIRST_S), (True, 0, ROOM_FIRST_S)]
)
async def test_an_orphan_goes_to_its_heir_then_to_any_with_room_then_to_anybody(
    inherits: bool, room: int, after_s: float
) -> None:
    records = MemoryRecords(LoopClock())
    membership = FakeMembership()
    membership.inherits, membership.room = inherits, room
    async with replica(records, membership=membership) as there:
        await orphaned(records)
        await asyncio.sleep(after_s)
        assert there.service.runs == []
        await until(lambda: bool(there.service.runs), within_s=2 * LOOKS_S + 0.2)


async def test_a_look_falls_on_the_end_of_a_lease_and_more_follow_until_it_is_found() -> None:
    """Whichever survivor finds it: the heir must look once more soon."""
    records = MemoryRecords(LoopClock())
    membership = FakeMembership()
    membership.lapses_in_s = 0.3
    async with replica(records, membership=membership) as there:
        looked = records.leases.orphans
        looks: list[float] = []

        async def look(limit: int, *, thorough: bool) -> object:
            looks.append(there.clock.monotonic())
            membership.lapses_in_s = -1.0
            return await looked(limit, thorough=thorough)

        records.leases.orphans = look  # type: ignore[method-assign, assignment]
        began = there.clock.monotonic()
        await until(lambda: len(looks) == 4)
        assert looks[0] - began < 0.3 + OVERDUE_LOOK_S * 1.3 + 0.01
        assert looks[3] - looks[0] < 3 * (OVERDUE_LOOK_S * 1.3 + 0.01)
        await orphaned(records)
        await until(lambda: bool(there.service.runs), within_s=OVERDUE_LOOK_S * 1.3 + 0.1)


async def test_one_look_takes_so_many_at_most() -> None:
    """So that the others have a chance, and a thundering herd of publishers does not come at once."""
    records = MemoryRecords(LoopClock())
    async with replica(records) as there:
        await orphaned(records, 50)
        await until(lambda: bool(there.service.runs), within_s=LOOKS_S + 0.2)
        await asyncio.sleep(0.1)
        assert len(there.service.runs) == 20
        await until(lambda: len(there.service.runs) == 50, within_s=3 * LOOKS_S)


async def test_what_we_hold_without_knowing_is_let_go() -> None:
    """The answer to a claim was lost: a transcription that nobody runs, whose owner lives."""
    records = MemoryRecords(LoopClock())
    async with replica(records) as there:
        session = await records.sessions.create("unknown", None, None)
        await records.leases.claim(session, "rtmp", {}, "key", OPTIONS.owner, 3600)
        await until(lambda: bool(there.service.runs), within_s=3 * KEEP_S + 2)
        assert there.service.runs[0].claimed.lease.fence == 2


async def test_renewing_is_one_call_for_all() -> None:
    async with replica() as there:
        for number in range(5):
            await there.records.sessions.create(f"s{number}", None, None)
            await there.service.start(start(slug=f"s{number}"))
        rows = list(there.records.tables.transcriptions.values())
        await asyncio.sleep(2 * KEEP_S)
        assert len({row.lease_until for row in rows}) == 1
