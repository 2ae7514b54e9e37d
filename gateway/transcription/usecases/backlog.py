"""What the database has not got yet: on disk, or in memory while the disk refuses. In order, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.transcription.usecases.journal import Entry, FinalToStore, Journal, JournalTrouble, StoredFinal

log = logging.getLogger(__name__)

# A disk that takes longer is treated like one that refuses: people wait for their captions.
_DISK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Oldest:
    """The entries that are next; `mark` is the journal's, None for entries in memory."""

    entries: list[Entry]
    mark: int | None


class Backlog:
    """Adding never fails and never waits long. `trouble`: why entries are in memory only; None while all is well.

    What is in memory is offered to the disk again with every addition, ahead of what is new. An entry may be both on
    disk and in memory after a write that came late: storing it twice must change nothing.
    """

    def __init__(self, journal: Journal) -> None:
        self.trouble: str | None = None
        self._journal = journal
        self._held: list[Entry] = []
        self._one_by_one = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._journal) + len(self._held)

    @property
    def held(self) -> int:
        """Entries in memory."""
        return len(self._held)

    async def add(self, entries: Sequence[Entry]) -> None:
        """They are on the disk when this returns, unless there is `trouble`. Without entries: try the disk again."""
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
        """At most so many. Raises: JournalTrouble."""
        if len(self._journal):
            entries, mark = await self._journal.oldest(count)
            return Oldest(entries, mark)
        return Oldest(self._held[:count], None)

    async def done(self, oldest: Oldest) -> None:
        """The database has them."""
        if oldest.mark is None:
            self._drop(oldest.entries)
            return
        try:
            await self._journal.forget(oldest.mark)
        except JournalTrouble as error:
            log.warning("after a crash some finals will be stored again, which changes nothing: %s", error)

    async def finals(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        """Those of a session, by number."""
        found = {}
        try:
            found = {final.seq: final for final in await self._journal.finals(session_id, after, limit)}
        except JournalTrouble as error:
            log.error("finals on disk cannot be read: %s", error)
        for entry in self._held:
            if isinstance(entry, FinalToStore) and entry.session_id == session_id and entry.seq > after:
                found[entry.seq] = StoredFinal(entry.seq, entry.data, entry.epoch)
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
