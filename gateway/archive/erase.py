"""Everything of a session goes: rows, document, what is in memory. Usage rows are billing records and are archived."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gateway.archive.finalise import Finaliser
from gateway.outage import RecordsUnavailable

log = logging.getLogger(__name__)


class Shelves(Protocol):
    """Where the rows are."""

    async def erase(self, session_id: str) -> bool:
        """All rows, in one transaction. Returns: whether there was a session.

        Raises: RecordsUnavailable, DeletingRefused, with nothing erased.
        """


class Memory(Protocol):
    """What watchers of this process are shown from."""

    def erase(self, session_slug: str) -> None: ...


class Eraser:
    """`abandon`: end this process's run of a session (by id) without another word."""

    def __init__(self, shelves: Shelves, memory: Memory, finaliser: Finaliser, abandon: Callable[[str], None]) -> None:
        self._shelves = shelves
        self._memory = memory
        self._finaliser = finaliser
        self._abandon = abandon

    async def erase(self, session_id: str, slug: str) -> bool:
        """A transcription should be stopped before; one that runs is ended, here at once, elsewhere by its lease.

        Finals that are only on disk yet are dropped as soon as the database is asked about them, and with them their
        file. A document whose store is away goes when it is back. Returns: whether there was a session.
        Raises: RecordsUnavailable, DeletingRefused, with nothing erased.
        """
        found = await self._shelves.erase(session_id)
        self._abandon(session_id)
        self._memory.erase(slug)
        try:
            await self._finaliser.work()
        except RecordsUnavailable as error:
            log.warning("database: %s; the document is removed later", error)
        if found:
            log.info("session erased", extra={"session": slug})
        return found
