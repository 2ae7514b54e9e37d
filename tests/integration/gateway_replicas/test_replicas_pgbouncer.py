"""Two gateways behind PgBouncer in transaction mode: every statement may land on another server connection."""

from __future__ import annotations

from pathlib import Path

from integration.gateway_replicas.replicas_scene import scene
from support.pgbouncer import running_bouncer
from support.postgres import PostgresServer
from support.redis_server import running_redis


async def test_a_session_lives_its_whole_life_behind_a_transaction_pooler(
    postgres_server: PostgresServer, database_url: str, tmp_path: Path
) -> None:
    """Started, heard, watched elsewhere with Redis and without, stopped, billed; two server connections for all."""
    with running_bouncer(postgres_server) as bouncer, running_redis(tmp_path) as redis:
        async with scene(bouncer.url(database_url), tmp_path, redis.url) as there:
            await there.live()
            redis.stop()
            await there.degraded()
            stopped = await there.owner.stop(there.slug)
            assert stopped["finalsComplete"]
            usage = await there.owner.ok("GET", f"/api/transcription/{there.slug}/usage")
            assert usage["totals"]["finalTranscripts"] == there.near.finals[-1]["seq"] > 0
            await there.far.until(lambda far: far.finals[-1]["seq"] == there.near.finals[-1]["seq"])
            await there.check()
            await there.owner.ok("DELETE", f"/api/sessions/{there.slug}")
