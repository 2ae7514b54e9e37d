"""The outbox in Postgres: the port Outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from gateway.availability import available
from gateway.webhooks.endpoints import MOST, SETTING, UNSET, Delivery, Endpoint, Status
from gateway.webhooks.events import BY_DEFAULT
from storage.postgres.webhooks import DeliveryRow, WebhookRow, Webhooks

if TYPE_CHECKING:
    from storage.postgres.pool import Database


class PostgresOutbox:
    """On `gateway.webhook` and `gateway.webhook_delivery`; one statement a method, leases by the database's clock."""

    def __init__(self, database: Database) -> None:
        self._rows = Webhooks(database)

    @available
    async def add(self, endpoint: Endpoint) -> bool:
        """Two at once may be one too many."""
        return await self._rows.add(_row(endpoint), MOST)

    @available
    async def all(self) -> Sequence[Endpoint]:
        return [_endpoint(row) for row in await self._rows.all()]

    @available
    async def find(self, endpoint_id: str) -> Endpoint | None:
        row = await self._rows.by_id(endpoint_id)
        return None if row is None else _endpoint(row)

    @available
    async def change(self, endpoint: Endpoint) -> Endpoint | None:
        row = await self._rows.change(_row(endpoint))
        return None if row is None else _endpoint(row)

    @available
    async def hurry(self, endpoint_id: str) -> None:
        await self._rows.hurry(endpoint_id)

    @available
    async def rotate(self, endpoint_id: str, secret: str, former_until: datetime) -> Endpoint | None:
        row = await self._rows.rotate(endpoint_id, secret, former_until)
        return None if row is None else _endpoint(row)

    @available
    async def remove(self, endpoint_id: str) -> None:
        await self._rows.remove(endpoint_id)

    @available
    async def disable(self, endpoint_id: str, at: datetime, reason: str) -> None:
        await self._rows.disable(endpoint_id, at, reason)

    @available
    async def configure(self, url: str, at: datetime) -> None:
        await self._rows.configure(SETTING, url, BY_DEFAULT, at, UNSET)

    @available
    async def test(self, endpoint_id: str, at: datetime) -> Delivery | None:
        row = await self._rows.test(endpoint_id, at, msgspec.json.encode({"webhookId": endpoint_id}))
        return None if row is None else _delivery(row)

    @available
    async def take(self, busy: Mapping[str, int], lease_s: float, most: int) -> Sequence[tuple[Delivery, Endpoint]]:
        taken = await self._rows.take(busy, lease_s, most)
        return [(_delivery(one.delivery), _endpoint(one.endpoint)) for one in taken]

    @available
    async def settle(self, delivery: Delivery, status: Status, answer: int | None, trouble: str | None) -> None:
        await self._rows.settle(DeliveryRow(*astuple(delivery)), status, answer, trouble)

    @available
    async def again(self, delivery: Delivery, pause_s: float, answer: int | None, trouble: str) -> None:
        await self._rows.again(DeliveryRow(*astuple(delivery)), pause_s, answer, trouble)

    @available
    async def let_go(self, delivery: Delivery) -> None:
        await self._rows.let_go(DeliveryRow(*astuple(delivery)))

    @available
    async def deliveries(
        self, endpoint_id: str, status: Status | None, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        return [_delivery(row) for row in await self._rows.deliveries(endpoint_id, status, before, limit)]

    @available
    async def replay_one(self, endpoint_id: str, delivery_id: int) -> Delivery | None:
        row = await self._rows.replay_one(endpoint_id, delivery_id)
        return None if row is None else _delivery(row)

    @available
    async def replay(
        self, endpoint_id: str, since: datetime, until: datetime | None, types: Sequence[str] | None
    ) -> int:
        return await self._rows.replay(endpoint_id, since, until, types)

    @available
    async def prune(self, before: datetime, limit: int) -> int:
        return await self._rows.prune(before, limit)

    @available
    async def waiting(self) -> tuple[int, datetime | None]:
        return await self._rows.waiting()


def _row(endpoint: Endpoint) -> WebhookRow:
    return WebhookRow(
        id=endpoint.id,
        url=endpoint.url,
        events=[*endpoint.events],
        space_id=endpoint.space_id,
        description=endpoint.description,
        secrets=[*endpoint.secrets],
        former_until=endpoint.former_until,
        created_at=endpoint.created_at,
        disabled_at=endpoint.disabled_at,
        disabled_reason=endpoint.disabled_reason,
    )


def _endpoint(row: WebhookRow) -> Endpoint:
    return Endpoint(
        id=row.id,
        url=row.url,
        events=tuple(row.events),
        space_id=row.space_id,
        description=row.description,
        created_at=row.created_at,
        secrets=tuple(row.secrets),
        former_until=row.former_until,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
    )


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(*astuple(row))
