"""Working off the queue: retries, limits, lost leases, shutdown. Time jumps; nothing waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.memory_queue import MemoryAnalyses
from support.virtual_time import run_virtually

from gateway.analysis.analyse import Analyses, AnalysisImpossible, AnalysisOptions, AnalysisTrouble
from gateway.analysis.errors import AnalysisNotFailed, NoAnalysis
from gateway.analysis.rules import AnalysisStatus, Conversation, Findings
from gateway.errors import SessionNotFound
from gateway.sessions.domain.errors import SessionNotEnded

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
S = AnalysisStatus


class LoopClock:
    """The time of the running loop."""

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Analyst:
    """Does what the script says, the last step again and again: an exception, findings, or seconds to take."""

    script: list[Any] = field(default_factory=lambda: [Findings("model", "All well.")])
    seen: list[Conversation] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    async def analyse(self, conversation: Conversation) -> Findings:
        self.seen.append(conversation)
        self.at.append(asyncio.get_running_loop().time())
        step = self.script[min(len(self.seen), len(self.script)) - 1]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
            return Findings("model", "At last.")
        assert isinstance(step, Findings)
        return step


@dataclass
class World:
    queue: MemoryAnalyses
    analyst: Analyst
    analyses: Analyses

    def status(self, slug: str = "abc") -> S:
        return self.queue.rows[f"id-{slug}"].record.status

    def attempts(self) -> int:
        return self.queue.rows["id-abc"].record.attempts

    async def until(self, *statuses: S) -> None:
        async with asyncio.timeout(100_000):
            while self.status() not in statuses:
                await asyncio.sleep(1)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.analyses.work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def world(*script: Any, **options: Any) -> World:
    clock = LoopClock()
    queue, analyst = MemoryAnalyses(clock), Analyst(list(script) or [Findings("model", "All well.")])
    queue.add("abc", "We ship.")
    return World(queue, analyst, Analyses(queue, analyst, clock, AnalysisOptions(**options)))


def test_an_ended_session_is_scheduled_once_and_analysed() -> None:
    async def work() -> None:
        here = world()
        async with here.working():
            await asyncio.gather(*(here.analyses.schedule("id-abc") for _ in range(5)))
            await here.until(S.DONE)
            await here.analyses.schedule("id-abc")
            await asyncio.sleep(60)
        assert len(here.analyst.seen) == 1
        record = await here.analyses.find(here.queue.sessions["id-abc"])
        assert (record.summary, record.method, record.attempts) == ("All well.", "model", 1)
        assert here.analyses.counts.finished == {"done": 1}

    run_virtually(work())


@pytest.mark.parametrize("status", ["CREATED", "LIVE", "EXPIRED"])
def test_only_an_ended_session_is_scheduled(status: str) -> None:
    async def work() -> None:
        here = world()
        here.queue.add("live", status=status)
        with pytest.raises(SessionNotEnded):
            await here.analyses.schedule("id-live")
        with pytest.raises(SessionNotFound):
            await here.analyses.schedule("id-none")
        assert here.queue.rows == {}

    run_virtually(work())


def test_passing_trouble_is_tried_again_later_each_time_until_the_limit() -> None:
    async def work() -> None:
        here = world(AnalysisTrouble("busy"), attempts=4, backoff_s=30)
        async with here.working():
            await here.analyses.schedule("id-abc")
            await here.until(S.FAILED)
        pauses = [after - before for before, after in zip(here.analyst.at, here.analyst.at[1:], strict=False)]
        assert len(here.analyst.at) == 4
        assert [30 <= pauses[0] < 40, 60 <= pauses[1] < 70, 120 <= pauses[2] < 130] == [True] * 3
        assert here.queue.rows["id-abc"].record.reason == "busy (given up after 4 attempts)"
        assert here.analyses.counts.finished == {"put_back": 3, "failed": 1}

    run_virtually(work())


def test_a_server_that_asks_for_patience_gets_it() -> None:
    async def work() -> None:
        here = world(AnalysisTrouble("busy", retry_after_s=900), Findings("model", "x"))
        async with here.working():
            await here.analyses.schedule("id-abc")
            await here.until(S.DONE)
        assert 900 <= here.analyst.at[1] - here.analyst.at[0] < 910

    run_virtually(work())


def test_what_cannot_help_fails_at_once_and_can_be_started_again() -> None:
    async def work() -> None:
        here = world(AnalysisImpossible("wrong key"), Findings("model", "x"))
        session = here.queue.sessions["id-abc"]
        with pytest.raises(NoAnalysis):
            await here.analyses.retry(session)
        async with here.working():
            await here.analyses.schedule("id-abc")
            await here.until(S.FAILED)
            assert (await here.analyses.find(session)).reason == "wrong key"
            record = await here.analyses.retry(session)
            assert (record.status, record.reason, record.attempts) == (S.PENDING, None, 0)
            with pytest.raises(AnalysisNotFailed):
                await here.analyses.retry(session)
            await here.until(S.DONE)
            with pytest.raises(AnalysisNotFailed):
                await here.analyses.retry(session)

    run_virtually(work())


def test_a_bug_is_tried_again_and_its_words_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        here = world(ValueError("secret words"), Findings("model", "secret words"))
        async with here.working():
            await here.analyses.schedule("id-abc")
            await here.until(S.DONE)

    with caplog.at_level(logging.DEBUG):
        run_virtually(work())
    assert "ValueError at test_analysis_worker.py" in caplog.text
    assert "secret words" not in caplog.text


def test_long_work_keeps_its_lease() -> None:
    async def work() -> None:
        here = world(500.0, lease_s=60)
        other = Analyses(here.queue, Analyst(), LoopClock())
        async with here.working():
            await here.analyses.schedule("id-abc")
            await asyncio.sleep(10)
            stealing = asyncio.create_task(other.work())
            await here.until(S.DONE)
            stealing.cancel()
            await asyncio.gather(stealing, return_exceptions=True)
        assert here.queue.rows["id-abc"].record.summary == "At last."
        assert here.attempts() == 1

    run_virtually(work())


def test_who_loses_the_lease_stops_and_writes_nothing() -> None:
    async def work() -> None:
        here = world(500.0, lease_s=60)
        async with here.working():
            await here.analyses.schedule("id-abc")
            await asyncio.sleep(5)
            row = here.queue.rows["id-abc"]
            row.fence, row.lease_until = row.fence + 1, BEGIN + timedelta(days=1)  # another worker has taken it
            await asyncio.sleep(1000)
        assert here.status() is S.RUNNING
        assert here.analyses.counts.finished == {"lost": 1}

    run_virtually(work())


def test_who_cannot_renew_its_lease_stops_before_another_may_begin_for_long() -> None:
    async def work() -> None:
        here = world(500.0, lease_s=60)
        async with here.working():
            await here.analyses.schedule("id-abc")
            await asyncio.sleep(5)
            here.queue.down = True
            await asyncio.sleep(120)
            assert here.analyses.counts.running == 0
            here.queue.down = False
            await here.until(S.DONE)
        assert here.attempts() == 2

    run_virtually(work())


def test_at_shutdown_the_job_goes_back_at_once_and_the_attempt_does_not_count() -> None:
    async def work() -> None:
        here = world(500.0)
        async with here.working():
            await here.analyses.schedule("id-abc")
            await asyncio.sleep(5)
            assert here.status() is S.RUNNING
        assert (here.status(), here.attempts()) == (S.PENDING, 0)

    run_virtually(work())


def test_a_job_whose_workers_die_of_it_is_given_up() -> None:
    async def work() -> None:
        here = world(attempts=3)
        await here.analyses.schedule("id-abc")
        for _ in range(3):
            assert await here.queue.take(60) is not None
            await asyncio.sleep(61)  # no renewal comes
        async with here.working():
            await here.until(S.FAILED)
        assert here.analyst.seen == []
        assert "did not come to an end" in str(here.queue.rows["id-abc"].record.reason)

    run_virtually(work())


def test_at_most_so_many_run_at_once_and_none_where_there_are_no_workers() -> None:
    async def work() -> None:
        here = world(100.0, workers=2)
        idle = Analyses(here.queue, here.analyst, LoopClock(), AnalysisOptions(workers=0))
        idling = asyncio.create_task(idle.work())
        for number in range(5):
            here.queue.add(f"s{number}")
            await here.analyses.schedule(f"id-s{number}")
        await asyncio.sleep(50)
        assert (here.analyst.seen, idle.counts.waiting["PENDING"]) == (
            [],
            5,
        )  # it says what waits, for nobody else does
        idling.cancel()
        async with here.working():
            await asyncio.sleep(50)
            assert (here.analyses.counts.running, len(here.analyst.seen)) == (2, 2)
            await asyncio.sleep(300)
        assert {here.status(f"s{n}") for n in range(5)} == {S.DONE}

    run_virtually(work())


def test_a_database_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        here = world()
        await here.analyses.schedule("id-abc")
        here.queue.down = True
        async with here.working():
            await asyncio.sleep(100)
            here.queue.down = False
            await here.until(S.DONE)

    run_virtually(work())
    assert caplog.text.count("analyses wait for the database") == 1
