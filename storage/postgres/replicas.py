"""The processes that share this database, one row each (`gateway.replica`). Every time is the database's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from storage.postgres.values import clean, clean_or_none, read, whole

if TYPE_CHECKING:
    from storage.postgres.pool import Link


@dataclass(frozen=True, slots=True)
class Report:
    """What a beat tells of its process. `capacity`: tracks that it can carry."""

    draining: bool
    sessions: int
    tracks: int
    watchers: int
    capacity: int

    @property
    def values(self) -> tuple[bool, int, int, int, int]:
        """In the order of the columns."""
        return self.draining, whole(self.sessions), whole(self.tracks), whole(self.watchers), whole(self.capacity)


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    id: str
    run: str
    version: str
    url: str | None
    started_at: datetime
    beat_at: datetime
    draining: bool
    sessions: int
    tracks: int
    watchers: int
    capacity: int


class Replicas:
    """Rows of all processes. Raises: what asyncpg raises."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def enter(
        self, id_: str, run: str, process: str, version: str, url: str | None, lease_s: float, report: Report
    ) -> None:
        """A run begins, and an earlier one of this id is over. May be repeated."""
        args = (clean(id_), clean(run), clean(process), clean(version), clean_or_none(url), float(lease_s))
        await self._link.run("replica_enter", *args, *report.values)

    async def beat(self, id_: str, run: str, url: str | None, report: Report) -> bool:
        """Returns: False when the row was found lapsed or is another run's: then everything of this run is lost."""
        return await self._link.run("replica_beat", id_, run, *report.values, clean_or_none(url)) == 1

    async def members(self) -> Sequence[ReplicaRow]:
        """Those that beat, the longest running first."""
        return [read(ReplicaRow, row) for row in await self._link.rows("replica_members")]

    async def leave(self, id_: str, run: str) -> None:
        """It ends, and has handed over what it held."""
        await self._link.run("replica_leave", id_, run)

    async def lose_lapsed(self) -> int:
        """Find out who has not beaten for its lease; their runs are lost from here on. Returns: how many."""
        return await self._link.run("replica_lose")

    async def let_go(self, id_: str, run: str) -> None:
        """What a lost run held is anybody's."""
        await self._link.run("transcription_let_go", id_, run)

    async def forget(self) -> None:
        """Drop the rows of replicas that are long lost and own nothing."""
        await self._link.run("replica_forget")
