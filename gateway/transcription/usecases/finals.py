"""Reading the finals of a session, wherever they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.transcription.domain.finals import StoredFinal, UnstoredFinal, merged
from gateway.transcription.usecases.records import Records

_PAGE: Final = 1_000
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
        return merged(stored, unstored, await self._epoch(session_id), limit)

    async def newest(self, session_id: str) -> int:
        """The highest number, which is also how many there are; 0 when there is none. Raises: RecordsUnavailable."""
        newest = await self._finals.newest(session_id)
        if await self._unstored(session_id, newest, 1):
            while behind := await self.since(session_id, newest, _PAGE):
                newest = behind[-1].seq
        return newest

    async def at(self, session_id: str, moment_ms: int) -> int | None:
        """The number of the first final that is stored and ends after a moment, counted as `startMs`.

        None: none does, or it is one that the database has not got yet. Raises: RecordsUnavailable.
        """
        return await self._finals.at(session_id, moment_ms)

    async def _epoch(self, session_id: str) -> str | None:
        numbering = await self._transcriptions.numbering(session_id)
        return numbering.epoch if numbering is not None else None
