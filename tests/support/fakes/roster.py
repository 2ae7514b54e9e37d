"""Members in memory, as PostgreSQL keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.outage import RecordsUnavailable
from gateway.replicas.replica import Replica


@dataclass
class MemoryRoster:
    """`is_away`: the database does not answer. `lost`: runs that were found lapsed."""

    rows: dict[str, Replica] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    is_away: bool = False
    now: Callable[[], datetime] | None = None
    """Its clock, if rows are to have its time."""

    async def enter(self, me: Replica, process: str, lease_s: float, lost: str | None) -> Sequence[Replica]:
        self._answer()
        self.rows[me.id] = self._seen(me)
        return self._members

    async def beat(self, me: Replica) -> Sequence[Replica] | None:
        self._answer()
        if me.run in self.lost or self.rows[me.id].run != me.run:
            return None
        self.rows[me.id] = self._seen(me)
        return self._members

    async def leave(self, me: Replica) -> None:
        self._answer()
        self.rows.pop(me.id, None)

    def _seen(self, me: Replica) -> Replica:
        return replace(me, seen_at=self.now()) if self.now is not None else replace(me)

    @property
    def _members(self) -> list[Replica]:
        return [one for one in self.rows.values() if one.run not in self.lost]

    def _answer(self) -> None:
        if self.is_away:
            raise RecordsUnavailable("away")

    async def find_lapsed(self) -> int:
        self._answer()
        return 0

    async def forget(self) -> None:
        self._answer()
