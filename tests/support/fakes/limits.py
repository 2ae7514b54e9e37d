"""What was used and may be used, over `MemoryRecords`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.limits import Overrides, Standing

if TYPE_CHECKING:
    from support.fakes.records import MemoryRecords


class MemoryLedger:
    """The limits' view of MemoryRecords: every meter counts as today's."""

    def __init__(self, records: MemoryRecords) -> None:
        self._records = records
        self.told: list[tuple[str, str]] = []
        self._overrides: dict[str, Overrides] = {}

    async def standings(self, asked: Sequence[tuple[str, str]], live_s: float) -> Mapping[str, Standing]:
        found = {session_id: await self._standing(session_id, own) for session_id, own in asked}
        return {session_id: standing for session_id, standing in found.items() if standing is not None}

    async def _standing(self, session_id: str, transcription_id: str) -> Standing | None:
        space = await self._records.space_of(session_id)
        if space is None:
            return None
        others = [row for row in self._records.metered() if row[1] != transcription_id]
        here = [used for session, _, used in others if await self._records.space_of(session) == space]
        return Standing(
            self._overrides.get(space, Overrides()),
            session_s=sum(used.duration_seconds for session, _, used in others if session == session_id),
            space_s=sum(used.duration_seconds for used in here),
            space_live=sum(used.ended_at is None for used in here),
        )

    async def overrides(self, space_id: str) -> Overrides:
        return self._overrides.get(space_id, Overrides())

    async def override(self, space_id: str, overrides: Overrides) -> None:
        self._overrides[space_id] = overrides

    async def refused(self, session_id: str, reason: str, quiet_s: float) -> None:
        if self._records.down:
            raise RecordsUnavailable("down")
        self.told.append((session_id, reason))

    async def spent_today(self, space_id: str) -> int:
        return sum(used.duration_seconds for _, _, used in self._records.metered())
