"""News that wait for the wire: bounded, in order, and no partial after a newer one of the same utterance. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from storage.redis.counters import Counters

LIMIT: Final = 1024 * 1024
"""Bytes that may wait, overhead included."""
OLDEST_S: Final = 1.0
"""Who waited longer is not sent any more: whoever listens has noticed the hole by then and reads the past."""
_OVERHEAD: Final = 128  # bytes that a waiting message takes besides its text, about


@dataclass(frozen=True, slots=True)
class News:
    """One message. `overtakes`: a later one of the same channel with the same key makes it superfluous."""

    channel: bytes
    data: bytes
    overtakes: str | None
    since: float
    """When it was put in, in seconds of the caller's clock."""

    @property
    def size(self) -> int:
        """Bytes that count against the bound."""
        return len(self.channel) + len(self.data) + _OVERHEAD


class Outbox:
    """What waits, oldest first. Times are seconds of one clock that does not go back."""

    def __init__(self, counters: Counters, limit: int = LIMIT, oldest_s: float = OLDEST_S) -> None:
        self.size = 0
        self._counters = counters
        self._limit = limit
        self._oldest_s = oldest_s
        self._numbers = count()
        self._waiting: dict[int, News] = {}  # both in the order of their numbers
        self._partials: dict[tuple[bytes, str], int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, news: News) -> None:
        """Its forerunner goes. Where room is short, the oldest partials go first, then the oldest of the rest."""
        if news.overtakes is not None:
            forerunner = self._partials.get((news.channel, news.overtakes))
            if forerunner is not None:
                self._remove(forerunner)
                self._counters.overtaken += 1
        self._drop_older_than(news.since - self._oldest_s)
        if news.size > self._limit:
            self._counters.dropped += 1
            return
        while self.size + news.size > self._limit:
            self._remove(next(iter(self._partials.values() if self._partials else self._waiting)))
            self._counters.dropped += 1
        number = next(self._numbers)
        self._waiting[number] = news
        self.size += news.size
        if news.overtakes is not None:
            self._partials[news.channel, news.overtakes] = number

    def take(self, now: float, most: int) -> list[News]:
        """The oldest, of `most` bytes together; at least one, if any waits."""
        self._drop_older_than(now - self._oldest_s)
        return list(self._leaving(most))

    def _leaving(self, most: int) -> Iterator[News]:
        while self._waiting:
            number, news = next(iter(self._waiting.items()))
            most -= news.size
            self._remove(number)
            yield news
            if most <= 0:
                return

    def _drop_older_than(self, time: float) -> None:
        while self._waiting:
            number, news = next(iter(self._waiting.items()))
            if news.since >= time:
                return
            self._remove(number)
            self._counters.dropped += 1

    def _remove(self, number: int) -> None:
        news = self._waiting.pop(number)
        self.size -= news.size
        if news.overtakes is not None:
            del self._partials[news.channel, news.overtakes]
