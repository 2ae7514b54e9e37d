"""Endpoints and their deliveries: what services may do with them, and the ports behind."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from gateway.clock import Clock
from gateway.errors import SessionError, WrongRequest
from gateway.webhooks.addresses import Allowed, check_url
from gateway.webhooks.events import BY_DEFAULT, CHOSEN
from gateway.webhooks.signature import new_secret

MOST: Final = 50
KEPT: Final = timedelta(days=30)
FORMER: Final = timedelta(hours=24)
"""How long a secret that was replaced signs as well."""
SETTING: Final = "setting"
"""The id of the endpoint of GATEWAY_WEBHOOK_URL."""
GONE: Final = "it answered 410 Gone"
SWITCHED_OFF: Final = "switched off by request"
UNSET: Final = "GATEWAY_WEBHOOK_URL is not set"

Status = Literal["pending", "delivered", "failed"]


class NoSuchWebhook(SessionError):
    title = "No such webhook"
    hint = "GET /api/webhooks lists them"


class NoSuchDelivery(SessionError):
    title = "No such delivery"
    hint = "GET /api/webhooks/{id}/deliveries lists those of 30 days; one that is pending is not replayed"


class WebhookFixed(SessionError):
    title = "Set in the environment"
    hint = "change GATEWAY_WEBHOOK_URL and GATEWAY_WEBHOOK_SECRET; its events may be changed here"


class TooManyWebhooks(SessionError):
    title = "Too many webhooks"
    hint = "delete one that is not needed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`secrets`: the newest first; the second signs as well until `former_until`. Disabled: it is told nothing."""

    id: str
    url: str
    events: tuple[str, ...]
    space_id: str | None
    description: str | None
    created_at: datetime
    secrets: tuple[str, ...] = field(default=(), repr=False)
    former_until: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    def signing(self, now: datetime) -> tuple[str, ...]:
        """Those that sign now."""
        is_rotated = self.former_until is not None and now < self.former_until
        return self.secrets if is_rotated else self.secrets[:1]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `data`: JSON. `lane`: the session, within which order is kept."""

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


class Outbox(Protocol):
    """Where endpoints and deliveries are kept. Every method may raise RecordsUnavailable."""

    async def add(self, endpoint: Endpoint) -> bool:
        """Returns: False when there are MOST already."""

    async def all(self) -> Sequence[Endpoint]:
        """The oldest first."""

    async def find(self, endpoint_id: str) -> Endpoint | None:
        """None when there is none."""

    async def change(self, endpoint: Endpoint) -> Endpoint | None:
        """All but its secrets. Returns: as it is now."""

    async def hurry(self, endpoint_id: str) -> None:
        """What waits for it is due now. May be repeated."""

    async def rotate(self, endpoint_id: str, secret: str, former_until: datetime) -> Endpoint | None:
        """The secret that signed alone signs as well until then."""

    async def remove(self, endpoint_id: str) -> None:
        """With its deliveries. May be repeated."""

    async def disable(self, endpoint_id: str, at: datetime, reason: str) -> None:
        """Of two reasons the first stands. May be repeated."""

    async def configure(self, url: str, at: datetime) -> None:
        """The endpoint SETTING is there, and not disabled for UNSET. May be repeated."""

    async def test(self, endpoint_id: str, at: datetime) -> Delivery | None:
        """Write a `webhook.test`; None when there is no such endpoint."""

    async def take(self, busy: Mapping[str, int], lease_s: float, most: int) -> Sequence[tuple[Delivery, Endpoint]]:
        """What is due, the caller's for `lease_s`: of a session always the oldest, however many replicas ask.

        `busy`: how many requests the caller makes to an endpoint now; `most`: how many it may.
        """

    async def settle(self, delivery: Delivery, status: Status, answer: int | None, trouble: str | None) -> None:
        """Nothing changes when another one has taken it meanwhile. May be repeated."""

    async def again(self, delivery: Delivery, pause_s: float, answer: int | None, trouble: str) -> None:
        """As `settle`: it and what waits behind it are due so much later."""

    async def let_go(self, delivery: Delivery) -> None:
        """It was taken and is not sent."""

    async def deliveries(
        self, endpoint_id: str, status: Status | None, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first. `before`: only those with a smaller id."""

    async def replay_one(self, endpoint_id: str, delivery_id: int) -> Delivery | None:
        """Returns: the new one, with the same event; None for an unknown one, or one that is pending."""

    async def replay(
        self, endpoint_id: str, since: datetime, until: datetime | None, types: Sequence[str] | None
    ) -> int:
        """Each event once, in the former order. `until` is exclusive. Returns: how many."""

    async def prune(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` that are older. Returns: how many."""

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many are pending, and since when the oldest."""


class Endpoints:
    """What a service may do. Every method raises NoSuchWebhook for an unknown id, and RecordsUnavailable."""

    def __init__(self, outbox: Outbox, clock: Clock, allowed: Allowed) -> None:
        self._outbox = outbox
        self._clock = clock
        self._allowed = allowed

    async def create(
        self, url: str, events: Sequence[str] | None, space_id: str | None, description: str | None
    ) -> Endpoint:
        """Raises: WrongRequest, TooManyWebhooks."""
        made = Endpoint(
            "wh_" + secrets.token_hex(12),
            self._url(url),
            _events(events) if events is not None else BY_DEFAULT,
            space_id,
            description,
            self._clock.now(),
            (new_secret(),),
        )
        if not await self._outbox.add(made):
            raise TooManyWebhooks(f"there are {MOST} webhooks, which is the most")
        return made

    async def all(self) -> Sequence[Endpoint]:
        """The oldest first."""
        return await self._outbox.all()

    async def find(self, endpoint_id: str) -> Endpoint:
        """One of them."""
        return _found(await self._outbox.find(endpoint_id), endpoint_id)

    async def change(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        space_id: str | Literal[False] | None = False,
        description: str | Literal[False] | None = False,
        enabled: bool | None = None,
    ) -> Endpoint:
        """What is given changes; False: not given. With `enabled` true, what waits is tried at once.

        Raises: WrongRequest, WebhookFixed.
        """
        now = await self.find(endpoint_id)
        if endpoint_id == SETTING and url is not None and url != now.url:
            raise WebhookFixed("the address of this webhook is set in the environment")
        after = replace(
            now,
            url=now.url if url is None else self._url(url),
            events=now.events if events is None else _events(events),
            space_id=now.space_id if space_id is False else space_id,
            description=now.description if description is False else description,
        )
        if enabled is True:
            after = replace(after, disabled_at=None, disabled_reason=None)
        elif enabled is False and now.disabled_at is None:
            after = replace(after, disabled_at=self._clock.now(), disabled_reason=SWITCHED_OFF)
        changed = _found(await self._outbox.change(after), endpoint_id)
        if enabled:
            await self._outbox.hurry(endpoint_id)
        return changed

    async def rotate(self, endpoint_id: str) -> Endpoint:
        """A new secret; the former one signs as well for FORMER. Raises: WebhookFixed."""
        if endpoint_id == SETTING:
            raise WebhookFixed("the secrets of this webhook are set in the environment")
        until = self._clock.now() + FORMER
        return _found(await self._outbox.rotate(endpoint_id, new_secret(), until), endpoint_id)

    async def remove(self, endpoint_id: str) -> None:
        """With what it is still to be told; also for one that is not there. Raises: WebhookFixed."""
        if endpoint_id == SETTING:
            raise WebhookFixed("this webhook is set in the environment")
        await self._outbox.remove(endpoint_id)

    async def test(self, endpoint_id: str) -> Delivery:
        """Send `webhook.test`. Raises: WrongRequest while the webhook is disabled."""
        endpoint = await self.find(endpoint_id)
        if endpoint.disabled_at is not None:
            raise WrongRequest(f"this webhook is disabled ({endpoint.disabled_reason}); enable it first")
        found = await self._outbox.test(endpoint_id, self._clock.now())
        if found is None:
            raise NoSuchWebhook(f"there is no webhook {endpoint_id!r}")
        return found

    async def deliveries(
        self, endpoint_id: str, status: Status | None, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first."""
        await self.find(endpoint_id)
        return await self._outbox.deliveries(endpoint_id, status, before, limit)

    async def replay_one(self, endpoint_id: str, delivery_id: int) -> Delivery:
        """Send an event again, under the same id. Raises: NoSuchDelivery."""
        await self.find(endpoint_id)
        found = await self._outbox.replay_one(endpoint_id, delivery_id)
        if found is None:
            raise NoSuchDelivery(f"there is no delivery {delivery_id} of this webhook that is over")
        return found

    async def replay(
        self, endpoint_id: str, since: datetime, until: datetime | None, types: Sequence[str] | None
    ) -> int:
        """Send all events of a time again. Returns: how many. Raises: WrongRequest."""
        await self.find(endpoint_id)
        if until is not None and until <= since:
            raise WrongRequest("to must be later than from, and is not part of the time itself")
        return await self._outbox.replay(endpoint_id, since, until, None if types is None else _events(types))

    def _url(self, url: str) -> str:
        try:
            return check_url(url, self._allowed)
        except ValueError as error:
            raise WrongRequest(f"url {error}") from None


def _events(names: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in names if name not in CHOSEN]:
        raise WrongRequest(f"there is no event {unknown[0][:80]!r} to choose; there are {', '.join(CHOSEN)}")
    if not names:
        raise WrongRequest("events must name at least one event")
    return tuple(name for name in CHOSEN if name in names)


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise NoSuchWebhook(f"there is no webhook {endpoint_id[:80]!r}")
    return endpoint
