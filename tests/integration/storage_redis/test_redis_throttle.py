"""The rate limits' script, over the same connections as the bus."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis_world import SOON_S
from support.redis_server import RedisCluster, RedisServer

from storage.redis.errors import RedisAway
from storage.redis.throttle import Throttle, open_throttle


async def test_counts_over_all_replicas(server: RedisServer) -> None:
    async with open_throttle(server.url) as one, open_throttle(f"{server.url}/0") as other:
        granted = [await throttle.take("k", 3) for throttle in (one, other, one, other)]
        assert granted[:3] == [0, 0, 0] and 15 < granted[3] <= 20
        assert await one.take("another", 3) == 0


async def test_a_server_that_comes_later_and_goes_again(server: RedisServer) -> None:
    server.stop()
    async with open_throttle(server.url) as throttle:
        with pytest.raises(RedisAway, match="cannot be reached"):
            await throttle.take("k", 3)
        server.start()
        await _until_granted(throttle)
        server.freeze()
        began = time.monotonic()
        with pytest.raises(RedisAway):
            await throttle.take("k", 1_000)
        assert time.monotonic() - began < 10  # half a second, on a machine with time
        server.thaw()
        await _until_granted(throttle)
        assert server.ask("FLUSHALL") == "+OK\r\n"
        assert await throttle.take("k", 3) == 0


async def test_keys_of_a_cluster_lie_on_several_servers(cluster: RedisCluster) -> None:
    async with open_throttle(cluster.url) as throttle:
        for number in range(20):
            assert await throttle.take(f"k{number}", 60) == 0
        assert all(node.ask("DBSIZE") != ":0\r\n" for node in cluster.nodes)


async def _until_granted(throttle: Throttle) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                assert await throttle.take("k", 1_000) == 0
                return
            except RedisAway:
                await asyncio.sleep(0.05)
