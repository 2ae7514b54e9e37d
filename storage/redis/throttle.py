"""So many requests a minute over all replicas: one atomic script on the Redis server, on the server's own clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError

# The generic cell rate algorithm. KEYS[1] holds until when the allowance is spent, in microseconds.
# Numbers go in and out as integers: a double holds microseconds since 1970 exactly, but prints them rounded.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local after = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval
local early = after - now - 60000000
if early > 0 then return early end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return 0
"""


class RedisAway(Exception):
    """The server did not answer in time, or not as it should."""


class Throttle:
    """Use `open_throttle`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)

    async def take(self, key: str, per_minute: int) -> float:
        """Count one request. Returns: 0 when it is granted, else seconds to wait. Raises: RedisAway."""
        try:
            micros: int = await self._take(keys=[key], args=[60_000_000 // per_minute])
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAway(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        return micros / 1_000_000


@asynccontextmanager
async def open_throttle(url: str, *, answer_s: float = 0.5) -> AsyncIterator[Throttle]:
    """Connects at the first use, so that a server that is absent now may come later."""
    client = redis.asyncio.from_url(url, socket_timeout=answer_s, socket_connect_timeout=answer_s)
    try:
        yield Throttle(client)
    finally:
        await client.aclose()
