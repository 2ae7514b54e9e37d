"""What the provider heard from a dead process, and what of it becomes finals of the run that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.fakes import Replica
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.transcription.usecases.speech import Translation
from gateway.transcription.usecases.sweep import ProviderReport, UnreconciledSession
from stt.transcript import Utterance


def heard(*texts: str, translations: tuple[Translation, ...] = ()) -> ProviderReport:
    """One a second, on the provider's clock."""
    said = (Utterance(f"p:salvaged_{at}", True, text, "en", float(at), at + 0.5, 0.9) for at, text in enumerate(texts))
    return ProviderReport(True, None, tuple(said), translations)


@asynccontextmanager
async def orphaned() -> AsyncIterator[tuple[Replica, UnreconciledSession]]:
    """A run that has the first final of a provider session, and that session without its process."""
    async with replica() as there:
        started = await there.service.start(start())
        there.source(SLUG).appear("anna", "Anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.final("One.", "p:1")
        await until(lambda: len(there.records.stored(SLUG)) == 1)
        yield there, UnreconciledSession("p", started.record.id, "anna", there.clock.now())


def texts(there: Replica) -> list[tuple[int, str, str | None]]:
    return [(one.seq, one.caption.text, one.caption.speaker.name) for one in there.records.stored(SLUG)]


async def test_what_has_no_final_gets_one_under_the_speakers_name_once() -> None:
    async with orphaned() as (there, orphan):
        for _ in range(2):
            await there.service.salvage(orphan, heard("One.", "Two.", "Three."))
        await until(lambda: len(there.records.stored(SLUG)) == 3)
        await asyncio.sleep(1)
        assert texts(there) == [(1, "One.", "Anna"), (2, "Two.", "Anna"), (3, "Three.", "Anna")]
        [used] = await there.status.usage(SLUG)
        assert used.final_transcripts == 3


async def test_translations_come_along_once_and_belong_to_their_finals() -> None:
    """Also of a final that was stored, whose translation was not."""
    async with orphaned() as (there, orphan):
        german = tuple(Translation(f"p:salvaged_{at}", "en", "de", text) for at, text in enumerate(("Eins.", "Zwei.")))
        for _ in range(2):
            await there.service.salvage(orphan, heard("One.", "Two.", translations=german))
        session = await there.records.sessions.by_slug(SLUG)
        assert session is not None
        for _ in range(50):
            kept = await there.records.translations.since(session.id, "de", 0, 10)
            if len(kept) == 2:
                break
            await asyncio.sleep(0.1)
        ids = [one.caption.utterance_id for one in there.records.stored(SLUG)]
        assert [(one.seq, one.of_seq, one.utterance_id) for one in kept] == [(1, 1, ids[0]), (2, 2, ids[1])]
        assert b"Zwei." in kept[1].data


async def test_a_record_that_does_not_fit_gives_none() -> None:
    async with orphaned() as (there, orphan):
        await there.service.salvage(orphan, heard("Something else.", "Two."))
        await asyncio.sleep(1)
        assert texts(there) == [(1, "One.", "Anna")]


async def test_a_run_that_is_ending_takes_none() -> None:
    """Its numbers are given out: what comes now would stand behind the end."""
    async with orphaned() as (there, orphan):
        there.transcriber.flush_s = 5.0
        stopping = asyncio.create_task(there.service.stop(SLUG))
        await asyncio.sleep(1)
        await there.service.salvage(orphan, heard("One.", "Two."))
        await stopping
        await there.service.salvage(orphan, heard("One.", "Two."))  # there is no run any more
        assert texts(there) == [(1, "One.", "Anna")]


async def test_a_transcription_of_another_replica_is_left_to_it() -> None:
    async with orphaned() as (there, orphan):
        elsewhere = UnreconciledSession("p", "another transcription", "anna", orphan.opened_at)
        await there.service.salvage(elsewhere, heard("One.", "Two."))
        await asyncio.sleep(1)
        assert texts(there) == [(1, "One.", "Anna")]
