"""Speakers come with their audio and go with it; what a dead process has stored is counted."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import LoopClock, MemoryRecords
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.passes import MintedFor


def present(records: MemoryRecords) -> set[str]:
    return {identity for _, identity in records.tables.present}


async def test_a_speaker_leaves_with_the_last_of_their_tracks() -> None:
    async with replica() as there:
        await there.service.start(start())
        source = there.source(SLUG)
        first = source.appear("anna")
        first.speak(1)
        await until(lambda: present(there.records) == {"anna"})
        second = source.appear("anna")  # an encoder that is back before its old connection has died
        second.speak(1)
        await asyncio.sleep(2)
        first.hang_up()
        await asyncio.sleep(30)
        assert present(there.records) == {"anna"}
        second.hang_up()
        await until(lambda: present(there.records) == set())
        source.appear("anna").speak(1)
        await until(lambda: present(there.records) == {"anna"})
        await there.service.stop(SLUG)
        assert present(there.records) == set()


async def test_whoever_came_in_another_way_stays() -> None:
    """A page has joined; only its microphone is off."""
    async with replica() as there:
        session = await there.records.sessions.by_slug(SLUG)
        assert session is not None
        await there.records.sessions.join(session.id, Speaker("anna", "Anna"))
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await asyncio.sleep(5)
        await there.service.stop(SLUG)
        assert present(there.records) == {"anna"}


@pytest.mark.parametrize(
    ("bearer", "is_heard"),
    [(None, True), (MintedFor("service"), True), (MintedFor("user", "zed"), True), (MintedFor("user", "eve"), False),
     (MintedFor("guest"), False)],
)  # fmt: skip
async def test_in_a_room_nobody_speaks_as_a_signed_in_user_but_that_user(
    bearer: MintedFor | None, is_heard: bool
) -> None:
    """A guest's token of an identity that nobody had then; its user has come since."""
    async with replica() as there:
        there.records.person(SLUG, "zed", user_id="zed")
        await there.service.start(start("livekit"))
        track = there.source(SLUG).appear("zed", "Zed", bearer)
        track.speak(1)
        await asyncio.sleep(1)
        track.speak(5)
        await asyncio.sleep(1)
        [run] = there.service.runs
        [live] = run.tracks
        assert (live.trouble is None) is is_heard and (await live.participant is not None) is is_heard
        assert ("signed-in user" in (live.trouble or "")) is not is_heard
        await there.service.stop(SLUG)


async def test_speakers_of_a_room_count_against_the_limit_of_participants_and_guests_leave_room() -> None:
    async with replica() as there:
        there.records.tables.most_participants = 10
        await there.service.start(start("livekit"))
        source = there.source(SLUG)
        guests = [source.appear(f"guest-{n}", None, MintedFor("guest")) for n in range(12)]
        await until(lambda: len(there.records.tables.participants) >= 9)
        await asyncio.sleep(5)
        [run] = there.service.runs
        refused = [live for live in run.tracks if live.trouble is not None]
        assert len(refused) == 3 and all("GATEWAY_MAX_PARTICIPANTS" in (live.trouble or "") for live in refused)
        source.appear("anna", None, MintedFor("user", "anna"))
        source.appear("ben", None, MintedFor("user", "ben"))
        await asyncio.sleep(5)
        assert {identity for _, identity in there.records.tables.participants} >= {"anna"}
        assert len(there.records.tables.participants) == 10
        guests[0].hang_up()
        source.appear("guest-0", None, MintedFor("guest"))  # who has been in comes back
        await asyncio.sleep(5)
        assert len([live for live in run.tracks if live.trouble is not None]) == 4
        await there.service.stop(SLUG)


async def test_a_restart_makes_nobody_leave_who_comes_back() -> None:
    records = MemoryRecords(LoopClock())
    async with replica(records) as there:
        await there.service.start(start())
        for identity in ("anna", "ben"):
            there.source(SLUG).appear(identity).speak(1)
        await asyncio.sleep(10)
    assert present(records) == {"anna", "ben"}
    async with replica(records) as there:
        there.source(SLUG).appear("anna").speak(1)
        await asyncio.sleep(10)
        assert present(records) == {"anna", "ben"}
        await there.service.stop(SLUG)
        assert present(records) == set()


async def test_finals_stored_after_the_last_reading_of_a_dead_process_are_counted() -> None:
    records = MemoryRecords(LoopClock())
    async with replica(records) as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        for number in range(3):
            there.link.final("Said.", f"p:{number}")
        await asyncio.sleep(10)
    tables = records.tables
    for key, (session, transcription, used) in list(tables.usage.items()):  # as the checkpoint before the kill
        behind = type(used)(
            **{name: getattr(used, name) for name in used.__struct_fields__}
            | {"final_transcripts": 1, "transcripts_received": 1}
        )
        tables.usage[key] = (session, transcription, behind)
    async with replica(records, owner="replica-2") as there:
        await until(lambda: bool(there.service.runs), 60)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("And on.", "p:9")
        await asyncio.sleep(10)
        [used] = await there.status.usage(SLUG)
        assert (used.final_transcripts, used.transcripts_received) == (4, 4)
        await there.service.stop(SLUG)
    [(_, _, used)] = tables.usage.values()
    assert used.final_transcripts == len(records.stored(SLUG)) == 4
