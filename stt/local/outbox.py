"""Messages on their way to the client: they outlive a connection, in order, within a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from stt.local.messages import Topic


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as text. `ordinal` numbers finals from 1; `topic` None: injected by a fault plan."""

    text: str
    topic: Topic | None = None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection here. `code` None: abort the TCP connection."""

    code: int | None


Item: TypeAlias = Letter | HangUp

LIMIT: Final = 10_000
CROWDED: Final = 200  # from here on partials are skipped: a newer one replaces them anyway
_FLEETING: Final = (Topic.PARTIAL, Topic.ACK)


class Outbox:
    """When full, the oldest message is dropped and counted; finals are in the session's result all the same."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Append; never waits. A partial is skipped from CROWDED items on, above LIMIT the oldest item goes."""
        if len(self._items) >= CROWDED and isinstance(item, Letter) and item.topic is Topic.PARTIAL:
            self.dropped += 1
            return
        if len(self._items) >= LIMIT:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._filled.set()

    async def take(self) -> Item:
        """The oldest item; waits for one. Safe to cancel: nothing leaves before the return."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    def disconnected(self, *, replay: bool) -> None:
        """The client is gone. Acks and partials are of no use to its next connection; the rest waits for it.

        A repeated ack would be worse than useless: the client has already counted those bytes back in.
        """
        self._items = deque([item for item in self._items if replay and self._lasts(item)])

    def _lasts(self, item: Item) -> bool:
        if isinstance(item, HangUp):
            return item.code == 1000
        return item.topic is not None and item.topic not in _FLEETING

    def __len__(self) -> int:
        return len(self._items)
