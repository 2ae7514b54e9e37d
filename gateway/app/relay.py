"""Sessions over several replicas: those that run here are told to others, those that run elsewhere are shown here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway.app.replica import Replica
from gateway.live.foreign import Foreign
from gateway.live.hub import Hub
from gateway.live.owned import Owned
from gateway.live.refusals import Refusals
from gateway.live.relay import REFUSED, owner_channel, refused
from gateway.replicas.membership import Membership
from gateway.transcription.infra.standings import PostgresStandings
from storage.redis.bus import Bus, open_bus
from storage.redis.errors import RedisAway

COUNT_S: Final = 5.0
"""A replica that has missed that a session is wanted elsewhere learns it from Redis."""


@dataclass(frozen=True, slots=True)
class Relay:
    """`owned` and `bus`: None without REDIS_URL."""

    foreign: Foreign
    owned: Owned | None = None
    bus: Bus | None = None
    refusals: Refusals = field(default_factory=Refusals)
    others: Callable[[], Sequence[str]] = tuple
    """Names of the other replicas."""

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.foreign.run(), name="foreign sessions")
            if self.owned is not None and self.bus is not None:
                group.create_task(self.owned.run(), name="marks of sessions")
                group.create_task(_count(self.bus, self.owned), name="receivers")
                group.create_task(self._tell_refusals(self.bus), name="refusals")

    async def _tell_refusals(self, bus: Bus) -> None:
        """One message to each replica for all that were refused meanwhile."""
        while True:
            await asyncio.sleep(COUNT_S)
            if refusals := self.refusals.take():
                for other in self.others():
                    bus.publish(owner_channel(other), refused(refusals), overtakes=REFUSED)


class _Ends:
    """The bus's listener. The ends are made with the bus, before it connects."""

    def __init__(self, owner: str) -> None:
        self._own = owner_channel(owner)
        self.owned: Owned
        self.foreign: Foreign

    def message(self, channel: str, data: bytes) -> None:
        if channel == self._own:
            self.owned.message(data)
        else:
            self.foreign.message(channel, data)

    def live(self, channel: str, *, hole: bool) -> None:
        self.foreign.live(channel, hole=hole)

    def lost(self, channel: str) -> None:
        self.foreign.lost(channel)

    def receivers(self, channel: str, number: int) -> None:
        self.owned.receivers(channel, number)

    def changed(self, is_up: bool, why: str) -> None:
        self.foreign.changed()


@asynccontextmanager
async def open_relay(replica: Replica, membership: Membership, hub: Hub) -> AsyncIterator[Relay]:
    """Opens whether Redis answers or not. At the end the last words are given a moment to go out.

    Raises: BadRedisUrl.
    """
    standings, url = PostgresStandings(replica.database), replica.settings.redis_url
    if not url:
        yield Relay(Foreign(hub, standings, None))
        return
    ends = _Ends(replica.owner)
    async with open_bus(url, ends) as bus:
        ends.foreign = Foreign(hub, standings, bus, replica.owner)
        ends.owned = hub.runs = Owned(hub, bus, ends.foreign.release, membership.may_act)
        bus.subscribe(owner_channel(replica.owner))
        yield Relay(ends.foreign, ends.owned, bus, others=lambda: [one.id for one in membership.seen.others])
        await bus.flush()


async def _count(bus: Bus, owned: Owned) -> None:
    while True:
        await asyncio.sleep(COUNT_S)
        if not (channels := owned.channels):
            continue
        try:
            numbers = await bus.numsub(channels)
        except RedisAway:
            continue
        for channel, number in numbers.items():
            owned.receivers(channel, number)
