"""The shell round the link: sockets, tasks and time. It moves bytes; `link` and `session` decide."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Final

from stt.errors import ProviderRefused, ProviderUnavailable, SttError
from stt.gladia import messages as wire
from stt.gladia.account import Account, ProviderOptions
from stt.gladia.complaints import kind_of
from stt.gladia.conversation import Conversation
from stt.gladia.events import INTERNAL, AudioGivenUp, Complained, Heard, LinkEvent, Unusable
from stt.gladia.hearing import LinkCounts
from stt.gladia.link import Link
from stt.gladia.moves import LinkState, ProviderEnd, SessionState
from stt.gladia.places import Place
from stt.gladia.retained import SAMPLE_RATE
from stt.gladia.session import Connect, Create, Done, Fetch, Session, Wait
from stt.gladia.socket import NoConnection, UpgradeRefused, connect

__all__ = ["GladiaLink", "Outcome", "Provider", "ProviderOptions", "SessionReport"]

log = logging.getLogger(__name__)

_OK: Final = 1000
_PRIVATE: Final = 4000
# Refused upgrades and close codes that tell why there is no text; others are those of a line that breaks, or of a
# session that has ended (403).
_TELLING: Final = frozenset({402, 429, 1008, 1011, 1013})


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
    """One provider session, reported when it was opened and again when it is over. Seconds are of audio."""

    id: str
    over: bool
    seconds_sent: float
    outcome: str  # "streaming", "closed", "incomplete" or "lost"
    seconds_resent: float = 0.0  # part of `seconds_sent`
    url: str = field(default="", repr=False)  # it alone lets one end the session: no log may show it
    is_current: bool = True  # it was opened with the newest configuration of its link


Listener = Callable[[LinkEvent], None]
SessionListener = Callable[[SessionReport], None]


class Provider(Account):
    """An account with the links that share it."""

    def link(self, config: wire.LiveConfig, listener: Listener, sessions: SessionListener) -> GladiaLink:
        """A link for one track, not yet running. `listener` gets its events, `sessions` what each session costs.

        Both are called from the event loop and must not wait.
        """
        return GladiaLink(self, config, listener, sessions)


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
        self.on_sent: Callable[[int, float], None] = lambda reach, at: None
        """Told of each write of audio: the sample of the track that it reaches up to, and when, monotonic."""
        self.on_line: Callable[[str, str | None], None] = lambda session_id, why: None
        """Told when a session's connection is lost, by its id and why; and with None when it has one."""
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
        self._is_deaf = False  # the listener failed at a final
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
            return
        for conversation in self._conversations:
            conversation.pump(now)

    def leave_out(self, to: int) -> None:
        """The track is silent: its audio before sample `to` does not come."""
        self._link.leave_out(to)
        self._pump(self._clock())

    def fall_silent(self, samples: int) -> None:
        """The source delivers nothing for now: `samples` of silence let the provider end the utterance.

        They follow the audio sent so far, are billed like it, and take no time on the track's clock.
        """
        self._link.fall_silent(samples)
        self._pump(self._clock())

    def renew(self) -> bool:
        """Replace the provider session by one that hears again what has no final. False: there is none to replace."""
        renewed = self._link.renew(self._clock())
        self._go_on()
        return renewed

    def configure(self, config: wire.LiveConfig, *, at_once: bool = True) -> None:
        """Sessions that are opened from now on have this configuration. `at_once`: so has what is said after the next
        pause, in a session that takes over there."""
        self._config = config
        if at_once:
            self._link.outdate(self._clock())

    def rest(self) -> None:
        """Nobody is to be heard for now: the session is ended, and what was said so far gets its final."""
        self._link.rest()
        self._go_on()

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
    def state(self) -> LinkState:
        """Idle, waiting (every session of the account is in use), or the state of the current session."""
        return self._link.state

    @property
    def counts(self) -> LinkCounts:
        """Of the track since its beginning."""
        return self._link.counts

    @property
    def sent_samples(self) -> int:
        """Samples that the provider has received, those that it heard again included: what the bill is made of."""
        return self._link.metered.sent

    @property
    def messages_sent(self) -> int:
        """Messages with audio in them, those sent again included."""
        return self._link.metered.messages

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that no session has sent yet."""
        return self._link.backlog_s

    @property
    def silent_s(self) -> float:
        """Seconds since an open connection should have been answered, and was not."""
        return self._link.silent_s(self._clock())

    def unsettled(self) -> Iterator[tuple[int, bytes]]:
        """Audio without a final, for a link that takes this one's place: offset and s16le, in order."""
        return self._link.unsettled()

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
        metered = self._link.metered
        return Outcome(
            complete=self._link.complete and not self._is_deaf,
            failed=self._link.failed,
            sent_samples=metered.sent,
            resent_samples=metered.resent,
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
        """Leave nothing of a session behind: neither a session that runs at the provider, nor its place."""
        place = self._places.pop(session, None)
        if session.id is not None:
            if session.provider_end is not ProviderEnd.OPEN:
                self._provider.mine.discard(session.id)
            else:
                self._provider.end_in_background(wire.SessionCreated(session.id, session.url), place)
        if place is not None:
            place.give_back()

    async def _place(self, session: Session) -> Place:
        """The session's place; while there is none the session shows that it waits."""
        place = self._places.get(session)
        if place is None:
            place = self._places[session] = self._last_place = self._provider.places.ask(
                self._last_place, self._config.metadata
            )
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
                config, session.outdated_since = self._config, None
                created = await self._provider.create(config, place)
        except TimeoutError:
            session.not_created(ProviderUnavailable("no answer in time"), self._clock())
            return
        except SttError as error:
            log.warning("no provider session: %s", error)
            if isinstance(error, ProviderRefused):
                self._provider.complaints[kind_of("session", str(error.status), error.detail)] += 1
            session.not_created(error, self._clock())
            return
        session.created(created.id, created.url, self._clock())
        log.info("provider session %s opened", created.id)
        is_current = config is self._config
        self._report(SessionReport(created.id, False, 0.0, "streaming", url=created.url, is_current=is_current))

    async def _fetch(self, session: Session, session_id: str, within: float) -> None:
        result = None
        try:
            async with self._deadline(within):
                result = await self._provider.result(session_id)
        except (SttError, TimeoutError) as error:
            log.info("the result of provider session %s could not be read: %s", session_id, error)
        try:
            self._tell(self._link.fetched(session, result, self._clock()))
        except Exception:
            log.exception("the result of provider session %s could not be used", session_id)
            self._tell(self._link.received(session, Unusable(INTERNAL, True), self._clock()))
            session.fetched(None, self._clock())

    async def _converse(self, session: Session, url: str, within: float) -> None:
        """One connection: speak and listen until it is over, then tell the session why."""
        conversation = Conversation(self._link, session, self._tell, self._clock, self.on_sent)
        self._conversations.append(conversation)
        try:
            try:
                async with self._deadline(within):
                    socket = await connect(url, conversation, takes_garbled=True)
            except UpgradeRefused as error:
                log.info("provider session %s: %s", session.id, error)
                if error.status in _TELLING:
                    self._tell(self._link.complained("connection", str(error), str(error.status)))
                session.dropped(error.status, self._clock())
                return
            except (NoConnection, TimeoutError) as error:
                log.info("provider session %s: no connection: %s", session.id, str(error) or type(error).__name__)
                session.dropped(None, self._clock())
                return
            try:
                self.on_line(session.id or "", None)
                code = await socket.over()
            finally:
                conversation.end()
                await socket.close()
        finally:
            conversation.end()
            self._conversations.remove(conversation)
        if session.is_connected:
            if code is not None and code != _OK and (socket.reason or code >= _PRIVATE or code in _TELLING):
                told = f"closed the connection with code {code}" + (f": {socket.reason}" if socket.reason else "")
                self._tell(self._link.complained("close", told, str(code)))
            why = socket.problem or f"code {code}"
            log.info("provider session %s: connection lost (%s)", session.id, why)
            self._provider.connections_lost += 1
            self.on_line(session.id or "", why)
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
        is_complete = session.provider_end is ProviderEnd.COMPLETE
        outcome = "lost" if session.state is SessionState.LOST else "closed" if is_complete else "incomplete"
        sent, resent = session.feed.metered.sent / SAMPLE_RATE, session.feed.metered.resent / SAMPLE_RATE
        log.info("provider session %s is over: %s", session.id, outcome, extra={"secondsSent": round(sent, 1)})
        self._report(SessionReport(session.id, over=True, seconds_sent=sent, outcome=outcome, seconds_resent=resent))

    def _count(self, event: LinkEvent) -> None:
        match event:
            case Complained(_, _, kind):
                self._provider.complaints[kind] += 1
            case Unusable(kind):
                self._provider.unusable[kind] += 1
            case AudioGivenUp(start, end, kind):
                self._provider.given_up_s[kind] = self._provider.given_up_s.get(kind, 0.0) + end - start

    def _tell(self, events: list[LinkEvent]) -> None:
        """Tell the listener. An event at which it fails costs no other one."""
        for event in events:
            if not isinstance(event, Heard):
                self._count(event)
            try:
                self._listener(event)
            except Exception as error:
                self._provider.unusable[INTERNAL] += 1
                is_final = isinstance(event, Heard) and event.utterance.is_final
                self._is_deaf = self._is_deaf or is_final
                if "listener" not in self._link.logged:
                    self._link.logged.add("listener")
                    log.error("what the provider said could not be passed on; logged once a track", exc_info=error)
                with suppress(Exception):
                    self._listener(Unusable(INTERNAL, is_final))
