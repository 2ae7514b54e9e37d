"""Two replicas and the clock of their database: whoever may act has not lapsed, and who has is looked at in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from support.fakes.roster import MemoryRoster

from gateway.replicas.membership import BEAT_S, MARGIN_S, Identity, Membership
from gateway.replicas.replica import Replica

LEASE_S = 6.0
EPOCH = datetime(2026, 1, 5, tzinfo=UTC)


class Database(MemoryRoster):
    """`at`: its clock. A statement takes `there_s` to it, and its answer `back_s`."""

    at = 0.0
    there_s = back_s = 0.0

    async def enter(self, me: Replica, process: str, lease_s: float, lost: str | None) -> Sequence[Replica]:
        return await super().enter(me, process, lease_s, lost) and (await self.beat(me) or [])

    async def beat(self, me: Replica) -> Sequence[Replica] | None:
        self.at += self.there_s
        answer = await super().beat(replace(me, seen_at=EPOCH + timedelta(seconds=self.at)))
        self.at += self.back_s
        return answer


delays = st.floats(0, 0.7)


@given(
    skews=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    phase=st.floats(0, BEAT_S),
    beats=st.lists(st.tuples(delays, delays), min_size=1, max_size=5),
)
def test_a_frozen_owner_is_silent_before_it_is_lapsed_and_is_looked_at_when_it_is(
    skews: tuple[float, float], phase: float, beats: list[tuple[float, float]]
) -> None:
    """Whatever their clocks say, and however long the statements take."""

    async def play() -> None:
        database = Database()
        owner, survivor = (
            Membership(database, Identity(name, name, "1"), LEASE_S, clock=lambda skew=skew: database.at + skew)
            for name, skew in zip("ab", skews, strict=True)
        )
        await owner.enter()
        for there_s, back_s in beats:
            database.there_s, database.back_s = there_s, back_s
            await owner.beat()
        last = database.at - back_s  # as the row says; from here on the owner is frozen
        database.at += phase
        await survivor.enter()
        ends_at, looks_at = last + LEASE_S, database.at + survivor.lapses_in_s
        assert ends_at - 1e-6 <= looks_at <= ends_at + back_s + 1e-6, "neither in vain nor late"
        database.at = max(database.at, ends_at - MARGIN_S) + 1e-6  # more than both clocks round
        assert not owner.may_act()

    asyncio.run(play())
