"""Slots at the speech provider, one an open session, over all replicas of an account (`gateway.provider_place`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.postgres.values import clean, whole

if TYPE_CHECKING:
    from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class Asked:
    """A slot that a track asks for or holds. `senior`: the one whose turn in the queue it inherits, if still there.

    `transcription_id`: whoever adopts that one has the slot.
    """

    id: str
    senior: str | None
    granted: bool
    transcription_id: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """`granted`: this process's. `held` and `waiting`: of the whole account."""

    granted: frozenset[str]
    held: int
    waiting: int


class ProviderPlaces:
    """Of one account, for one process."""

    def __init__(self, database: Database, account: str, process: str) -> None:
        self._db = database
        self._account = clean(account)
        self._process = clean(process)

    async def turn(self, limit: int, asked: Sequence[Asked], returned: Sequence[str], lease_s: float) -> Turn:
        """Give slots back, ask for others, renew the rest, and grant what is free: first asked, first granted.

        Rows of other processes whose lease ran out are dropped; what is not in `asked` is not renewed.
        """
        async with self._db.transaction() as link:
            await link.row("place_lock", self._account)
            ids = [place.id for place in asked]
            seniors, granted = [place.senior for place in asked], [place.granted for place in asked]
            served = [place.transcription_id for place in asked]
            args = self._account, self._process, ids, seniors, granted, float(lease_s), served
            await link.run("place_keep", *args)
            # After the heirs have taken over their seniors' turns.
            await link.run("place_drop", self._account, self._process, list(returned))
            await link.run("place_grant", self._account, whole(limit))
            rows = await link.rows("place_list", self._account)
        held = [row for row in rows if row["granted"]]
        mine = frozenset(row["id"] for row in held if row["process"] == self._process)
        return Turn(mine, len(held), len(rows) - len(held))

    async def drop_former(self, owner: str) -> int:
        """Drop the slots of earlier processes of this replica. `process` names begin with their owner and a slash."""
        return await self._db.run("place_drop_former", self._account, f"{clean(owner)}/", self._process)
