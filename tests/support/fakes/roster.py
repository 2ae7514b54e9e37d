"""Members in memory, as PostgreSQL keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.outage import RecordsUnavailable
from gateway.replicas.replica import Replica


@dataclass
class MemoryRoster:
    """`is_away`: the database does not answer. `lost`: runs that were found lapsed."""

    rows: dict[str, Replica] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    is_away: bool = False

    async def enter(self, me: Replica, process: str, lease_s: float, lost: str | None) -> Sequence[Replica]:
        self._answer()
        self.rows[me.id] = me
        return self._members

    async def beat(self, me: Replica) -> Sequence[Replica] | None:
        self._answer()
        if me.run in self.lost or self.rows[me.id].run != me.run:
            return None
        self.rows[me.id] = replace(me)
        return self._members

    async def leave(self, me: Replica) -> None:
        self._answer()
        self.rows.pop(me.id, None)

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
