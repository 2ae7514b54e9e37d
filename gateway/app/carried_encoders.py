"""Encoders that are connected to other replicas and publish to what runs here: those replicas bring their audio."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from gateway.api.web import json_answer, read_told
from gateway.outage import RecordsUnavailable
from gateway.reading import NotJson, read_json
from gateway.replicas.routes import Handler
from gateway.transcription.infra.sources import Sources, stream_keys
from gateway.transcription.usecases.records import Leases
from ingest.errors import ProtocolError
from ingest.rtmp import packets
from ingest.rtmp.publisher import TAKEN_OVER, Publisher
from ingest.rtmp.server import RtmpServer

log = logging.getLogger(__name__)

PATH: Final = "/internal/encoder"
WHOSE: Final = "/internal/encoder/whose"
END: Final = "end"
"""Said by who has the encoder, behind its last packet."""
START_S: Final = 5.0
TELL_S: Final = 1.0
"""At least as often it is told how much was read; a longer silence than 5 s means that this replica is gone."""
CLOSE_S: Final = 2.0
REMEMBERED: Final = 1_000
"""Publishes whose way may have broken."""
IDLE_MARGIN_S: Final = 5.0
GOING: Final = "the gateway is restarting; come back"


class Start(msgspec.Struct, rename="camel"):
    """The first message. `age_s`: for so long it has been published. `publish`: a name of this publish, the same
    on each way. `first`: number of the first packet that is sent now, from its beginning."""

    app: str
    key: str
    peer: str
    age_s: float
    publish: str = ""
    first: int = 0


class Whose(msgspec.Struct):
    """Asked by who is cut off from the database."""

    keys: list[str]


class Owner(msgspec.Struct):
    """Of the transcription with one of the keys."""

    owner: str | None


class Told(msgspec.Struct, rename="camel", omit_defaults=True):
    """How it stands: each second, and on a change. `taken`: packets that were read, from `Start.first` on, those that
    had come on a former way included.

    `over`: why it ends; then nothing follows. `comes_back`: but its audio, from the first packet that was not taken, is
    wanted: by replica `owner`, where that is known.
    """

    is_ready: bool = False
    taken: int = 0
    over: str | None = None
    comes_back: bool = False
    owner: str = ""


class CarriedEncoders:
    """For other replicas alone. `close` ends them all."""

    def __init__(self, server: RtmpServer, sources: Sources, leases: Leases, is_leaving: Callable[[], bool]) -> None:
        """`is_leaving`: whether this replica goes, and what it runs with it to another one."""
        self._server = server
        self._sources = sources
        self._leases = leases
        self._is_leaving = is_leaving
        self._lines: dict[_Line, None] = {}
        self._read: OrderedDict[str, Callable[[], int]] = OrderedDict()  # by publish: the number of the next packet

    def routes(self) -> dict[tuple[str, str], Handler]:
        """For `InternalRoutes`."""
        return {("GET", PATH): self.carried, ("POST", WHOSE): self.whose}

    async def carried(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket: `Start`, then `packets`; `Told` comes back. What runs elsewhere is never asked for here."""
        response = web.WebSocketResponse(max_msg_size=packets.MESSAGE_BYTES, compress=False, timeout=CLOSE_S)
        await response.prepare(request)
        try:
            first = await response.receive(timeout=START_S)
            start = read_json(first.data if first.type is aiohttp.WSMsgType.TEXT else "", Start)
        except (TimeoutError, NotJson) as error:
            log.warning("another replica does not say which encoder it brings: %s", error)
            await response.close(code=1002)
            return response
        line = _Line(response, self._server, start, self._read.get(start.publish))
        self._read[start.publish] = line.read_to
        self._read.move_to_end(start.publish)
        if len(self._read) > REMEMBERED:
            self._read.popitem(last=False)
        self._lines[line] = None
        try:
            await line.run(await self._elsewhere(start), self._is_leaving)
        finally:
            del self._lines[line]
        await response.close()
        return response

    async def whose(self, request: web.Request) -> web.Response:
        """Which replica has the transcription with one of these stream keys: 200. Raises: RecordsUnavailable."""
        owned = await self._leases.published((await read_told(request, Whose)).keys)
        return json_answer(Owner(owned.owner if owned is not None else None))

    async def close(self) -> None:
        """End all; who brings them looks for the next owner."""
        for line in list(self._lines):
            line.closed(GOING)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._lines:
                    await asyncio.sleep(0.01)

    async def _elsewhere(self, start: Start) -> Told | None:
        """Why it cannot be heard here; None when it can."""
        if self._sources.takes_publish(start.app, start.key):
            return None
        try:
            owned = await self._leases.published(stream_keys(start.app, start.key))
        except RecordsUnavailable:
            return Told(over="the database does not answer", comes_back=True)
        if owned is None:
            return Told(over="unknown stream key")
        return Told(over="it is run by another replica", comes_back=True, owner=owned.owner)


class _Line:
    """One encoder, from its `Start` on; as its `Sender`, it stands before the RTMP server like a connection."""

    def __init__(
        self, response: web.WebSocketResponse, server: RtmpServer, start: Start, former: Callable[[], int] | None
    ) -> None:
        """`former`: how far the same publish was read on the way before this one."""
        self._response = response
        self._server = server
        self._first = start.first
        self._former = former
        self._known = 0  # packets from the first on that had come before
        self._is_ready = self._comes_back = False
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        clock, options = asyncio.get_running_loop().time, server.options
        self._publisher = Publisher(
            start.app,
            start.key,
            start.peer,
            buffer_bytes=options.buffer_bytes,
            buffer_packets=options.buffer_packets,
            clock=clock,
            full=self._room.clear,
            emptied=self._room.set,
            closed=self.closed,
            carried_since=clock() - start.age_s,
        )

    def accept(self, publisher: Publisher) -> bool:
        """It is heard from now on."""
        self._is_ready = publisher.ended_because is None
        if self._former is not None:
            self._known = max(0, self._former() - self._first)
            self._former = None
        self._news.set()
        return self._is_ready

    def refuse(self, publisher: Publisher, code: str, why: str) -> None:
        """It is not, or not yet."""
        self._comes_back = why != TAKEN_OVER
        self.closed(why)

    @property
    def _taken(self) -> int:
        return self._known + self._publisher.packets_read

    def read_to(self) -> int:
        """The number of the first packet that was not read."""
        return max(self._first + self._taken, self._former() if self._former is not None else 0)

    def closed(self, reason: str) -> None:
        """Nothing more is taken; what has come is heard to its end."""
        self._publisher.end(reason)
        self._room.set()

    async def run(self, elsewhere: Told | None, is_leaving: Callable[[], bool]) -> None:
        """Until the publish is over and heard; `elsewhere`: why there is none."""
        beside = [
            asyncio.create_task(self._take(), name="encoder taken"),
            asyncio.create_task(self._tell(), name="encoder told"),
        ]
        publisher = self._publisher
        try:
            if elsewhere is None:
                await asyncio.wait({self._server.begin(self, publisher, "")})
        finally:
            self.closed(GOING)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        comes_back = publisher.is_moved or self._comes_back or is_leaving()
        last = Told(self._is_ready, self._taken, publisher.ended_because, comes_back)
        with suppress(ConnectionError):
            await self._send(elsewhere or last)

    async def _tell(self) -> None:
        with suppress(ConnectionError):
            while True:
                self._news.clear()
                await self._send(Told(self._is_ready, self._taken))
                with suppress(TimeoutError):
                    async with asyncio.timeout(TELL_S):
                        await self._news.wait()

    async def _send(self, told: Told) -> None:
        await self._response.send_str(msgspec.json.encode(told).decode())

    async def _take(self) -> None:
        publisher, idle_s = self._publisher, self._server.options.idle_s + IDLE_MARGIN_S
        try:
            while True:
                await self._room.wait()
                message = await self._response.receive(timeout=idle_s)
                if message.type is aiohttp.WSMsgType.BINARY:
                    batch, age_s = packets.read(message.data)
                    for packet in batch if publisher.ended_because is None else ():
                        publisher.take(packet, age_s)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self.closed("unpublished")
                else:
                    self.closed("connection lost")
                    return
        except ProtocolError as error:
            self._server.blame(publisher.peer, error.reason, str(error))
            self.closed(str(error))
        except TimeoutError:
            self.closed("idle")
