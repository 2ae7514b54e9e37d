"""The webhooks wing: who is told what happens, and what sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.app.replica import Replica
from gateway.app.traces import trace_of
from gateway.webhooks.endpoints import SETTING, UNSET, Endpoints
from gateway.webhooks.outbox import PostgresOutbox
from gateway.webhooks.sender import Sender, open_post


@dataclass(frozen=True, slots=True)
class WebhooksWing:
    """`sender.run` sends; `endpoints` is what services steer."""

    endpoints: Endpoints
    sender: Sender


@asynccontextmanager
async def open_webhooks(replica: Replica) -> AsyncIterator[WebhooksWing]:
    """`Sender.run` must have ended before the block does."""
    settings, clock = replica.settings, replica.clock
    outbox = PostgresOutbox(replica.database)
    if settings.webhook_url is not None:
        await outbox.configure(settings.webhook_url, clock.now())
    else:
        await outbox.disable(SETTING, clock.now(), UNSET)
    async with open_post(settings.webhook_allow, clock.now) as post:
        sender = Sender(outbox, post, clock, replica.secrets.webhook_secrets, trace_of(replica.database))
        yield WebhooksWing(Endpoints(outbox, clock, settings.webhook_allow), sender)
