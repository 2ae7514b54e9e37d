"""The shared places of an account, seen from one gateway: turns, heirs, and a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.transcription.infra.provider_slots import SharedSlots
from storage.postgres.places import Asked, Turn


class Table:
    """What `ProviderPlaces` does for one account, with one list."""

    def __init__(self) -> None:
        self.rows: dict[str, bool] = {}  # id → granted, in the order of asking
        self.down = False
        self.turns = 0

    async def turn(self, limit: int, asked: Sequence[Asked], returned: Sequence[str], lease_s: float) -> Turn:
        await asyncio.sleep(0)
        self.turns += 1
        if self.down:
            raise ConnectionError
        for one in asked:
            self.rows.setdefault(one.id, one.granted)
        for key in returned:
            self.rows.pop(key, None)
        for key in [key for key, granted in self.rows.items() if not granted]:
            if sum(self.rows.values()) < limit:
                self.rows[key] = True
        held = frozenset(key for key, granted in self.rows.items() if granted)
        return Turn(held, len(held), len(self.rows) - len(held))


def shared(table: Table, limit: int = 2, lease_s: float = 30.0) -> SharedSlots:
    return SharedSlots(table, limit, lease_s, asyncio.get_running_loop().time)  # type: ignore[arg-type]


async def test_places_are_granted_as_they_come_free() -> None:
    table = Table()
    places = shared(table)
    async with places.serving():
        asked = [places.ask(None, {}) for _ in range(4)]
        await asyncio.sleep(1)
        assert [place.is_granted for place in asked] == [True, True, False, False]
        assert (places.held, places.waiting) == (2, 2)
        asked[0].give_back()
        await asyncio.wait_for(asked[2].wait(), 0.1)  # at once, not at the next look
        asked[3].give_back()  # it gives up waiting
        await asyncio.sleep(1)
        assert len(table.rows) == 2
    assert table.rows == {}


async def test_while_nobody_waits_the_database_is_asked_only_to_renew() -> None:
    table = Table()
    places = shared(table)
    async with places.serving():
        places.ask(None, {})
        await asyncio.sleep(1)
        before = table.turns
        await asyncio.sleep(60)
        assert table.turns - before == 6


async def test_without_the_database_a_place_goes_from_hand_to_hand_and_none_is_added() -> None:
    table = Table()
    places = shared(table)
    async with places.serving():
        first, second, third, fourth = (places.ask(None, {}) for _ in range(4))
        await asyncio.sleep(1)
        table.down = True
        fifth = places.ask(None, {})
        await asyncio.sleep(2)
        first.give_back()
        assert [place.is_granted for place in (third, fourth, fifth)] == [True, False, False]
        table.down = False
        await asyncio.sleep(2)
        assert sum(table.rows.values()) == 2 and len(table.rows) == 4
        second.give_back()
        third.give_back()
        await asyncio.sleep(1)
        assert fourth.is_granted and fifth.is_granted


async def test_a_place_whose_lease_may_have_run_out_is_not_passed_on() -> None:
    table = Table()
    places = shared(table, limit=1, lease_s=10.0)
    async with places.serving():
        held, waits = places.ask(None, {}), places.ask(None, {})
        await asyncio.sleep(1)
        table.down = True
        await asyncio.sleep(20)
        held.give_back()
        await asyncio.sleep(5)
        assert not waits.is_granted
        table.down = False
        await asyncio.wait_for(waits.wait(), 5)
