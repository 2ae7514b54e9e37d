"""One publisher's socket round `protocol`: bytes in and out, deadlines, back-pressure, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Protocol, cast

from ingest.audio_packet import AudioPacket
from ingest.errors import ProtocolError
from ingest.rtmp.allowance import Allowance
from ingest.rtmp.counters import RtmpCounters
from ingest.rtmp.handshake import RANDOM_BYTES
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.protocol import Event, Metadata, Phase, PublishAsked, ServerProtocol
from ingest.rtmp.publisher import Publisher, Sender

logger = logging.getLogger(__name__)

READ_BYTES: Final = 16 * 1024  # also bounds how long one peer can hold up the others
_UNSENT_BYTES: Final = 64 * 1024
_LINGER_S: Final = 1.0  # for a refused peer to read why before the socket is torn down


class Host(Protocol):
    """What a connection needs of its server."""

    @property
    def options(self) -> RtmpOptions:
        """Limits and times that hold for every connection."""

    @property
    def counters(self) -> RtmpCounters:
        """Shared by all connections, which count into them."""

    @property
    def buffer(self) -> memoryview:
        """READ_BYTES that all connections read into: what is read is consumed before anything else is."""

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in, unless there are too many."""

    def forget(self, connection: Connection) -> None:
        """The socket is gone."""

    def begin(self, sender: Sender, publisher: Publisher, query: str) -> object:
        """Check the key of a publish and, if it is right, see it through, in a task of its own."""

    def blame(self, peer: str, reason: str, message: str) -> None:
        """Count and log a connection that is closed for breaking a rule."""


class Connection(asyncio.BufferedProtocol):
    """One socket. Every byte out goes through `_send`, every end through `_end`."""

    address = peer = "unknown"
    host: IPv4Address | IPv6Address | None = None
    _transport: asyncio.Transport

    def __init__(self, server: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._counters = server.counters
        self._loop = loop
        self._protocol = ServerProtocol(server.options.limits, os.urandom(RANDOM_BYTES))
        self._buffer = server.buffer
        self._publisher: Publisher | None = None
        self._video_bytes = 0
        self._heard = self._quiet_since = loop.time()
        self._leaving_at: float | None = None  # told to go; cut off then
        self._has_published = False
        self._allowance = Allowance(loop.time())
        self._is_full = self._is_paced = False  # why nothing is read at the moment

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the server for admission; a connection too many is cut at once."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only
        name = self._transport.get_extra_info("peername")
        if name:  # None when the peer is gone already
            self.peer = f"{name[0]}:{name[1]}"
            self.host = _host(name[0])
            self.address = _counted_as(self.host)
        if self._server.admit(self):
            self._transport.set_write_buffer_limits(_UNSENT_BYTES)
        else:
            self._transport.abort()

    @property
    def is_waiting(self) -> bool:
        """It does not publish, and has not asked to."""
        return self._publisher is None

    def get_buffer(self, sizehint: int) -> memoryview:
        """The one of the server: both event loops fill it and call `buffer_updated` in one go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read. A peer that breaks the protocol is disconnected; nothing is raised."""
        if self._leaving_at is not None:
            return
        self._heard = self._loop.time()
        began = time.thread_time()
        self._take(nbytes)
        wait_s = self._allowance.spend(time.thread_time() - began, self._heard)
        if wait_s and self._leaving_at is None and not self._is_paced:
            self._counters.paces += 1
            self._is_paced = True
            self._listen()
            self._loop.call_later(wait_s, self._go_on)

    def _take(self, nbytes: int) -> None:
        try:
            self._heed(self._protocol.receive(self._buffer[:nbytes]))
        except ProtocolError as error:
            self._heed(event for event in error.before if type(event) is AudioPacket)
            self._fail(error.reason, str(error))
            return
        except Exception:
            logger.exception("rtmp connection from %s: our own mistake", self.peer)
            self._fail("internal error", "internal error")
            return
        self._note()
        self._send()
        if self._protocol.refused:
            self._end("asked to play")
            self._leave()

    def _heed(self, events: Iterable[Event]) -> None:
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
                self._note()
                self._end("unpublished")

    def pause_writing(self) -> None:
        """More than _UNSENT_BYTES wait for a peer that should only send: disconnect it."""
        self._fail("peer does not read", "it leaves our answers unread")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the publish, if there is one, and leave the server."""
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
        """Tell the peer that it may not publish and disconnect it, unless this publish is over already."""
        if self._publisher is publisher and self._leaving_at is None:
            self._protocol.refuse(code, why)
            self._end(why)
            self._leave()

    def finish(self, reason: str) -> None:
        """End from our side: tell the peer why, then disconnect it."""
        if self._leaving_at is None:
            if self._publisher is not None:
                self._protocol.refuse("NetStream.Publish.Denied", reason)
                self._end(reason)
            self._leave()

    def abort(self) -> None:
        """Cut the TCP connection now."""
        self._transport.abort()

    def check_deadline(self) -> None:
        """Disconnect a peer that is too slow, or that has not hung up after it was told to go."""
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

    def _note(self) -> None:
        if self._publisher is not None:
            self._publisher.abandoned_messages = self._protocol.abandoned
            self._publisher.repeated_publishes = self._protocol.repeated_publishes
        video_bytes = self._protocol.video_bytes
        if video_bytes != self._video_bytes:
            self._counters.video_bytes_skipped += video_bytes - self._video_bytes
            self._video_bytes = video_bytes
            if self._publisher is not None:
                self._publisher.has_video = True

    def _hold_back(self) -> None:
        self._counters.pauses += 1
        self._is_full = True
        self._listen()

    def _let_go_on(self) -> None:
        self._is_full = False
        self._listen()

    def _go_on(self) -> None:
        self._is_paced = False
        self._listen()

    def _listen(self) -> None:
        """Read on, or do not."""
        if self._transport.is_closing() or self._leaving_at is not None:
            return
        if self._is_full or self._is_paced:
            self._transport.pause_reading()
        else:
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def _send(self) -> None:
        data = self._protocol.to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, reason: str, fault: str | None = None) -> None:
        self._quiet_since = self._loop.time()
        if self._publisher is not None:
            self._publisher.end(reason, fault)
            self._publisher = None

    def _fail(self, reason: str, message: str, ended_because: str | None = None) -> None:
        if self._leaving_at is None:
            self._leaving_at = self._loop.time()
            self._server.blame(self.peer, reason, message)
            self._end(ended_because or message, message)
        self._transport.abort()

    def _leave(self) -> None:
        """Say the last word and wait a moment for the peer to hang up; closing at once could destroy that word."""
        self._send()
        self._leaving_at = self._loop.time() + _LINGER_S
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                with suppress(OSError):  # the peer has gone, and the loop does not know it yet
                    self._transport.write_eof()


def _host(text: str) -> IPv4Address | IPv6Address | None:
    """Without a zone; an IPv4 address that is written as IPv6 becomes IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _counted_as(host: IPv4Address | IPv6Address | None) -> str:
    """One client: an IPv4 address, or the /64 of an IPv6 one, all of which one household or host has."""
    if isinstance(host, IPv6Address):
        return str(ip_network((host, 64), strict=False))
    return str(host) if host is not None else "unknown"
