"""One WebSocket of one session: reads, takes and sends, and breaks where the fault plan says so."""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiohttp import WSMsgType, web

from stt.local import messages
from stt.local.faults import Cut
from stt.local.live import Live
from stt.local.outbox import HangUp, Letter
from stt.reading import read_json
from stt.tasks import TaskOwner

INBOX_LIMIT_BYTES: Final = 4 << 20  # behind that the socket is not read: TCP holds the client back
CLOSE_S: Final = 1.0  # for the client's half of a close handshake
REPLACED: Final = 4409  # in the range that clients never retry, so that two of them cannot fight for a session
_ENDED: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


@dataclass(frozen=True, slots=True)
class Audio:
    chunk: bytes
    arrived: float  # loop time


@dataclass(frozen=True, slots=True)
class Stop:
    """`stop_recording`, or the client's close with 1000, which means the same."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The client is gone; what it sent before still counts."""


Order: TypeAlias = Audio | Stop | Leave


class Connection:
    """Three tasks: the reader fills the inbox, the taker empties it into the session, the sender drains the outbox.

    Pings are answered by the reader, which never waits for the engine, so a busy engine costs acks but no connection.
    """

    def __init__(self, live: Live, request: web.Request, tasks: TaskOwner) -> None:
        self._live, self._request, self._background = live, request, tasks
        faults = live.faults
        limit = faults.frame_limit_bytes or live.limits.frame_limit_bytes
        self._ws = web.WebSocketResponse(
            # aiohttp refuses a frame of exactly the limit; the provider takes it.
            max_msg_size=limit + 1,
            compress=False,
            autoping=not faults.ignore_pings,
            timeout=CLOSE_S,
        )
        self._inbox: deque[Order] = deque()
        self._inbox_bytes = 0
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._unacked: deque[tuple[int, float]] = deque()  # offset behind a chunk, loop time of its arrival
        self._read_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._last_audio = self._loop.time()
        self._tasks: list[asyncio.Task[None]] = []
        self._replaced = False
        self._doom: asyncio.TimerHandle | None = None  # the cut that follows
        self._over = asyncio.Event()

    async def run(self) -> web.WebSocketResponse:
        """Accept the upgrade, serve until either side ends it."""
        live = self._live
        await self._ws.prepare(self._request)
        if live.socket is not None:
            live.socket.replace()
        live.connect(self)
        try:
            async with asyncio.TaskGroup() as group:
                taker = group.create_task(self._take(), name=f"stt-take-{live.id}")
                sender = group.create_task(self._send(), name=f"stt-send-{live.id}")
                idle = group.create_task(self._watch_idle(), name=f"stt-idle-{live.id}")
                self._tasks = [taker, sender, idle]
                code = await self._read()
                if code == 1000 and not self._replaced:
                    self._put(Stop())
                    self._put(Leave())
                    await asyncio.wait([taker])
                for task in self._tasks:
                    task.cancel()
        finally:
            if not self._replaced:
                self._leave()
        return self._ws

    def replace(self) -> None:
        """Another connection takes over: from here on this one touches the session no more."""
        self._replaced = True
        for task in self._tasks:
            task.cancel()
        self._leave()
        self._background.start(self._hang_up(REPLACED), f"stt-replaced-{self._live.id}")

    async def hang_up(self, code: int | None) -> None:
        """Close with `code`, or abort the TCP connection (None)."""
        await self._hang_up(code)

    # --- reader ---------------------------------------------------------------------------------------------

    async def _read(self) -> int | None:
        """Read until the socket ends. Returns the client's close code, None when there was none."""
        stop_at = self._live.faults.stop_reading_at_byte
        while True:
            if stop_at is not None and self._read_bytes >= stop_at:
                await self._over.wait()
                return None
            while self._inbox_bytes > INBOX_LIMIT_BYTES:
                self._room.clear()
                await self._room.wait()
            message = await self._ws.receive()
            if message.type is WSMsgType.BINARY:
                self._put_audio(message.data)
            elif message.type is WSMsgType.TEXT:
                self._read_text(message.data)
            elif message.type is WSMsgType.CLOSE:
                return int(message.data)
            elif message.type in _ENDED:
                return None

    def _read_text(self, text: str) -> None:
        try:
            message: Any = read_json(text)
            kind = message["type"]
            if kind == "stop_recording":
                self._put(Stop())
                return
            if kind == "audio_chunk":
                self._put_audio(base64.b64decode(message["data"]["chunk"], validate=True))
                return
            problem = f"unknown message type {kind!r}"
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            problem = f"a message must be audio_chunk with base64 data.chunk, or stop_recording ({error})"
        self._live.delivery.emit(messages.error("invalid_message", problem))

    def _put_audio(self, chunk: bytes) -> None:
        self._last_audio = self._loop.time()
        self._read_bytes += len(chunk)
        self._inbox_bytes += len(chunk)
        self._put(Audio(chunk, self._last_audio))

    def _put(self, order: Order) -> None:
        self._inbox.append(order)
        self._filled.set()

    async def _watch_idle(self) -> None:
        """Drop a connection on which no audio came for too long, unless it only waits for its end.

        While the engine has yet to hear what came, the client is held back, and not idle.
        """
        faults = self._live.faults
        allowed = self._live.limits.idle_s if faults.idle_s is None else faults.idle_s
        while (left := self._last_audio + allowed - self._loop.time()) > 0 or self._inbox or self._live.behind_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(left if left > 0 else allowed):
                    await self._over.wait()
                    return
        if self._live.session.accepts_audio:
            self._live.delivery.outbox.put(HangUp(faults.idle_code))

    # --- taker ----------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        """Do what came in, in order, until the connection is cut or left."""
        if self._cut(self._live.script.cut_at_byte(-1, 0)):
            return
        for item in self._live.script.injections(0):
            self._live.delivery.inject(item)
        going = True
        while going:
            while not self._inbox:
                self._filled.clear()
                await self._filled.wait()
            order = self._inbox.popleft()
            match order:
                case Audio(chunk, arrived):
                    self._inbox_bytes -= len(chunk)
                    self._room.set()
                    going = await self._audio(chunk, arrived)
                case Stop():
                    going = await self._stop()
                case Leave():
                    going = False

    async def _audio(self, chunk: bytes, arrived: float) -> bool:
        """Take one chunk. Returns whether the connection goes on."""
        live = self._live
        if not live.session.accepts_audio:
            live.delivery.emit(messages.refused("audio_chunk", "recording was stopped; no more audio is accepted"))
            return True
        start = live.session.received
        end = start + len(chunk)
        cut = live.script.cut_at_byte(start, end) or live.script.poisoned(chunk, end)
        if cut is not None and cut.after_s:
            if self._doom is None:
                self._doom = self._loop.call_later(cut.after_s, self._cut, cut)
            cut = None
        if cut is not None and cut.at_byte is not None:
            chunk = chunk[: cut.at_byte - start]
        end = live.session.receive(chunk)
        if cut is not None and cut.ack == "before":
            return not self._cut(cut)
        self._unacked.append((end, arrived))
        if cut is not None:
            await self._settle(upto=end, then=HangUp(cut.code))
            return False
        await self._settle(upto=end - live.faults.acks.lag_bytes)
        return True

    async def _settle(self, *, upto: int, then: HangUp | None = None) -> None:
        """Acknowledge the chunks that end at `upto` or before; `then` follows the last of them."""
        live = self._live
        while self._unacked and self._unacked[0][0] <= upto and live.session.accepts_audio:
            end, arrived = self._unacked[0]
            if live.faults.acks.delay_s:
                await asyncio.sleep(arrived + live.faults.acks.delay_s - self._loop.time())
            await live.channels.room()
            self._unacked.popleft()
            live.acknowledge(end, then=then if end == upto and not self._unacked else None)

    async def _stop(self) -> bool:
        cut = self._live.script.cut_at_stop()
        if cut is not None and cut.ack == "before":
            return not self._cut(cut)
        await self._settle(upto=self._live.session.received)
        self._live.delivery.emit(self._live.stop())
        return not self._cut(cut)

    def _cut(self, cut: Cut | None) -> bool:
        if cut is None:
            return False
        self._live.delivery.outbox.put(HangUp(cut.code))
        return True

    # --- sender ---------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Send until the connection ends. A message that meets a broken connection is lost, as on any network."""
        try:
            while True:
                item = await self._live.delivery.outbox.take()
                if isinstance(item, HangUp):
                    await self._hang_up(item.code)
                    return
                cut = self._live.script.cut_at_final(item.ordinal) if item.ordinal else None
                if cut is not None and cut.message_bytes is not None:
                    self._write_part(item, cut.message_bytes)
                else:
                    await self._ws.send_str(item.text)
                if cut is not None:
                    await self._hang_up(cut.code)
                    return
        except ConnectionError:
            return  # the reader sees it too, and ends the connection

    def _write_part(self, letter: Letter, size: int) -> None:
        """The first `size` bytes of the message's frame, header included (RFC 6455, section 5.2)."""
        payload = letter.text.encode()
        length = len(payload)
        if length < 126:
            header = struct.pack("!BB", 0x81, length)
        elif length < 1 << 16:
            header = struct.pack("!BBH", 0x81, 126, length)
        else:
            header = struct.pack("!BBQ", 0x81, 127, length)
        if self._request.transport is not None:
            self._request.transport.write((header + payload)[:size])

    async def _hang_up(self, code: int | None) -> None:
        self._over.set()
        if code is not None:
            await self._ws.close(code=code)
            return
        transport = self._request.transport
        if transport is None:
            return
        if isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():
            transport.close()  # what was sent before the cut still goes out
        else:
            transport.abort()

    def _leave(self) -> None:
        if self._doom is not None:
            self._doom.cancel()
        self._live.disconnect(self)
