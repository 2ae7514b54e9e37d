"""Counts requests: in this process's memory, or in Redis for all replicas together."""

from __future__ import annotations

import logging
from typing import Final

from gateway.clock import Clock
from gateway.sessions.domain.rate import Rate, take
from storage.redis.throttle import RedisAway, Throttle

log = logging.getLogger(__name__)

KEYS: Final = 100_000
# How long Redis is not asked after it has not answered: requests must not wait for it one by one.
AWAY_S: Final = 5.0
_PREFIX: Final = "gateway:rate:"


class MemoryLimiter:
    """Right for one process. At most KEYS keys are remembered; the longest unused are forgotten first."""

    def __init__(self, clock: Clock, keys: int = KEYS) -> None:
        self._clock = clock
        self._keys = keys
        self._spent_until: dict[str, float] = {}  # least recently used first

    async def wait_s(self, rate_name: str, per_minute: int, key: str) -> float:
        """Never waits and never fails."""
        whole = f"{rate_name}:{key}"
        spent_until = self._spent_until.pop(whole, 0.0)
        after, wait_s = take(Rate(rate_name, per_minute), spent_until, self._clock.monotonic())
        self._spent_until[whole] = after
        while len(self._spent_until) > self._keys:
            del self._spent_until[next(iter(self._spent_until))]
        return wait_s


class RedisLimiter:
    """Right over all replicas. While Redis is away each counts for itself, which is said."""

    def __init__(self, throttle: Throttle, clock: Clock) -> None:
        self.away = False
        self._throttle = throttle
        self._clock = clock
        self._memory = MemoryLimiter(clock)
        self._ask_again_at = 0.0

    async def wait_s(self, rate_name: str, per_minute: int, key: str) -> float:
        """Waits for Redis at most once in AWAY_S while it does not answer. Never fails."""
        if not self.away or self._clock.monotonic() >= self._ask_again_at:
            try:
                wait_s = await self._throttle.take(f"{_PREFIX}{rate_name}:{key}", per_minute)
            except RedisAway as error:
                if not self.away:
                    log.warning("rate limits hold for this replica alone, Redis is away: %s", error)
                self.away = True
                self._ask_again_at = self._clock.monotonic() + AWAY_S
            else:
                if self.away:
                    log.info("rate limits hold for all replicas again")
                self.away = False
                return wait_s
        return await self._memory.wait_s(rate_name, per_minute, key)
