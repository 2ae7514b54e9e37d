"""Readers of one language get each translation of it once, whatever is cut, late or away."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.fakes import FakeTransport, MemoryJournal
from support.frames import messages
from support.recording import Desk
from support.waiting import until

from gateway.live.protocol import CloseCode, parse_since
from gateway.live.translated import Translated
from gateway.live.watcher import Reading, Watcher
from gateway.transcription.domain.translations import numbered

CUTS = int(os.environ.get("TRANSLATION_CUTS", "40"))


@asynccontextmanager
async def reading(desk: Desk) -> AsyncIterator[Translated]:
    async def read(session_id: str, language: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        found = await desk.records.translations.since(session_id, language, after, limit)
        return [(one.seq, numbered(one.data, one.seq, one.of_seq)) for one in found]

    service = Translated(desk.hub, read)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Reader:
    """Reads finals and one language; after a cut it resumes from what it has."""

    def __init__(self, desk: Desk, service: Translated, language: str) -> None:
        self._desk, self._service, self._language = desk, service, language
        self.messages: list[dict[str, object]] = []
        self.numbers: list[int] = []
        self.texts: list[str] = []
        self._epoch, self._seq = "-", 0
        self._screen = FakeTransport()
        self._watcher: Watcher | None = None

    async def connect(self) -> None:
        since = parse_since(f"{self._epoch}:{self._seq}:{len(self.numbers)}", translated=True)
        self._screen = FakeTransport()
        reads = Reading(self._language, since.translation)
        self._watcher = self._desk.hub.join("abc", self._screen, lambda code: None, reads=reads)
        self._service.add("abc", self._desk.claimed.session_id, self._watcher)

        async def past(after: int, limit: int) -> list[tuple[int, bytes]]:
            found = [one for one in self._desk.records.stored("abc") if one.seq > after][:limit]
            await asyncio.sleep(0.01)
            return [(one.seq, one.data) for one in found]

        await self._desk.hub.channel("abc").catch_up(self._watcher, since, past)

    def cut(self) -> None:
        assert self._watcher is not None
        self._screen.closing = True
        self._service.remove("abc", self._desk.claimed.session_id, self._watcher)
        self._desk.hub.leave("abc", self._watcher)
        for message in messages(bytes(self._screen.arrived)):
            data = message["data"]
            if message["type"] == "hello" and not data["resumed"]:
                self.numbers, self.texts = [], []
            if message["type"] == "transcript.final":
                self._epoch, self._seq = message["epoch"], message["seq"]
            if message["type"] == "translation":
                assert data["targetLanguage"] == self._language
                if "seq" in data:
                    self.numbers.append(data["seq"])
                    self.texts.append(data["text"])


async def test_a_reader_gets_each_translation_once_over_many_cuts() -> None:
    """Translations come early, late or never; the database is away now and then; readers are cut at any moment."""
    rng = random.Random(7)
    desk = Desk(journal=MemoryJournal())
    async with desk.at_work(), reading(desk) as service:
        readers = [Reader(desk, service, language) for language in ("de", "fr")]
        for reader in readers:
            await reader.connect()
        said: dict[str, set[str]] = {"de": set(), "fr": set()}
        due: list[tuple[int, str]] = []
        seq = cuts = 0
        while cuts < CUTS:
            match rng.randrange(8):
                case 0 | 1:
                    seq += 1
                    due += [(seq, language) for language in ("de", "fr") if rng.random() < 0.9]
                    if rng.random() < 0.1:  # before its final
                        desk.translate(seq, *_words(due[-1:], said))
                        due = due[:-1]
                    desk.put(seq)
                case 2 | 3 | 4 if due:
                    of, language = due.pop(rng.randrange(len(due)))
                    for _ in range(rng.choice((1, 1, 2))):
                        desk.translate(of, *_words([(of, language)], said))
                case 5:
                    desk.records.down = rng.random() < 0.4
                case 6:
                    reader = rng.choice(readers)
                    reader.cut()
                    cuts += 1
                    await asyncio.sleep(rng.choice((0, 0.05, 3)))
                    await reader.connect()
            await asyncio.sleep(rng.choice((0, 0, 0.02, 0.4)))
        desk.records.down = False
        seq += 1
        desk.put(seq)
        for language in ("de", "fr"):
            desk.translate(seq, language, f"{seq} in {language}")
            said[language].add(f"{seq} in {language}")
        await desk.settled()
        await asyncio.sleep(5)
        for reader, language in zip(readers, ("de", "fr"), strict=True):
            reader.cut()
            assert reader.numbers == list(range(1, len(said[language]) + 1))
            assert len(reader.texts) == len(set(reader.texts))
            assert set(reader.texts) == said[language]


def _words(of: list[tuple[int, str]], said: dict[str, set[str]]) -> tuple[str, str]:
    """Language and text; nothing of that kind was said: an utterance that nobody translates."""
    if not of:
        return "xx", "nobody reads this"
    [(seq, language)] = of
    said[language].add(f"{seq} in {language}")
    return language, f"{seq} in {language}"


async def test_others_get_all_languages_as_they_come() -> None:
    desk = Desk()
    async with desk.at_work():
        desk.put(1)
        desk.translate(1, "de", "Nummer 1.")
        desk.translate(1, "fr", "Numéro 1.")
        desk.translate(9, "fr", "before its final")
        await desk.settled()
        await asyncio.sleep(1)
        told = [one["data"] for one in messages(bytes(desk.screen.arrived)) if one["type"] == "translation"]
        assert [(one["targetLanguage"], one.get("seq"), one.get("ofSeq")) for one in told] == [
            ("de", 1, 1),
            ("fr", 1, 1),
            ("fr", None, None),
        ]


async def test_while_the_database_is_away_a_translation_is_shown_without_its_number() -> None:
    desk = Desk(journal=MemoryJournal())
    async with desk.at_work(), reading(desk) as service:
        reads = Reading("de")
        screen = FakeTransport()
        watcher = desk.hub.join("abc", screen, lambda code: None, reads=reads)
        service.add("abc", desk.claimed.session_id, watcher)

        async def nothing(after: int, limit: int) -> list[tuple[int, bytes]]:
            return []

        await desk.hub.channel("abc").catch_up(watcher, None, nothing)
        desk.records.down = True
        desk.put(1)
        desk.translate(1, "de", "Nummer 1.")
        await asyncio.sleep(2)
        desk.records.down = False
        await desk.settled()
        await asyncio.sleep(3)
        told = [one["data"] for one in messages(bytes(screen.arrived)) if one["type"] == "translation"]
        assert [one.get("seq") for one in told] == [None, 1]


async def test_who_lacks_translations_is_not_told_that_the_session_has_ended() -> None:
    desk = Desk()
    async with desk.at_work(), reading(desk) as service:
        desk.put(1)
        desk.translate(1, "de", "Nummer 1.")
        await desk.settled()
        reader = Reader(desk, service, "de")
        await reader.connect()
        desk.hub.set_state("abc", "stopped", None)
        assert not desk.hub.end("abc", CloseCode.SESSION_ENDED)
        await until(lambda: desk.hub.end("abc", CloseCode.SESSION_ENDED))
        reader.cut()
        assert reader.texts == ["Nummer 1."]
