"""Reading the finals of a session, wherever they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gateway.transcription.domain.finals import StoredFinal, UnstoredFinal, merged
from gateway.transcription.usecases.records import Records

Unstored = Callable[[str, int, int], Awaitable[Sequence[UnstoredFinal]]]
"""Finals that watchers have seen and the database has not got: (session id, after, limit), by number."""


async def _none(session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
    return ()


class FinalReader:
    """What the database has, and what this process still holds for it. Without `unstored` the database alone."""

    def __init__(self, records: Records, unstored: Unstored = _none) -> None:
        self._finals = records.finals
        self._transcriptions = records.transcriptions
        self._unstored = unstored

    async def since(self, session_id: str, after: int, limit: int) -> Sequence[StoredFinal]:
        """At most `limit` finals with a number above `after`, in order. Raises: RecordsUnavailable."""
        # Asked first: a final that is stored between the two questions is then in both answers, not in none.
        unstored = await self._unstored(session_id, after, limit)
        stored = await self._finals.since(session_id, after, limit)
        if not unstored:
            return stored
        numbering = await self._transcriptions.numbering(session_id)
        return merged(stored, unstored, numbering.epoch if numbering is not None else None, limit)
