"""Many RTMP publishers on one port: who may connect and publish, and the task of each publish."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import cast

from ingest.errors import CannotListen, PublishRefused
from ingest.rtmp.connection import READ_BYTES, Connection
from ingest.rtmp.counters import RtmpCounters
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.publisher import TAKEN_OVER, Publisher, PublishHandler, Sender

logger = logging.getLogger(__name__)
_HANG_UP_S = 1.0
_NOT_NOW = "the stream key cannot be checked now, try again"


class RtmpServer:
    """Takes publishes and hands each to `handler` as a `Publisher`.

    A second publish on a key takes over: encoders reconnect before the old TCP connection is known to be dead.
    """

    def __init__(self, options: RtmpOptions, handler: PublishHandler) -> None:
        self.options = options
        self.handler = handler
        self.port = options.port
        self.counters = RtmpCounters()
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._listener: asyncio.Server | None = None
        self._closing = False
        self._connections: dict[Connection, None] = {}  # oldest first
        self._addresses: Counter[str] = Counter()
        self._publishes: set[asyncio.Task[None]] = set()
        self._current: dict[tuple[str, str], tuple[Publisher, asyncio.Task[None]]] = {}  # by app and key
        self._deadlines: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and listen.

        Raises: CannotListen (an OSError) when the address is taken or not ours.
        """
        options = self.options
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: Connection(self, loop),
                options.host,
                options.port,
                backlog=options.backlog,
                reuse_port=options.is_shared or None,
            )
        except OSError as error:
            raise CannotListen(options.host, options.port, error) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._deadlines = loop.create_task(self._watch_deadlines(), name="rtmp-deadlines")

    async def close(self) -> None:
        """Stop listening, end every publish ("server closing"), wait for the handlers, then disconnect.

        A handler that needs longer than `handler_grace_s` is cancelled.
        """
        if self.options.is_shared:
            await asyncio.sleep(0)  # what waits to be accepted would be reset, and no other process gets it
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.finish("server closing")
        await _ended(self._publishes, self.options.handler_grace_s)
        if self._deadlines is not None:
            self._deadlines.cancel()
            await _ended({self._deadlines}, self.options.handler_grace_s)
        # Those who were just told why get a moment to read it; they leave by themselves.
        hang_ups = [asyncio.ensure_future(connection.gone.wait()) for connection in self._connections]
        if hang_ups:
            await asyncio.wait(hang_ups, timeout=_HANG_UP_S)
        for hang_up in hang_ups:
            hang_up.cancel()
        leaving = list(self._connections)
        for connection in leaving:
            connection.abort()
        for connection in leaving:
            await connection.gone.wait()
        if self._listener is not None:
            await self._listener.wait_closed()

    # From here to `blame`: for connections, which live and die with their server (see connection.Host).

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in. False, counted: too many in all or from its address, or the server is closing."""
        options, address = self.options, connection.address
        is_own = not any(connection.host in network for network in options.shared if connection.host is not None)
        if (
            self._closing
            or (is_own and self._addresses[address] >= options.connections_per_address)
            or (len(self._connections) >= options.connections and not self._make_room())
        ):
            self.counters.refused_connections += 1
            return False
        self.counters.connections += 1
        self._connections[connection] = None
        self._addresses[address] += 1
        self.counters.open += 1
        return True

    def _make_room(self) -> bool:
        """End the oldest connection without a publish, of the address that has most of them."""
        waiting = [connection for connection in self._connections if connection.is_waiting]
        if not waiting:
            return False
        of = Counter(connection.address for connection in waiting).most_common(1)[0][0]
        oldest = next(connection for connection in waiting if connection.address == of)
        self.counters.evicted += 1
        oldest.abort()
        self.forget(oldest)
        return True

    def forget(self, connection: Connection) -> None:
        """Its socket is gone. Harmless for one that was not admitted."""
        if connection in self._connections:
            del self._connections[connection]
            self.counters.open -= 1
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]

    def begin(self, sender: Sender, publisher: Publisher, query: str) -> asyncio.Task[None]:
        """Check the key of a publish and see it through, in a task that this server owns."""
        work = self._publish(sender, publisher, query)
        task = asyncio.get_running_loop().create_task(work, name=f"rtmp-publish {publisher.peer}")
        self._publishes.add(task)
        task.add_done_callback(self._publishes.discard)
        return task

    def blame(self, peer: str, reason: str, message: str) -> None:
        """Count a broken rule by its reason, and log it with the message."""
        errors = self.counters.protocol_errors
        errors[reason] = errors.get(reason, 0) + 1
        logger.warning("rtmp connection from %s closed: %s", peer, message, extra={"reason": reason})

    async def _publish(self, sender: Sender, publisher: Publisher, query: str) -> None:
        if not await self._authorised(sender, publisher, query):
            return
        place = (publisher.app, publisher.key)
        if place in self._current and publisher.yields_to(self._current[place][0]):
            sender.refuse(publisher, "NetStream.Publish.Denied", TAKEN_OVER)
            return
        if publisher.is_carried:
            await self._clear(place)  # it may be the same, on a way that has broken: how far it was heard is asked now
        if not sender.accept(publisher):
            return
        await self._clear(place)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._current[place] = (publisher, task)
        self.counters.publishes += 1
        self.counters.publishing += 1
        logger.info("rtmp publish from %s started", publisher.peer)  # the app may hold the key
        try:
            await self.handler.published(publisher)
            publisher.close("no longer wanted")
        except Exception:
            self.counters.handler_failures += 1
            logger.exception("the handler of an rtmp publish from %s failed", publisher.peer)
        finally:
            publisher.close("internal error")
            self.counters.publishing -= 1
            if self._current.get(place) == (publisher, task):
                del self._current[place]
            logger.info("rtmp publish from %s ended: %s", publisher.peer, publisher.ended_because)

    async def _authorised(self, sender: Sender, publisher: Publisher, query: str) -> bool:
        try:
            async with asyncio.timeout(self.options.authorise_s):
                allowed = await self.handler.authorise(publisher.app, publisher.key, query, publisher.peer)
        except PublishRefused as error:
            self.counters.refused_now += 1
            logger.warning("rtmp publish from %s refused: %s", publisher.peer, error)
            sender.refuse(publisher, "NetStream.Publish.Failed", str(error))
            return False
        except TimeoutError:
            logger.warning("the stream key of an rtmp publish from %s was not checked in time", publisher.peer)
            sender.refuse(publisher, "NetStream.Failed", _NOT_NOW)
            return False
        except Exception:
            self.counters.handler_failures += 1
            logger.exception("the stream key of an rtmp publish from %s could not be checked", publisher.peer)
            sender.refuse(publisher, "NetStream.Failed", _NOT_NOW)
            return False
        if not allowed:
            self.counters.refused_key += 1
            logger.info("rtmp publish from %s refused: unknown stream key", publisher.peer)
            sender.refuse(publisher, "NetStream.Publish.BadName", "unknown stream key")
        return allowed

    async def _clear(self, place: tuple[str, str]) -> None:
        while place in self._current:
            await self._displace(place)

    async def _displace(self, place: tuple[str, str]) -> None:
        """End the publish that has `place`, and give its handler time to end too."""
        publisher, task = self._current[place]
        self.counters.takeovers += 1
        publisher.displace()
        await _ended({task}, self.options.handler_grace_s)
        if self._current.get(place) == (publisher, task):
            del self._current[place]

    async def _watch_deadlines(self) -> None:
        options = self.options
        step = min(0.5, options.handshake_s / 4, options.publish_s / 4, options.idle_s / 4)
        refused = 0
        while True:
            await asyncio.sleep(step)
            for connection in list(self._connections):
                connection.check_deadline()
            now = self.counters.refused_connections + self.counters.evicted
            if refused != now:
                logger.warning(
                    "%d rtmp connections refused or closed for others: too many are open",
                    now - refused,
                    extra={"open": len(self._connections), "refused": self.counters.refused_connections},
                )
                self.handler.crowded()
                refused = now


async def _ended(tasks: set[asyncio.Task[None]], grace_s: float) -> None:
    """Wait for `tasks`; cancel those that are late; give up on those that do not even heed that."""
    late = tasks
    for last in (False, True):
        if late:
            _, late = await asyncio.wait(late, timeout=grace_s)
        for task in late:
            if last:
                logger.error("%s does not end; going on without it", task.get_name())
            else:
                task.cancel()
