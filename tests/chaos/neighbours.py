"""What long runs stand on: PostgreSQL, Redis and a LiveKit server of their own, and a folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from support.builds import CannotBuild
from support.livekit import LivekitServer, find_or_build, no_proxy
from support.postgres import running_postgres
from support.redis_server import RedisServer, running_redis


class Neighbours(NamedTuple):
    """`livekit`: None where it cannot be built."""

    database_url: str
    redis: RedisServer
    livekit: LivekitServer | None
    folder: Path


class Stores(NamedTuple):
    """`folder`: of all that is written."""

    database_url: str
    redis: RedisServer
    folder: Path


@contextmanager
def stores(name: str, keep: str | None = None) -> Iterator[Stores]:
    """PostgreSQL and Redis alone. `keep`: a folder that stays; else one that is named after `name` and goes at the
    end."""
    with ExitStack() as stack:
        folder = Path(keep or stack.enter_context(tempfile.TemporaryDirectory(prefix=f"gateway-{name}-")))
        folder.mkdir(parents=True, exist_ok=True)
        postgres = stack.enter_context(running_postgres())
        redis = stack.enter_context(running_redis(folder))
        yield Stores(stack.enter_context(postgres.database()), redis, folder)


@contextmanager
def neighbours(name: str, keep: str | None) -> Iterator[Neighbours]:
    """`name`, `keep`: as of `stores`."""
    with stores(name, keep) as (database_url, redis, folder), _livekit_server(folder) as livekit:
        yield Neighbours(database_url, redis, livekit, folder)


@contextmanager
def _livekit_server(folder: Path) -> Iterator[LivekitServer | None]:
    """None where it cannot be built: rooms are left out then, but not in CI."""
    try:
        program = find_or_build()
    except CannotBuild as error:
        if os.environ.get("CI") == "true":
            raise
        print(f"no rooms: {error}", flush=True)
        yield None
        return
    with no_proxy():
        server = LivekitServer(program, folder / "livekit.log")
        server.start()
        try:
            yield server
        finally:
            server.stop()
