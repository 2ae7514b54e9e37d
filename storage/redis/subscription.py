"""One channel that a listener wants."""

from __future__ import annotations

import asyncio

from storage.redis.topology import Node


class Subscription:
    """One channel that is wanted, until `Bus.unsubscribe`."""

    __slots__ = ("_settled", "channel", "is_live", "is_over", "node", "raw", "was_live")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.raw = channel.encode()
        self.is_live = False
        """The server has confirmed it, and its connection holds."""
        self.was_live = False
        self.is_over = False
        """Not wanted any more."""
        self.node: Node | None = None
        """Where it lies; None while it is not known."""
        self._settled = asyncio.Event()

    async def confirmed(self) -> bool:
        """Wait until the channel is live. Returns: False when it was unsubscribed, or the bus closed, first."""
        while not self.is_live and not self.is_over:
            self._settled.clear()
            await self._settled.wait()
        return not self.is_over

    def enter(self) -> None:
        """For the subscriber: the server has confirmed it."""
        self.is_live = self.was_live = True
        self._settled.set()

    def leave(self) -> None:
        """For the subscriber: it is not wanted any more."""
        self.is_live, self.is_over = False, True
        self._settled.set()
