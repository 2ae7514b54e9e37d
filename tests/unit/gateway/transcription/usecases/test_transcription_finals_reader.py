"""Finals are read from the database and from what this process holds for it, as one row of numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from support.fakes import BEGIN, LoopClock, MemoryRecords
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.journal import FinalToStore

SAID = Caption("p:1", "One.", "en", True, Speaker("anna", None), BEGIN, BEGIN, 0, 0, 0.9, ())


async def claimed(records: MemoryRecords) -> Claimed:
    session = await records.sessions.create(SLUG, None, None)
    found, _ = await records.leases.claim(session, "rtmp", {}, None, "me", 30)
    assert found is not None
    return found


def final(mine: Claimed, seq: int) -> FinalToStore:
    return FinalToStore(mine.lease, mine.session_id, mine.numbering.epoch, seq, SAID, None, b"stored")


async def test_what_only_this_process_has_follows_what_is_stored() -> None:
    """Unless its number is of an epoch that another owner has ended."""
    records = MemoryRecords(LoopClock())
    mine = await claimed(records)
    await records.finals.store([final(mine, 1)])
    held: list[UnstoredFinal] = []

    async def unstored(session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        return [one for one in held if one.seq > after][:limit]

    reader = FinalReader(records, unstored)
    assert [one.seq for one in await reader.since(mine.session_id, 0, 9)] == [1]
    held += [UnstoredFinal(2, b"held", mine.numbering.epoch), UnstoredFinal(3, b"held", mine.numbering.epoch)]
    assert [(one.seq, one.data) for one in await reader.since(mine.session_id, 0, 2)] == [(1, b"stored"), (2, b"held")]
    assert [one.seq for one in await reader.since(mine.session_id, 2, 9)] == [3]
    assert await reader.newest(mine.session_id) == 3
    await asyncio.sleep(31)
    await records.leases.adopt("heir", 30, own=False)
    assert [one.seq for one in await reader.since(mine.session_id, 0, 9)] == [1]
    assert await reader.newest(mine.session_id) == 1


async def test_what_is_stored_between_the_two_questions_is_read_once() -> None:
    records = MemoryRecords(LoopClock())
    mine = await claimed(records)

    async def unstored(session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        await records.finals.store([final(mine, 1)])
        return [UnstoredFinal(1, b"held", mine.numbering.epoch)]

    found = await FinalReader(records, unstored).since(mine.session_id, 0, 9)
    assert [(one.seq, one.data) for one in found] == [(1, b"stored")]


async def test_without_this_process_the_database_alone_is_read() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("One.")
        await until(lambda: len(there.records.stored(SLUG)) == 1)
        [run] = there.service.runs
        assert [one.seq for one in await FinalReader(there.records).since(run.claimed.session_id, 0, 9)] == [1]
