"""Translations of finals, numbered for each target language of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from storage.postgres.errors import row_is_to_blame
from storage.postgres.values import clean, clean_json, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database, Link


@dataclass(frozen=True, slots=True)
class NewTranslation:
    """`data`: JSON."""

    session_id: str
    utterance_id: str
    language: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TranslationRow:
    """`seq` counts in its language, `of_seq` is the number of its final."""

    session_id: str
    utterance_id: str
    language: str
    seq: int
    of_seq: int
    data: bytes


@dataclass(slots=True)
class Added:
    """`numbered`: those that have just got their number, in order. `refused`: why PostgreSQL will never take some."""

    numbered: list[TranslationRow] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Translations:
    """Any replica may store, without a lease: a translation says only what its final is in another language."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, rows: Sequence[NewTranslation], now: datetime) -> Added:
        """Store a batch, and number all of its sessions whose finals are there; the same batch twice changes nothing.

        One transaction. One of an utterance and language that is stored stays as it is; those of deleted sessions are
        left out. A row that cannot be stored never takes its batch with it.
        Raises: what `errors.retryable` is true for, with nothing known about what was stored.
        """
        added, fit = Added(), []
        for row in rows:
            try:
                fit.append((row.session_id, clean(row.utterance_id), clean(row.language), clean_json(row.data)))
            except (ValueError, UnicodeEncodeError, AttributeError, TypeError) as error:
                added.refused.append(f"{type(error).__name__} before sending")
        if fit:
            await self._store(fit, now, added)
        return added

    async def _store(self, batch: list[tuple[str, str, str, bytes]], now: datetime, added: Added) -> None:
        sessions = sorted({row[0] for row in batch})
        try:
            async with self._db.transaction() as link:
                await link.rows("translation_hold", sessions)
                await link.run("translation_store", *map(list, zip(*batch, strict=True)), now)
                added.numbered += await number(link, sessions)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not row_is_to_blame(error):
                raise
            if len(batch) == 1:
                added.refused.append(type(error).__name__)
                return
            middle = len(batch) // 2
            await self._store(batch[:middle], now, added)
            await self._store(batch[middle:], now, added)

    async def since(self, session_id: str, language: str, seq: int, limit: int) -> list[TranslationRow]:
        """Those after a number of their language, in order."""
        rows = await self._db.rows("translation_since", session_id, language, seq, limit)
        return [read(TranslationRow, r) for r in rows]

    async def of_finals(self, session_id: str, first: int, last: int, language: str) -> list[TranslationRow]:
        """Those of the finals with these numbers, in their order."""
        rows = await self._db.rows("translation_of_finals", session_id, first, last, language)
        return [read(TranslationRow, r) for r in rows]

    async def languages(self, session_id: str) -> list[str]:
        """Those that a transcription of the session has asked for, and those that there are; sorted."""
        return sorted(r["language"] for r in await self._db.rows("translation_languages", session_id))


async def number(link: Link, sessions: Sequence[str]) -> list[TranslationRow]:
    """Give numbers to those whose final is there; inside a transaction that holds the sessions (`translation_hold`)."""
    return [read(TranslationRow, r) for r in await link.rows("translation_number", sessions)]
