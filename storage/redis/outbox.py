"""Messages that wait for the wire: bounded, in order, and no partial after a newer one of the same utterance. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from storage.redis.counters import Counters

LIMIT: Final = 1024 * 1024
"""Bytes that may wait, overhead included."""
OLDEST_S: Final = 1.0
"""What waited longer is not sent any more: listeners have noticed the hole by then and read the past."""
_OVERHEAD: Final = 128  # bytes that a waiting message takes besides its text, about


class Message:
    """`overtakes`: a later message of the same channel with the same key makes this one superfluous. `since`: when it
    was put in, in seconds of the caller's clock.
    """

    __slots__ = ("channel", "data", "overtakes", "since", "size")

    def __init__(self, channel: bytes, data: bytes, overtakes: str | None, since: float) -> None:
        self.channel = channel
        self.data = data
        self.overtakes = overtakes
        self.since = since
        self.size = len(channel) + len(data) + _OVERHEAD
        """Bytes that count against the bound."""


class Outbox:
    """What waits, oldest first. Times are seconds of one clock that does not go back."""

    def __init__(self, counters: Counters, limit: int = LIMIT, oldest_s: float = OLDEST_S) -> None:
        self.size = 0
        self._counters = counters
        self._limit = limit
        self._oldest_s = oldest_s
        self._numbers = count()
        self._waiting: dict[int, Message] = {}  # both in the order of their numbers
        self._partials: dict[tuple[bytes, str], int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """Its forerunner goes. Where room is short, what is too old goes, then the oldest partials, then the oldest."""
        if message.overtakes is not None:
            forerunner = self._partials.get((message.channel, message.overtakes))
            if forerunner is not None:
                self._remove(forerunner)
                self._counters.overtaken += 1
        if self.size + message.size > self._limit and not self._make_room(message):
            self._counters.dropped += 1
            return
        number = next(self._numbers)
        self._waiting[number] = message
        self.size += message.size
        if message.overtakes is not None:
            self._partials[message.channel, message.overtakes] = number

    def take(self, now: float, most: int) -> list[Message]:
        """The oldest, of `most` bytes together; at least one, if any waits."""
        self._drop_older_than(now - self._oldest_s)
        return list(self._leaving(most))

    def _make_room(self, message: Message) -> bool:
        if message.size > self._limit:
            return False
        self._drop_older_than(message.since - self._oldest_s)
        while self.size + message.size > self._limit:
            self._remove(next(iter(self._partials.values() if self._partials else self._waiting)))
            self._counters.dropped += 1
        return True

    def _leaving(self, most: int) -> Iterator[Message]:
        while self._waiting:
            number, message = next(iter(self._waiting.items()))
            most -= message.size
            self._remove(number)
            yield message
            if most <= 0:
                return

    def _drop_older_than(self, time: float) -> None:
        while self._waiting:
            number, message = next(iter(self._waiting.items()))
            if message.since >= time:
                return
            self._remove(number)
            self._counters.dropped += 1

    def _remove(self, number: int) -> None:
        message = self._waiting.pop(number)
        self.size -= message.size
        if message.overtakes is not None:
            del self._partials[message.channel, message.overtakes]
