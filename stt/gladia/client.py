"""The shell round the link: HTTP, sockets and time. It moves bytes; `link` and `session` decide."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from stt.errors import MalformedMessage, ProviderFull, ProviderRefused, ProviderUnavailable, SttError
from stt.gladia import messages as wire
from stt.gladia.link import Link, LinkCounts, LinkEvent
from stt.gladia.session import Connect, Create, Done, Fetch, LinkOptions, Session, SessionState, Wait

log = logging.getLogger(__name__)

DEFAULT_URL = "https://api.gladia.io"
_LARGEST_MESSAGE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """Where the provider is and who we are to it."""

    api_key: str = field(repr=False)
    url: str = DEFAULT_URL
    request_timeout_s: float = 10.0
    link: LinkOptions = field(default_factory=LinkOptions)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a link ended. `complete`: every provider session confirmed its end, so no final is missing."""

    complete: bool
    failed: ProviderRefused | None
    sent_samples: int
    resent_samples: int
    counts: LinkCounts


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One provider session, reported when it was opened and again when it is over."""

    id: str
    over: bool
    seconds_sent: float
    outcome: str  # "streaming", "closed", "incomplete" or "lost"


T = TypeVar("T")
Listener = Callable[[LinkEvent], None]
SessionListener = Callable[[SessionReport], None]


class Provider:
    """One provider account: the HTTP connection pool that its links share."""

    def __init__(self, options: ProviderOptions) -> None:
        self.options = options
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            base_url=self.options.url.rstrip("/") + "/",
            headers={"x-gladia-key": self.options.api_key},
            timeout=aiohttp.ClientTimeout(total=self.options.request_timeout_s),
            # One live socket per track: the pool must not be the limit.
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("Provider is used inside `async with`")
        return self._http

    def link(self, config: wire.LiveConfig, listener: Listener, sessions: SessionListener) -> GladiaLink:
        return GladiaLink(self, config, listener, sessions)

    async def create(self, config: wire.LiveConfig) -> wire.SessionCreated:
        """POST /v2/live.

        Raises: ProviderRefused, ProviderFull, ProviderUnavailable.
        """
        params = {"region": config.region} if config.region else {}
        return await self._call("POST", "v2/live", wire.parse_created, params=params, json=wire.session_request(config))

    async def result(self, session_id: str) -> wire.SessionResult:
        """GET /v2/live/{id}. Raises as `create`."""
        return await self._call("GET", f"v2/live/{session_id}", wire.parse_result)

    async def check(self) -> None:
        """Ask for the list of sessions, which costs nothing, to see whether the key works. Raises as `create`."""
        await self._call("GET", "v2/live", msgspec.json.decode, params={"limit": "1"})

    async def _call(self, method: str, path: str, read: Callable[[bytes], T], **request: Any) -> T:
        try:
            async with self.http.request(method, path, **request) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderUnavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if status == 429:
            raise ProviderFull(wire.error_text(body))
        if status == 408 or status >= 500:
            raise ProviderUnavailable(f"HTTP {status}: {wire.error_text(body)}")
        if status >= 400:
            raise ProviderRefused(status, wire.error_text(body))
        try:
            return read(body)
        except msgspec.MsgspecError as error:
            raise ProviderUnavailable(f"HTTP {status} with an unreadable body: {error}") from error


class GladiaLink:
    """One track's link while it runs. Feed it with `send`, end it with `finish`, own the task of `run`."""

    def __init__(
        self,
        provider: Provider,
        config: wire.LiveConfig,
        listener: Listener,
        sessions: SessionListener,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._config = config
        self._listener = listener
        self._report = sessions
        self._clock = clock
        self._link = Link(provider.options.link, random.random)
        self._wake: dict[int, asyncio.Event] = {}  # one per session, set when it may have something to do
        self._changed = asyncio.Event()  # sessions were added, or the track is finished

    # --- for the track --------------------------------------------------------------------------------------

    def send(self, offset: int, pcm: bytes) -> None:
        """The track goes on at sample `offset` with 16 kHz mono s16le. Never waits: audio is held, bounded."""
        known = len(self._link.sessions)
        self._tell(self._link.audio(offset, pcm, self._clock()))
        if len(self._link.sessions) != known:
            self._changed.set()
        for wake in self._wake.values():
            wake.set()

    def finish(self, flush_s: float) -> None:
        """No more audio comes; `run` returns when all finals are here, at the latest after `flush_s`."""
        now = self._clock()
        self._link.finish(now, now + flush_s)
        self._changed.set()
        for wake in self._wake.values():
            wake.set()

    @property
    def state(self) -> str:
        """idle, waiting (the account is full), or the current session's state in lower case."""
        session = self._link.sessions[-1] if self._link.sessions else None
        if session is None:
            return "idle"
        return "waiting" if session.is_waiting else session.state.name.lower()

    @property
    def counts(self) -> LinkCounts:
        return self._link.counts

    @property
    def sent_samples(self) -> int:
        """Samples sent to the provider, those sent again included: what the bill is made of."""
        return self._link.sent_samples

    @property
    def messages_sent(self) -> int:
        return self._link.messages_sent

    @property
    def backlog_s(self) -> float:
        return self._link.backlog_s

    async def run(self) -> Outcome:
        """Hold provider sessions while there is audio, until the track is finished or refused."""
        started: set[int] = set()
        async with asyncio.TaskGroup() as tasks:
            while not self._link.done:
                for session in self._link.sessions:
                    if id(session) not in started:
                        started.add(id(session))
                        self._wake[id(session)] = asyncio.Event()
                        tasks.create_task(self._hold(session), name="stt-session")
                await self._changed.wait()
                self._changed.clear()
        return Outcome(
            complete=self._link.complete,
            failed=self._link.failed,
            sent_samples=self._link.sent_samples,
            resent_samples=self._link.resent_samples,
            counts=self._link.counts,
        )

    # --- for one session ------------------------------------------------------------------------------------

    async def _hold(self, session: Session) -> None:
        """Carry one provider session from its POST to its end."""
        try:
            while True:
                match session.step(self._clock()):
                    case Create():
                        await self._create(session)
                    case Connect(url):
                        await self._converse(session, url)
                    case Fetch(session_id):
                        await self._fetch(session, session_id)
                    case Wait(until):
                        await self._sleep(session, until)
                    case Done():
                        break
        except asyncio.CancelledError:
            await self._abandon(session)
            raise
        self._wake.pop(id(session), None)
        self._report_over(session)
        self._tell(self._link.over(session, self._clock()))
        self._changed.set()

    async def _create(self, session: Session) -> None:
        try:
            created = await self._provider.create(self._config)
        except SttError as error:
            log.warning("no provider session: %s", error)
            session.not_created(error, self._clock())
            return
        session.created(created.id, created.url, self._clock())
        self._report(SessionReport(created.id, over=False, seconds_sent=0.0, outcome="streaming"))

    async def _fetch(self, session: Session, session_id: str) -> None:
        try:
            result = await self._provider.result(session_id)
        except SttError as error:
            log.info("the result of provider session %s could not be read: %s", session_id, error)
            result = None
        self._tell(self._link.fetched(session, result, self._clock()))

    async def _converse(self, session: Session, url: str) -> None:
        """One connection: speak and listen until it is over, then tell the session why."""
        options = self._provider.options.link
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                socket = await self._provider.http.ws_connect(
                    url,
                    # Deflating audio costs 15 us a chunk and gains nothing.
                    compress=0,
                    heartbeat=20.0,
                    max_msg_size=_LARGEST_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except aiohttp.WSServerHandshakeError as error:
            log.info("provider session %s: upgrade answered with HTTP %d", session.id, error.status)
            session.dropped(error.status, self._clock())
            return
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.info("provider session %s: no connection: %s", session.id, error or type(error).__name__)
            session.dropped(None, self._clock())
            return
        session.opened(self._clock())
        try:
            async with asyncio.TaskGroup() as both:
                speaking = both.create_task(self._speak(session, socket), name="stt-speak")
                code = await self._listen(session, socket)
                speaking.cancel()
        finally:
            await _close(socket)
        if session.state in (SessionState.STREAMING, SessionState.FLUSHING):
            log.info("provider session %s: connection lost (code %s)", session.id, code)
        session.dropped(code, self._clock())

    async def _speak(self, session: Session, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send what the session has to send; give the connection up when the session says so."""
        wake = self._wake[id(session)]
        while not socket.closed:
            wake.clear()
            now = self._clock()
            if session.tick(now):
                _abort(socket)
                return
            try:
                # A peer that stops reading must not keep this task from looking at the time.
                async with asyncio.timeout(max(session.wake_at - now, 0.01)):
                    message = session.take(now)
                    if message is None:
                        await wake.wait()
                    elif isinstance(message, bytes):
                        await socket.send_bytes(message)
                    else:
                        await socket.send_str(message)
            except TimeoutError:
                continue
            except (aiohttp.ClientError, OSError):
                return  # the reader sees the end of the connection and tells why

    async def _listen(self, session: Session, socket: aiohttp.ClientWebSocketResponse) -> int | None:
        """Read until the connection or the session ends. Returns the WebSocket close code, if there was one."""
        while session.state in (SessionState.STREAMING, SessionState.FLUSHING):
            message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                code = socket.close_code
                return None if code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE else code
            try:
                parsed = wire.parse(message.data)
            except MalformedMessage as error:
                self._link.malformed()
                log.warning("provider session %s: %s", session.id, error)
                continue
            self._tell(self._link.received(session, parsed, self._clock()))
        return None

    async def _abandon(self, session: Session) -> None:
        """We are being cancelled: end the provider session all the same, so that it stops costing money."""
        self._report_over(session)
        if session.state is not SessionState.CONNECTING:
            return  # an open socket was closed with 1000, which the provider takes for stop_recording
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with asyncio.timeout(2.0):
                await _close(await self._provider.http.ws_connect(session.url, compress=0))

    async def _sleep(self, session: Session, until: float) -> None:
        """Wait until then, or until the track is finished, which moves every deadline."""
        wake = self._wake[id(session)]
        was_finishing = session.finishing
        with suppress(TimeoutError):
            async with asyncio.timeout(max(until - self._clock(), 0.0)):
                while session.finishing is was_finishing:
                    wake.clear()
                    await wake.wait()

    def _report_over(self, session: Session) -> None:
        if session.id is None:
            return
        lost = session.state is SessionState.LOST
        outcome = "lost" if lost else "closed" if session.complete else "incomplete"
        seconds = session.metered.sent / 16_000
        self._report(SessionReport(session.id, over=True, seconds_sent=seconds, outcome=outcome))

    def _tell(self, events: list[LinkEvent]) -> None:
        for event in events:
            self._listener(event)


def _abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Cut the connection without a close frame, so that the provider keeps the session for a resume."""
    raw = socket.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.shutdown(2)  # SHUT_RDWR


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close in order, at most for two seconds."""
    try:
        async with asyncio.timeout(2.0):
            await socket.close(code=aiohttp.WSCloseCode.OK)
    except TimeoutError:
        _abort(socket)
