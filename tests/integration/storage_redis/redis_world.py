"""A listener that writes down what it hears, and waits for what is expected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.waiting import until

from storage.redis.bus import Bus, open_bus

SOON_S = 60.0
"""Far beyond what anything takes here; a machine may be busy."""


class Notes:
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def message(self, channel: str, data: bytes) -> None:
        self.told.append(("message", channel, data))

    def live(self, channel: str, *, hole: bool) -> None:
        self.told.append(("live", channel, hole))

    def lost(self, channel: str) -> None:
        self.told.append(("lost", channel))

    def receivers(self, channel: str, number: int) -> None:
        self.told.append(("receivers", channel, number))

    def changed(self, is_up: bool, why: str) -> None:
        self.told.append(("up" if is_up else "down", why))

    def heard(self, channel: str) -> list[bytes]:
        """Messages on one channel, in order."""
        return [told[2] for told in self.told if told[:2] == ("message", channel)]

    def has(self, *what: Any) -> bool:
        return any(told[: len(what)] == what for told in self.told)


async def live(bus: Bus, *channels: str) -> None:
    """Subscribe, and wait for the confirmations."""
    async with asyncio.timeout(SOON_S):
        for channel in channels:
            assert await bus.subscribe(channel).confirmed()


@asynccontextmanager
async def connected_bus(url: str) -> AsyncIterator[tuple[Bus, Notes]]:
    """A bus that is up."""
    notes = Notes()
    async with open_bus(url, notes) as bus:
        await until(lambda: bus.is_up)
        yield bus, notes


async def published(bus: Bus, channel: str, *texts: bytes) -> None:
    """And answered."""
    for text in texts:
        bus.publish(channel, text)
    assert await bus.flush(SOON_S)
