"""The shell round the link: HTTP, sockets and time. It moves bytes; `link` and `session` decide."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urljoin

import aiohttp
import msgspec

from stt.errors import MalformedMessage, ProviderFull, ProviderRefused, ProviderUnavailable, SttError
from stt.gladia import messages as wire
from stt.gladia.breaker import Breaker
from stt.gladia.conversation import Conversation
from stt.gladia.link import Link, LinkCounts, LinkEvent
from stt.gladia.places import NoLimit, Place, Places
from stt.gladia.session import (
    CONNECTED,
    Connect,
    Create,
    Done,
    Fetch,
    LinkOptions,
    Session,
    SessionState,
    Wait,
)
from stt.gladia.socket import NoConnection, Socket, UpgradeRefused, connect

log = logging.getLogger(__name__)

DEFAULT_URL = "https://api.gladia.io"
_OK = 1000
_SEE_OFF_S = 10.0  # for ending a session that nobody uses, all attempts together
_SEE_OFF_PAUSE_S = 0.3
_PAGE = 50  # sessions in one answer of the list
_MOST_PAGES = 20


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
    seconds_resent: float = 0.0  # part of `seconds_sent`
    url: str = field(default="", repr=False)  # whoever has it can end the session: no log may show it


class _Ending:
    """Tells a session to stop, and listens whether that was heard."""

    def __init__(self) -> None:
        self.is_noted = False
        self._socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        self._socket = socket
        socket.send(wire.STOP)

    def received(self, message: str | bytes) -> None:
        with suppress(MalformedMessage):
            if isinstance(wire.parse(message), wire.StopAcknowledged | wire.SessionEnded) and self._socket is not None:
                self.is_noted = True
                self._socket.leave()

    def writable(self) -> None:
        pass


T = TypeVar("T")
Listener = Callable[[LinkEvent], None]
SessionListener = Callable[[SessionReport], None]


class Provider:
    """One provider account: what its links share. `places` says how many sessions it may have open."""

    def __init__(self, options: ProviderOptions, places: Places | None = None) -> None:
        self.options = options
        self._base = options.url.rstrip("/") + "/"
        self.places: Places = places or NoLimit()
        self.breaker = Breaker(random.random)
        self.mine: set[str] = set()
        """Sessions that this process opened and has not seen to their end."""
        self._answered = asyncio.Event()  # pulses when the provider has answered, or a probe of it has failed
        self._http: aiohttp.ClientSession | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            base_url=self._base,
            headers={"x-gladia-key": self.options.api_key},
            timeout=aiohttp.ClientTimeout(total=self.options.request_timeout_s),
            # One live socket per track: the pool must not be the limit.
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sessions that are being ended get their time; all of it is bounded."""
        while self._background:
            await asyncio.wait(self._background)
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("Provider is used inside `async with`")
        return self._http

    def link(self, config: wire.LiveConfig, listener: Listener, sessions: SessionListener) -> GladiaLink:
        return GladiaLink(self, config, listener, sessions)

    async def create(self, config: wire.LiveConfig, place: Place | None = None) -> wire.SessionCreated:
        """POST /v2/live. When this is cancelled on the way, the session that may come of it is ended.

        While the provider answers nobody, callers wait their turn: one at a time tries for all.
        Raises: ProviderRefused, ProviderFull, ProviderUnavailable.
        """
        await self._turn()
        posting = asyncio.create_task(self._post(config), name="stt-post")
        try:
            return await asyncio.shield(posting)
        except asyncio.CancelledError:
            self._start(self._end_unwanted(posting, place.share() if place else None), "stt-unwanted")
            raise

    async def _turn(self) -> None:
        clock = asyncio.get_running_loop().time
        while (pause := self.breaker.ask(clock())) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if pause < inf else None):
                    await self._answered.wait()

    async def _post(self, config: wire.LiveConfig) -> wire.SessionCreated:
        params = {"region": config.region} if config.region else {}
        body = wire.session_request(config)
        try:
            created = await self._call("POST", "v2/live", wire.parse_created, params=params, json=body)
        except ProviderUnavailable:
            was_open = self.breaker.is_open
            self.breaker.failed(asyncio.get_running_loop().time())
            if self.breaker.is_open and not was_open:
                log.error("the speech provider answers nobody: from now on one attempt at a time is made")
            raise
        except SttError:
            self._mended()
            raise
        else:
            self._mended()
        finally:
            self._answered.set()
            self._answered = asyncio.Event()
        self.mine.add(created.id)
        return created

    def _mended(self) -> None:
        if self.breaker.is_open:
            log.info("the speech provider answers again")
        self.breaker.answered()

    @property
    def trouble(self) -> str | None:
        """Why no session can be had, when that is not a single track's misfortune."""
        if not self.breaker.is_open:
            return None
        return (
            f"the speech provider has not answered {self.breaker.failures} times in a row; it is asked again and again"
        )

    def see_off(self, created: wire.SessionCreated, place: Place | None = None) -> None:
        """End a session that nobody uses any more, in the background: left alone it may cost money for hours."""
        self._start(self._see_off(created, place.share() if place else None), "stt-see-off")

    async def _see_off(self, created: wire.SessionCreated, place: Place | None) -> None:
        try:
            await self.end(created.url)
        finally:
            self.mine.discard(created.id)
            if place is not None:
                place.give_back()

    async def running(self) -> list[wire.ListedSession]:
        """GET /v2/live: every session of the account that has not ended, oldest last. Raises as `create`."""
        found: list[wire.ListedSession] = []
        for page in range(_MOST_PAGES):
            query = [
                ("status", "queued"),
                ("status", "processing"),
                ("limit", str(_PAGE)),
                ("offset", str(page * _PAGE)),
            ]
            listed = await self._call("GET", "v2/live", wire.parse_list, params=query)
            found += listed.items
            if listed.next is None:
                break
        return found

    async def result(self, session_id: str) -> wire.SessionResult:
        """GET /v2/live/{id}. Raises as `create`."""
        return await self._call("GET", f"v2/live/{session_id}", wire.parse_result)

    async def check(self) -> None:
        """Ask for the list of sessions, which costs nothing, to see whether the key works. Raises as `create`."""
        await self._call("GET", "v2/live", msgspec.json.decode, params={"limit": "1"})

    async def _end_unwanted(self, posting: asyncio.Task[wire.SessionCreated], place: Place | None) -> None:
        try:
            created = await posting
        except SttError:
            if place is not None:
                place.give_back()
        else:
            await self._see_off(created, place)

    async def end(self, url: str) -> bool:
        """Tell a session to stop, until it takes note or is gone. False after ten seconds in vain."""
        refusals = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_SEE_OFF_S):
                while True:
                    try:
                        if await self._say_stop(url):
                            return True
                    except UpgradeRefused as error:
                        # 403 is the answer for an ended session, and perhaps while our old connection lingers.
                        refusals += error.status < 500
                        if error.status in (404, 410) or refusals == 3:
                            return True
                    except NoConnection:
                        pass
                    await asyncio.sleep(_SEE_OFF_PAUSE_S)
        log.warning("a provider session could not be ended in order; the provider ends it at its maximum duration")
        return False

    async def delete(self, session_id: str) -> None:
        """DELETE /v2/live/{id}: audio, transcript and result go. 403 while it runs. Raises as `create`."""
        await self._call("DELETE", f"v2/live/{session_id}", bytes)

    async def end_by_id(self, session_id: str) -> bool:
        """End a session whose URL nobody knows, because the answer to its POST was lost. False: not this time.

        No route for that is documented. DELETE may be refused while it runs; then its id is tried for its token, which
        one of the provider's own examples shows to be equal.
        """
        try:
            await self.delete(session_id)
            return True
        except ProviderRefused as error:
            if error.status == 404:
                return True
        except SttError:
            return False
        try:
            async with asyncio.timeout(_SEE_OFF_S):
                return await self._say_stop(f"v2/live?token={quote(session_id, safe='')}")
        except (UpgradeRefused, NoConnection, TimeoutError):
            return False

    async def _say_stop(self, url: str) -> bool:
        """Returns whether the provider has taken note."""
        ending = _Ending()
        socket = await connect(urljoin(self._base, url), ending)
        try:
            code = await socket.over()
            return ending.is_noted or code == _OK
        finally:
            await socket.close()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

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
        self._places: dict[Session, Place] = {}
        self._last_place: Place | None = None
        self._conversations: list[Conversation] = []
        self._wake: dict[Session, asyncio.Event] = {}  # one per session, set when it need not wait any longer
        self._deadlines: set[asyncio.Timeout] = set()  # of requests under way, which the end of the track may shorten
        self._changed = asyncio.Event()  # sessions were added, or the track is finished

    # --- for the track --------------------------------------------------------------------------------------

    def send(self, offset: int, pcm: bytes) -> None:
        """The track goes on at sample `offset` with 16 kHz mono s16le. Never waits: audio is held, bounded."""
        link, now = self._link, self._clock()
        known = len(link.sessions)
        events = link.audio(offset, pcm, now)
        if events:
            self._tell(events)
        if len(link.sessions) != known:
            self._go_on()
        else:
            self._pump(now)

    def leave_out(self, to: int) -> None:
        """The track is silent: its audio before sample `to` does not come."""
        self._link.leave_out(to)
        self._pump(self._clock())

    def renew(self) -> bool:
        """Let a new provider session hear again what has no final. False: there is none to replace now."""
        renewed = self._link.renew(self._clock())
        self._go_on()
        return renewed

    def finish(self, flush_s: float) -> None:
        """No more audio comes; `run` returns when all finals are here, at the latest after `flush_s`."""
        now = self._clock()
        self._link.finish(now, now + flush_s)
        self._go_on()
        loop = asyncio.get_running_loop()
        for timeout in self._deadlines:
            when = timeout.when()
            timeout.reschedule(min(loop.time() + flush_s, when if when is not None else inf))

    def _pump(self, now: float) -> None:
        """There may be something to send."""
        for conversation in self._conversations:
            conversation.pump(now)

    def _go_on(self) -> None:
        """There are other sessions than before, or other deadlines."""
        self._changed.set()
        for wake in self._wake.values():
            wake.set()
        self._pump(self._clock())

    @property
    def state(self) -> str:
        """idle, waiting (the account is full), or the current session's state in lower case."""
        session = self._link.current
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
        async with asyncio.TaskGroup() as tasks:
            while not self._link.done:
                for session in self._link.sessions:
                    if session not in self._wake:
                        self._wake[session] = asyncio.Event()
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
                    case Create(within):
                        await self._create(session, within)
                    case Connect(url, within):
                        await self._converse(session, url, within)
                    case Fetch(session_id, within):
                        await self._fetch(session, session_id, within)
                    case Wait(until):
                        await self._sleep(session, until)
                    case Done():
                        break
        finally:
            self._wake.pop(session, None)
            self._report_over(session)
            self._let_go(session)
        self._tell(self._link.over(session, self._clock()))
        self._changed.set()

    def _let_go(self, session: Session) -> None:
        """Nothing of a session stays behind: neither at the provider, nor its place."""
        place = self._places.pop(session, None)
        if session.id is not None:
            if session.is_ended_there:
                self._provider.mine.discard(session.id)
            else:
                self._provider.see_off(wire.SessionCreated(session.id, session.url), place)
        if place is not None:
            place.give_back()

    async def _place(self, session: Session) -> Place:
        """The session's place; while there is none the session shows that it waits."""
        place = self._places.get(session)
        if place is None:
            place = self._places[session] = self._last_place = self._provider.places.ask(self._last_place)
        if not place.is_granted:
            session.is_waiting = True
            await place.wait()
            session.is_waiting = False
        return place

    @asynccontextmanager
    async def _deadline(self, within: float) -> AsyncIterator[None]:
        """As `asyncio.timeout`, and shorter when the track is finished meanwhile. Raises: TimeoutError."""
        async with asyncio.timeout(within if within < inf else None) as timeout:
            self._deadlines.add(timeout)
            try:
                yield
            finally:
                self._deadlines.discard(timeout)

    async def _create(self, session: Session, within: float) -> None:
        try:
            async with self._deadline(within):
                place = await self._place(session)
                created = await self._provider.create(self._config, place)
        except TimeoutError:
            session.not_created(ProviderUnavailable("no answer in time"), self._clock())
            return
        except SttError as error:
            log.warning("no provider session: %s", error)
            session.not_created(error, self._clock())
            return
        session.created(created.id, created.url, self._clock())
        self._report(SessionReport(created.id, over=False, seconds_sent=0.0, outcome="streaming", url=created.url))

    async def _fetch(self, session: Session, session_id: str, within: float) -> None:
        result = None
        try:
            async with self._deadline(within):
                result = await self._provider.result(session_id)
        except (SttError, TimeoutError) as error:
            log.info("the result of provider session %s could not be read: %s", session_id, error)
        self._tell(self._link.fetched(session, result, self._clock()))

    async def _converse(self, session: Session, url: str, within: float) -> None:
        """One connection: speak and listen until it is over, then tell the session why."""
        conversation = Conversation(self._link, session, self._tell, self._clock)
        self._conversations.append(conversation)
        try:
            try:
                async with self._deadline(within):
                    socket = await connect(url, conversation)
            except UpgradeRefused as error:
                log.info("provider session %s: %s", session.id, error)
                session.dropped(error.status, self._clock())
                return
            except (NoConnection, TimeoutError) as error:
                log.info("provider session %s: no connection: %s", session.id, str(error) or type(error).__name__)
                session.dropped(None, self._clock())
                return
            try:
                code = await socket.over()
            finally:
                conversation.end()
                await socket.close()
        finally:
            conversation.end()
            self._conversations.remove(conversation)
        if session.state in CONNECTED:
            log.info("provider session %s: connection lost (%s)", session.id, socket.problem or f"code {code}")
        session.dropped(code, self._clock())

    async def _sleep(self, session: Session, until: float) -> None:
        """Wait until then, or until the track is finished, which moves every deadline."""
        wake = self._wake[session]
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
        sent, resent = session.metered.sent / 16_000, session.metered.resent / 16_000
        self._report(SessionReport(session.id, over=True, seconds_sent=sent, outcome=outcome, seconds_resent=resent))

    def _tell(self, events: list[LinkEvent]) -> None:
        for event in events:
            self._listener(event)
