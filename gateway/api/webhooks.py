"""Webhooks over HTTP: who is told what, what was delivered, and sending it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, get_args

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import Moment
from gateway.api.web import json_answer, read_body
from gateway.errors import WrongRequest
from gateway.moment import timestamp
from gateway.webhooks.addresses import LONGEST
from gateway.webhooks.endpoints import Delivery, Endpoint, Endpoints, NoSuchDelivery, Status
from gateway.webhooks.events import TEST, body

PAGE: Final = 100
_STATUSES: Final[dict[str, Status]] = {status: status for status in get_args(Status)}
_ID: Final = Parameter("id", "path", "the webhook's id")
Url = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
Events = Annotated[list[str], Meta(min_length=1, max_length=64)]
SpaceId = Annotated[str, Meta(min_length=1, max_length=128)]
Description = Annotated[str, Meta(max_length=200)]


class WebhookBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """`events`: by default all but `transcript.final`. `spaceId`: only of this space."""

    url: Url
    events: Events | None = None
    space_id: SpaceId | None = None
    description: Description | None = None


class WebhookChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is absent stays. `enabled`: true also takes one back that answered 410, and tries what waits at once."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    space_id: SpaceId | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class WebhookView(msgspec.Struct, rename="camel"):
    """`secret` is shown once, when it is made. `id` is `setting` for the one of GATEWAY_WEBHOOK_URL."""

    id: str
    url: str
    events: list[str]
    space_id: str | None
    description: str | None
    created_at: Moment
    enabled: bool
    disabled_reason: str | None
    secret: str | UnsetType = UNSET


class WebhookList(msgspec.Struct, rename="camel"):
    webhooks: list[WebhookView]


class DeliveryView(msgspec.Struct, rename="camel"):
    """`eventId` is the `webhook-id` that the receiver sees. `body`: what is sent. `error`: of the last attempt."""

    id: str
    event_id: str
    type: str
    session_id: str | None
    timestamp: Moment
    status: Status
    attempts: int
    created_at: Moment
    next_attempt_at: Moment | None
    settled_at: Moment | None
    response_status: int | None
    error: str | None
    body: msgspec.Raw


class DeliveryPage(msgspec.Struct, rename="camel"):
    """Newest first. `nextCursor` is null on the last page."""

    deliveries: list[DeliveryView]
    next_cursor: str | None


class ReplayBody(msgspec.Struct, rename={"since": "from", "until": "to"}, forbid_unknown_fields=True):
    """Instants (ISO 8601); `to` is exclusive, by default now."""

    since: datetime
    until: datetime | None = None
    events: Events | None = None


class ReplayAnswer(msgspec.Struct, rename="camel"):
    replayed: int


@dataclass(frozen=True, slots=True)
class WebhooksApi:
    """Handlers, for services. `wake`: tells the sender that there is something to send."""

    endpoints: Endpoints
    wake: Callable[[], None]

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        own: dict[int, type | None] = {404: Problem, 503: Problem}
        body: dict[int, type | None] = {400: Problem, 413: Problem, **own}
        whole = "/api/webhooks/{id}"
        return [
            Route("POST", "/api/webhooks", self.create, "Be told what happens, over HTTP", body=WebhookBody,
                  answers={201: WebhookView, 400: Problem, 409: Problem, 413: Problem, 503: Problem}, tag="webhooks",
                  audit="webhook create"),
            Route("GET", "/api/webhooks", self.all, "Who is told", answers={200: WebhookList, 503: Problem},
                  tag="webhooks"),
            Route("GET", whole, self.show, "One webhook", parameters=(_ID,), answers={200: WebhookView, **own},
                  tag="webhooks"),
            Route("PATCH", whole, self.change, "Another address, other events, on or off", body=WebhookChange,
                  parameters=(_ID,), answers={200: WebhookView, 409: Problem, **body}, tag="webhooks",
                  audit="webhook change"),
            Route("DELETE", whole, self.remove, "Tell it nothing more, nor what is still waiting", parameters=(_ID,),
                  answers={204: None, 409: Problem, 503: Problem}, tag="webhooks", audit="webhook delete"),
            Route("POST", whole + "/test", self.test, "Send it a webhook.test", parameters=(_ID,),
                  answers={202: DeliveryView, 400: Problem, **own}, tag="webhooks", audit="webhook test"),
            Route("POST", whole + "/secret", self.rotate, "A new secret; for a day the former one signs as well",
                  parameters=(_ID,), answers={200: WebhookView, 409: Problem, **own}, tag="webhooks",
                  audit="webhook secret"),
            Route("GET", whole + "/deliveries", self.deliveries, "What it was told in 30 days, and what is waiting",
                  parameters=(_ID, Parameter("status", "query", "only these",
                                             {"type": "string", "enum": list(_STATUSES)}),
                              Parameter("cursor", "query", "nextCursor of the page before")),
                  answers={200: DeliveryPage, 400: Problem, **own}, tag="webhooks"),
            Route("POST", whole + "/deliveries/{deliveryId}/replay", self.replay_one,
                  "Send an event again, under the same id",
                  parameters=(_ID, Parameter("deliveryId", "path", "the id of a delivery that is not pending")),
                  answers={202: DeliveryView, **own}, tag="webhooks", audit="webhook replay"),
            Route("POST", whole + "/replay", self.replay, "Send all events of a time again", body=ReplayBody,
                  parameters=(_ID,), answers={202: ReplayAnswer, **body}, tag="webhooks", audit="webhook replay"),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        """`POST /api/webhooks`: 201 with the secret."""
        asked = await read_body(request, WebhookBody)
        made = await self.endpoints.create(asked.url, asked.events, asked.space_id, asked.description)
        return json_answer(_view(made, with_secret=True), 201)

    async def all(self, request: web.Request) -> web.Response:
        """`GET /api/webhooks`: 200."""
        return json_answer(WebhookList([_view(one) for one in await self.endpoints.all()]))

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/webhooks/{id}`: 200, 404."""
        return json_answer(_view(await self.endpoints.find(request.match_info["id"])))

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /api/webhooks/{id}`: 200 with what is in force."""
        asked = await read_body(request, WebhookChange)
        changed = await self.endpoints.change(
            request.match_info["id"],
            url=None if asked.url is UNSET else asked.url,
            events=None if asked.events is UNSET else asked.events,
            space_id=False if asked.space_id is UNSET else asked.space_id,
            description=False if asked.description is UNSET else asked.description,
            enabled=None if asked.enabled is UNSET else asked.enabled,
        )
        self.wake()
        return json_answer(_view(changed))

    async def remove(self, request: web.Request) -> web.Response:
        """`DELETE /api/webhooks/{id}`: 204, also when it is gone already."""
        await self.endpoints.remove(request.match_info["id"])
        return web.Response(status=204)

    async def test(self, request: web.Request) -> web.Response:
        """`POST /api/webhooks/{id}/test`: 202; the deliveries say what came of it."""
        return self._begun(await self.endpoints.test(request.match_info["id"]))

    async def rotate(self, request: web.Request) -> web.Response:
        """`POST /api/webhooks/{id}/secret`: 200 with the new secret."""
        return json_answer(_view(await self.endpoints.rotate(request.match_info["id"]), with_secret=True))

    async def deliveries(self, request: web.Request) -> web.Response:
        """`GET /api/webhooks/{id}/deliveries`: 200."""
        cursor, status = request.query.get("cursor"), request.query.get("status")
        if cursor is not None and not _is_number(cursor):
            raise WrongRequest("cursor must be the nextCursor of a page")
        if status is not None and status not in _STATUSES:
            raise WrongRequest(f"status must be one of {', '.join(_STATUSES)}")
        before = None if cursor is None else int(cursor)
        chosen = _STATUSES.get(status) if status else None
        found = await self.endpoints.deliveries(request.match_info["id"], chosen, before, PAGE + 1)
        shown = [_delivery(one) for one in found[:PAGE]]
        return json_answer(DeliveryPage(shown, shown[-1].id if len(found) > PAGE else None))

    async def replay_one(self, request: web.Request) -> web.Response:
        """`POST /api/webhooks/{id}/deliveries/{deliveryId}/replay`: 202 with the new delivery."""
        delivery_id = request.match_info["deliveryId"]
        if not _is_number(delivery_id):
            raise NoSuchDelivery(f"there is no delivery {delivery_id[:80]!r}")
        return self._begun(await self.endpoints.replay_one(request.match_info["id"], int(delivery_id)))

    async def replay(self, request: web.Request) -> web.Response:
        """`POST /api/webhooks/{id}/replay`: 202 with how many are sent again."""
        asked = await read_body(request, ReplayBody)
        until = None if asked.until is None else _utc(asked.until)
        count = await self.endpoints.replay(request.match_info["id"], _utc(asked.since), until, asked.events)
        self.wake()
        return json_answer(ReplayAnswer(count), 202)

    def _begun(self, delivery: Delivery) -> web.Response:
        self.wake()
        return json_answer(_delivery(delivery), 202)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise WrongRequest("from and to must be moments of this era") from None


def _view(endpoint: Endpoint, *, with_secret: bool = False) -> WebhookView:
    return WebhookView(
        endpoint.id,
        endpoint.url,
        list(endpoint.events),
        endpoint.space_id,
        endpoint.description,
        timestamp(endpoint.created_at),
        endpoint.disabled_at is None,
        endpoint.disabled_reason,
        endpoint.secrets[0] if with_secret else UNSET,
    )


def _delivery(delivery: Delivery) -> DeliveryView:
    status = _STATUSES[delivery.status]
    return DeliveryView(
        str(delivery.id),
        delivery.event_id,
        delivery.type,
        None if delivery.type == TEST else delivery.lane,
        timestamp(delivery.at),
        status,
        delivery.attempts,
        timestamp(delivery.created_at),
        timestamp(delivery.due_at) if status == "pending" else None,
        None if delivery.settled_at is None else timestamp(delivery.settled_at),
        delivery.answer,
        delivery.trouble,
        msgspec.Raw(body(delivery.type, delivery.at, delivery.data)),
    )
