"""Many RTMP publishers on one port: sockets, deadlines and tasks round `protocol`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ingest.audio_packet import AudioPacket
from ingest.errors import CannotListen, ProtocolError
from ingest.rtmp.handshake import RANDOM_BYTES
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.protocol import Metadata, Phase, PublishAsked, ServerProtocol
from ingest.rtmp.publisher import Publisher, PublishHandler

logger = logging.getLogger(__name__)

_READ_BYTES: Final = 32 * 1024
_UNSENT_BYTES: Final = 64 * 1024
_LINGER_S: Final = 1.0  # for a refused peer to read why before the socket is torn down


@dataclass(slots=True)
class RtmpCounters:
    """Since the server started; `open` and `publishing` are what is there now."""

    connections: int = 0
    refused_connections: int = 0
    open: int = 0
    publishes: int = 0
    publishing: int = 0
    refused_key: int = 0
    takeovers: int = 0
    pauses: int = 0
    audio_packets: int = 0
    audio_bytes: int = 0
    video_bytes_skipped: int = 0
    handler_failures: int = 0
    protocol_errors: dict[str, int] = field(default_factory=dict)


class RtmpServer:
    """Takes publishes and hands each to `handler` as a `Publisher`.

    A second publish on a key takes over: encoders reconnect before the old TCP connection is known to be dead.
    """

    def __init__(self, options: RtmpOptions, handler: PublishHandler) -> None:
        self.options = options
        self.handler = handler
        self.port = options.port
        self.counters = RtmpCounters()
        self._listener: asyncio.Server | None = None
        self._closing = False
        self._connections: set[_Connection] = set()
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
                lambda: _Connection(self, loop), options.host, options.port, backlog=512
            )
        except OSError as error:
            raise CannotListen(options.host, options.port, error) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._deadlines = loop.create_task(self._watch_deadlines(), name="rtmp-deadlines")

    async def close(self) -> None:
        """Stop listening, end every publish ("server closing"), wait for the handlers, then disconnect.

        A handler that needs longer than `handler_grace_s` is cancelled.
        """
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.finish("server closing")
        if self._publishes:
            await asyncio.wait(self._publishes, timeout=self.options.handler_grace_s)
        tasks = [*self._publishes, *([self._deadlines] if self._deadlines else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        leaving = list(self._connections)
        for connection in leaving:
            connection.abort()
        for connection in leaving:
            await connection.gone.wait()
        if self._listener is not None:
            await self._listener.wait_closed()

    # The rest is for connections, which live and die with their server.

    def admit(self, connection: _Connection) -> bool:
        """Take a new connection in, unless there are too many."""
        options, address = self.options, connection.address
        if (
            self._closing
            or len(self._connections) >= options.connections
            or self._addresses[address] >= options.connections_per_address
        ):
            self.counters.refused_connections += 1
            return False
        self.counters.connections += 1
        self._connections.add(connection)
        self._addresses[address] += 1
        self.counters.open += 1
        return True

    def forget(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self.counters.open -= 1
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]

    def begin(self, connection: _Connection, publisher: Publisher, query: str) -> None:
        """Check the key of a publish and, if it is right, see it through, in a task of its own."""
        work = self._publish(connection, publisher, query)
        task = asyncio.get_running_loop().create_task(work, name=f"rtmp-publish {publisher.peer}")
        self._publishes.add(task)
        task.add_done_callback(self._publishes.discard)

    def blame(self, peer: str, reason: str, message: str) -> None:
        """Count and log a connection that is closed for breaking a rule."""
        errors = self.counters.protocol_errors
        errors[reason] = errors.get(reason, 0) + 1
        logger.warning("rtmp connection from %s closed: %s", peer, message, extra={"reason": reason})

    async def _publish(self, connection: _Connection, publisher: Publisher, query: str) -> None:
        if not await self._authorised(connection, publisher, query) or not connection.accept(publisher):
            return
        place = (publisher.app, publisher.key)
        while place in self._current:
            await self._displace(place)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine, so it runs in one
        self._current[place] = (publisher, task)
        self.counters.publishes += 1
        self.counters.publishing += 1
        logger.info("rtmp publish from %s started", publisher.peer, extra={"app": publisher.app})
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

    async def _authorised(self, connection: _Connection, publisher: Publisher, query: str) -> bool:
        try:
            async with asyncio.timeout(self.options.authorise_s):
                allowed = await self.handler.authorise(publisher.app, publisher.key, query, publisher.peer)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                self.counters.handler_failures += 1
            logger.exception("the stream key of an rtmp publish from %s could not be checked", publisher.peer)
            connection.refuse(publisher, "NetStream.Failed", "the stream key cannot be checked now, try again")
            return False
        if not allowed:
            self.counters.refused_key += 1
            logger.info("rtmp publish from %s refused: unknown stream key", publisher.peer)
            connection.refuse(publisher, "NetStream.Publish.BadName", "unknown stream key")
        return allowed

    async def _displace(self, place: tuple[str, str]) -> None:
        """End the publish that has `place`, and give its handler time to end too."""
        publisher, task = self._current[place]
        self.counters.takeovers += 1
        publisher.close("taken over")
        await asyncio.wait({task}, timeout=self.options.handler_grace_s)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=self.options.handler_grace_s)
        if self._current.get(place) == (publisher, task):
            logger.error("the handler of an rtmp publish from %s does not end; going on", publisher.peer)
            del self._current[place]

    async def _watch_deadlines(self) -> None:
        options = self.options
        step = min(0.5, options.handshake_s / 4, options.publish_s / 4, options.idle_s / 4)
        refused = 0
        while True:
            await asyncio.sleep(step)
            for connection in list(self._connections):
                connection.check_deadline()
            if refused != self.counters.refused_connections:
                logger.warning(
                    "%d rtmp connections refused, too many are open", self.counters.refused_connections - refused
                )
                refused = self.counters.refused_connections


class _Connection(asyncio.BufferedProtocol):
    """One socket. Every byte out goes through `_send`, every end through `_end`."""

    address = peer = "unknown"
    _transport: asyncio.Transport

    def __init__(self, server: RtmpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._counters = server.counters
        self._loop = loop
        self._protocol = ServerProtocol(server.options.limits, os.urandom(RANDOM_BYTES))
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._publisher: Publisher | None = None
        self._video_bytes = 0
        self._heard = self._quiet_since = loop.time()
        self._leaving_at: float | None = None  # told to go; cut off then
        self._has_published = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:  # None when the peer is gone already
            self.address, self.peer = name[0], f"{name[0]}:{name[1]}"
        if self._server.admit(self):
            transport.set_write_buffer_limits(_UNSENT_BYTES)
        else:
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._leaving_at is not None:
            return
        self._heard = self._loop.time()
        try:
            events = self._protocol.receive(self._buffer[:nbytes])
        except ProtocolError as error:
            self._fail(error.reason, str(error))
            return
        except Exception:
            logger.exception("rtmp connection from %s: our own mistake", self.peer)
            self._fail("internal error", "internal error")
            return
        for event in events:
            if type(event) is AudioPacket:
                self._counters.audio_packets += 1
                self._counters.audio_bytes += len(event.payload)
                if self._publisher is not None:
                    self._publisher.take(event)
            elif isinstance(event, PublishAsked):
                self._begin(event)
            elif isinstance(event, Metadata):
                if self._publisher is not None:
                    self._publisher.metadata = event.values
            else:
                self._end("unpublished")
        video_bytes = self._protocol.video_bytes
        if video_bytes != self._video_bytes:
            self._counters.video_bytes_skipped += video_bytes - self._video_bytes
            self._video_bytes = video_bytes
            if self._publisher is not None:
                self._publisher.has_video = True
        self._send()
        if self._protocol.refused:
            self._leave()

    def pause_writing(self) -> None:
        self._fail("peer does not read", "it leaves our answers unread")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection lost")
        self._server.forget(self)
        self.gone.set()

    def accept(self, publisher: Publisher) -> bool:
        """Tell the peer to start, unless it is gone or wants something else by now."""
        if self._publisher is not publisher or self._leaving_at is not None:
            return False
        self._protocol.accept()
        self._has_published = True
        self._send()
        return True

    def refuse(self, publisher: Publisher, code: str, why: str) -> None:
        if self._publisher is publisher and self._leaving_at is None:
            self._protocol.refuse(code, why)
            self._end(why)
            self._leave()

    def finish(self, reason: str) -> None:
        """End from our side, politely."""
        if self._leaving_at is None:
            if self._publisher is not None:
                self._protocol.refuse("NetStream.Publish.Denied", reason)
                self._end(reason)
            self._leave()

    def abort(self) -> None:
        self._transport.abort()

    def check_deadline(self) -> None:
        """Close when the peer, or the farewell, takes too long."""
        options, now = self._server.options, self._loop.time()
        if self._leaving_at is not None:
            if now >= self._leaving_at:
                self.abort()
            return
        phase = self._protocol.phase
        if phase is Phase.GREETING:
            if now - self._quiet_since > options.handshake_s:
                self._fail("handshake timeout", f"no handshake within {options.handshake_s:g} s")
        elif phase in (Phase.CONNECTING, Phase.CONNECTED):
            if now - self._quiet_since > options.publish_s:
                if self._has_published:
                    self._leave()
                else:
                    self._fail("publish timeout", f"no publish within {options.publish_s:g} s")
        elif now - self._heard > options.idle_s:
            if self._transport.is_reading():
                self._fail("idle", f"nothing came for {options.idle_s:g} s", "idle")
            else:  # it is we who do not listen
                self._heard = now

    def _begin(self, asked: PublishAsked) -> None:
        options = self._server.options
        self._publisher = Publisher(
            asked.app,
            asked.key,
            self.peer,
            buffer_bytes=options.buffer_bytes,
            buffer_packets=options.buffer_packets,
            clock=self._loop.time,
            full=self._hold_back,
            emptied=self._let_go_on,
            closed=self.finish,
        )
        self._server.begin(self, self._publisher, asked.query)

    def _hold_back(self) -> None:
        self._counters.pauses += 1
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _let_go_on(self) -> None:
        if not self._transport.is_closing():
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def _send(self) -> None:
        data = self._protocol.to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, reason: str) -> None:
        self._quiet_since = self._loop.time()
        if self._publisher is not None:
            self._publisher.end(reason)
            self._publisher = None

    def _fail(self, reason: str, message: str, ended_because: str | None = None) -> None:
        if self._leaving_at is None:
            self._leaving_at = self._loop.time()
            self._server.blame(self.peer, reason, message)
            self._end(ended_because or message)
        self._transport.abort()

    def _leave(self) -> None:
        """Say the last word and wait a moment for the peer to hang up; closing at once could destroy that word."""
        self._send()
        self._leaving_at = self._loop.time() + _LINGER_S
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
