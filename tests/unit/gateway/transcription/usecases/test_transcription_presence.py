"""Speakers come with their audio and go with it; what a dead process has stored is counted."""

from __future__ import annotations

import asyncio

from support.fakes import LoopClock, MemoryRecords
from support.transcribing import SLUG, replica, start, until

from gateway.transcription.domain.captions import Speaker


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
