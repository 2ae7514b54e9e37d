"""One transcription from start to stop: states, numbering, the bill, and what goes wrong in between."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from support.fakes import FakeTransport, LoopClock, MemoryRecords, Replica
from support.frames import messages, seqs

from gateway.errors import SessionNotFound, SessionOver
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.errors import (
    CostCapReached,
    LimitReached,
    NeverStarted,
    NotReady,
    ProviderRefusedKey,
    RunsElsewhere,
    SourceUnavailable,
    TranscriptionOff,
)
from gateway.transcription.domain.limits import Limits, Overrides
from gateway.transcription.domain.receipt import Listened
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import StartRequest, TranscriptionState
from gateway.transcription.usecases.audio import SourceTrouble
from gateway.transcription.usecases.run import CHECKPOINT_S, NOBODY_AFTER_S, RunOptions
from gateway.transcription.usecases.speech import ProviderComplaint, ProviderSession, SpeechLost, Translation, Withdrawn

SLUG = "abc"
OPTIONS = RunOptions(owner="replica-1", drain_s=10, lease_s=30, cost_per_minute=0.01)


@asynccontextmanager
async def replica(
    records: MemoryRecords | None = None, *, session: str | None = SLUG, limits: Limits | None = None, **options: Any
) -> AsyncIterator[Replica]:
    """A process that serves until the end of the block, where it must have drained and left no task."""
    clock = LoopClock()
    made = Replica(records or MemoryRecords(clock), clock, replace(OPTIONS, **options), limits or Limits())
    if session is not None and await made.records.session(session) is None:
        await made.records.create_session(session, None, None)
    recording = asyncio.create_task(made.recorder.run())
    sweeping = asyncio.create_task(made.hub.sweep())
    try:
        async with made.service.serving():
            yield made
    finally:
        for task in (recording, sweeping):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert made.service.runs == []


def start(source: str = "rtmp", slug: str = SLUG, **more: Any) -> StartRequest:
    return StartRequest(slug, source=source, **more)


async def watch(there: Replica, slug: str = SLUG) -> FakeTransport:
    """Somebody who reads everything."""
    transport = FakeTransport()
    watcher = there.hub.join(slug, transport, lambda code: None)

    async def nothing(after: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    await there.hub.channel(slug).catch_up(watcher, None, nothing)
    return transport


def told(screen: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message["data"] for message in messages(bytes(screen.arrived)) if message["type"] == kind]


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.01)


class Line:
    """One replica's way to the database, which can be cut for it alone."""

    def __init__(self, records: MemoryRecords) -> None:
        self.cut = False
        self._records = records

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._records, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **named: Any) -> Any:
            if self.cut:
                raise RecordsUnavailable("the line is cut")
            return await found(*args, **named)

        return call


# --- start --------------------------------------------------------------------------------------------------


async def test_start_opens_the_source_and_says_where_to_publish() -> None:
    async with replica() as there:
        started = await there.service.start(start())
        assert (started.created, started.state, started.record.source) == (True, "starting", "rtmp")
        assert started.ingest.stream_key == "key-1"
        assert there.source(SLUG).closed is None


async def test_twenty_starts_at_once_create_one() -> None:
    """Twenty clicks, one transcription; all twenty learn the same key."""
    async with replica() as there:
        answers = await asyncio.gather(*(there.service.start(start()) for _ in range(20)))
        assert sum(answer.created for answer in answers) == 1
        assert {answer.record.id for answer in answers} == {answers[0].record.id}
        assert {answer.ingest.stream_key for answer in answers} == {"key-1"}
        assert len(there.service.runs) == 1


async def test_starts_on_two_replicas_at_once_create_one() -> None:
    """The other one says that it runs already."""
    async with replica() as one, replica(one.records, owner="replica-2") as two:
        answers = await asyncio.gather(*(there.service.start(start()) for there in (one, two) * 5))
        assert sum(answer.created for answer in answers) == 1
        assert len(one.service.runs) + len(two.service.runs) == 1


async def test_a_session_that_cannot_be_transcribed_is_refused() -> None:
    async with replica() as there:
        with pytest.raises(SessionNotFound):
            await there.service.start(start(slug="nowhere"))
        with pytest.raises(SessionNotFound):
            await there.service.start(start(session_id="another"))
        with pytest.raises(SourceUnavailable):
            await there.service.start(start("livekit"))
        for status in ("ENDED", "EXPIRED"):
            there.records.end_session(SLUG, status)
            with pytest.raises(SessionOver):
                await there.service.start(start())
        assert there.service.runs == []
        assert await there.records.transcription(SLUG) is None


async def test_a_refused_key_refuses_the_start() -> None:
    """Nothing is claimed for a provider that will not work."""
    async with replica() as there:
        there.transcriber.refusal = "check GLADIA_API_KEY"
        with pytest.raises(ProviderRefusedKey):
            await there.service.start(start())
        assert await there.records.transcription(SLUG) is None


async def test_speech_options_reach_the_provider() -> None:
    speech = SpeechOptions(("en", "fr"), True, ("Kubernetes",), ("de",))
    async with replica() as there:
        await there.service.start(start(speech=speech))
        there.source(SLUG).appear()
        await until(lambda: bool(there.transcriber.options))
        assert there.transcriber.options == [speech]


# --- what is said -------------------------------------------------------------------------------------------


async def test_a_final_is_numbered_kept_and_shown() -> None:
    """From the first audio on it is RUNNING, and the speaker has joined the session."""
    async with replica() as there:
        await there.service.start(start(participant_identity="anna", participant_name="Anna"))
        screen = await watch(there)
        track = there.source(SLUG).appear()
        await asyncio.sleep(5)
        track.speak(2)
        await until(lambda: there.service.runs[0].state is TranscriptionState.RUNNING)
        there.link.partial("good", "p:0")
        there.link.final("Good morning.", "p:0", start=0.5, end=1.5)
        there.link.final("Again.", "p:1", start=1.5, end=2)
        await until(lambda: len(there.records.kept(SLUG)) == 2)
        assert [(final.seq, final.caption.text) for final in there.records.kept(SLUG)] == [
            (1, "Good morning."),
            (2, "Again."),
        ]
        assert there.records.kept(SLUG)[0].caption.start_ms == 5500
        assert [said["text"] for said in told(screen, "transcript.partial")] == ["good"]
        assert [said["participantName"] for said in told(screen, "transcript.final")] == ["Anna", "Anna"]
        session = await there.records.session(SLUG)
        assert session is not None and session.status == "LIVE"
        assert there.records.kept(SLUG)[0].participant_id is not None


async def test_a_repeated_final_is_one_and_a_late_partial_is_none() -> None:
    """The provider repeats itself after a resume."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear().speak(1)
        await until(lambda: bool(there.transcriber.links))
        for _ in range(3):
            there.link.final("Once.", "p:0")
            there.link.partial("onc", "p:0")
        there.link.final("Twice.", "p:1")
        await until(lambda: len(there.records.kept(SLUG)) == 2)
        assert seqs(bytes(screen.arrived)) == [1, 2]
        assert told(screen, "transcript.partial") == []
        [run] = there.service.runs
        assert (run.counts.finals, run.counts.repeated, run.counts.partials) == (2, 2, 0)


async def test_two_speakers_share_one_numbering_and_have_a_meter_each() -> None:
    async with replica() as there:
        await there.service.start(start())
        for name in ("anna", "ben"):
            there.source(SLUG).appear(name).speak(60 if name == "anna" else 61)
        await until(lambda: len(there.transcriber.links) == 2)
        for link in there.transcriber.links * 2:
            link.final(f"I am {link.identity}.")
        await until(lambda: len(there.records.kept(SLUG)) == 4)
        assert [final.seq for final in there.records.kept(SLUG)] == [1, 2, 3, 4]
        used = {one.identity: one for one in await there.service.usage(SLUG)}
        assert {name: one.duration_minutes for name, one in used.items()} == {"anna": 1, "ben": 2}
        assert {one.final_transcripts for one in used.values()} == {2}


async def test_other_things_that_a_provider_says_are_passed_on() -> None:
    """Translations, withdrawn words, lost audio, complaints: on the stream or in the figures, never silent."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna", "Anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.hear(Translation("p:0", "en", "de", "Guten Morgen."))
        there.link.partial("unsettled", "p:9")
        await asyncio.sleep(0)
        there.link.hear(Withdrawn("p:9"))
        there.link.hear(SpeechLost(3.0, 5.5))
        there.link.hear(ProviderComplaint("bad audio"))
        await asyncio.sleep(0)
        assert told(screen, "translation") == [
            {
                "utteranceId": "p:0",
                "language": "en",
                "targetLanguage": "de",
                "text": "Guten Morgen.",
                "participantIdentity": "anna",
                "participantName": "Anna",
            }
        ]
        assert [said["text"] for said in told(screen, "transcript.partial")] == ["unsettled", ""]
        [run] = there.service.runs
        assert (run.counts.lost_audio_s, run.counts.complaints, run.usage()[0].errors_count) == (2.5, 1, 2)


async def test_partials_are_stored_only_where_asked_for() -> None:
    for stored in (False, True):
        async with replica(store_partials=stored) as there:
            await there.service.start(start())
            there.source(SLUG).appear().speak(1)
            await until(lambda there=there: bool(there.transcriber.links))
            there.link.partial("one", "p:0")
            there.link.partial("one two", "p:0")
            there.link.partial("settled", "p:1")
            there.link.final("Settled.", "p:1")
            await asyncio.sleep(2)
            texts = {key: said.text for key, (said, _) in there.records.partials.items()}
            assert texts == ({"p:0": "one two"} if stored else {})


# --- stop ---------------------------------------------------------------------------------------------------


async def test_stop_waits_for_the_last_words() -> None:
    """The provider needs three seconds; the answer has them, complete, with the bill."""
    async with replica() as there:
        there.transcriber.flush_s, there.transcriber.last_words = 3.0, ("The end.",)
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear().speak(61)
        await until(lambda: bool(there.transcriber.links))
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and stopped.finals_complete
        assert [final.caption.text for final in there.records.kept(SLUG)] == ["The end."]
        [used] = stopped.usage
        assert (used.duration_seconds, used.duration_minutes, used.total_cost) == (61, 2, 0.02)
        assert used.ended_at is not None
        assert there.link.finished_with == OPTIONS.drain_s
        assert [state["state"] for state in told(screen, "session.state")] == [
            "starting",
            "running",
            "stopping",
            "stopped",
        ]
        assert stopped.record.stop_reason == "stopped by request"
        assert there.service.runs == []


async def test_stopping_twice_gives_the_same_answer() -> None:
    async with replica() as there:
        await there.service.start(start())
        first, second = await asyncio.gather(there.service.stop(SLUG), there.service.stop(SLUG))
        third = await there.service.stop(SLUG)
        assert first == second == third
        assert first is not None and first.record.state == "STOPPED"


async def test_stop_without_waiting_answers_at_once() -> None:
    async with replica() as there:
        there.transcriber.flush_s = 5.0
        await there.service.start(start())
        there.source(SLUG).appear().speak(1)
        await until(lambda: bool(there.transcriber.links))
        assert await there.service.stop(SLUG, wait=False) is None
        await asyncio.sleep(0.1)
        assert (await there.service.seen(SLUG)).run is not None
        await asyncio.sleep(6)
        assert (await there.service.seen(SLUG)).record.state == "STOPPED"


async def test_stop_in_the_middle_of_a_start_stops_what_was_started() -> None:
    """The two take turns: the stop finds either nothing or a whole transcription."""
    async with replica() as there:
        results = await asyncio.gather(there.service.start(start()), there.service.stop(SLUG), return_exceptions=True)
        assert not isinstance(results[0], BaseException) and results[0].created
        assert not isinstance(results[1], BaseException) and results[1] is not None
        assert results[1].record.state == "STOPPED"


async def test_a_start_during_a_stop_begins_anew_and_numbers_on() -> None:
    async with replica() as there:
        there.transcriber.flush_s, there.transcriber.last_words = 2.0, ("The end.",)
        first = await there.service.start(start())
        there.source(SLUG).appear().speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("One.")
        await there.service.stop(SLUG, wait=False)
        await asyncio.sleep(0.1)
        second = await there.service.start(start())
        assert second.created and second.record.id != first.record.id
        there.source(SLUG).appear().speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.link.final("Three.", "q:0")
        await until(lambda: len(there.records.kept(SLUG)) == 3)
        assert [(final.seq, final.caption.text) for final in there.records.kept(SLUG)] == [
            (1, "One."),
            (2, "The end."),
            (3, "Three."),
        ]


async def test_what_never_started_cannot_be_stopped() -> None:
    async with replica() as there:
        with pytest.raises(NeverStarted):
            await there.service.stop(SLUG)
        with pytest.raises(SessionNotFound):
            await there.service.stop("nowhere")


async def test_missing_finals_are_said() -> None:
    """One track's provider session did not confirm its end: the answer does not claim that all arrived."""
    async with replica() as there:
        await there.service.start(start())
        for name in ("anna", "ben"):
            there.source(SLUG).appear(name).speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.transcriber.links[0].end(complete=False)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and not stopped.finals_complete


async def test_a_stop_while_the_database_is_away_says_so_and_works_afterwards() -> None:
    async with replica() as there:
        there.transcriber.flush_s, there.transcriber.last_words = 1.0, ("Held.",)
        await there.service.start(start())
        there.source(SLUG).appear().speak(1)
        await until(lambda: bool(there.transcriber.links))
        stopping = asyncio.create_task(there.service.stop(SLUG))
        await asyncio.sleep(0.5)
        there.records.down = True
        with pytest.raises(NotReady):
            await stopping
        there.records.down = False
        await asyncio.sleep(5)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and stopped.finals_complete
        assert [final.caption.text for final in there.records.kept(SLUG)] == ["Held."]


# --- money --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "cap", "paid"), [(0.01, 0.03, 0.03), (0.1, 0.3, 0.3), (0.01, 0.025, 0.02), (0.1, 0.1, 0.1)]
)
async def test_a_cost_cap_stops_the_work_before_it_is_exceeded(price: float, cap: float, paid: float) -> None:
    """Real time, 100 ms a chunk: every minute that the cap pays for is used, and no second more."""
    async with replica(cost_per_minute=price) as there:
        await there.service.start(start(cost_cap_usd=cap))
        track = there.source(SLUG).appear()
        [run] = there.service.runs
        while not run.finished.is_set():
            if there.source(SLUG).closed is None:
                track.speak(0.1)
            await asyncio.sleep(0.1)
        [used] = await there.service.usage(SLUG)
        assert used.total_cost == pytest.approx(paid)
        assert used.total_cost <= cap + 1e-9
        assert used.duration_seconds >= 60 * round(paid / price) - 4
        record = (await there.service.seen(SLUG)).record
        assert record.stop_reason is not None and record.stop_reason.startswith("cost cap of ")
        with pytest.raises(CostCapReached):
            await there.service.start(start(cost_cap_usd=cap))


async def test_a_cap_counts_what_earlier_transcriptions_cost() -> None:
    """A dime and two dimes are three dimes: a second run may spend what is left, to the cent."""
    async with replica(cost_per_minute=0.1) as there:
        await there.service.start(start())
        there.source(SLUG).appear().speak(61)
        await asyncio.sleep(1)
        await there.service.stop(SLUG)
        assert await there.records.spent((await there.service.seen(SLUG)).record.session_id) == 0.2
        with pytest.raises(CostCapReached):
            await there.service.start(start(cost_cap_usd=0.29))
        assert (await there.service.start(start(cost_cap_usd=0.3))).created


async def test_a_limit_stops_the_work_before_it_is_exceeded_and_says_why() -> None:
    """Two speakers at once, in real time: nearly all of the minutes are used, and no second more."""
    async with replica(limits=Limits(session_minutes=2)) as there:
        await there.service.start(start())
        tracks = [there.source(SLUG).appear(name) for name in ("anna", "ben")]
        [run] = there.service.runs
        while not run.finished.is_set():
            if there.source(SLUG).closed is None:
                for track in tracks:
                    track.speak(0.1)
            await asyncio.sleep(0.1)
        used = sum(one.duration_seconds for one in await there.service.usage(SLUG))
        assert 120 - 8 <= used <= 120
        record = (await there.service.seen(SLUG)).record
        assert record.stop_reason == "limit of 2 minutes for one session reached"
        with pytest.raises(LimitReached) as refused:
            await there.service.start(start())
        assert refused.value.retry_after_s is None


async def test_a_daily_limit_is_shared_by_all_sessions_of_a_space_on_all_replicas() -> None:
    """Each sees the other's meters late, and still they do not exceed it together."""
    records = MemoryRecords(LoopClock())
    limits = Limits(space_minutes_per_day=5)
    async with (
        replica(records, limits=limits) as one,
        replica(records, session="another", limits=limits, owner="replica-2") as two,
    ):
        await one.service.start(start())
        await two.service.start(start(slug="another"))
        both = [(one.source(SLUG), one.source(SLUG).appear()), (two.source("another"), two.source("another").appear())]
        runs = [*one.service.runs, *two.service.runs]
        while not all(run.finished.is_set() for run in runs):
            for source, track in both:
                if source.closed is None:
                    track.speak(0.1)
            await asyncio.sleep(0.1)
        spent = await records.ledger.spent_today("default")
        assert 300 - 40 <= spent <= 300
        assert {run.reason for run in runs} == {"limit of 5 minutes a day for this space reached"}
        await two.keeper.set_space("default", Overrides(space_minutes_per_day=spent / 60))
        with pytest.raises(LimitReached) as refused:
            await two.service.start(start())
        assert refused.value.retry_after_s is not None
        assert 0 < refused.value.retry_after_s <= 86_400


async def test_a_space_may_have_more_or_less_than_others_and_running_work_notices() -> None:
    async with replica(limits=Limits(session_minutes=1)) as there:
        await there.keeper.set_space("default", Overrides(session_minutes=3))
        await there.service.start(start())
        track = there.source(SLUG).appear()
        for _ in range(900):
            track.speak(0.1)
            await asyncio.sleep(0.1)
        [run] = there.service.runs
        assert not run.finished.is_set()  # 90 s used, 180 allowed here
        await there.keeper.set_space("default", Overrides(transcription=False))
        await run.finished.wait()
        assert run.reason == "transcription is switched off in this space"
        with pytest.raises(TranscriptionOff):
            await there.service.start(start())


async def test_nobody_transcribes_where_it_is_switched_off() -> None:
    async with replica(limits=Limits(transcription=False)) as there:
        await there.keeper.set_space("default", Overrides(transcription=True))
        with pytest.raises(TranscriptionOff, match="on this gateway"):
            await there.service.start(start())


async def test_limits_as_last_read_count_while_the_database_is_away() -> None:
    async with replica(limits=Limits(session_minutes=1)) as there:
        await there.service.start(start())
        track = there.source(SLUG).appear()
        await asyncio.sleep(3)
        there.records.down = True
        [run] = there.service.runs
        while there.source(SLUG).closed is None:
            track.speak(0.1)
            await asyncio.sleep(0.1)
        there.records.down = False
        await run.finished.wait()
        assert run.reason is not None and run.reason.startswith("limit of 1 minutes")


async def test_usage_is_checkpointed_while_it_runs() -> None:
    """At least every ten seconds, and it only grows."""
    async with replica() as there:
        await there.service.start(start())
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


async def test_overlapping_tracks_of_one_participant_are_paid_once() -> None:
    """An encoder reconnects: its new track begins while the old one still awaits its last words."""
    async with replica() as there:
        there.transcriber.flush_s = 5.0
        await there.service.start(start())
        old = there.source(SLUG).appear("anna")
        old.speak(10)
        old.hang_up()
        await until(lambda: bool(there.transcriber.links))
        new = there.source(SLUG).appear("anna")
        new.speak(20)
        await asyncio.sleep(6)  # the old one has ended, the new one goes on
        new.speak(5)
        await asyncio.sleep(0.1)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None
        [used] = stopped.usage
        assert (used.duration_seconds, used.audio_chunks_sent) == (35, 3)


# --- trouble ------------------------------------------------------------------------------------------------


async def test_a_provider_that_refuses_stops_the_transcription_with_its_reason() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.end(complete=True, refused="HTTP 402: no credit; check the account")
        await until(lambda: not there.service.runs)
        record = (await there.service.seen(SLUG)).record
        assert (record.state, record.stop_reason) == ("STOPPED", "HTTP 402: no credit; check the account")
        assert told(screen, "error") == [
            {"message": "HTTP 402: no credit; check the account", "participantIdentity": "anna"}
        ]
        assert told(screen, "session.state")[-1] == {
            "state": "stopped",
            "reason": "HTTP 402: no credit; check the account",
        }


async def test_audio_that_cannot_be_used_is_said_and_the_others_go_on() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        bad, good = there.source(SLUG).appear("bad"), there.source(SLUG).appear("good")
        bad.fail(SourceTrouble("this codec is unknown; use AAC"))
        good.speak(1)
        await until(lambda: bool(told(screen, "error")))
        assert told(screen, "error")[0]["message"] == "this codec is unknown; use AAC"
        assert there.source(SLUG).closed is None
        link = next(link for link in there.transcriber.links if link.identity == "good")
        link.final("Still here.")
        await until(lambda: len(there.records.kept(SLUG)) == 1)


async def test_trouble_and_waiting_are_states_that_a_person_can_see() -> None:
    """Health is told when it changes and once only; WAITING while the provider is full."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links))
        await asyncio.sleep(3)
        there.link.state = "waiting"
        await asyncio.sleep(3)
        there.link.state = "streaming"
        track.complaint = "no audio; add an audio track"
        await asyncio.sleep(3)
        assert [state["state"] for state in told(screen, "session.state")] == [
            "starting",
            "running",
            "waiting",
            "running",
        ]
        assert [health["reasons"] for health in told(screen, "health")] == [
            ["the provider's concurrent sessions are all in use; audio is held"],
            ["no audio; add an audio track"],
        ]
        assert "WAITING" in there.records.states
        assert [error["message"] for error in told(screen, "error")] == ["no audio; add an audio track"]


@pytest.mark.parametrize(
    ("source", "todo"), [("rtmp", "let an encoder send to ingest.rtmpUrl"), ("websocket", "ingest.websocketUrl")]
)
async def test_that_nobody_publishes_yet_is_said_with_what_to_do(source: str, todo: str) -> None:
    """After some seconds, so that who comes at once sees nothing of it; over as soon as somebody comes."""
    async with replica() as there:
        await there.service.start(start(source))
        screen = await watch(there)
        await asyncio.sleep(NOBODY_AFTER_S - 1)
        assert not told(screen, "health")
        await asyncio.sleep(3)
        [said] = told(screen, "health")
        assert said["status"] == "degraded" and said["reasons"][0].startswith("nobody publishes yet: ")
        assert todo in said["reasons"][0] and "key-1" not in said["reasons"][0]
        track = there.source(SLUG).appear("anna")
        await asyncio.sleep(2)
        assert told(screen, "health")[1:] == [{"status": "ok", "reasons": []}]
        track.speak(1)
        await until(lambda: told(screen, "session.state")[-1]["state"] == "running")
        track.hang_up()
        await asyncio.sleep(NOBODY_AFTER_S + 3)
        assert len(told(screen, "health")) == 2  # a pause of somebody who was there is another thing


async def test_what_the_source_knows_comes_before_that_nobody_publishes() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).complaint = "the room does not exist yet"
        await asyncio.sleep(NOBODY_AFTER_S + 3)
        assert [health["reasons"] for health in told(screen, "health")] == [["the room does not exist yet"]]


async def test_a_provider_that_falls_mute_is_a_state_that_a_person_can_see() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.is_mute = True
        await asyncio.sleep(3)
        there.link.is_mute = False
        await asyncio.sleep(3)
        assert [(health["status"], health["reasons"]) for health in told(screen, "health")] == [
            ("degraded", ["anna speaks and no text comes: the provider is mute, or it is only noise"]),
            ("ok", []),
        ]


async def test_the_receipt_adds_up_over_tracks_and_owners() -> None:
    """Two publishes of one speaker, what the source itself left out, and the next owner go into one receipt."""
    records = MemoryRecords(LoopClock())
    async with replica(records) as one:
        await one.service.start(start())
        first = one.source(SLUG).appear("anna")
        first.speak(10)
        first.left_out = 5 * 16_000
        await until(lambda: bool(one.transcriber.links))
        one.link.listened += Listened(speech=4 * 16_000, silent=6 * 16_000, kept=6 * 16_000)
        first.hang_up()
        await asyncio.sleep(1)
        one.source(SLUG).appear("anna").speak(20)
        await until(lambda: len(one.transcriber.links) == 2)
        await asyncio.sleep(1)
        [used] = await one.service.usage(SLUG)
        assert (used.gate, used.heard_s, used.speech_s, used.silent_s, used.kept_s) == ("on", 35.0, 4.0, 11.0, 11.0)
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), 11)
        two.source(SLUG).appear("anna").speak(5)
        await until(lambda: bool(two.transcriber.links))
        stopped = await two.service.stop(SLUG)
        assert stopped is not None
        [used] = stopped.usage
        assert (used.heard_s, used.speech_s, used.kept_s) == (40.0, 4.0, 11.0)


async def test_a_bug_in_one_track_ends_its_transcription_and_no_other() -> None:
    """Said as internal error, not as complete; the books are closed; the other session notices nothing."""
    async with replica() as there:
        await there.records.create_session("other", None, None)
        await there.service.start(start())
        await there.service.start(start(slug="other"))
        track = there.source(SLUG).appear("anna")
        track.speak(30)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Said before.")
        track.fail(ZeroDivisionError("a bug"))
        await until(lambda: there.service.run_of(SLUG) is None)
        record = (await there.service.seen(SLUG)).record
        assert (record.state, record.stop_reason, record.finals_complete) == ("STOPPED", "internal error", False)
        assert [final.caption.text for final in there.records.kept(SLUG)] == ["Said before."]
        assert [used.duration_seconds for used in await there.service.usage(SLUG)] == [30]
        there.source("other").appear("ben").speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.link.final("I go on.")
        await until(lambda: len(there.records.kept("other")) == 1)


async def test_a_speaker_that_cannot_join_does_not_hold_up_the_writer() -> None:
    """The participant's row cannot be made because of a bug: everybody else's finals are still written."""
    async with replica() as there:
        joined = there.records.joined

        async def broken(session_id: str, speaker: Any) -> str:
            if speaker.identity == "cursed":
                await asyncio.sleep(0.5)
                raise ZeroDivisionError("a bug")
            return await joined(session_id, speaker)

        there.records.joined = broken  # type: ignore[method-assign]
        await there.records.create_session("other", None, None)
        await there.service.start(start())
        await there.service.start(start(slug="other"))
        there.source(SLUG).appear("cursed").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Nobody said this.")
        there.source("other").appear("ben").speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.link.final("I go on.", "q:0")
        await until(lambda: len(there.records.kept("other")) == 1)
        await until(lambda: there.service.run_of(SLUG) is None)
        assert [final.participant_id for final in there.records.kept(SLUG)] == [None]


async def test_books_that_cannot_be_closed_take_nothing_else_down(caplog: pytest.LogCaptureFixture) -> None:
    async with replica() as there:
        await there.service.start(start())

        async def broken(*args: Any) -> None:
            raise ZeroDivisionError("a bug")

        there.records.finish = broken  # type: ignore[method-assign]
        with pytest.raises(RunsElsewhere):
            await there.service.stop(SLUG)
        assert there.service.runs == []
        assert not there.hub.runs_here(SLUG)
        await there.records.create_session("other", None, None)
        assert (await there.service.start(start(slug="other"))).created


# --- leases -------------------------------------------------------------------------------------------------


async def test_a_lost_lease_ends_the_run_without_a_trace() -> None:
    """Another replica has taken over: this one stops sending, writes nothing more and says why."""
    async with replica() as there:
        there.transcriber.flush_s = 1.0
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Mine.")
        await until(lambda: "RUNNING" in there.records.states)
        there.records.steal(SLUG, "replica-2")
        await until(lambda: there.source(SLUG).closed is not None, 30)
        there.link.partial("Nobody sees this.", "p:8")
        there.link.final("Nobody keeps this.", "p:9")
        await until(lambda: not there.service.runs)
        assert there.source(SLUG).closed == "another replica took over"
        assert [final.caption.text for final in there.records.kept(SLUG)] == ["Mine."]
        assert told(screen, "transcript.partial") == []
        assert there.recorder.pending == 0
        assert told(screen, "session.state")[-1]["reason"] == "another replica took over"
        record = (await there.service.seen(SLUG)).record
        assert (record.state, record.stopped_at) == ("RUNNING", None)
        assert [used.ended_at for used in await there.service.usage(SLUG)] == [None]


async def test_a_fenced_final_is_noticed_before_the_next_renewal() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.steal(SLUG, "replica-2")
        there.link.final("Too late.")
        await until(lambda: not there.service.runs, 1)
        assert there.records.kept(SLUG) == []


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


async def test_words_of_a_former_owner_are_numbered_and_shown_when_the_run_stops() -> None:
    """Not before: while it runs the numbers are its own."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Mine.")
        await until(lambda: len(there.records.kept(SLUG)) == 1)
        [mine] = there.records.kept(SLUG)
        lost = msgspec.structs.replace(mine.caption, utterance_id="old:1", text="Theirs.")
        data = there.hub.encode(lost)
        assert await there.records.keep_strays([replace(mine, seq=1, caption=lost, data=data)]) == 1
        await asyncio.sleep(20)
        assert len(there.records.kept(SLUG)) == 1
        await there.service.stop(SLUG)
        assert [final.caption.text for final in there.records.kept(SLUG)] == ["Mine.", "Theirs."]
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


async def test_a_deleted_session_ends_its_run_in_silence_too() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.records.delete_session(SLUG)
        await until(lambda: not there.service.runs, 30)
        assert there.source(SLUG).closed is not None


async def test_a_database_outage_longer_than_the_lease_costs_nothing() -> None:
    """Nobody else was there to take over: the run keeps its lease, its publisher and every word."""
    async with replica() as there:
        other = await there.records.create_session("other", None, None)
        await there.records.claim(other, "rtmp", {}, None, "replica-9", 3600)
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
        await until(lambda: len(there.records.kept(SLUG)) == 10)
        await asyncio.sleep(60)
        assert there.source(SLUG).closed is None
        there.link.final("And on.")
        await until(lambda: len(there.records.kept(SLUG)) == 11)


async def test_an_outage_is_seen_from_outside_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is woken at night can still ask what runs here, and finds the reason in no flood of lines."""
    caplog.set_level("INFO")
    async with replica() as there:
        with pytest.raises(NeverStarted):
            await there.service.seen(SLUG)
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.records.down = True
        there.link.final("Kept on disk.")
        await asyncio.sleep(60)
        [seen] = await there.service.all_seen()
        assert seen.record.slug == SLUG and seen.run is not None
        assert any("database" in reason for reason in seen.run.health)
        assert (await there.service.seen(SLUG)).run is seen.run
        assert [used.identity for used in await there.service.usage(SLUG)] == ["anna"]
        with pytest.raises(RecordsUnavailable):
            await there.service.seen("elsewhere")
        said = [record for record in caplog.records if "books" in record.getMessage()]
        assert len(said) == 1
        there.records.down = False
        await asyncio.sleep(5)
        said = [record for record in caplog.records if "books" in record.getMessage()]
        assert [record.levelname for record in said] == ["WARNING", "INFO"]


async def test_the_heir_of_a_dead_replica_goes_on_where_it_was() -> None:
    """Same stream key, same usage row at its own price, next number, same cap."""
    records = MemoryRecords(LoopClock())
    async with AsyncExitStack() as dead:
        line = Line(records)
        one = await dead.enter_async_context(replica(cast(MemoryRecords, line), cost_per_minute=0.1))
        started = await one.service.start(
            start(cost_cap_usd=0.3, participant_identity="anna", speech=SpeechOptions(("en",), True))
        )
        one.source(SLUG).appear().speak(61)
        await until(lambda: bool(one.transcriber.links))
        one.link.final("One.")
        await asyncio.sleep(CHECKPOINT_S + 2)
        [before] = await one.service.usage(SLUG)
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
            await until(lambda: len(records.kept(SLUG)) == 2)
            assert [final.seq for final in records.kept(SLUG)] == [1, 2]
            await asyncio.sleep(3)
            [used] = await two.service.usage(SLUG)
            assert (used.id, used.duration_seconds, used.final_transcripts) == (before.id, 91, 2)
            assert used.started_at == before.started_at
            track.speak(88)  # 179 s: the third minute is paid for, a fourth is not
            await until(lambda: not two.service.runs, 5)
            stopped = await two.service.stop(SLUG)
            assert stopped is not None
            assert stopped.record.stop_reason == "cost cap of 0.30 USD reached"
            assert [used.total_cost for used in stopped.usage] == [0.3]


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
    assert [final.caption.text for final in records.kept(SLUG)] == ["Last words."]
    assert "stopped" not in [state["state"] for state in told(screen, "session.state")]
    record = await records.transcription(SLUG)
    assert record is not None
    assert (record.state, record.stopped_at, record.finals_complete) == ("RUNNING", None, None)
    assert [used.ended_at for used in await records.usage(record.id)] == [None]
    with pytest.raises(NotReady):
        await one.service.start(start())
    await asyncio.sleep(0.01)
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), 11)
        assert two.service.runs[0].last_seq == 1


async def test_a_restart_under_the_same_name_goes_on_at_once() -> None:
    """A killed process comes back on its data folder; its own lease need not run out first."""
    records = MemoryRecords(LoopClock())
    session = await records.create_session(SLUG, None, None)
    await records.claim(session, "rtmp", {}, "key-9", OPTIONS.owner, 3600)
    async with replica(records) as there:
        [run] = there.service.runs
        assert run.claimed.lease.fence == 2
        assert there.source(SLUG).ingest.stream_key == "key-9"


async def test_provider_sessions_are_noted_from_open_to_close() -> None:
    """So that none is left running and the bill can be compared."""
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.report(ProviderSession("p", False, 0.0, "streaming"))
        await asyncio.sleep(2)
        assert not there.records.provider_sessions["p"].over
        there.link.report(ProviderSession("p", True, 1.0, "closed"))
        await there.service.stop(SLUG)
        assert there.records.provider_sessions["p"] == ProviderSession("p", True, 1.0, "closed")


async def test_speech_counts_as_activity_of_the_session() -> None:
    """So that a session full of talk is not ended for inactivity."""
    async with replica() as there:
        started = await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        await asyncio.sleep(60)
        assert there.records.activity == {}
        there.link.final("Here.")
        await asyncio.sleep(30)
        assert set(there.records.activity) == {started.record.session_id}
