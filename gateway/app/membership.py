"""This process among the replicas: entered before it owns anything, left when it owns nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.app.replica import Replica
from gateway.outage import until_database_answers
from gateway.replicas.membership import Identity, Membership
from gateway.replicas.roster import ANSWER_S, PostgresRoster
from gateway.version import VERSION
from storage.postgres.single import SingleConnection


@asynccontextmanager
async def open_membership(replica: Replica) -> AsyncIterator[Membership]:
    """A member until the end of the block; its load is to be set."""
    connection = SingleConnection(replica.database.options, ANSWER_S, replica.delays.statement)
    identity = Identity(replica.owner, replica.process, VERSION)
    membership = Membership(PostgresRoster(connection), identity, replica.settings.lease_s)
    membership.on_time = replica.clock.told
    try:
        await until_database_answers(membership.enter)
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(membership.run(), name="membership")
            try:
                yield membership
            finally:
                beating.cancel()
        await membership.leave()
    finally:
        await connection.close()
