"""Who keeps the gateways' statements waiting inside PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from storage.postgres.pool import connect
from storage.postgres.sql import Queries
from storage.postgres.url import ConnectOptions

WAITED_S: Final = 2.0
"""Shorter waits for locks are everyday life."""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process of PostgreSQL whose lock `waiting` statements of gateways wait for. `program`, `state`: as in
    pg_stat_activity, None where our role may not see them. `seconds`: since its transaction began, likewise."""

    pid: int
    program: str | None
    state: str | None
    seconds: float | None
    waiting: int


async def lock_holder(options: ConnectOptions, connect_timeout_s: float) -> LockHolder | None:
    """The one for whom most wait. None: no statement of a gateway on this database has waited for WAITED_S.

    Raises: StorageUnavailable, StorageRefused.
    """
    connection = await connect(options, timeout_s=connect_timeout_s)
    try:
        query = Queries(options.schema)["activity_blocking"]
        row = await connection.fetchrow(query, options.application_name, WAITED_S, timeout=connect_timeout_s)
    finally:
        await connection.close()
    if row is None:
        return None
    return LockHolder(row["pid"], row["program"], row["state"], row["seconds"], row["waiting"])
