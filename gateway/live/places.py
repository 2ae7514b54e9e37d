"""How many may watch: in all, from one address, of one session. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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


class Places:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self._by_session: Counter[str] = Counter()

    @contextmanager
    def take(self, address: str, slug: str) -> Iterator[None]:
        """Raises: Crowded."""
        if self._taken >= self._limits.watchers:
            raise Crowded(CloseCode.TOO_MANY, "too many connections; come back later", "too_many")
        if self._by_session[slug] >= self._limits.per_session:
            raise Crowded(CloseCode.TOO_MANY, "too many connections of this session", "too_many_of_session")
        if self._by_address[address] >= self._limits.per_address:
            raise Crowded(CloseCode.TOO_MANY, f"too many connections from {address}", "too_many_from_address")
        self._add(address, slug, 1)
        try:
            yield
        finally:
            self._add(address, slug, -1)

    def _add(self, address: str, slug: str, count: int) -> None:
        self._taken += count
        for counter, key in ((self._by_address, address), (self._by_session, slug)):
            counter[key] += count
            if not counter[key]:
                del counter[key]
