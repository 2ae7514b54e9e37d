"""One connection of a provider session: what the session has to send goes out, what the provider says goes to the link.

A chunk of audio costs no task and no timer: the link calls `pump` when there is one, and one timer looks at the
deadlines. It is set for the earliest of them, and when that has moved on meanwhile it is set again. While all is steady
no deadline can come up before the timer is due, and none is looked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stt.errors import MalformedMessage
from stt.gladia import messages as wire
from stt.gladia.events import INTERNAL, LinkEvent, Unusable
from stt.gladia.link import Link
from stt.gladia.session import Session
from stt.gladia.socket import Socket

log = logging.getLogger(__name__)

_SOONEST_S = 0.01
"""A deadline that has passed without effect is looked at again this much later."""


class Conversation:
    """Receives what the session's socket brings, from the moment it is open. End it with `end`."""

    def __init__(
        self,
        link: Link,
        session: Session,
        tell: Callable[[list[LinkEvent]], None],
        clock: Callable[[], float],
        on_sent: Callable[[int, float], None] = lambda reach, at: None,
    ) -> None:
        """`on_sent`: as `GladiaLink.on_sent`."""
        self.session = session
        self._link = link
        self._tell = tell
        self._clock = clock
        self._on_sent = on_sent
        self._reach = session.feed.reach
        self._socket: Socket | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # of the timer, by our clock
        self._soonest = session.soonest_s

    def opened(self, socket: Socket) -> None:
        """The socket is open: what waits for it goes out."""
        self._socket = socket
        self._tell(self._link.opened(self.session, self._clock()))
        self.pump(self._clock())

    def received(self, message: str | bytes) -> None:
        """One message of the provider; one that cannot be used is counted and skipped, whatever the reason."""
        session = self.session
        before = session.state
        parsed: wire.Message | None = None
        try:
            parsed = wire.parse(message)
            events = self._link.received(session, parsed, self._clock())
        except MalformedMessage as error:
            events = self._link.received(session, Unusable(error.kind, error.may_be_final), self._clock())
            self._log_once(error.kind, error)
        except Exception as error:
            is_final = isinstance(parsed, wire.Concluded) or (isinstance(parsed, wire.Transcribed) and parsed.is_final)
            events = self._link.received(session, Unusable(INTERNAL, is_final), self._clock())
            self._log_once(INTERNAL, error)
        if events:
            self._tell(events)
        elif session.is_steady or (session.state is before and not session.feed.held_back):
            return
        if self._socket is None:
            return
        if session.is_connected:
            self.pump(self._clock())  # there may be something to send now
        else:
            self._socket.leave()

    def _log_once(self, kind: str, error: Exception) -> None:
        """The first of each kind on a link: a provider that is confused is so many times a second."""
        if kind not in self._link.logged:
            self._link.logged.add(kind)
            told = "provider session %s: a message could not be used, and none of its kind is logged again: %s"
            log.warning(told, self.session.id, error, exc_info=error if kind == INTERNAL else None)

    def writable(self) -> None:
        """The provider reads again."""
        self.pump(self._clock())

    def pump(self, now: float) -> None:
        """Send what there is to send, as far as the provider takes it; look when there is more to do."""
        socket, session = self._socket, self.session
        if socket is None:
            return
        try:
            while socket.is_writable and (message := session.take(now)) is not None:
                socket.send(message)
            if (reach := session.feed.reach) != self._reach:
                self._reach = reach
                self._on_sent(reach, now)
            if self._timer is None or not session.is_steady:
                self._look_at(min(session.wake_at if socket.is_writable else session.tick_at, now + self._soonest), now)
        except Exception as error:
            socket.fail(error)

    def end(self) -> None:
        """Send nothing more and stop the timer. Twice is harmless."""
        self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, when: float, now: float) -> None:
        if self._timer is not None:
            if when >= self._due:
                return
            self._timer.cancel()
            self._timer = None
        self._due = when
        self._timer = self._loop.call_later(max(when - now, _SOONEST_S), self._look)

    def _look(self) -> None:
        """Time has passed."""
        self._timer = None
        if self._socket is None:
            return
        try:
            is_over = self.session.tick(self._clock())
        except Exception as error:
            self._socket.fail(error)
            return
        if is_over:
            self._socket.abort()
        else:
            self.pump(self._clock())
