"""Translations in memory."""

from __future__ import annotations

from collections.abc import Sequence

from support.fakes.ports import Port
from support.fakes.tables import Tables

from gateway.transcription.usecases.journal import TranslationToStore
from gateway.transcription.usecases.records import NumberedTranslation


class MemoryTranslationRecords(Port):
    """`waiting`: those without their final."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.waiting: dict[tuple[str, str, str], TranslationToStore] = {}
        self._stored: dict[tuple[str, str], list[NumberedTranslation]] = {}
        self._known: set[tuple[str, str, str]] = set()

    async def store(self, translations: Sequence[TranslationToStore]) -> Sequence[NumberedTranslation]:
        await self._tables.answer()
        for one in translations:
            key = one.session_id, one.utterance_id, one.language
            if key not in self._known and self._tables.alive(one.session_id) is not None:
                self._known.add(key)
                self.waiting[key] = one
        sessions = {one.session_id for one in translations}
        fresh = [found for session in sessions for found in self._number(session)]
        return sorted(fresh, key=lambda one: (one.session_id, one.language, one.seq))

    def _number(self, session_id: str) -> list[NumberedTranslation]:
        fresh = []
        for seq, final in sorted(self._tables.finals.get(session_id, {}).items()):
            for key in [key for key in self.waiting if key[:2] == (session_id, final.caption.utterance_id)]:
                language, data = key[2], self.waiting.pop(key).data
                stored = self._stored.setdefault((session_id, language), [])
                stored.append(NumberedTranslation(session_id, key[1], language, len(stored) + 1, seq, data))
                fresh.append(stored[-1])
        return fresh

    async def since(self, session_id: str, language: str, after: int, limit: int) -> Sequence[NumberedTranslation]:
        await self._tables.answer()
        self._number(session_id)
        return self._of(session_id, language)[after : after + limit]

    async def of_finals(self, session_id: str, first: int, last: int, language: str) -> Sequence[NumberedTranslation]:
        await self._tables.answer()
        stored = self._of(session_id, language)
        return sorted((one for one in stored if first <= one.of_seq <= last), key=lambda one: one.of_seq)

    def _of(self, session_id: str, language: str) -> list[NumberedTranslation]:
        return self._stored.get((session_id, language), []) if self._tables.alive(session_id) is not None else []

    async def languages(self, session_id: str) -> Sequence[str]:
        await self._tables.answer()
        rows = [row for row in self._tables.transcriptions.values() if row.session_id == session_id]
        wishes = [mine for row in rows for mine in (row.options, *row.options.get("participants", {}).values())]
        asked = {language for mine in wishes for language in mine.get("translateTo") or ()}
        there = {key[2] for key in self._known if key[0] == session_id and self._tables.alive(session_id) is not None}
        return sorted(asked | there)
