"""The members in PostgreSQL, behind `Roster`; on a connection of their own, so that a busy pool delays no beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.availability import available
from gateway.replicas.replica import Load, Replica
from storage.postgres.replicas import ReplicaRow, Replicas, Report
from storage.postgres.single import SingleConnection

ANSWER_S: Final = 1.5
"""How long the database has for a beat: three of them fit into the shortest lease."""


class PostgresRoster:
    """`connection` is used for nothing else, with a deadline of ANSWER_S."""

    def __init__(self, connection: SingleConnection) -> None:
        self._connection = connection

    @available
    async def enter(self, me: Replica, process: str, lease_s: float, lost: str | None) -> Sequence[Replica]:
        """Two statements, three after a loss."""
        async with self._connection.link() as link:
            rows = Replicas(link)
            if lost is not None:
                await rows.let_go(me.id, lost)
            await rows.enter(me.id, me.run, process, me.version, me.url, lease_s, _report(me))
            return [_replica(row) for row in await rows.members()]

    @available
    async def beat(self, me: Replica) -> Sequence[Replica] | None:
        """Two statements: the row, then all rows."""
        async with self._connection.link() as link:
            rows = Replicas(link)
            if not await rows.beat(me.id, me.run, me.url, _report(me)):
                return None
            return [_replica(row) for row in await rows.members()]

    @available
    async def leave(self, me: Replica) -> None:
        """The row goes."""
        async with self._connection.link() as link:
            await Replicas(link).leave(me.id, me.run)

    @available
    async def find_lapsed(self) -> int:
        """Rows that are locked are left to the next look: their beat is under way."""
        async with self._connection.link() as link:
            return await Replicas(link).lose_lapsed()

    @available
    async def forget(self) -> None:
        """After a minute."""
        async with self._connection.link() as link:
            await Replicas(link).forget()


def _report(me: Replica) -> Report:
    load = me.load
    return Report(me.is_draining, load.sessions, load.tracks, load.watchers, load.capacity)


def _replica(row: ReplicaRow) -> Replica:
    load = Load(row.sessions, row.tracks, row.watchers, row.capacity)
    return Replica(row.id, row.run, row.version, row.url, row.started_at, row.beat_at, row.draining, load)
