"""The receiving end of the bus: one connection to each server, every message one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from storage.redis.confirmations import Confirmations, Confirmed
from storage.redis.connection import Connection, Reply
from storage.redis.counters import Counters
from storage.redis.directory import Directory
from storage.redis.errors import ServerError
from storage.redis.link import Link, Links
from storage.redis.subscription import Subscription
from storage.redis.topology import Node, Topology

if TYPE_CHECKING:
    import asyncio

_MESSAGES: Final = frozenset({b"message", b"smessage"})
_SUBSCRIBED: Final = frozenset({b"subscribe", b"ssubscribe"})
_UNSUBSCRIBED: Final = frozenset({b"unsubscribe", b"sunsubscribe"})


class Handler(Protocol):
    """The listener. Called from the event loop; must neither wait nor raise."""

    def message(self, channel: str, data: bytes) -> None:
        """A message on a live channel."""

    def live(self, channel: str, *, hole: bool) -> None:
        """The channel is heard from here on."""

    def lost(self, channel: str) -> None:
        """The channel is not heard from here on."""

    def refused(self, why: ServerError) -> None:
        """A server does not let us subscribe."""

    def changed(self) -> None:
        """A connection came or went."""


class _Server:
    """The connection over which one server is heard."""

    def __init__(self, node: Node, owner: Subscriber) -> None:
        self.node = node
        self.link = Link(lambda: owner.directory.dial(node), self)
        self._owner = owner
        self._was_open = False
        self._verbs = (b"SUNSUBSCRIBE", b"SSUBSCRIBE") if node.sharded else (b"UNSUBSCRIBE", b"SUBSCRIBE")
        self._state = Confirmations()

    def opened(self, connection: Connection) -> None:
        connection.listen(self._take)
        self._owner.opened(self, again=self._was_open)
        self._was_open = True

    def closed(self, why: str) -> None:
        self._state = Confirmations()
        self._owner.closed(self.node)

    def ask(self, on: bool, channel: bytes) -> None:
        """Subscribe or unsubscribe. Without a connection nothing: the next one begins with all that is wanted."""
        connection = self.link.connection
        if connection is not None:
            self._state.ask(on, channel)
            connection.post((self._verbs[on], channel))

    def want(self, channel: bytes) -> None:
        """Subscribe, unless that was done already; a subscription that was refused is asked for once more."""
        if channel not in self._state.live and not self._state.is_coming(channel):
            self.ask(True, channel)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, ServerError):
            if self._state.refused() is not None:
                self._owner.refused(reply)
            return
        if not isinstance(reply, list):  # a pong while nothing is subscribed
            return
        kind, channel = reply[0], reply[1]
        if kind in _MESSAGES:
            if channel in self._state.live:
                self._owner.heard(channel, reply[2])
        elif kind in _SUBSCRIBED or kind in _UNSUBSCRIBED:
            match self._state.confirmed(kind in _SUBSCRIBED, channel):
                case Confirmed.LIVE | Confirmed.HOLE:
                    self._owner.live(channel)
                case Confirmed.LOST:
                    self._owner.taken_away(channel)


class Subscriber:
    """Knows which channels are wanted, and keeps them subscribed wherever they lie."""

    def __init__(self, tasks: asyncio.TaskGroup, directory: Directory, counters: Counters, handler: Handler) -> None:
        self.directory = directory
        self._counters = counters
        self._handler = handler
        self._wanted: dict[bytes, Subscription] = {}
        self._ended = False
        self._servers: Links[_Server] = Links(tasks, lambda node: _Server(node, self))

    @property
    def links(self) -> list[Link]:
        """One to each server."""
        return [server.link for server in self._servers.all()]

    def subscribe(self, channel: str) -> Subscription:
        """See `Bus.subscribe`."""
        raw = channel.encode()
        subscription = self._wanted.get(raw)
        if subscription is None:
            subscription = Subscription(channel)
            if self._ended:
                subscription.leave()
                return subscription
            self._wanted[raw] = subscription
            topology = self.directory.topology
            if topology is not None:
                self._place(subscription, topology)
        return subscription

    def unsubscribe(self, channel: str) -> None:
        """See `Bus.unsubscribe`."""
        subscription = self._wanted.pop(channel.encode(), None)
        if subscription is None:
            return
        server = self._servers.get(subscription.node)
        if server is not None:
            server.ask(False, subscription.raw)
        subscription.leave()

    def adapt(self, topology: Topology) -> None:
        """The servers are these now, and who is in charge of a channel may have changed."""
        self._servers.adapt(topology.nodes)
        for subscription in list(self._wanted.values()):
            self._place(subscription, topology)

    def end(self) -> None:
        """Nothing is heard any more, and no caller waits."""
        self._ended = True
        self._servers.end()
        for subscription in self._wanted.values():
            subscription.leave()
        self._wanted.clear()

    def _place(self, subscription: Subscription, topology: Topology) -> None:
        node = topology.node_of(subscription.raw)
        if node != subscription.node:
            former = self._servers.get(subscription.node)
            if former is not None:
                former.ask(False, subscription.raw)
            self._lose(subscription)
            subscription.node = node
        server = self._servers.get(node)
        if server is not None:
            server.want(subscription.raw)

    def _lose(self, subscription: Subscription) -> None:
        if subscription.is_live:
            subscription.is_live = False
            self._handler.lost(subscription.channel)

    # --- for the connections --------------------------------------------------------------------------------

    def opened(self, server: _Server, *, again: bool) -> None:
        """Everything that lies there is subscribed."""
        self._counters.reconnects += again
        for subscription in self._wanted.values():
            if subscription.node == server.node:
                server.ask(True, subscription.raw)
        self._handler.changed()

    def closed(self, node: Node) -> None:
        """Everything that lies there is lost, until another connection has confirmed it."""
        if self._ended:
            return
        for subscription in list(self._wanted.values()):
            if subscription.node == node:
                self._lose(subscription)
        self._handler.changed()

    def heard(self, channel: bytes, data: bytes) -> None:
        """A message on a live channel."""
        subscription = self._wanted.get(channel)
        if subscription is not None:
            self._counters.delivered += 1
            self._counters.bytes_received += len(data)
            self._handler.message(subscription.channel, data)

    def live(self, channel: bytes) -> None:
        """Confirmed, for the first time or once more."""
        subscription = self._wanted.get(channel)
        if subscription is not None:
            hole = subscription.was_live
            subscription.enter()
            self._handler.live(subscription.channel, hole=hole)

    def taken_away(self, channel: bytes) -> None:
        """The server has unsubscribed it: the slot moves to another one."""
        subscription = self._wanted.get(channel)
        if subscription is not None:
            self._lose(subscription)
        self.directory.doubt()

    def refused(self, why: ServerError) -> None:
        """Asked again after the next look at the topology."""
        self._handler.refused(why)
        self.directory.doubt()
