"""Which replica a new transcription is offered to: the power of two choices on reported load. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from gateway.replicas.replica import Replica

OFFERS: Final = 4
"""Replicas that are asked at most for one start."""


class Placement:
    """Remembers what was given to each replica since its last beat, which its reported load does not show yet.

    Taking two at random and then the less loaded of them spreads the load nearly as evenly as comparing all; and many
    gateways that place at the same moment do not all choose the same one.
    """

    def __init__(self, me: str, shuffle: Callable[[list[Replica]], None]) -> None:
        """`shuffle`: as `random.shuffle`."""
        self._me = me
        self._shuffle = shuffle
        self._given: dict[str, tuple[datetime, int]] = {}
        self._seen_at: dict[str, datetime] = {}
        self._silent: dict[str, datetime | None] = {}

    def order(self, members: Iterable[Replica]) -> list[Replica]:
        """Those with room and an address, in the order in which to ask them; at most OFFERS.

        Of two that are equally loaded this replica comes first: it needs no hop.
        """
        members = list(members)
        self._given = {one.id: given for one in members if (given := self._given.get(one.id)) is not None}
        self._seen_at = {one.id: one.seen_at for one in members}
        self._silent = {one.id: one.seen_at for one in members if self._silent.get(one.id) == one.seen_at}
        left = [one for one in members if self._has_room(one)]
        self._shuffle(left)
        order: list[Replica] = []
        while left and len(order) < OFFERS:
            best = min(left[:2], key=lambda one: (self._share(one), one.id != self._me))
            left.remove(best)
            order.append(best)
        return order

    def gave(self, replica: Replica) -> None:
        """A transcription has begun there."""
        self._given[replica.id] = (replica.seen_at, self._since(replica) + 1)

    def missed(self, replica: str) -> None:
        """That one has not answered: it is not asked again before its next beat."""
        self._silent[replica] = self._seen_at.get(replica)

    def _since(self, replica: Replica) -> int:
        at, count = self._given.get(replica.id, (replica.seen_at, 0))
        return count if at == replica.seen_at else 0

    def _has_room(self, replica: Replica) -> bool:
        if not replica.takes_sessions or replica.id in self._silent or (replica.url is None and replica.id != self._me):
            return False
        return replica.load.tracks + self._since(replica) < replica.load.capacity

    def _share(self, replica: Replica) -> float:
        return replica.load.share + self._since(replica) / replica.load.capacity
