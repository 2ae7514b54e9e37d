"""Entries that the database has not got yet, in order: on disk, or in memory while the disk refuses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.usecases.journal import Entry, FinalToStore, Journal, JournalTrouble

log = logging.getLogger(__name__)

# A disk that takes longer is treated like one that refuses: captions wait for it.
_DISK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Oldest:
    """The entries that are to be stored next. `mark`: the journal's for them; None when they are in memory only."""

    entries: list[Entry]
    mark: int | None


class Backlog:
    """Takes entries without failing, within two seconds.

    What is in memory is offered to the disk again with every addition, ahead of what is new. An entry may be both on
    disk and in memory after a write that came late: storing it twice must change nothing.
    """

    def __init__(self, journal: Journal) -> None:
        self.trouble: str | None = None
        """Why entries are in memory only; None while all of them are on disk."""
        self._journal = journal
        self._held: list[Entry] = []
        self._one_by_one = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Entries, wherever they are."""
        return len(self._journal) + len(self._held)

    @property
    def held(self) -> int:
        """Entries in memory."""
        return len(self._held)

    async def add(self, entries: Sequence[Entry]) -> None:
        """Put entries on disk, else in memory, with `trouble`; without entries, offer the disk those in memory."""
        self._held += entries
        async with self._one_by_one:
            offered = list(self._held)
            if not offered:
                return
            try:
                await self._append(offered)
            except JournalTrouble as error:
                if self.trouble is None:
                    log.error("finals are kept in memory only: %s", error)
                self.trouble = str(error)
                return
            self._drop(offered)

    async def oldest(self, count: int) -> Oldest:
        """The next entries, at most `count`; the disk's before those in memory. Raises: JournalTrouble."""
        if len(self._journal):
            entries, mark = await self._journal.oldest(count)
            return Oldest(entries, mark)
        return Oldest(self._held[:count], None)

    async def done(self, oldest: Oldest) -> None:
        """The database has stored or refused them. Never fails: at worst they are offered once more."""
        if oldest.mark is None:
            self._drop(oldest.entries)
            return
        try:
            await self._journal.forget(oldest.mark)
        except JournalTrouble as error:
            log.warning("after a crash some finals will be stored again, which changes nothing: %s", error)

    async def finals(self, session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        """At most `limit` finals of a session with a number above `after`, in order."""
        found = {}
        try:
            found = {final.seq: final for final in await self._journal.finals(session_id, after, limit)}
        except JournalTrouble as error:
            log.error("finals on disk cannot be read: %s", error)
        for entry in self._held:
            if isinstance(entry, FinalToStore) and entry.session_id == session_id and entry.seq > after:
                found[entry.seq] = UnstoredFinal(entry.seq, entry.data, entry.epoch)
        return [found[seq] for seq in sorted(found)[:limit]]

    async def _append(self, entries: list[Entry]) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._journal.append(entries), name="journal")
            if (await asyncio.wait({self._writing}, timeout=_DISK_S))[0]:
                return self._writing.result()
            self._writing.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise JournalTrouble(f"the disk has not answered for {_DISK_S:g} s; look after it, or set GATEWAY_DATA_DIR")

    def _drop(self, entries: Sequence[Entry]) -> None:
        dropped = {id(entry) for entry in entries}
        self._held = [entry for entry in self._held if id(entry) not in dropped]
        if self.trouble is not None and not self._held:
            log.warning("no final is in memory only any more")
            self.trouble = None
