"""Translations in PostgreSQL, behind `TranslationRecords`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.usecases.journal import TranslationToStore
from gateway.transcription.usecases.records import NumberedTranslation
from storage.postgres.pool import Database
from storage.postgres.translations import NewTranslation, TranslationRow, Translations

log = logging.getLogger(__name__)


class PostgresTranslationRecords:
    """One statement a method; `store` is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._rows = Translations(database)
        self._clock = clock

    @available
    async def store(self, translations: Sequence[TranslationToStore]) -> Sequence[NumberedTranslation]:
        fresh = [NewTranslation(one.session_id, one.utterance_id, one.language, one.data) for one in translations]
        added = await self._rows.append(fresh, self._clock.now())
        for why in added.refused:
            log.error("a translation was refused by the database: %s", why)
        return _numbered(added.numbered)

    @available
    async def since(self, session_id: str, language: str, after: int, limit: int) -> Sequence[NumberedTranslation]:
        return _numbered(await self._rows.since(session_id, language, after, limit))

    @available
    async def of_finals(self, session_id: str, first: int, last: int, language: str) -> Sequence[NumberedTranslation]:
        return _numbered(await self._rows.of_finals(session_id, first, last, language))

    @available
    async def languages(self, session_id: str) -> Sequence[str]:
        return await self._rows.languages(session_id)


def _numbered(rows: Iterable[TranslationRow]) -> list[NumberedTranslation]:
    return [
        NumberedTranslation(row.session_id, row.utterance_id, row.language, row.seq, row.of_seq, row.data)
        for row in rows
    ]
