"""Messages between replicas, over Redis pub/sub: the wire, never the truth.

What is promised, and what is not:

- Order: messages of one publisher on one channel arrive in the order of `publish`, without those that were overtaken.
- Loss: any message may be lost. A loss on the listener's side is always said (`lost`, then `live` with `hole`); one on
  the publisher's side is only counted, so a sender that must know puts a number into what it sends.
- Duplicates: nothing is sent twice from here; a server or proxy in between may double a message all the same.
- Waiting: `publish`, `subscribe` and `unsubscribe` never wait, whatever Redis does; every other call has a deadline.
- Cancellation: no call in here swallows one; a cancelled call leaves the bus as it was.

Channels are the same in all databases of a server: two installations that share one need different names.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from storage.redis.counters import Counters
from storage.redis.directory import Directory
from storage.redis.errors import ServerError
from storage.redis.publisher import Publisher
from storage.redis.subscriber import Subscriber
from storage.redis.subscription import Subscription
from storage.redis.tasks import owned_tasks
from storage.redis.url import parse_redis_url

FLUSH_S: Final = 0.5

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)


class Listener(Protocol):
    """The owner of the bus. Called from the event loop, must not wait, may call the bus; what it raises is logged."""

    def message(self, channel: str, data: bytes) -> None:
        """A message on a subscribed channel; only between `live` and `lost` or the call of `unsubscribe`."""

    def live(self, channel: str, *, hole: bool) -> None:
        """The server has confirmed the subscription: what is published from now on is heard.

        `hole`: it was live before, and anything may have been published in between. Read the past now.
        """

    def lost(self, channel: str) -> None:
        """The subscription broke, at most about a second ago: nothing is heard until `live`, which comes by itself."""

    def receivers(self, channel: str, number: int) -> None:
        """A message of ours on this channel was taken by the server for so many subscribers; of a Cluster, those of
        the server on which the channel lies, which are all there are.
        """

    def changed(self, is_up: bool, why: str) -> None:
        """The bus as a whole went up or down; `why` is a sentence for a person, without a secret."""


class Bus:
    """Use `open_bus`."""

    def __init__(self, directory: Directory, listener: Listener, tasks: asyncio.TaskGroup) -> None:
        self.counters = Counters()
        self._was_up = False
        self._directory = directory
        self._listener = listener
        self._ended = False
        self._refusal = ""  # that was logged last
        self._publisher = Publisher(
            tasks, directory, self.counters, receivers=self._receivers, refused=self.refused, changed=self.changed
        )
        self._subscriber = Subscriber(tasks, directory, self.counters, self)
        directory.follow(self._adapt)
        self._finding = tasks.create_task(directory.run(), name="redis directory")
        self._writing = tasks.create_task(self._publisher.run(), name="redis publisher")

    # --- for the owner --------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Both ways, to every server. A Cluster that lost one server is down, although the other channels go on."""
        return not self.why

    @property
    def why(self) -> str:
        """Why it is down, a sentence for a person without a secret; "" when it is up."""
        links = [*self._publisher.links, *self._subscriber.links]
        if not links:
            return self._directory.why
        return next((link.why for link in links if link.connection is None), "")

    def publish(self, channel: str, data: bytes, overtakes: str | None = None) -> None:
        """Put it in the outbox; it goes out within 10 ms when Redis answers.

        `overtakes`: a key within the channel. What waits there under the same key is given up for this message, and
        where room is short messages with a key go first. Receivers never learn that such a message existed, so a
        counter must count only those without a key.
        The outbox holds 1 MiB and nothing older than a second; what does not fit is dropped and counted.
        """
        self._publisher.publish(channel, data, overtakes)

    def subscribe(self, channel: str) -> Subscription:
        """Want the channel, over all reconnects, until `unsubscribe`; a second call changes nothing.

        `await subscription.confirmed()` waits until it is heard, which without Redis may take for ever.
        """
        return self._subscriber.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """From here on nothing is told about the channel; who waits for its confirmation is told False."""
        self._subscriber.unsubscribe(channel)

    async def numsub(self, channels: Iterable[str]) -> dict[str, int]:
        """How many subscribers each channel has, one question a server. Raises: RedisAway, within a second."""
        return await self._publisher.numsub(channels)

    async def flush(self, timeout: float = FLUSH_S) -> bool:
        """Wait until all that was published is answered or given up. Returns: False when `timeout` (s) was over."""
        return await self._publisher.flush(timeout)

    def end(self) -> None:
        """For `open_bus`."""
        self._ended = True
        self._publisher.end()
        self._subscriber.end()
        self._directory.end()
        self._finding.cancel()
        self._writing.cancel()

    # --- for the two ends -----------------------------------------------------------------------------------

    def message(self, channel: str, data: bytes) -> None:
        try:
            self._listener.message(channel, data)
        except Exception:
            log.exception("a message from another replica could not be dealt with")

    def live(self, channel: str, *, hole: bool) -> None:
        self._tell(lambda: self._listener.live(channel, hole=hole))

    def lost(self, channel: str) -> None:
        self._tell(lambda: self._listener.lost(channel))

    def refused(self, why: ServerError) -> None:
        """While a Cluster moves its slots that is usual; a user without permission is a thing for the operator."""
        if not why.moved and why.code != self._refusal:
            self._refusal = why.code
            log.warning(
                "Redis refuses messages between replicas: %s; its user needs publish, subscribe and all channels, "
                "and a Cluster must be Redis 7 or newer",
                why,
            )

    def changed(self) -> None:
        """A connection came or went: is the bus still up?"""
        if self._ended:
            return
        if self._was_up != self.is_up:
            self._was_up = self.is_up
            self._refusal = ""
            self._tell(lambda: self._listener.changed(self._was_up, self.why))

    def _receivers(self, channel: str, number: int) -> None:
        try:
            self._listener.receivers(channel, number)
        except Exception:
            log.exception("the number of receivers could not be dealt with")

    def _adapt(self) -> None:
        topology = self._directory.topology
        if topology is not None:
            self._publisher.adapt(topology)
            self._subscriber.adapt(topology)
        self.changed()

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("a change on the wire between replicas could not be dealt with")


@asynccontextmanager
async def open_bus(url: str, listener: Listener) -> AsyncIterator[Bus]:
    """Opens at once, whether Redis is there or not, and connects by itself whenever it is.

    At the end nothing more is sent: `flush` before, if the last words matter.
    Raises: BadRedisUrl.
    """
    directory = Directory(parse_redis_url(url))
    async with owned_tasks() as tasks:
        bus = Bus(directory, listener, tasks)
        try:
            yield bus
        finally:
            bus.end()
