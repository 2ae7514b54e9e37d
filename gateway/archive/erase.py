"""Everything of a session goes: rows, document, what is in memory. Usage rows are billing records and are archived."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from gateway.outage import RecordsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.archive.finalise import Finaliser

log = logging.getLogger(__name__)


class SessionDeletion(Protocol):
    """Where the session's rows are."""

    async def erase(self, session_id: str) -> bool:
        """All rows, in one transaction; the second call finds nothing. Returns: whether there was a session.

        Raises: RecordsUnavailable, then the call may be repeated; DeletingRefused. After either nothing is erased.
        """


class LiveMemory(Protocol):
    """What watchers of this process are shown from."""

    def erase(self, session_slug: str) -> None:
        """Forget the session's transcript and end its watchers' streams, at once. An unknown slug changes nothing."""


class Eraser:
    """`abandon`: end this process's run of a session (by id); it stores and shows nothing more."""

    def __init__(
        self, deletion: SessionDeletion, memory: LiveMemory, finaliser: Finaliser, abandon: Callable[[str], None]
    ) -> None:
        self._deletion = deletion
        self._memory = memory
        self._finaliser = finaliser
        self._abandon = abandon

    async def erase(self, session_id: str, slug: str) -> bool:
        """A transcription should be stopped before; one that runs is ended: here at once, elsewhere by its lease.

        Finals that are on disk only are dropped, with their file, once the database has told that the session is gone.
        A document whose store does not answer is deleted when it does. Returns: whether there was a session.
        Raises: RecordsUnavailable, DeletingRefused, with nothing erased.
        """
        found = await self._deletion.erase(session_id)
        self._abandon(session_id)
        self._memory.erase(slug)
        try:
            await self._finaliser.work()
        except RecordsUnavailable as error:
            log.warning("database: %s; the document is removed later", error)
        if found:
            log.info("session erased", extra={"session": slug})
        return found
