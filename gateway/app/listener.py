"""The HTTP listener: how many connections it keeps, and how long each may take for what it sends."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.api.errors import problem
from gateway.api.web import access_log
from gateway.app.admittance import Admittance, Caps
from gateway.app.failures import binding
from gateway.live.lines import give_up_unread
from gateway.live.websocket import FrameBudget, Masks, TooManyFrames

log = logging.getLogger(__name__)

_SWEEP_S: Final = 0.5
_TELL_S: Final = 1.0
_UNMASKED: Final = b"\xff\x80"
"""Reserved bits and an unknown opcode: what any reader of frames refuses with 1002."""
# The shortest packets of honest senders are of 2.5 ms, 400 a second; as many at once as half a minute of them.
FRAMES_PER_S: Final = 2_000
FRAMES_AT_ONCE: Final = 12_000


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """`head_s`, `body_s`, `keepalive_s`: how long a request's head and body may take, and the wait for the next."""

    host: str
    port: int
    caps: Caps
    head_s: float = 10.0
    body_s: float = 30.0
    keepalive_s: float = 75.0
    setting: str = "GATEWAY_HTTP_PORT"
    """Where another port is chosen."""
    backlog: int = 4096
    is_shared: bool = False
    """Other processes of ours listen on the same port, among which the system spreads connections."""


@dataclass(slots=True)
class ListenerCounts:
    """By reason, fit for a metric's label: `late`: head, body; `malformed`: what was no HTTP, broken bodies, floods."""

    late: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)


class Listener:
    """One port's connections, WebSockets that have left HTTP among them."""

    def __init__(self, options: ListenerOptions) -> None:
        self.options = options
        self.counts = ListenerCounts()
        self.admittance: Admittance[_Handler] = Admittance(options.caps)
        self.handlers: set[_Handler] = set()

    async def sweep(self) -> None:
        """Ends connections that take too long: one look at all, instead of a timer for each. Runs until cancelled."""
        now, counts = asyncio.get_running_loop().time, self.admittance.counts
        told, tell_at, evicted = Counter[str](), 0.0, 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            for handler in list(self.handlers):
                handler.look(now())
            # Who makes room does so for the total.
            refused = counts.refused + Counter(total=counts.evicted)
            if refused != told and now() >= tell_at:
                log.warning(
                    "HTTP connections refused or closed for others, too many are open: see ulimit -n, "
                    "GATEWAY_MAX_HTTP_CONNECTIONS and GATEWAY_MAX_HTTP_CONNECTIONS_PER_ADDRESS",
                    extra={
                        "count": (refused - told).total(),
                        "made_room": counts.evicted - evicted,
                        "limit": ", ".join(sorted(refused - told)),
                        "open": self.admittance.open,
                        "most": ", ".join(f"{address} ({held})" for address, held in self.admittance.most(3)),
                    },
                )
                told, tell_at, evicted = refused, now() + _TELL_S, counts.evicted


class _Handler(web.RequestHandler):
    """aiohttp's connection, counted and with deadlines. Its slots are aiohttp's; these are ours."""

    __slots__ = ("_address", "_is_partial", "_listener", "_phase", "_phase_at", "_tell_flood")

    def __init__(self, listener: Listener, server: web.Server, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._listener = listener
        self._address: str | None = None  # while it counts
        self._phase: tuple[str, int] = ("head", 0)
        self._phase_at = loop.time()
        self._is_partial = False
        self._tell_flood: Callable[[str], None] | None = None

    # --- the connection's life ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = self._listener.admittance.admit(peer[0] if peer else None)
        if self._address is None:
            self._manager = None  # for aiohttp it has never begun
            transport.write(_raw(503, "Too many connections", "come back later", retry_after_s=5))  # type: ignore[attr-defined]
            transport.close()
            return
        super().connection_made(transport)
        give_up_unread(cast(asyncio.Transport, transport), self._listener.options.body_s)
        self._listener.handlers.add(self)
        self._listener.admittance.waits(self._address, self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def hand_over(self) -> tuple[Callable[[], None], bytes]:
        """See `gateway.live.lines.Counted`."""
        address, admittance = self._address, self._listener.admittance
        early, self._message_tail = self._message_tail, b""
        if address is None:
            return (lambda: None), early
        self._listener.handlers.discard(self)
        admittance.asks(address, self)
        self._address = None
        return (lambda: admittance.release(address)), early

    def evict(self) -> None:
        """See `Evictable`."""
        if self.transport is not None:
            self.transport.abort()
        self._leave()

    def _leave(self) -> None:
        self._listener.handlers.discard(self)
        if self._address is not None:
            self._listener.admittance.asks(self._address, self)
            self._listener.admittance.release(self._address)
            self._address = None

    # --- what it sends, and how long it takes -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        before, waiter = self._request_count, self._waiter
        is_between = waiter is not None and not waiter.done()
        super().data_received(data)
        if self._request_count != before:
            self._is_partial = False
            self._may_be_evicted(bool(self._messages) and not self._messages[-1][1].is_eof())
            return
        self._is_partial = self._is_partial or is_between
        request = self._current_request
        if request is not None and not self._upgraded and request.content.is_eof():
            self._may_be_evicted(False)

    def _may_be_evicted(self, may: bool) -> None:
        """What keeps us waiting may, by its head, its body, its reading or its next request."""
        if self._address is not None:
            change = self._listener.admittance.waits if may else self._listener.admittance.asks
            change(self._address, self)

    def look(self, now: float) -> None:
        """What it is about at `now`, and whether that takes too long."""
        options, phase = self._listener.options, self._about()
        if (phase, self._request_count) != self._phase:
            self._phase, self._phase_at = (phase, self._request_count), now
            self._may_be_evicted(phase != "busy")
            return
        allowed = {"head": options.head_s, "body": options.body_s, "idle": options.keepalive_s}.get(phase)
        if allowed is None or now - self._phase_at < allowed or self.transport is None:
            return
        if phase != "idle":
            self._listener.counts.late[phase] += 1
            if self._current_request is None or not self._current_request.writer.output_size:
                self.transport.write(
                    _raw(408, "Request timeout", f"the request's {phase} took more than {allowed:g} s")
                )
        self.force_close()

    def _about(self) -> str:
        request = self._current_request
        if request is not None and not request.content.is_eof():
            return "body"
        if self._upgraded:
            return "busy"
        if request is not None or self._request_in_progress:
            is_unread = self.transport is not None and self.transport.get_write_buffer_size() > 0
            return "unread" if is_unread else "busy"
        return "head" if self._is_partial or not self._request_count else "idle"

    # --- faults of the client -----------------------------------------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP is the client's fault: a problem document and a count, no trace in the log."""
        if status >= 500 and not isinstance(exc, HttpProcessingError | web.RequestPayloadError):
            return super().handle_error(request, status, exc, message)
        self._listener.counts.malformed["request"] += 1
        if request.writer.output_size:
            raise ConnectionResetError("an answer has begun already")
        answer = problem(400, "Bad request", "this is no request of HTTP/1.1")
        answer.headers["Server"] = "gateway"
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that breaks off, or is not encoded as its headers say, is the client's fault too."""
        if isinstance(kw.get("exc_info"), HttpProcessingError | web.RequestPayloadError):
            self._listener.counts.malformed["body"] += 1
        else:
            super().log_exception(*args, **kw)

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """A WebSocket begins: its client has to mask what it sends (RFC 6455, 5.1), which aiohttp does not ask for.

        Nor does it count frames.
        """
        super().set_parser(cast(Any, _Checked(parser, self._flooded)), data_received_cb)

    def when_flooded(self, tell: Callable[[str], None]) -> None:
        """See `gateway.live.lines.Metered`."""
        self._tell_flood = tell

    def _flooded(self, why: str) -> bool:
        self._listener.counts.malformed["flood"] += 1
        if self._tell_flood is None:
            return False
        self._tell_flood(why)
        return True


class _Checked:
    """Before a reader of frames: one without a mask reaches it as a frame that it refuses with 1002.

    So does one too many, where nobody is told of it; else nothing reaches it any more.
    """

    __slots__ = ("_budget", "_flooded", "_is_over", "_masks", "_parser")

    def __init__(self, parser: Any, flooded: Callable[[str], bool]) -> None:
        self._parser = parser
        self._flooded = flooded
        self._is_over = False
        self._budget = FrameBudget(FRAMES_PER_S, FRAMES_AT_ONCE)
        self._masks = Masks(self._budget)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._is_over:
            return False, b""
        self._budget.earn(asyncio.get_running_loop().time())
        try:
            data, is_masked = self._masks.take(data)
        except TooManyFrames as error:
            self._is_over = True
            if self._flooded(str(error)):
                return False, b""
            data, is_masked = b"", False
        found: tuple[bool, bytes] = self._parser.feed_data(data if is_masked else data + _UNMASKED)
        return found

    def feed_eof(self) -> None:
        self._parser.feed_eof()


def _raw(status: int, title: str, detail: str, retry_after_s: int | None = None) -> bytes:
    """A whole answer, for a connection that has no request to answer."""
    told = problem(status, title, detail)
    body = bytes(told.body) if isinstance(told.body, bytes) else b""
    head = [f"HTTP/1.1 {status} {told.reason}", "Server: gateway", f"Content-Type: {told.content_type}"]
    head += [f"Content-Length: {len(body)}", "Connection: close"]
    head += [] if retry_after_s is None else [f"Retry-After: {retry_after_s}"]
    return "\r\n".join([*head, "", ""]).encode() + body


@asynccontextmanager
async def listening(app: web.Application, *listeners: Listener) -> AsyncIterator[list[int]]:
    """Yields the port of each, which the system has chosen where 0 is asked for. Raises: StartFailed."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        manager = runner.server
        assert manager is not None  # noqa: S101 - it is set up
        async with AsyncExitStack() as open_ports:
            yield [await open_ports.enter_async_context(_port(manager, listener)) for listener in listeners]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _port(manager: web.Server, listener: Listener) -> AsyncIterator[int]:
    """Raises: StartFailed."""
    options, loop = listener.options, asyncio.get_running_loop()
    kwargs = {"access_log_class": access_log(), "keepalive_timeout": options.keepalive_s}
    with binding(options.host, options.port, options.setting):
        server = await loop.create_server(
            lambda: _Handler(listener, manager, loop, **kwargs),
            options.host,
            options.port,
            backlog=options.backlog,
            reuse_port=options.is_shared or None,
        )
    sweeping = loop.create_task(listener.sweep(), name="http deadlines")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        if options.is_shared:
            await asyncio.sleep(0)  # what waits to be accepted would be reset, and no other process gets it
        server.close()
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
