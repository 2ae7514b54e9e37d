"""The words that spaces keep (`gateway.space_vocabulary`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from storage.postgres.values import clean, json_bytes

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class Vocabularies:
    """Each method is one statement. Words and spelling are plain JSON values."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def of_space(self, space_id: str) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Both empty where none was saved."""
        row = await self._db.row("vocabulary_of_space", clean(space_id))
        return ([], {}) if row is None else (msgspec.json.decode(row["words"]), msgspec.json.decode(row["spelling"]))

    async def save(self, space_id: str, words: Sequence[Any], spelling: Mapping[str, Any], now: datetime) -> None:
        """Replaces both."""
        await self._db.run("vocabulary_save", clean(space_id), json_bytes(words), json_bytes(spelling), now)
