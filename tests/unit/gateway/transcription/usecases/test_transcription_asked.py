"""Languages changed and people paused while a transcription runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from support.fakes import LoopClock, MemoryRecords
from support.transcribing import OPTIONS, SLUG, replica, start, told, watch
from support.waiting import until

from gateway.errors import WrongRequest
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.errors import NeverStarted, NotRunning, RunsElsewhere
from gateway.transcription.domain.preferences import EVERYBODY, MOST_PARTICIPANTS, Change, PersonalChange
from gateway.transcription.domain.speech import SpeechOptions, VocabularyWord
from gateway.transcription.domain.vocabulary import Vocabulary
from gateway.transcription.usecases.speech import ProviderSession

ENGLISH = SpeechOptions(languages=("en",))


async def test_a_change_comes_to_the_link_and_is_told_when_a_session_has_it() -> None:
    async with replica() as there:
        await there.service.start(start(speech=ENGLISH))
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        link = there.link
        link.report(ProviderSession("s1", False, 0.0, "streaming"))
        answer = await there.service.change(SLUG, Change(participants={"anna": PersonalChange(languages=("de",))}))
        assert answer.pending == ("anna",)
        assert [(options.languages, at_once) for options, at_once in link.changes] == [(("de",), True)]
        link.report(ProviderSession("s1", True, 1.0, "closed"))
        link.report(ProviderSession("s2", False, 0.0, "streaming", is_current=False))  # it was on its way already
        assert not told(screen, "session.options")
        link.report(ProviderSession("s3", False, 0.0, "streaming"))
        await until(lambda: bool(told(screen, "session.options")))
        assert told(screen, "session.options") == [
            {"participantIdentity": "anna", "languages": ["de"], "translateTo": []}
        ]
        again = await there.service.change(SLUG, Change(participants={"anna": PersonalChange(languages=("de",))}))
        assert (again.pending, len(link.changes)) == ((), 1)


async def test_a_change_for_somebody_who_is_not_there_is_kept() -> None:
    async with replica() as there:
        await there.service.start(start(speech=ENGLISH))
        await there.service.change(SLUG, Change(participants={"ben": PersonalChange(languages=("fr",))}))
        source = there.source(SLUG)
        source.appear("anna").speak(1)
        source.appear("ben").speak(1)
        await until(lambda: len(there.transcriber.links) == 2)
        assert [options.languages for options in there.transcriber.options] == [("en",), ("fr",)]


async def test_nothing_of_a_pause_is_sent_and_the_clock_goes_on() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links) and there.link.sent_samples > 0)
        assert (await there.service.change(SLUG, Change(pauses={"anna": True}))).paused == ("anna",)
        assert there.link.rests == 1, "the provider session is ended at once"
        track.speak(30)
        await asyncio.sleep(30)
        [used] = await there.status.usage(SLUG)
        assert used.duration_seconds == 1
        assert (await there.service.change(SLUG, Change(pauses={"anna": False}))).paused == ()
        track.speak(2)
        await until(lambda: there.link.sent_samples > 16_000)
        assert there.link.sent_samples == 3 * 16_000
        there.link.final("Back.", start=31.0, end=32.0)
        await until(lambda: bool(there.records.stored(SLUG)))
        [final] = there.records.stored(SLUG)
        assert final.caption.start_ms >= 31_000
        assert told(screen, "session.pause") == [
            {"everybody": False, "participants": ["anna"]},
            {"everybody": False, "participants": []},
        ]


async def test_what_was_said_in_a_pause_is_not_heard_when_it_is_read_late() -> None:
    """The database holds up the pump meanwhile: the time at which it was said decides."""
    async with replica() as there:
        await there.service.start(start())
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links) and there.link.sent_samples > 0)
        await asyncio.sleep(0.5)
        await there.service.change(SLUG, Change(pauses={EVERYBODY: True}))
        await asyncio.sleep(4)
        await there.service.change(SLUG, Change(pauses={EVERYBODY: False}))
        track.speak(4)  # from one second on
        track.speak(3)
        await until(lambda: there.link.sent_samples > 16_000)
        assert there.link.sent_samples == (1 + 3) * 16_000


async def test_who_has_opted_out_in_the_room_is_not_heard() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna")
        track.is_opted_out = True
        track.speak(5)
        await until(lambda: bool(told(screen, "session.pause")))
        assert told(screen, "session.pause") == [{"everybody": False, "participants": ["anna"]}]
        assert there.link.sent_samples == 0
        track.is_opted_out = False
        track.speak(1)
        await until(lambda: there.link.sent_samples > 0)
        assert there.link.sent_samples == 16_000


async def test_a_pause_holds_although_the_database_does_not_answer() -> None:
    async with replica() as there:
        await there.service.start(start())
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links) and there.link.sent_samples > 0)
        there.records.down = True
        with pytest.raises(RecordsUnavailable):
            await there.service.change(SLUG, Change(pauses={"anna": True}))
        there.records.down = False
        track.speak(5)
        await asyncio.sleep(1)
        assert there.link.sent_samples == 16_000
        await there.service.change(SLUG, Change(pauses={"anna": True}))
        record = await there.records.transcriptions.newest(SLUG)
        assert record is not None and "anna" in record.options["pauses"]


async def test_the_next_owner_goes_on_with_changes_and_pauses() -> None:
    records = MemoryRecords(LoopClock())
    change = Change(languages=("es",), participants={"ben": PersonalChange(languages=("fr",))}, pauses={"anna": True})
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(replica(records))
        await one.service.start(start(speech=ENGLISH, cost_cap_usd=5.0))
        await one.service.change(SLUG, change)
        await first.aclose()
    async with replica(records, owner="replica-2") as two:
        await until(lambda: bool(two.service.runs), OPTIONS.lease_s + 11)
        screen = await watch(two)
        source = two.source(SLUG)
        source.appear("ben").speak(1)
        await until(lambda: bool(two.transcriber.links))
        source.appear("anna").speak(1)
        await until(lambda: len(two.transcriber.links) == 2)
        assert [options.languages for options in two.transcriber.options] == [("fr",), ("es",)]
        await until(lambda: bool(told(screen, "session.pause")))
        assert told(screen, "session.pause")[-1]["participants"] == ["anna"]
        assert two.transcriber.links[1].sent_samples == 0
        record = await records.transcriptions.newest(SLUG)
        assert record is not None and record.options["costCapUsd"] == 5.0


async def test_what_does_not_run_is_not_changed() -> None:
    async with replica() as there:
        with pytest.raises(NeverStarted):
            await there.service.change(SLUG, Change())
        await there.service.start(start())
        await there.service.stop(SLUG)
        with pytest.raises(NotRunning):
            await there.service.change(SLUG, Change(pauses={EVERYBODY: True}))


async def test_an_owner_that_has_lost_it_says_so() -> None:
    async with replica() as one, replica(one.records, owner="replica-2") as two:
        await one.service.start(start())
        with pytest.raises(RunsElsewhere):
            await two.service.change(SLUG, Change(languages=("de",)))
        [run] = one.service.runs
        one.records.tables.transcriptions[run.claimed.lease.transcription_id].fence += 1
        with pytest.raises(RunsElsewhere):
            await run.asked.change(Change(languages=("de",)))


async def test_names_are_expected_words_from_the_next_provider_session_on() -> None:
    async with replica() as there:
        await there.service.start(start(speech=ENGLISH))
        source = there.source(SLUG)
        source.appear("anna", "Anna Kay").speak(1)
        await until(lambda: bool(there.transcriber.links) and bool(there.link.changes))
        source.appear("ben", "Ben Ng").speak(1)
        await until(lambda: len(there.transcriber.links[0].changes) == 2)
        options, at_once = there.transcriber.links[0].changes[-1]
        assert not at_once, "nobody is interrupted for a name"
        assert options.custom_vocabulary == (
            VocabularyWord("Anna Kay", intensity=0.4),
            VocabularyWord("Ben Ng", intensity=0.4),
        )
        answer = await there.service.change(SLUG, Change())
        assert (answer.pending, answer.preferences.speech) == ((), ENGLISH)


async def test_what_a_space_keeps_is_stored_with_its_transcription() -> None:
    async with replica() as there:
        session = await there.records.sessions.by_slug(SLUG)
        assert session is not None
        kept = Vocabulary(("Watzmann", "Kay"), {"Kay": ("key",), "Ng": ("ing",)})
        await there.records.vocabularies.save(session.space_id, kept)
        asked = SpeechOptions(custom_vocabulary=("kay",), custom_spelling={"Kay": ("cay",)}, participant_names=False)
        await there.service.start(start(speech=asked))
        there.source(SLUG).appear("anna", "Anna").speak(1)
        await until(lambda: bool(there.transcriber.options))
        [options] = there.transcriber.options
        assert options.custom_vocabulary == ("kay", "Watzmann")
        assert options.custom_spelling == {"Kay": ("cay",), "Ng": ("ing",)}
        assert there.link.changes == []
        record = await there.records.transcriptions.newest(SLUG)
        assert record is not None and record.options["customVocabulary"] == ["kay", "Watzmann"]


async def test_what_had_come_before_a_resume_is_not_heard_whatever_its_clock_says() -> None:
    """A track's own clock may be behind: the order in which audio came decides."""
    async with replica() as there:
        await there.service.start(start())
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links) and there.link.sent_samples > 0)
        await asyncio.sleep(20)
        await there.service.change(SLUG, Change(pauses={"anna": True}))
        assert track.anchor is not None
        track.ends_at = track.anchor + timedelta(seconds=5)
        await there.service.change(SLUG, Change(pauses={"anna": False}))
        track.speak(4)
        track.speak(3)
        await until(lambda: there.link.sent_samples > 16_000)
        assert there.link.sent_samples == (1 + 3) * 16_000


async def test_wishes_are_bounded() -> None:
    async with replica() as there:
        await there.service.start(start())
        some = {f"p{number}": PersonalChange(languages=("de",)) for number in range(MOST_PARTICIPANTS)}
        await there.service.change(SLUG, Change(participants=some))
        with pytest.raises(WrongRequest):
            await there.service.change(SLUG, Change(participants={"one more": PersonalChange(languages=("de",))}))
        await there.service.change(SLUG, Change(participants={"p1": None}))
        await there.service.change(SLUG, Change(participants={"one more": PersonalChange(languages=("de",))}))
