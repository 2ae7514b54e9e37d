"""The disk on which finals wait for the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.usecases.journal import Entry, FinalToStore, JournalTrouble


class MemoryJournal:
    """A disk that may refuse or hang. What it holds outlives the recorder, as a disk outlives a process."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Entry]] = []
        self.refusal: str | None = None
        self.slow_s = 0.0
        self.appended: list[int] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self.entries)

    async def append(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(self.slow_s)
        if self.refusal is not None:
            raise JournalTrouble(self.refusal)
        for entry in entries:
            self.entries.append((self._next, entry))
            self._next += 1
            if isinstance(entry, FinalToStore):
                self.appended.append(entry.seq)

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        await asyncio.sleep(0)
        page = self.entries[:count]
        return [entry for _, entry in page], page[-1][0]

    async def forget(self, mark: int) -> None:
        await asyncio.sleep(0)
        self.entries = [(at, entry) for at, entry in self.entries if at > mark]

    async def finals(self, session_id: str, after: int, limit: int) -> list[UnstoredFinal]:
        found = {
            entry.seq: UnstoredFinal(entry.seq, entry.data, entry.epoch)
            for _, entry in self.entries
            if isinstance(entry, FinalToStore) and entry.session_id == session_id and entry.seq > after
        }
        return [found[seq] for seq in sorted(found)[:limit]]
