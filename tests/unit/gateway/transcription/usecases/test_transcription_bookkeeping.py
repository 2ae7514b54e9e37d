"""Lease, state, meters and provider sessions in the database, over outages, takeovers and restarts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from support.fakes import CutLine, LoopClock, MemoryRecords
from support.transcribing import OPTIONS, SLUG, replica, start, told, watch
from support.waiting import until

from gateway.errors import SessionNotFound
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.errors import NeverStarted, NotReady, RunsElsewhere
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Lease
from gateway.transcription.domain.usage import Listened
from gateway.transcription.usecases.bookkeeping import CHECKPOINT_S
from gateway.transcription.usecases.records import NumberedFinal
from gateway.transcription.usecases.speech import ProviderSession, SpeechLost

# --- meters and notes ---------------------------------------------------------------------------------------


async def test_usage_is_checkpointed_while_it_runs() -> None:
    """At least every ten seconds, under the speaker's row, and it only grows."""
    async with replica() as there:
        session_id = (await there.service.start(start())).record.session_id
        track = there.source(SLUG).appear()
        for _ in range(600):
            track.speak(0.1)
            await asyncio.sleep(0.1)
        moments = [moment for moment, used in there.records.saves if used]
        gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
        assert max(gaps) <= CHECKPOINT_S + 1 <= 10
        seconds = [used[0].duration_seconds for _, used in there.records.saves if used]
        assert seconds == sorted(seconds)
        assert seconds[-1] > 50
        [(identity, participant)] = there.records.usage.participant_ids.items()
        assert (identity, participant) == ("rtmp", there.records.tables.participants[session_id, "rtmp"])


async def test_the_receipt_adds_up_over_tracks_and_owners() -> None:
    """Two publishes of one speaker, what the source itself left out, and the next owner go into one receipt."""
    records = MemoryRecords(LoopClock())
    async with replica(records) as one:
        await one.service.start(start())
        first = one.source(SLUG).appear("anna")
        first.speak(10)
        first.left_out = 5 * 16_000
        await until(lambda: bool(one.transcriber.links))
        one.link.listened += Listened(speech=4 * 16_000, silent=6 * 16_000, withheld=6 * 16_000)
        first.hang_up()
        await asyncio.sleep(1)
        one.source(SLUG).appear("anna").speak(20)
        await until(lambda: len(one.transcriber.links) == 2)
        await asyncio.sleep(1)
        [used] = await one.status.usage(SLUG)
        assert (used.gate, used.heard_s, used.speech_s, used.silent_s, used.withheld_s) == ("on", 35.0, 4.0, 11.0, 11.0)
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), 11)
        two.source(SLUG).appear("anna").speak(5)
        await until(lambda: bool(two.transcriber.links))
        stopped = await two.service.stop(SLUG)
        assert stopped is not None
        [used] = stopped.usage
        assert (used.heard_s, used.speech_s, used.withheld_s) == (40.0, 4.0, 11.0)


async def test_provider_sessions_are_noted_from_open_to_close() -> None:
    """So that none is left running and the bill can be compared."""
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.report(ProviderSession("p", False, 0.0, "streaming"))
        await asyncio.sleep(2)
        assert not there.records.tables.provider_sessions["p"].over
        there.link.report(ProviderSession("p", True, 1.0, "closed"))
        await there.service.stop(SLUG)
        assert there.records.tables.provider_sessions["p"] == ProviderSession("p", True, 1.0, "closed")


async def test_notes_that_two_store_at_once_are_all_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beat and a hand-over. One may come to the end of a note first, and must not take the next one for it."""
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        sessions = there.records.provider_sessions
        note, took, stored = sessions.note, iter([3.0, 1.0, 4.0, 0.5, 0.5, 0.5]), []

        async def slow(*about: Any) -> None:
            await asyncio.sleep(next(took))
            await note(*about)
            stored.append(about[-1].id)

        monkeypatch.setattr(sessions, "note", slow)
        there.link.report(ProviderSession("p", False, 0.0, "streaming"))
        there.link.report(ProviderSession("q", False, 0.0, "streaming"))
        await asyncio.sleep(0.1)  # the beat is at the first one
        [run] = there.service.runs
        abandoning = asyncio.create_task(run._books.abandon())
        await asyncio.sleep(3.2)
        assert set(stored) == {"p"} and len(run._books._sessions) == 1, "the second one is not stored yet"
        await abandoning
        await asyncio.sleep(5)
        assert set(stored) == {"p", "q"} and not run._books._sessions
        assert there.service.runs == [run]


async def test_speech_counts_as_activity_of_the_session() -> None:
    """So that a session full of talk is not ended for inactivity."""
    async with replica() as there:
        started = await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        await asyncio.sleep(60)
        assert there.records.tables.activity == {}
        there.link.final("Here.")
        await asyncio.sleep(30)
        assert set(there.records.tables.activity) == {started.record.session_id}


async def test_an_outage_is_seen_from_outside_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is woken at night can still ask what runs here, and finds the reason in no flood of lines."""
    caplog.set_level("INFO")
    async with replica() as there:
        with pytest.raises(NeverStarted):
            await there.status.seen(SLUG)
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.down = True
        there.link.final("Kept on disk.")
        await asyncio.sleep(60)
        [seen] = await there.status.all_seen()
        assert seen.record.slug == SLUG and seen.run is not None
        assert any("database" in reason for reason in seen.run.health)
        assert (await there.status.seen(SLUG)).run is seen.run
        assert [used.identity for used in await there.status.usage(SLUG)] == ["anna"]
        with pytest.raises(RecordsUnavailable):
            await there.status.seen("elsewhere")
        said = [record for record in caplog.records if "books" in record.getMessage()]
        assert len(said) == 1
        there.records.down = False
        await asyncio.sleep(5)
        said = [record for record in caplog.records if "books" in record.getMessage()]
        assert [record.levelname for record in said] == ["WARNING", "INFO"]


# --- leases -------------------------------------------------------------------------------------------------


async def test_a_lost_lease_ends_the_run_without_a_trace() -> None:
    """Another replica has taken over: this one stops sending, writes nothing more and says why."""
    async with replica() as there:
        there.transcriber.flush_s = 1.0
        await there.service.start(start())
        closed: list[int] = []
        screen = await watch(there, closed=closed)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Mine.")
        await until(lambda: "RUNNING" in there.records.tables.states)
        there.records.steal(SLUG, "replica-2")
        await until(lambda: there.source(SLUG).closed is not None, 30)
        there.link.partial("Nobody sees this.", "p:8")
        there.link.final("Nobody keeps this.", "p:9")
        await until(lambda: not there.service.runs)
        assert there.source(SLUG).closed == "another replica took over"
        assert there.source(SLUG).left, "whoever sends audio is told to come back"
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["Mine."]
        assert told(screen, "transcript.partial") == []
        assert there.recorder.pending == 0
        assert closed == [4000]
        assert "stopped" not in {said["state"] for said in told(screen, "session.state")}, "it goes on elsewhere"
        record = (await there.status.seen(SLUG)).record
        assert (record.state, record.stopped_at) == ("RUNNING", None)
        assert [used.ended_at for used in await there.status.usage(SLUG)] == [None]


async def test_a_lease_that_went_with_its_session_says_that_this_was_deleted(caplog: pytest.LogCaptureFixture) -> None:
    """By another replica, which tells nobody."""
    caplog.set_level("INFO")
    async with replica() as there:
        await there.service.start(start())
        there.records.tables.sessions.pop(SLUG)
        there.records.tables.transcriptions.clear()
        await until(lambda: not there.service.runs, 30)
        assert "transcription stopped: the session was deleted" in caplog.text
        assert "another replica took over" not in caplog.text


async def test_a_lease_that_a_stop_gives_up_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal between the stop's last two statements no longer finds it: nobody has taken over."""
    async with replica(lease_s=3) as there:
        await there.service.start(start())
        closed: list[int] = []
        screen = await watch(there, closed=closed)
        [run] = there.service.runs
        number = there.records.finals.number_strays

        async def slowly(session_id: str) -> Sequence[NumberedFinal]:
            await asyncio.sleep(3)
            return await number(session_id)

        monkeypatch.setattr(there.records.finals, "number_strays", slowly)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and stopped.record.stop_reason == run.reason == "stopped by request"
        assert closed == []
        assert told(screen, "session.state")[-1] == {"state": "stopped", "reason": "stopped by request"}


async def test_a_lease_that_a_shutdown_gives_up_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica(lease_s=3) as there:
        await there.service.start(start())
        closed: list[int] = []
        await watch(there, closed=closed)
        [run] = there.service.runs
        release = there.records.leases.release

        async def slowly(lease: Lease, owner: str) -> None:
            await release(lease, owner)
            await asyncio.sleep(3)

        monkeypatch.setattr(there.records.leases, "release", slowly)
        run.release()
        await run.finished.wait()
        assert run.reason == "the gateway is restarting; come back"
        assert closed == []


async def test_a_stop_that_finds_the_lease_taken_does_not_say_stopped() -> None:
    async with replica() as there:
        await there.service.start(start())
        closed: list[int] = []
        screen = await watch(there, closed=closed)
        there.records.steal(SLUG, "replica-2")
        with pytest.raises(RunsElsewhere):
            await there.service.stop(SLUG)
        assert closed == [4000]
        assert "stopped" not in {said["state"] for said in told(screen, "session.state")}


async def test_a_fenced_final_is_noticed_before_the_next_renewal() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.steal(SLUG, "replica-2")
        there.link.final("Too late.")
        await until(lambda: not there.service.runs, 1)
        assert there.records.stored(SLUG) == []


async def test_words_of_a_former_owner_are_numbered_and_shown_when_the_run_stops() -> None:
    """Not before: while it runs the numbers are its own."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Mine.")
        await until(lambda: len(there.records.stored(SLUG)) == 1)
        [mine] = there.records.stored(SLUG)
        ends = mine.caption.end_ms
        lost = msgspec.structs.replace(
            mine.caption, utterance_id="old:1", text="Theirs.", words=(), start_ms=ends, end_ms=ends + 500
        )
        data = there.hub.encode(lost)
        assert await there.records.finals.store_strays([replace(mine, seq=1, caption=lost, data=data)]) == 1
        await asyncio.sleep(20)
        assert len(there.records.stored(SLUG)) == 1
        await there.service.stop(SLUG)
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["Mine.", "Theirs."]
        assert [said["text"] for said in told(screen, "transcript.final")] == ["Mine.", "Theirs."]
        assert there.hub.channel(SLUG).last_seq == 2


async def test_a_deleted_session_ends_its_run() -> None:
    """By the next final at the latest; who waits for a stop learns that there is no such session."""
    async with replica() as there:
        there.transcriber.flush_s, there.transcriber.last_words = 1.0, ("Nobody keeps this.",)
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        stopping = asyncio.create_task(there.service.stop(SLUG))
        await asyncio.sleep(0.5)
        there.records.delete_session(SLUG)
        with pytest.raises(SessionNotFound):
            await stopping
        assert there.service.runs == []


async def test_a_session_that_the_app_deletes_ends_its_run_with_the_next_final() -> None:
    """The lease is still good, so only the refused final tells."""
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.delete_session_in_app(SLUG)
        await asyncio.sleep(60)
        assert there.source(SLUG).closed is None
        there.link.final("Nobody keeps this.")
        await until(lambda: not there.service.runs, 1)
        assert there.source(SLUG).closed == "the session was deleted"
        assert not there.source(SLUG).left


async def test_a_deleted_session_ends_its_run_in_silence_too() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.records.delete_session(SLUG)
        await until(lambda: not there.service.runs, 30)
        assert there.source(SLUG).closed is not None


async def test_a_database_outage_longer_than_the_lease_costs_nothing() -> None:
    """Nobody else was there to take over: the run keeps its lease, its publisher and every word."""
    async with replica() as there:
        other = await there.records.sessions.create("other", None, None)
        await there.records.leases.claim(other, "rtmp", {}, None, "replica-9", 3600)
        await there.service.start(start())
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.down = True
        for number in range(10):
            there.link.final(f"Number {number}.")
            track.speak(0.1)
            await asyncio.sleep(10)
        there.records.down = False
        with pytest.raises(RunsElsewhere):
            await there.service.stop("other")  # looks for lapsed leases before ours can have been renewed
        await until(lambda: len(there.records.stored(SLUG)) == 10)
        await asyncio.sleep(60)
        assert there.source(SLUG).closed is None
        there.link.final("And on.")
        await until(lambda: len(there.records.stored(SLUG)) == 11)


async def test_the_heir_of_a_dead_replica_goes_on_where_it_was() -> None:
    """Same stream key, same usage row at its own price, next number, same cap."""
    records = MemoryRecords(LoopClock())
    async with AsyncExitStack() as dead:
        line = CutLine(records)
        one = await dead.enter_async_context(replica(cast(MemoryRecords, line), cost_per_minute=0.1))
        started = await one.service.start(
            start(cost_cap_usd=0.3, participant_identity="anna", speech=SpeechOptions(("en",), True))
        )
        one.source(SLUG).appear().speak(61)
        await until(lambda: bool(one.transcriber.links))
        one.link.final("One.")
        await asyncio.sleep(CHECKPOINT_S + 2)
        [before] = await one.status.usage(SLUG)
        line.cut = True
        async with replica(records, owner="replica-2", cost_per_minute=5.0) as two:
            await asyncio.sleep(5)
            assert two.service.runs == []  # the lease has not run out yet
            await until(lambda: bool(two.service.runs), OPTIONS.lease_s + 11)
            [run] = two.service.runs
            assert run.claimed.lease.transcription_id == started.record.id
            assert two.source(SLUG).ingest.stream_key == started.ingest.stream_key
            track = two.source(SLUG).appear()
            track.speak(30)
            await until(lambda: bool(two.transcriber.links))
            assert two.transcriber.options == [SpeechOptions(("en",), True)]
            two.link.final("Two.", "q:0")
            await until(lambda: len(records.stored(SLUG)) == 2)
            assert [final.seq for final in records.stored(SLUG)] == [1, 2]
            await asyncio.sleep(3)
            [used] = await two.status.usage(SLUG)
            assert (used.id, used.duration_seconds, used.final_transcripts) == (before.id, 91, 2)
            assert used.started_at == before.started_at
            track.speak(88)  # 179 s: the third minute is paid for, a fourth is not
            await until(lambda: not two.service.runs, 5)
            stopped = await two.service.stop(SLUG)
            assert stopped is not None
            assert stopped.record.stop_reason == "cost cap of 0.30 USD reached"
            assert [used.total_cost for used in stopped.usage] == [0.3]


async def test_a_lease_is_renewed_long_before_it_runs_out() -> None:
    """Also one that is shorter than the time between two looks for those of dead replicas."""
    async with replica(lease_s=6) as there:
        started = await there.service.start(start())
        row = there.records.tables.transcriptions[started.record.id]
        for _ in range(60):
            await asyncio.sleep(1)
            assert (row.lease_until - there.clock.now()).total_seconds() >= 6 - 6 / 3 - 2
        assert row.fence == 1


async def test_an_heir_says_that_finals_may_be_missing_if_a_session_was_open() -> None:
    """What the dead owner had heard and not sent yet is in no record."""
    records = MemoryRecords(LoopClock())
    for slug, over in (("cut-off", False), ("well-ended", True)):
        session = await records.sessions.create(slug, None, None)
        claimed, _ = await records.leases.claim(session, "rtmp", {}, "key", "dead", 1)
        assert claimed is not None
        await records.provider_sessions.note(claimed, "anna", ProviderSession(slug, over, 1.0, "streaming"))
    await asyncio.sleep(2)
    async with replica(records) as heir:
        await until(lambda: len(heir.service.runs) == 2, 11)
        complete = {run.claimed.slug: run.finals_complete for run in heir.service.runs}
        assert complete == {"cut-off": False, "well-ended": True}


async def test_a_shutdown_drains_and_hands_over() -> None:
    """The last words are kept, the lease is free at once, and the transcription is not called stopped."""
    records = MemoryRecords(LoopClock())
    async with replica(records) as one:
        one.transcriber.flush_s, one.transcriber.last_words = 2.0, ("Last words.",)
        await one.service.start(start())
        screen = await watch(one)
        one.source(SLUG).appear("anna").speak(5)
        await until(lambda: bool(one.transcriber.links))
        await asyncio.sleep(3)
    assert [final.caption.text for final in records.stored(SLUG)] == ["Last words."]
    assert "stopped" not in [state["state"] for state in told(screen, "session.state")]
    record = await records.transcriptions.newest(SLUG)
    assert record is not None
    assert (record.state, record.stopped_at, record.finals_complete) == ("RUNNING", None, None)
    assert [used.ended_at for used in await records.usage.of_transcription(record.id)] == [None]
    with pytest.raises(NotReady):
        await one.service.start(start())
    await asyncio.sleep(0.01)
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), 11)
        assert two.service.runs[0].last_seq == 1


async def test_audio_that_was_given_up_is_counted_on_over_a_crash_and_kept_after_the_stop() -> None:
    records = MemoryRecords(LoopClock())
    async with replica(records) as one:
        await one.service.start(start())
        one.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(one.transcriber.links))
        one.link.hear(SpeechLost(0.0, 1.5))
        await until(lambda: [row.lost_audio_s for row in records.tables.transcriptions.values()] == [1.5])
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), 11)
        [run] = two.service.runs
        assert run.counts.lost_audio_s == 1.5
        two.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(two.transcriber.links))
        two.link.hear(SpeechLost(2.0, 2.5))
        stopped = await two.service.stop(SLUG)  # before it is stored by the beat
        assert stopped is not None and stopped.record.lost_audio_s == 2.0


async def test_a_restart_under_the_same_name_goes_on_at_once() -> None:
    """A killed process comes back on its data folder; its own lease need not run out first."""
    records = MemoryRecords(LoopClock())
    session = await records.sessions.create(SLUG, None, None)
    await records.leases.claim(session, "rtmp", {}, "key-9", OPTIONS.owner, 3600)
    async with replica(records) as there:
        [run] = there.service.runs
        assert run.claimed.lease.fence == 2
        assert there.source(SLUG).ingest.stream_key == "key-9"


async def test_a_stop_that_loses_its_lease_does_not_claim_to_have_stopped() -> None:
    async with replica() as there:
        there.transcriber.flush_s, there.transcriber.last_words = 3.0, ("Too late.",)
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        stopping = asyncio.create_task(there.service.stop(SLUG))
        await asyncio.sleep(1)
        there.records.steal(SLUG, "replica-2")
        with pytest.raises(RunsElsewhere):
            await stopping
