"""One contract, two queues; and what only a real database can show."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from integration.analysis.conftest import HandClock, Shelf, spoken_session
from support.postgres import PostgresServer

from gateway.analysis.analyse import Analyses, AnalysisOptions, AnalysisRecord
from gateway.analysis.queue import PostgresAnalyses
from gateway.analysis.rules import AnalysisStatus, Conversation, Findings, Risk, Task
from gateway.app.system_clock import SystemClock
from storage.postgres.pool import open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.transcriptions import NewTranscription, Transcriptions
from storage.postgres.url import parse_database_url

S = AnalysisStatus
FINDINGS = Findings(
    "model", "All well.", (Task("Ship", "Anna", "2026-01-09", "We ship.", 1000),), (Risk("Late", "low"),)
)


async def record(shelf: Shelf, session_id: str) -> AnalysisRecord:
    found = await shelf.queue.find(session_id)
    assert found is not None
    return found


async def test_one_analysis_for_an_ended_session_however_often_it_is_asked_for(shelf: Shelf) -> None:
    ended, live = await shelf.session("ended"), await shelf.session("live", end=False)
    assert await shelf.queue.ensure(live) is await shelf.queue.ensure("nothing") is None
    made = await asyncio.gather(*(shelf.queue.ensure(ended) for _ in range(5)))
    assert {(one.status, one.attempts) for one in made if one} == {(S.PENDING, 0)}
    assert len([one for one in made if one]) == 5
    assert await shelf.queue.counts() == {"PENDING": 1}


async def test_it_is_taken_once_and_its_results_are_kept(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.queue.ensure(session)
    taken = [job for job in await asyncio.gather(*(shelf.queue.take(60) for _ in range(5))) if job]
    assert [(job.session_id, job.attempts) for job in taken] == [(session, 1)]
    assert (await record(shelf, session)).status is S.RUNNING
    assert await shelf.queue.done(taken[0], FINDINGS)
    found = await record(shelf, session)
    assert (found.status, found.method, found.summary) == (S.DONE, "model", "All well.")
    assert (found.tasks, found.risks) == (FINDINGS.tasks, FINDINGS.risks)
    assert not await shelf.queue.done(taken[0], FINDINGS)
    assert await shelf.queue.take(60) is None
    assert await shelf.queue.counts() == {}


async def test_the_oldest_comes_first(shelf: Shelf) -> None:
    sessions = []
    for number in range(3):
        sessions.append(await shelf.session(f"s{number}"))
        await shelf.queue.ensure(sessions[-1])
        await shelf.wait(1)
    taken = [await shelf.queue.take(60) for _ in range(3)]
    assert [job.session_id for job in taken if job] == sessions


async def test_a_lost_worker_is_followed_by_another_and_can_write_nothing_more(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.queue.ensure(session)
    lost = await shelf.queue.take(60)
    assert lost is not None
    await shelf.wait(40)
    assert await shelf.queue.renew(lost, 60)
    await shelf.wait(40)
    assert await shelf.queue.take(60) is None
    await shelf.wait(21)
    taken = [job for job in await asyncio.gather(*(shelf.queue.take(60) for _ in range(5))) if job]
    assert [job.attempts for job in taken] == [2]
    assert not await shelf.queue.renew(lost, 60)
    assert not await shelf.queue.done(lost, FINDINGS)
    assert not await shelf.queue.failed(lost, "x")
    assert not await shelf.queue.put_back(lost, "x", shelf.clock.now())
    assert (await record(shelf, session)).status is S.RUNNING
    assert await shelf.queue.done(taken[0], FINDINGS)


async def test_what_is_put_back_waits_for_its_time(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.queue.ensure(session)
    job = await shelf.queue.take(60)
    assert job is not None
    assert await shelf.queue.put_back(job, "busy", shelf.clock.now() + timedelta(seconds=90))
    found = await record(shelf, session)
    assert (found.status, found.reason, found.attempts) == (S.PENDING, "busy", 1)
    await shelf.wait(60)
    assert await shelf.queue.take(60) is None
    await shelf.wait(30)
    again = await shelf.queue.take(60)
    assert again is not None
    assert again.attempts == 2
    assert await shelf.queue.put_back(again, None, shelf.clock.now(), counts=False)
    found = await record(shelf, session)
    assert (found.reason, found.attempts) == (None, 1)


async def test_a_failed_one_can_be_started_again_once(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.queue.ensure(session)
    assert not await shelf.queue.retry(session)
    old = await shelf.queue.take(60)
    assert old is not None
    assert await shelf.queue.failed(old, "wrong key")
    found = await record(shelf, session)
    assert (found.status, found.reason, found.attempts) == (S.FAILED, "wrong key", 1)
    await shelf.wait(1000)
    assert await shelf.queue.take(60) is None
    assert sorted(await asyncio.gather(*(shelf.queue.retry(session) for _ in range(4)))) == [False] * 3 + [True]
    found = await record(shelf, session)
    assert (found.status, found.reason, found.attempts) == (S.PENDING, None, 0)
    new = await shelf.queue.take(60)
    assert new is not None
    assert new.attempts == 1
    assert not await shelf.queue.done(old, FINDINGS)
    assert await shelf.queue.done(new, FINDINGS)


async def test_a_deleted_session_takes_its_analysis_along(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.queue.ensure(session)
    job = await shelf.queue.take(60)
    assert job is not None
    await shelf.delete(session)
    assert not await shelf.queue.done(job, FINDINGS)
    assert await shelf.queue.find(session) is None
    if shelf.database is not None:
        assert await shelf.database.pool.fetchval("SELECT count(*) FROM gateway.analysis_job") == 0


async def test_the_conversation_is_what_was_said_in_order(shelf: Shelf) -> None:
    session = await shelf.session("abc", "One.", "Two.")
    talk = await shelf.queue.conversation(session)
    assert [(line.speaker, line.text, line.language) for line in talk.lines] == [
        ("Anna", "One.", "en"),
        ("Anna", "Two.", "en"),
    ]
    assert talk.lines[1].at_ms - talk.lines[0].at_ms == 1000
    assert await shelf.queue.session_status(session) == "ENDED"
    assert await shelf.queue.session_status("none") is None


@pytest.mark.parametrize("shelf", ["postgres"], indirect=True)
async def test_an_analysis_that_the_app_has_made_is_taken_and_one_that_it_runs_is_not(shelf: Shelf) -> None:
    """The app's rows have no job of ours."""
    assert shelf.database is not None
    one, other = await shelf.session("one"), await shelf.session("other")
    await shelf.database.pool.executemany(
        'INSERT INTO "SessionAnalysis" (id, "sessionId", status, "updatedAt") VALUES ($1, $2, $3, now())',
        [("a1", one, "PENDING"), ("a2", other, "RUNNING")],
    )
    await shelf.wait(1_000_000)
    job = await shelf.queue.take(60)
    assert job is not None
    assert job.session_id == one
    assert await shelf.queue.take(60) is None


@pytest.mark.parametrize("shelf", ["postgres"], indirect=True)
async def test_it_waits_until_the_transcription_has_closed_its_books(shelf: Shelf) -> None:
    """Finals that the database has not got yet would be missing."""
    assert shelf.database is not None
    session = await shelf.session("abc", end=False)
    runs = Transcriptions(shelf.database)
    run, _ = await runs.claim(NewTranscription(session, "abc", "rtmp", {}), "another replica", 600, shelf.clock.now())
    await Sessions(shelf.database).end(session, shelf.clock.now())
    await shelf.queue.ensure(session)
    assert await shelf.queue.take(60) is None
    await runs.finish(run.id, run.fence, shelf.clock.now(), "stopped", True)
    job = await shelf.queue.take(60)
    assert job is not None
    assert job.session_id == session


async def test_two_workers_on_one_database_analyse_each_session_once(postgres_server: PostgresServer) -> None:
    """Two replicas, each with a pool of its own, four at a time."""

    class Slow:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def analyse(self, conversation: Conversation) -> Findings:
            self.seen.append(conversation.lines[0].text)
            await asyncio.sleep(0.01)
            return FINDINGS

    with postgres_server.database() as url:
        options = parse_database_url(url)
        async with open_pool(options) as first, open_pool(options) as second:
            analysts = [Slow(), Slow()]
            replicas = [
                Analyses(PostgresAnalyses(pool, SystemClock()), analyst, SystemClock(), AnalysisOptions(workers=4))
                for pool, analyst in zip((first, second), analysts, strict=True)
            ]
            ids = [await spoken_session(first, f"s{number}", f"Said in {number}.") for number in range(40)]
            for number, session_id in enumerate(ids):
                await replicas[number % 2].schedule(session_id)
            tasks = [asyncio.create_task(replica.work()) for replica in replicas]
            async with asyncio.timeout(60):
                while await first.pool.fetchval("""SELECT count(*) FROM "SessionAnalysis" WHERE status <> 'DONE'"""):
                    await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert sorted(analysts[0].seen + analysts[1].seen) == sorted(f"Said in {n}." for n in range(40))
            assert all(analyst.seen for analyst in analysts)
            assert await first.pool.fetchval("SELECT max(attempts) FROM gateway.analysis_job") == 1


@pytest.mark.parametrize("shelf", ["postgres"], indirect=True)
@pytest.mark.parametrize("skew_s", [-5.0, 5.0])
async def test_clocks_that_differ_give_no_job_away_and_keep_none(shelf: Shelf, skew_s: float) -> None:
    """A lease is as long for a replica whose clock is ahead as for one whose clock is behind."""
    assert shelf.database is not None
    session = await shelf.session()
    await shelf.queue.ensure(session)
    there = HandClock()
    there.pass_(skew_s)
    other = PostgresAnalyses(shelf.database, there)
    job = await shelf.queue.take(4)
    assert job is not None
    assert await other.take(4) is None
    assert await shelf.queue.renew(job, 4)
    await shelf.wait(4)
    again = await other.take(4)
    assert again is not None
    assert not await shelf.queue.renew(job, 4)
    assert await other.put_back(again, "busy", there.now() + timedelta(seconds=60))
    assert await shelf.queue.take(4) is None
    await shelf.wait(60)
    assert await shelf.queue.take(4) is not None
