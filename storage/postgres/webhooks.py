"""Who is told what over HTTP, and what is still to be told: `gateway.webhook`, `gateway.webhook_delivery`.

Events are written by the statements that make the facts, through the SQL function `gateway.webhook_tell`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from storage.postgres.values import clean, clean_or_none, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class WebhookRow:
    id: str
    url: str
    events: list[str]
    space_id: str | None
    description: str | None
    secrets: list[str]
    former_until: datetime | None
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """`data`: JSON. `due_at`: of the next attempt, or the end of the lease of whoever is sending it."""

    id: int
    endpoint_id: str
    event_id: str
    type: str
    lane: str
    at: datetime
    data: bytes
    status: str
    attempts: int
    created_at: datetime
    due_at: datetime
    settled_at: datetime | None
    answer: int | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class TakenRow:
    """A delivery that the caller is to make, and where to."""

    delivery: DeliveryRow
    endpoint: WebhookRow


class Webhooks:
    """Each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, row: WebhookRow, most: int) -> bool:
        """Returns: False when there are `most` already."""
        args = (row.id, row.url, row.events, clean_or_none(row.space_id), clean_or_none(row.description))
        return await self._db.run("webhook_add", *args, row.secrets, row.created_at, most) == 1

    async def all(self) -> list[WebhookRow]:
        """The oldest first."""
        return [read(WebhookRow, record) for record in await self._db.rows("webhook_list")]

    async def by_id(self, webhook_id: str) -> WebhookRow | None:
        """None when there is none."""
        return _webhook(await self._db.row("webhook_by_id", clean(webhook_id)))

    async def change(self, row: WebhookRow) -> WebhookRow | None:
        """All but its secrets. Returns: as it is now; None when it is gone."""
        args = (row.id, row.url, row.events, clean_or_none(row.space_id), clean_or_none(row.description))
        return _webhook(await self._db.row("webhook_change", *args, row.disabled_at, row.disabled_reason))

    async def hurry(self, webhook_id: str) -> None:
        """What waits for it is due now; what is being sent may be sent twice."""
        await self._db.run("webhook_hurry", clean(webhook_id))

    async def rotate(self, webhook_id: str, secret: str, former_until: datetime) -> WebhookRow | None:
        """The former secret signs as well until then. Returns: None when it is gone."""
        return _webhook(await self._db.row("webhook_rotate", clean(webhook_id), secret, former_until))

    async def remove(self, webhook_id: str) -> None:
        """With everything that it was told or is to be told; repeating it changes nothing."""
        await self._db.run("webhook_remove", clean(webhook_id))

    async def disable(self, webhook_id: str, at: datetime, reason: str) -> None:
        """Nothing is written for it any more, and nothing sent."""
        await self._db.run("webhook_disable", webhook_id, at, reason)

    async def configure(self, webhook_id: str, url: str, events: Sequence[str], now: datetime, unset: str) -> None:
        """The endpoint of the setting is there. `unset`: for which reason it was disabled while it was not."""
        await self._db.run("webhook_configure", webhook_id, url, list(events), now, unset)

    async def test(self, webhook_id: str, now: datetime, data: bytes) -> DeliveryRow | None:
        """Returns: None when there is no such endpoint."""
        return _delivery(await self._db.row("webhook_test", clean(webhook_id), now, data))

    async def take(self, busy: Mapping[str, int], lease_s: float, most: int) -> list[TakenRow]:
        """What is due, the caller's for `lease_s`. `busy`: its requests to an endpoint now; at most `most`."""
        records = await self._db.rows("webhook_take", list(busy), list(busy.values()), lease_s, most)
        return [_taken(record) for record in records]

    async def settle(self, delivery: DeliveryRow, status: str, answer: int | None, trouble: str | None) -> bool:
        """The last attempt was made. Returns: False when another one has taken it meanwhile."""
        args = (delivery.id, delivery.attempts, status, answer, clean_or_none(trouble))
        return await self._db.run("webhook_settle", *args) == 1

    async def again(self, delivery: DeliveryRow, pause_s: float, answer: int | None, trouble: str) -> None:
        """Another attempt is due so much later; nothing changes when another one has taken it meanwhile."""
        await self._db.run("webhook_again", delivery.id, delivery.attempts, pause_s, answer, clean(trouble))

    async def let_go(self, delivery: DeliveryRow) -> None:
        """The caller will not make it."""
        await self._db.run("webhook_let_go", delivery.id, delivery.attempts)

    async def deliveries(
        self, webhook_id: str, status: str | None, before: int | None, limit: int
    ) -> list[DeliveryRow]:
        """Newest first. `before`: only those with a smaller id."""
        records = await self._db.rows("webhook_deliveries", clean(webhook_id), status, before, limit)
        return [read(DeliveryRow, record) for record in records]

    async def replay_one(self, webhook_id: str, delivery_id: int) -> DeliveryRow | None:
        """Returns: the new delivery; None when there is no such, or it is still pending."""
        return _delivery(await self._db.row("webhook_replay_one", clean(webhook_id), delivery_id))

    async def replay(
        self, webhook_id: str, since: datetime, until: datetime | None, types: Sequence[str] | None
    ) -> int:
        """Returns: how many events are sent again."""
        chosen = None if types is None else list(types)
        return await self._db.run("webhook_replay", clean(webhook_id), since, until, chosen)

    async def prune(self, before: datetime, limit: int) -> int:
        """Forget at most `limit` that are older. Returns: how many."""
        return await self._db.run("webhook_prune", before, limit)

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many are pending, and since when the oldest."""
        record = await self._db.row("webhook_waiting")
        return (0, None) if record is None else (record["pending"], record["oldest"])


def _webhook(record: Mapping[str, Any] | None) -> WebhookRow | None:
    return None if record is None else read(WebhookRow, record)


def _delivery(record: Mapping[str, Any] | None) -> DeliveryRow | None:
    return None if record is None else read(DeliveryRow, record)


def _taken(record: Mapping[str, Any]) -> TakenRow:
    of_endpoint = {name.removeprefix("to_"): value for name, value in record.items() if name.startswith("to_")}
    of_delivery = {name: value for name, value in record.items() if not name.startswith("to_")}
    return TakenRow(read(DeliveryRow, of_delivery), read(WebhookRow, of_endpoint))
