"""What the provider says: numbered once, stored, shown, counted."""

from __future__ import annotations

import asyncio

from support.frames import seqs
from support.transcribing import SLUG, replica, start, told, watch
from support.waiting import until

from gateway.transcription.domain.stable import HOLD_S
from gateway.transcription.domain.transcription import TranscriptionState
from gateway.transcription.usecases.speech import ProviderComplaint, SpeechLost, Translation, Unread, Withdrawn


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
        await until(lambda: len(there.records.stored(SLUG)) == 2)
        assert [(final.seq, final.caption.text) for final in there.records.stored(SLUG)] == [
            (1, "Good morning."),
            (2, "Again."),
        ]
        assert there.records.stored(SLUG)[0].caption.start_ms == 5500
        assert [said["text"] for said in told(screen, "transcript.partial")] == ["good"]
        assert [said["participantName"] for said in told(screen, "transcript.final")] == ["Anna", "Anna"]
        session = await there.records.sessions.by_slug(SLUG)
        assert session is not None and session.status == "LIVE"
        assert there.records.stored(SLUG)[0].participant_id is not None


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
        await until(lambda: len(there.records.stored(SLUG)) == 2)
        assert seqs(bytes(screen.arrived)) == [1, 2]
        assert told(screen, "transcript.partial") == []
        [run] = there.service.runs
        assert (run.counts.finals, run.counts.repeated, run.counts.partials) == (2, 2, 0)


async def test_a_partial_is_shown_again_when_more_of_it_holds_still() -> None:
    """Where the audio comes from its stable words alone are shown, and stay while newer ones are not certain."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear()
        track.speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.partial("we have", "p:0")
        await asyncio.sleep(1)
        there.link.partial("we had to", "p:0")
        await asyncio.sleep(1)
        there.link.final("We had to go.", "p:0")
        there.link.partial("gone", "p:1")
        there.link.hear(Withdrawn("p:1"))
        await asyncio.sleep(1)
        shown = [(said["text"], said["stableChars"]) for said in told(screen, "transcript.partial")]
        assert shown == [
            ("we have", 0), ("we have", 7), ("we had to", 2), ("we had to", 9), ("", 0),
        ]  # fmt: skip
        assert all("stableChars" not in said for said in told(screen, "transcript.final"))
        assert [text for _, text, _ in track.captions] == ["we have", "we had to", "We had to go.", ""]
        assert there.service.runs[0].counts.partials == 3


async def test_a_newer_partial_makes_words_stable_sooner() -> None:
    """The wait for the words of one partial ends when a second one has said them, whoever else is waited for."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear().speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.partial("others", "p:1")
        there.link.partial("we have", "p:0")
        await asyncio.sleep(HOLD_S[1] - 0.1)
        there.link.partial("we have to", "p:0")
        await asyncio.sleep(0.11)
        shown = [(said["text"], said["stableChars"]) for said in told(screen, "transcript.partial")]
        assert shown == [("others", 0), ("we have", 0), ("we have to", 0), ("we have to", 7)]


async def test_two_speakers_share_one_numbering_and_have_a_meter_each() -> None:
    async with replica() as there:
        await there.service.start(start())
        for name in ("anna", "ben"):
            there.source(SLUG).appear(name).speak(60 if name == "anna" else 61)
        await until(lambda: len(there.transcriber.links) == 2)
        for link in there.transcriber.links * 2:
            link.final(f"I am {link.identity}.")
        await until(lambda: len(there.records.stored(SLUG)) == 4)
        assert [final.seq for final in there.records.stored(SLUG)] == [1, 2, 3, 4]
        used = {one.identity: one for one in await there.status.usage(SLUG)}
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


async def test_audio_that_was_left_out_is_told_with_the_speaker_and_how_much_and_for_minutes() -> None:
    """On the stream each time, in the health until five minutes later; the track may be gone by then."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna", "Anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links))
        [run] = there.service.runs
        there.link.hear(SpeechLost(3.0, 3.4, "poison"))
        there.link.hear(SpeechLost(9.0, 9.2, "poison"))
        for _ in range(3):  # while the provider is away it goes on and on
            there.link.hear(SpeechLost(20.0, 20.1, "overdue"))
        await asyncio.sleep(0)
        errors = [(said["participantIdentity"], said["message"][:9]) for said in told(screen, "error")]
        assert errors == [("anna", "0.4 s of "), ("anna", "0.6 s of "), ("anna", "the speec")]
        await until(lambda: bool(run.health))
        [reason] = run.health
        assert "0.6 s of anna's audio were left out" in reason and "0.4 s" not in reason
        assert "did not take anna's audio in time" in reason
        track.hang_up()
        await asyncio.sleep(290)
        assert run.health == (reason,)
        await asyncio.sleep(20)
        assert run.health == ()
        assert run.usage()[0].errors_count == 5


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
            texts = {key: said.text for key, (said, _) in there.records.tables.partials.items()}
            assert texts == ({"p:0": "one two"} if stored else {})


async def test_why_there_is_no_text_is_told_once_and_until_text_comes() -> None:
    """On the stream at once, in the health until the next words; an add-on's error until the next add-on."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        for _ in range(20):
            there.link.hear(ProviderComplaint("error: no credit", "quota"))
            there.link.hear(ProviderComplaint("translation: failed", "add_on"))
        [run] = there.service.runs
        await until(lambda: len(run.health) == 2)
        said = ["the speech provider reports an error (error: no credit)"]
        assert [one["message"] for one in told(screen, "error")][:1] == said and len(told(screen, "error")) == 2
        assert run.health[0] == said[0]
        there.link.partial("words again")
        await until(lambda: len(run.health) == 1)
        there.link.hear(Translation("p:0", "en", "de", "Wieder."))
        await until(lambda: run.health == ())
        there.link.hear(ProviderComplaint("error: no credit", "quota"))
        await asyncio.sleep(0)
        assert len(told(screen, "error")) == 3
        assert run.usage()[0].errors_count == 41


async def test_words_that_could_not_be_read_are_told_to_the_end() -> None:
    async with replica() as there:
        await there.service.start(start())
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.hear(Unread("speech_end", False))
        there.link.hear(Unread("transcript", True))
        there.link.final("The next one.")
        [run] = there.service.runs
        await until(lambda: bool(run.health))
        assert run.health == ("messages of the speech provider for anna could not be read (1): words may be missing",)
        assert (run.counts.unread, run.usage()[0].errors_count) == (2, 2)
