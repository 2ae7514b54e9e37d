"""One transcription from start to stop, and what goes wrong in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.transcribing import OPTIONS, SLUG, replica, start, told, watch
from support.waiting import until

from gateway.errors import SessionNotFound, SessionOver
from gateway.transcription.domain.errors import (
    NeverStarted,
    NotReady,
    ProviderRefusedKey,
    RunsElsewhere,
    SourceUnavailable,
)
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.usecases.audio import SourceTrouble
from gateway.transcription.usecases.listening import FIRST_PAUSE_S, MAX_RESTARTS

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
            await there.service.start(start("unknown"))
        for status in ("ENDED", "EXPIRED"):
            there.records.end_session(SLUG, status)
            with pytest.raises(SessionOver):
                await there.service.start(start())
        assert there.service.runs == []
        assert await there.records.transcriptions.newest(SLUG) is None


async def test_a_refused_key_refuses_the_start() -> None:
    """Nothing is claimed for a provider that will not work."""
    async with replica() as there:
        there.transcriber.refusal = "check GLADIA_API_KEY"
        with pytest.raises(ProviderRefusedKey):
            await there.service.start(start())
        assert await there.records.transcriptions.newest(SLUG) is None


async def test_speech_options_reach_the_provider() -> None:
    speech = SpeechOptions(("en", "fr"), True, ("Kubernetes",), ("de",))
    async with replica() as there:
        await there.service.start(start(speech=speech))
        there.source(SLUG).appear()
        await until(lambda: bool(there.transcriber.options))
        assert there.transcriber.options == [speech]


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
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["The end."]
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
        assert (await there.status.seen(SLUG)).run is not None
        await asyncio.sleep(6)
        assert (await there.status.seen(SLUG)).record.state == "STOPPED"


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
        await until(lambda: len(there.records.stored(SLUG)) == 3)
        assert [(final.seq, final.caption.text) for final in there.records.stored(SLUG)] == [
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
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["Held."]


# --- trouble ------------------------------------------------------------------------------------------------


async def test_a_provider_that_refuses_stops_the_transcription_with_its_reason() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.end(complete=True, refused="HTTP 402: no credit; check the account")
        await until(lambda: not there.service.runs)
        record = (await there.status.seen(SLUG)).record
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
        await until(lambda: len(there.records.stored(SLUG)) == 1)


async def test_a_bug_while_audio_is_read_costs_that_piece() -> None:
    """It is read on, told until text comes, and not called complete."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna")
        for _ in range(2 * MAX_RESTARTS):
            track.speak(3)
            track.fail(ZeroDivisionError("a bug"))
        await until(lambda: there.transcriber.links[:1] != [] and there.link.sent_samples == 2 * MAX_RESTARTS * 48_000)
        assert [said["participantIdentity"] for said in told(screen, "error")] == ["anna"]
        there.link.final("I go on.")
        track.hang_up()
        await until(lambda: track.is_released)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and not stopped.finals_complete
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["I go on."]


async def test_a_bug_in_one_track_ends_it_and_no_other() -> None:
    """Its audio can never be read: said in the health, not as complete; the other speaker notices nothing."""
    async with replica() as there:
        await there.service.start(start())
        track = there.source(SLUG).appear("anna")
        track.speak(30)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Said before.")
        for _ in range(MAX_RESTARTS + 1):
            track.fail(ZeroDivisionError("a bug"))
        await until(lambda: there.service.runs[0].tracks == [])
        assert track.is_released
        there.source(SLUG).appear("ben").speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.link.final("I go on.")
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and not stopped.finals_complete
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["Said before.", "I go on."]
        assert [used.duration_seconds for used in stopped.usage] == [30, 1]


@pytest.mark.parametrize("where", ["run", "send"])
async def test_a_bug_in_one_link_begins_it_again_and_no_other(where: str) -> None:
    """Another link takes over its audio; the bill goes on; health says it until text comes; nobody else notices."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        anna, ben = (there.source(SLUG).appear(name) for name in ("anna", "ben"))
        anna.speak(30)
        ben.speak(1)
        await until(lambda: len(there.transcriber.links) == 2 and there.transcriber.links[0].sent_samples > 0)
        broken, other = there.transcriber.links
        if where == "run":
            broken.fail(ZeroDivisionError("a bug"))
        else:
            broken.send_fails = True
            anna.speak(1)
        await until(lambda: len(there.transcriber.links) == 3)
        again = there.transcriber.links[2]
        assert (again.identity, again.former) == ("anna", broken)
        [run] = there.service.runs
        await until(lambda: bool(run.health))
        assert run.health == ("an internal error interrupted anna's transcription; it begins again",)
        assert [said["participantIdentity"] for said in told(screen, "error")] == ["anna"]
        anna.speak(4)
        await asyncio.sleep(1)
        again.final("Here I am again.")
        other.final("I go on.")
        await until(lambda: not run.health)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None and not stopped.finals_complete
        assert stopped.record.stop_reason == "stopped by request"
        assert [final.caption.text for final in there.records.stored(SLUG)] == ["Here I am again.", "I go on."]
        assert [used.duration_seconds for used in stopped.usage] == [34 + (where == "send"), 1]
        assert stopped.usage[0].errors_count == 1


async def test_a_link_that_fails_again_and_again_is_given_up() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        for known in range(1, MAX_RESTARTS + 2):
            await until(lambda known=known: len(there.transcriber.links) == known)
            await asyncio.sleep(FIRST_PAUSE_S * 2**MAX_RESTARTS)
            there.link.fail(ZeroDivisionError("a bug"))
        [run] = there.service.runs
        await until(lambda: "publish the audio again" in " ".join(run.health))
        assert len(there.transcriber.links) == MAX_RESTARTS + 1
        there.source(SLUG).appear("ben").speak(1)
        await until(lambda: there.link.identity == "ben")


async def test_a_speaker_that_cannot_join_does_not_hold_up_the_writer() -> None:
    """The participant's row cannot be made because of a bug: everybody else's finals are still written."""
    async with replica() as there:
        joined = there.records.sessions.join

        async def broken(session_id: str, speaker: Any) -> str:
            if speaker.identity == "cursed":
                await asyncio.sleep(0.5)
                raise ZeroDivisionError("a bug")
            return await joined(session_id, speaker)

        there.records.sessions.join = broken  # type: ignore[method-assign]
        await there.records.sessions.create("other", None, None)
        await there.service.start(start())
        await there.service.start(start(slug="other"))
        there.source(SLUG).appear("cursed").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("Nobody said this.")
        there.source("other").appear("ben").speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        there.link.final("I go on.", "q:0")
        await until(lambda: len(there.records.stored("other")) == 1)
        await until(lambda: bool(there.records.stored(SLUG)))
        assert [final.participant_id for final in there.records.stored(SLUG)] == [None]


async def test_books_that_cannot_be_closed_take_nothing_else_down(caplog: pytest.LogCaptureFixture) -> None:
    async with replica() as there:
        await there.service.start(start())

        async def broken(*args: Any) -> None:
            raise ZeroDivisionError("a bug")

        there.records.leases.finish = broken  # type: ignore[method-assign]
        with pytest.raises(RunsElsewhere):
            await there.service.stop(SLUG)
        assert there.service.runs == []
        assert not there.hub.runs_here(SLUG)
        await there.records.sessions.create("other", None, None)
        assert (await there.service.start(start(slug="other"))).created
