"""Sends what is in the outbox. Any number of replicas do; each takes what no other one has."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp

from gateway import tracing
from gateway.clock import Clock
from gateway.outage import Outage, RecordsUnavailable
from gateway.tasks import Tasks
from gateway.tracing import TraceOf, no_trace
from gateway.webhooks.addresses import AddressRefused, Allowed, check_address, check_url
from gateway.webhooks.endpoints import GONE, KEPT, SETTING, UNSET, Delivery, Endpoint, Outbox
from gateway.webhooks.events import body
from gateway.webhooks.retries import next_attempt, retry_after
from gateway.webhooks.signature import headers

log = logging.getLogger(__name__)

LOOK_S: Final = 0.3
IDLE_S: Final = 2.0
"""Between two looks while there is no endpoint."""
ANSWER_S: Final = 15.0
LEASE_S: Final = 30.0
AT_ONCE: Final = 4
"""Requests to one endpoint at once, of each replica."""
_READ: Final = 4_096  # of an answer, so that the connection can be used again
_HOUSE_S: Final = 30.0
_PRUNED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` None: there was none, and `trouble` says why."""

    status: int | None
    trouble: str | None = None
    retry_after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


Post = Callable[[str, bytes, dict[str, str]], Awaitable[Answer]]
"""One request to a receiver. Never raises: whatever goes wrong is an Answer."""


class Sender:
    """`secrets`: of the endpoint SETTING, read at each use. `trace_of`: see there."""

    def __init__(
        self,
        outbox: Outbox,
        post: Post,
        clock: Clock,
        secrets: Callable[[], tuple[str, ...]],
        trace_of: TraceOf = no_trace,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        """delivered, retried, failed, gone: of attempts."""
        self.pending, self.oldest_s = 0, 0.0
        """In the whole outbox, as of the last half minute."""
        self._outbox = outbox
        self._post = post
        self._clock = clock
        self._secrets = secrets
        self._trace_of = trace_of
        self._busy: Counter[str] = Counter()
        self._tasks = Tasks()
        self._look = asyncio.Event()
        self._outage = Outage("webhooks wait")

    def wake(self) -> None:
        """There is something in the outbox now."""
        self._look.set()

    async def run(self) -> None:
        """Until cancelled. Requests that are open then are given up, and their deliveries are due again at once."""
        due = self._clock.monotonic()
        pause = IDLE_S
        try:
            while True:
                try:
                    if self._clock.monotonic() >= due:
                        pause = await self._keep_house()
                        due = self._clock.monotonic() + _HOUSE_S
                    is_more = await self._take()
                except RecordsUnavailable as error:
                    self._outage.noticed(error)
                    is_more = False
                else:
                    self._outage.over()
                if is_more:
                    pause = LOOK_S
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._look.wait()
                        pause = LOOK_S
                self._look.clear()
        finally:
            self._tasks.cancel()
            await self._tasks.wait(1.0)

    async def _keep_house(self) -> float:
        """Returns: how long to wait between two looks."""
        while await self._outbox.prune(self._clock.now() - KEPT, _PRUNED) == _PRUNED:
            pass
        self.pending, oldest = await self._outbox.waiting()
        self.oldest_s = 0.0 if oldest is None else max((self._clock.now() - oldest).total_seconds(), 0.0)
        return LOOK_S if await self._outbox.all() else IDLE_S

    async def _take(self) -> bool:
        taken = await self._outbox.take(self._busy, LEASE_S, AT_ONCE)
        for delivery, endpoint in taken:
            self._busy[endpoint.id] += 1
            self._tasks.start(self._deliver(delivery, endpoint), name=f"webhook {delivery.event_id}")
        return bool(taken)

    async def _deliver(self, delivery: Delivery, endpoint: Endpoint) -> None:
        try:
            now = self._clock.now()
            signing = self._secrets() if endpoint.id == SETTING else endpoint.signing(now)
            if not signing:  # the setting is gone: what waits goes on when it is back
                await self._outbox.disable(endpoint.id, now, UNSET)
                await self._outbox.let_go(delivery)
                return
            content = body(delivery.type, delivery.at, delivery.data)
            signed = headers(delivery.event_id, now, content, signing)
            links = [await self._trace_of(delivery.lane)]
            facts = {"event": delivery.type, "event_id": delivery.event_id}
            with tracing.span("webhook send", facts, kind="client", links=links) as span:
                answer = await self._post(endpoint.url, content, signed | tracing.headers())
                span.note({"http.response.status_code": answer.status or 0, "attempt": delivery.attempts})
            await self._note(delivery, endpoint, answer)
        except RecordsUnavailable as error:  # its lease lapses, and it is sent again
            self._outage.noticed(error)
        except asyncio.CancelledError:
            with suppress(RecordsUnavailable, TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._outbox.let_go(delivery)
            raise
        finally:
            self._busy[endpoint.id] -= 1
            if not self._busy[endpoint.id]:
                del self._busy[endpoint.id]
            self.wake()  # the next of its session may go

    async def _note(self, delivery: Delivery, endpoint: Endpoint, answer: Answer) -> None:
        if answer.is_taken:
            self.outcomes["delivered"] += 1
            await self._outbox.settle(delivery, "delivered", answer.status, None)
            return
        now = self._clock.now()
        trouble = answer.trouble or f"it answered {answer.status}"
        if answer.status == 410:
            self.outcomes["gone"] += 1
            log.warning("webhook %s answered 410 Gone and is disabled", endpoint.id)
            await self._outbox.disable(endpoint.id, now, GONE)
            await self._outbox.settle(delivery, "failed", answer.status, trouble)
            return
        jitter = random.random()  # noqa: S311 - no secret
        at = next_attempt(delivery.created_at, delivery.attempts, now, jitter, answer.retry_after_s)
        if at is None:
            self.outcomes["failed"] += 1
            log.error("webhook %s: %s was given up: %s", endpoint.id, delivery.event_id, trouble)
            await self._outbox.settle(delivery, "failed", answer.status, trouble)
        else:
            self.outcomes["retried"] += 1
            await self._outbox.again(delivery, (at - now).total_seconds(), answer.status, trouble)


@asynccontextmanager
async def open_post(allowed: Allowed, now: Callable[[], datetime], answer_s: float = ANSWER_S) -> AsyncIterator[Post]:
    """Requests are made inside the block, each within `answer_s`: no redirects, no cookies, no proxies."""

    def open_socket(address: tuple[Any, ...]) -> socket.socket:
        """Called with each resolved address before it is connected to: nothing is looked up in between."""
        family, kind, proto, _, place = address
        check_address(str(place[0]), allowed)
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made

    timeout = aiohttp.ClientTimeout(total=answer_s, connect=min(10.0, answer_s))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=open_socket, limit=0),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": "transcription-gateway", "Content-Type": "application/json"},
    ) as http:

        async def post(url: str, content: bytes, signed: dict[str, str]) -> Answer:
            try:
                check_url(url, allowed)
                async with http.post(url, data=content, headers=signed, allow_redirects=False) as response:
                    status = response.status
                    asked = retry_after(response.headers.get("Retry-After"), now())
                    with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                        await response.content.read(_READ)  # what it says does not matter, nor that it is cut
                    return Answer(status, retry_after_s=asked)
            except TimeoutError:
                return Answer(None, f"no answer within {answer_s:g} s")
            except (aiohttp.ClientError, OSError, ValueError) as error:
                return Answer(None, _trouble(error))

        yield post


def _trouble(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefused) or not isinstance(error, aiohttp.ClientError):
        return str(cause)[:300] or type(cause).__name__
    return f"it cannot be reached ({type(error).__name__})"
