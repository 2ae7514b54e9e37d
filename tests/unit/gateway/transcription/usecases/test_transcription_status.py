"""What the list and the status page are told, with a database that answers, hangs or is slow."""

from __future__ import annotations

import asyncio

import pytest
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.outage import PROMPT_S, RecordsUnavailable
from gateway.transcription.domain.usage import Figures


async def test_the_list_is_one_query_however_many_run() -> None:
    async with replica() as there:
        for number in range(5):
            session = await there.records.sessions.create(f"s{number}", None, None)
            await there.service.start(start(slug=session.slug))
        await asyncio.sleep(0.5)
        before = there.records.tables.calls
        assert len(await there.status.all_seen()) == 5
        assert there.records.tables.calls == before + 1


async def test_a_database_that_hangs_keeps_nobody_waiting() -> None:
    """What runs here is told from memory and says so; of the rest the refusal comes as soon; then all is as before."""
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Counted.")
        await asyncio.sleep(1)
        tables, clock = there.records.tables, asyncio.get_running_loop()
        tables.hangs = True
        began = clock.time()
        [seen] = await there.status.all_seen()
        assert (seen.record.slug, seen.is_stored, seen.figures.finals) == (SLUG, False, 1)
        calls = tables.calls
        for _ in range(50):  # nothing more is asked while one answer is due
            assert not (await there.status.seen(SLUG)).is_stored
            assert await there.status.bills(seen) is None
            with pytest.raises(RecordsUnavailable):
                await there.status.seen("elsewhere")
        assert clock.time() - began <= PROMPT_S + 0.01
        assert tables.calls - calls < 10  # the books' own
        tables.hangs = False
        await asyncio.sleep(2)
        [seen] = await there.status.all_seen()
        assert seen.is_stored
        assert seen.figures == Figures.of(await there.status.usage(SLUG))
