"""When a transcription begins and ends with its call: the rules, over a service in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.fakes import LoopClock, MemoryRecords, Replica

from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import ROOM_EMPTY, ROOM_OVER, Ingest, StartRequest
from gateway.transcription.usecases.attend import Attendance, RoomEvent, RoomsUnavailable
from gateway.transcription.usecases.transcriptions import Started

SLUG = "abc"


class FakeRooms:
    def __init__(self) -> None:
        self.people: dict[str, int] = {SLUG: 1}
        self.down = False
        self.looks = 0

    async def rooms(self, *names: str) -> dict[str, int]:
        self.looks += 1
        if self.down:
            raise RoomsUnavailable("down")
        return {name: people for name, people in self.people.items() if not names or name in names}


class Hall:
    def __init__(self, there: Replica) -> None:
        self.there = there
        self.rooms = FakeRooms()
        self.attendance = Attendance(there.service, there.records, self.rooms, look_every_s=0.01)
        self._ids = iter(range(10**6))

    async def tell(self, kind: str, room: str = SLUG, *, person: bool = True, event_id: str | None = None) -> None:
        chosen = event_id or f"EV_{next(self._ids)}"
        await self.attendance.told(RoomEvent(chosen, kind, room, "anna", person))

    @property
    def running(self) -> bool:
        run = self.there.service.run_of(SLUG)
        return run is not None and not run.finished.is_set()

    async def ends(self, reason: str) -> None:
        run = self.there.service.run_of(SLUG)
        assert run is not None
        run.stop(reason)
        await run.finished.wait()
        await asyncio.sleep(0)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    there = Replica(MemoryRecords(LoopClock()))
    there.sources.require = lambda kind: None  # type: ignore[method-assign]
    await there.records.sessions.create(SLUG, None, None)
    recording = asyncio.create_task(there.recorder.run())
    try:
        async with there.service.serving():
            yield Hall(there)
    finally:
        recording.cancel()
        await asyncio.wait({recording})


async def test_the_first_person_begins_it(hall: Hall) -> None:
    await hall.tell("participant_joined")
    run = hall.there.service.run_of(SLUG)
    assert run is not None and run.claimed.source == "livekit"
    await hall.tell("participant_joined")
    assert hall.there.service.run_of(SLUG) is run


@pytest.mark.parametrize(
    ("kind", "room", "person"),
    [
        ("participant_joined", SLUG, False),
        ("participant_joined", "a room of something else", True),
        ("track_published", SLUG, True),
        ("room_started", SLUG, True),
    ],
)
async def test_nothing_else_does(hall: Hall, kind: str, room: str, person: bool) -> None:
    """Neither agents and recorders, nor other apps' rooms, nor other events."""
    await hall.tell(kind, room, person=person)
    assert not hall.running


@pytest.mark.parametrize(
    ("reason", "again"),
    [(ROOM_EMPTY, True), (ROOM_OVER, True), ("stopped by request", False), ("the gateway was removed", False)],
)
async def test_what_a_call_has_ended_the_next_people_begin_anew(hall: Hall, reason: str, again: bool) -> None:
    """With the same options; what a person, a cap or the room's host has ended waits for a start."""
    speech = SpeechOptions(languages=("de",), custom_vocabulary=("Zugspitze",))
    await hall.there.service.start(StartRequest(SLUG, speech=speech, cost_cap_usd=3.0))
    await hall.ends(reason)
    await hall.tell("participant_joined")
    assert hall.running is again
    if again:
        run = hall.there.service.run_of(SLUG)
        assert run is not None and run.claimed.options["costCapUsd"] == 3.0
        assert run.claimed.options["customVocabulary"] == ["Zugspitze"]


async def test_a_repeated_webhook_is_one(hall: Hall) -> None:
    """Delivered again after the call has ended, it must not begin another transcription."""
    await hall.tell("participant_joined", event_id="EV_same")
    await hall.ends(ROOM_OVER)
    await hall.tell("participant_joined", event_id="EV_same")
    assert not hall.running


async def test_a_webhook_that_failed_is_acted_on_when_it_comes_again(hall: Hall) -> None:
    await hall.tell("participant_joined")
    hall.rooms.people.clear()
    hall.rooms.down = True
    with pytest.raises(RoomsUnavailable):
        await hall.tell("room_finished", event_id="EV_same")
    hall.rooms.down = False
    await hall.tell("room_finished", event_id="EV_same")
    run = hall.there.service.run_of(SLUG)
    if run is not None:
        await run.finished.wait()
        assert run.reason == ROOM_OVER


async def test_the_end_of_an_earlier_call_does_not_end_this_one(hall: Hall) -> None:
    """`room_finished` comes late, when a room of the same name is there again."""
    await hall.tell("participant_joined")
    await hall.tell("room_finished")
    await asyncio.sleep(0.01)
    assert hall.running


async def test_looking_finds_what_no_webhook_told_and_outlives_an_outage(hall: Hall) -> None:
    hall.rooms.down = True
    looking = asyncio.create_task(hall.attendance.look_for_ever())
    while hall.rooms.looks < 2:
        await asyncio.sleep(0.005)
    assert not hall.running
    hall.rooms.down = False
    async with asyncio.timeout(5):
        while not hall.running:
            await asyncio.sleep(0.005)
    looking.cancel()
    await asyncio.wait({looking})


async def test_a_room_whose_transcription_cannot_begin_stands_in_nobodys_way(
    hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def start(self, request: StartRequest) -> Started:
            if request.session_slug == "first":
                raise ZeroDivisionError
            return await hall.there.service.start(request)

        stop = hall.there.service.stop

    await hall.there.records.sessions.create("first", None, None)
    hall.rooms.people = {"first": 1, SLUG: 1}
    attendance = Attendance(hall.there.service, hall.there.records, hall.rooms, Broken(), look_every_s=0.01)
    looking = asyncio.create_task(attendance.look_for_ever())
    async with asyncio.timeout(5):
        while not hall.running:
            await asyncio.sleep(0.005)
    assert not looking.done() and "ZeroDivisionError" in caplog.text
    looking.cancel()
    await asyncio.wait({looking})


async def test_an_empty_room_that_exists_begins_nothing(hall: Hall) -> None:
    hall.rooms.people[SLUG] = 0
    looking = asyncio.create_task(hall.attendance.look_for_ever())
    while hall.rooms.looks < 3:
        await asyncio.sleep(0.005)
    looking.cancel()
    await asyncio.wait({looking})
    assert not hall.running


async def test_what_runs_elsewhere_is_begun_and_ended_from_here(hall: Hall) -> None:
    """Webhooks come to any replica: the session begins where there is room, and its end reaches its owner."""
    asked: list[tuple[str, str]] = []

    class Anywhere:
        async def start(self, request: StartRequest) -> Started:
            asked.append(("start", request.session_slug))
            session = await hall.there.records.sessions.by_slug(SLUG)
            assert session is not None
            lease = await hall.there.records.leases.claim(session, "livekit", {}, None, "another", 60)
            return Started(lease[1], "starting", True, Ingest())

        async def stop(self, slug: str, *, wait: bool = True, reason: str = "") -> None:
            asked.append((reason, slug))
            assert not wait

    hall.attendance = Attendance(hall.there.service, hall.there.records, hall.rooms, Anywhere())
    await hall.tell("participant_joined")
    await hall.tell("participant_joined")
    assert asked == [("start", SLUG)]
    await hall.tell("room_finished")
    assert len(asked) == 1, "a room of that name is there"
    hall.rooms.people.clear()
    await hall.tell("room_finished")
    assert asked[1:] == [(ROOM_OVER, SLUG)]
