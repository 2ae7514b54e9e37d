"""How many may watch: in all, from one address, of one session. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gateway.live.protocol import CloseCode


class Crowded(Exception):
    """No place for another watcher now. `code` says when to come back, `limit` which bound was met."""

    def __init__(self, code: CloseCode, text: str, limit: str) -> None:
        self.code = code
        self.limit = limit
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Limits:
    watchers: int = 20_000
    per_address: int = 1_000
    per_session: int = 10_000


class Place:
    """Taken until `leave`, which is called once, or until the end of its `with` block."""

    __slots__ = ("_address", "_places", "_slug")

    def __init__(self, places: Places, address: str, slug: str) -> None:
        self._places, self._address, self._slug = places, address, slug

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.leave()

    def leave(self) -> None:
        self._places.count(self._address, self._slug, -1)


class Places:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self._by_session: Counter[str] = Counter()

    def take(self, address: str, slug: str) -> Place:
        """To be given back. Raises: Crowded."""
        if self._taken >= self._limits.watchers:
            raise Crowded(CloseCode.TOO_MANY, "too many connections; come back later", "too_many")
        if self._by_session[slug] >= self._limits.per_session:
            raise Crowded(CloseCode.TOO_MANY, "too many connections of this session", "too_many_of_session")
        if self._by_address[address] >= self._limits.per_address:
            raise Crowded(CloseCode.TOO_MANY, f"too many connections from {address}", "too_many_from_address")
        self.count(address, slug, 1)
        return Place(self, address, slug)

    def count(self, address: str, slug: str, difference: int) -> None:
        self._taken += difference
        for counter, key in ((self._by_address, address), (self._by_session, slug)):
            counter[key] += difference
            if not counter[key]:
                del counter[key]
