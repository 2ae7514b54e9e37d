"""The words that spaces keep, in PostgreSQL."""

from __future__ import annotations

import msgspec

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.stored import readable_struct
from gateway.transcription.domain.vocabulary import Vocabulary
from storage.postgres.pool import Database
from storage.postgres.vocabularies import Vocabularies


class PostgresVocabularyRecords:
    """One statement a method."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._vocabularies = Vocabularies(database)
        self._clock = clock

    @available
    async def of_space(self, space_id: str) -> Vocabulary:
        words, spelling = await self._vocabularies.of_space(space_id)
        return readable_struct({"words": words, "spelling": spelling}, Vocabulary)

    @available
    async def save(self, space_id: str, vocabulary: Vocabulary) -> None:
        plain = msgspec.to_builtins(vocabulary)
        await self._vocabularies.save(space_id, plain["words"], plain["spelling"], self._clock.now())
