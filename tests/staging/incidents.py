"""What may go wrong in staging. Each runs until cancelled, or leaves the trouble behind when it returns."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from staging.people import traffic
from staging.world import World


async def key_replaced(world: World) -> None:
    """Somebody made a new key in the provider's account, and the old one died."""
    world.account.write_text("API key: key-of-next-year\n")
    world.provider.options = replace(world.provider.options, api_key="key-of-next-year")


async def redis_frozen(world: World) -> None:
    """It accepts connections and says nothing."""
    world.redis.freeze()
    try:
        await asyncio.Event().wait()
    finally:
        world.redis.thaw()


async def forgotten_transaction(world: World) -> None:
    """Somebody looked into a table with a lock, and went home."""
    settings = {"application_name": "psql"}
    connection = await asyncpg.connect(world.database_url, server_settings=settings)
    try:
        await connection.execute("BEGIN")
        await connection.execute('LOCK TABLE "TranscriptSegment" IN ACCESS EXCLUSIVE MODE')
        await asyncio.Event().wait()
    finally:
        connection.terminate()


async def strangers(world: World) -> None:
    """Five machines open connections at one replica, and send half a request each."""
    port = urlsplit(world.replicas[0].url).port
    held: list[asyncio.StreamWriter] = []
    try:
        while True:
            for number in range(2, 7):
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{number}", 0))
                    held.append(writer)
                    writer.write(b"GET / HTTP/1.1\r\nHost: captions")
            for writer in held[:-300]:
                writer.close()
            held = held[-300:]
            await asyncio.sleep(0.1)
    finally:
        for writer in held:
            writer.close()


async def receiver_broken(world: World) -> None:
    """The app's endpoint for webhooks answers 500 since its last deploy."""
    world.webhooks[0] = 500


async def crowd(world: World) -> None:
    """Many more meetings than the account has places for."""
    await traffic(world, every_s=6.0)


async def replica_hangs(world: World) -> None:
    """Its sockets accept, and nobody is there."""
    world.replicas[0].process.send_signal(signal.SIGSTOP)


async def provider_slow(world: World) -> None:
    """Its finals come five seconds late, in every session."""
    world.provider.faults = {"every": {"finals": {"delay_s": 5}}}


async def uplink_cut(world: World) -> None:
    """A rule in a firewall: one replica does not reach the provider any more."""
    world.replicas[-1].uplink.cut()


async def descriptors_used_up(world: World) -> None:
    """One replica may not open any further file."""
    pid = world.replicas[0].process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_open_files(pid) + 1, hard))


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@dataclass(frozen=True, slots=True)
class Incident:
    """`alert`: what is to fire, and the section of the runbook that leads to the cause."""

    happens: Callable[[World], Awaitable[None]]
    alert: str


INCIDENTS: Final = {
    "a": Incident(key_replaced, "GatewayProviderRefusesCredential"),
    "b": Incident(redis_frozen, "GatewayRedisAway"),
    "c": Incident(forgotten_transaction, "GatewayDatabaseBehind"),
    "d": Incident(strangers, "GatewayConnectionsExhausted"),
    "e": Incident(receiver_broken, "GatewayWebhooksLate"),
    "f": Incident(crowd, "GatewayProviderPlacesUsedUp"),
    "g": Incident(replica_hangs, "GatewayDown"),
    "h": Incident(provider_slow, "GatewayCanaryLate"),
    "i": Incident(uplink_cut, "GatewayProviderUnreachable"),
    "j": Incident(descriptors_used_up, "GatewayFilesUsedUp"),
}
"""By letters, so that the command line does not tell which it is."""
