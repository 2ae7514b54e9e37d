"""Rate limits per user or address: a caller above one is told when to ask again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gateway.sessions.domain.access import Caller, Kind
from gateway.sessions.domain.errors import TooManyRequests
from gateway.sessions.usecases.ports import RateLimiter


@dataclass(frozen=True, slots=True)
class RateOptions:
    """Requests a minute, of one user or one address; 0 = no limit."""

    create: int = 10
    list: int = 60
    join: int = 60
    search: int = 120
    steer: int = 60


class Rates:
    """The app itself, with its service token, is not limited: it asks for all its users."""

    def __init__(self, limiter: RateLimiter, options: RateOptions) -> None:
        self.refused: Counter[str] = Counter()
        self._limiter = limiter
        self._options = options

    async def create(self, caller: Caller, address: str) -> None:
        """Raises: TooManyRequests."""
        await self._take("create", self._options.create, caller, address)

    async def list(self, caller: Caller, address: str) -> None:
        """Raises: TooManyRequests."""
        await self._take("list", self._options.list, caller, address)

    async def join(self, caller: Caller, address: str) -> None:
        """Also for a room's token, so that guessing join tokens is slow. Raises: TooManyRequests."""
        await self._take("join", self._options.join, caller, address)

    async def search(self, caller: Caller, address: str) -> None:
        """Raises: TooManyRequests."""
        await self._take("search", self._options.search, caller, address)

    async def steer(self, caller: Caller, address: str) -> None:
        """Starts, ends, pauses and hosts together: each is stored and told. Raises: TooManyRequests."""
        await self._take("steer", self._options.steer, caller, address)

    async def _take(self, name: str, per_minute: int, caller: Caller, address: str) -> None:
        if not per_minute or caller.kind is Kind.SERVICE:
            return
        key = f"user:{caller.id}" if caller.kind is Kind.USER else f"address:{address}"
        wait_s = await self._limiter.wait_s(name, per_minute, key)
        if wait_s > 0:
            self.refused[name] += 1
            raise TooManyRequests(name, per_minute, wait_s)
