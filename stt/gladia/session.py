"""One provider session, seen from our side: what to do next, and what the answers mean. Pure: no I/O, no clock.

The shell asks `step()` what to do outside a connection and `take()` what to send inside one, and reports what
happened. Positions are samples on the track's clock unless a name says `session`; times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from stt.backoff import Backoff
from stt.errors import ProviderFull, ProviderRefused, SttError
from stt.gladia import messages as wire
from stt.gladia.retained import SAMPLE_BYTES, Retained
from stt.gladia.timeline import Timeline

SAMPLE_RATE: Final = 16_000


class SessionState(Enum):
    """Life of one provider session."""

    CREATING = auto()  # POST is due or under way; audio waits in the window
    CONNECTING = auto()  # the socket is to be opened, for the first time or again
    STREAMING = auto()
    FLUSHING = auto()  # we said stop; final transcripts may still arrive
    FETCHING = auto()  # the socket gave no end; the result is read over REST
    CLOSED = auto()  # ended, nothing to send again
    LOST = auto()  # ended too early; a successor has to send again what has no final yet


class Event(Enum):
    CREATED = auto()
    ABANDONED = auto()
    OPENED = auto()
    DROPPED = auto()
    GONE = auto()
    STOP_SENT = auto()
    ENDED = auto()
    FLUSH_OVERDUE = auto()


_S, _E = SessionState, Event
MOVES: Final[Mapping[tuple[SessionState, Event], SessionState]] = {
    (_S.CREATING, _E.CREATED): _S.CONNECTING,
    (_S.CREATING, _E.ABANDONED): _S.CLOSED,
    (_S.CREATING, _E.FLUSH_OVERDUE): _S.CLOSED,
    (_S.CONNECTING, _E.OPENED): _S.STREAMING,
    (_S.CONNECTING, _E.DROPPED): _S.CONNECTING,
    (_S.CONNECTING, _E.GONE): _S.LOST,
    (_S.CONNECTING, _E.FLUSH_OVERDUE): _S.FETCHING,
    (_S.STREAMING, _E.DROPPED): _S.CONNECTING,
    (_S.STREAMING, _E.GONE): _S.LOST,
    (_S.STREAMING, _E.ENDED): _S.LOST,
    (_S.STREAMING, _E.STOP_SENT): _S.FLUSHING,
    (_S.STREAMING, _E.FLUSH_OVERDUE): _S.FETCHING,
    (_S.FLUSHING, _E.DROPPED): _S.CONNECTING,
    (_S.FLUSHING, _E.GONE): _S.FETCHING,
    (_S.FLUSHING, _E.ENDED): _S.CLOSED,
    (_S.FLUSHING, _E.FLUSH_OVERDUE): _S.FETCHING,
    (_S.FETCHING, _E.ENDED): _S.CLOSED,
    (_S.FETCHING, _E.GONE): _S.LOST,
    (_S.FETCHING, _E.ABANDONED): _S.CLOSED,
}


class OutOfOrder(SttError):
    """A move that the table does not list: a bug, never a warning."""

    def __init__(self, state: SessionState, event: Event) -> None:
        super().__init__(f"{event.name} in state {state.name}")


# What the shell is to do next.


@dataclass(frozen=True, slots=True)
class Create:
    """POST a new provider session."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the session's socket."""

    url: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the session's result over REST."""

    id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, or until somebody calls."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """The session is over."""


Step = Create | Connect | Fetch | Wait | Done


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Bounds and patience of one track's link. Times in seconds."""

    retain_s: float = 60.0
    """Audio kept until it has a final; beyond it the oldest is given up. 32 kB a second."""
    keepalive_s: float = 20.0
    """The provider drops a connection after 30 s without audio."""
    connect_timeout_s: float = 10.0
    resume_deadline_s: float = 30.0
    """How long a dropped session is worth resuming before a new one takes over."""
    stall_s: float = 10.0
    """Audio sent and nothing acknowledged for so long: the connection counts as dead."""
    fetch_patience_s: float = 5.0
    """How long the result of a session that gave no end is asked for."""
    roll_over_s: float = 10_200.0
    """Session audio after which a pause is used to change to a new session (the cap is 3 h)."""
    splice_s: float = 0.6
    """Silence sent in place of a longer stretch that was left out, so that an utterance can end."""
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(slots=True)
class Metered:
    """Samples as the provider sees them. `sent` includes `resent`."""

    sent: int = 0
    resent: int = 0
    messages: int = 0


class Session:
    """Decides; the shell acts. `begin`: where on the track's clock this session starts to hear."""

    # A backlog goes out in pieces of a second: far below the provider's frame limit of 1 MiB.
    MOST_PER_MESSAGE: Final = SAMPLE_RATE

    def __init__(
        self, audio: Retained, begin: int, options: LinkOptions, now: float, random: Callable[[], float]
    ) -> None:
        self.state = SessionState.CREATING
        self.id: str | None = None
        self.timeline = Timeline()
        self.metered = Metered()
        self.refused: ProviderRefused | None = None
        self.complete = False
        self.is_waiting = False  # the account had no place when we last asked
        self.reconnects = 0
        self.stalls = 0
        self.begin = begin
        self._audio = audio
        self._options = options
        self._random = random
        self.url = ""
        self._until: int | None = None
        self._flush_by: float | None = None
        self._stop_was_sent = False
        self._cursor = begin
        self._highest = begin
        self._acked = 0  # session samples
        self._doubt = 0  # samples that the provider may have kept from before the last cut
        self._doubt_until = 0.0
        self._resumed_from = begin
        self._attempts = 0
        self._not_before = now
        self._down_since: float | None = now
        self._awaiting_since: float | None = None
        self._last_sent = now
        self._fetch_by = 0.0

    # --- what the track wants ---------------------------------------------------------------------------

    def finish(self, until: int, flush_by: float) -> None:
        """No audio from `until` on is for this session; all finals should be here by `flush_by`."""
        self._until = until if self._until is None else min(self._until, until)
        self._flush_by = flush_by if self._flush_by is None else min(self._flush_by, flush_by)

    @property
    def finishing(self) -> bool:
        return self._until is not None

    @property
    def cursor(self) -> int:
        """Position of the next sample to send."""
        return self._cursor

    @property
    def confirmed(self) -> int:
        """Position up to which the provider certainly has the audio."""
        sure = self._acked - self._doubt
        if sure <= self.timeline.resumed_at:
            return self._resumed_from
        return self.timeline.to_track(sure, is_end=True)

    # --- outside a connection ---------------------------------------------------------------------------

    def step(self, now: float) -> Step:
        """What to do now. Safe to call at any time outside a connection."""
        overdue = self._flush_by is not None and now >= self._flush_by
        if overdue and self.state in (SessionState.CREATING, SessionState.CONNECTING):
            self._move(Event.FLUSH_OVERDUE, now)
        if (
            self.state is SessionState.CONNECTING
            and self._down_since is not None
            and now - self._down_since >= self._options.resume_deadline_s
        ):
            self._gone(now)
        match self.state:
            case SessionState.CREATING:
                return Create() if now >= self._not_before else self._wait()
            case SessionState.CONNECTING:
                return Connect(self.url) if now >= self._not_before else self._wait()
            case SessionState.FETCHING:
                if now >= self._fetch_by and self._attempts:
                    # With time left a successor can hear the rest again; at the deadline it is given up.
                    in_time = self._flush_by is not None and now < self._flush_by
                    self._move(Event.GONE if in_time else Event.ABANDONED, now)
                    return Done()
                return Fetch(self.id or "") if now >= self._not_before else Wait(self._not_before)
            case _:
                return Done()

    def _wait(self) -> Wait:
        return Wait(min(self._not_before, self._flush_by or self._not_before))

    def created(self, session_id: str, url: str, now: float) -> None:
        self.id, self.url, self.is_waiting = session_id, url, False
        self._attempts, self._not_before, self._down_since = 0, now, now
        self._move(Event.CREATED, now)

    def not_created(self, error: SttError, now: float) -> None:
        """The POST failed. A refusal ends the session; anything else is tried again later."""
        if isinstance(error, ProviderRefused):
            self.refused = error
            self._move(Event.ABANDONED, now)
            return
        self.is_waiting = isinstance(error, ProviderFull)
        # A full account frees a place when somebody stops, so asking again soon is no use.
        self._retry_later(now, at_least=1.0 if self.is_waiting else 0.0)

    def fetched(self, result: wire.SessionResult | None, now: float) -> list[wire.Transcribed]:
        """The result over REST, or None when it could not be had this time."""
        if result is None or result.status in ("queued", "processing", ""):
            self._retry_later(now)
            return []
        if result.status != "done":
            self._move(Event.GONE, now)
            return []
        self.complete = True
        self._move(Event.ENDED, now)
        return [wire.Transcribed(f"result_{index:08d}", True, spoken) for index, spoken in enumerate(result.utterances)]

    # --- inside a connection ----------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The socket is open: go on behind the last acknowledged sample."""
        if self.timeline.started:
            self.reconnects += 1
            self._cursor = self._resumed_from = self.confirmed
            self._doubt += self.timeline.end - self._acked
            self.timeline.resume(self._acked)
            self._doubt_until = now + 10.0
        self._last_sent = now
        self._awaiting_since = None
        self._move(Event.OPENED, now)

    def take(self, now: float) -> bytes | str | None:
        """The next message to send, or None when there is nothing to send yet."""
        if self.state is not SessionState.STREAMING:
            return self._keepalive(now)
        found = self._audio.read(self._cursor, self.MOST_PER_MESSAGE)
        if found is not None and (self._until is None or found[0] < self._until):
            offset, pcm = found
            if self.timeline.started and offset > self._cursor:
                offset, pcm = self._splice(offset)
            elif self._until is not None:
                pcm = pcm[: (self._until - offset) * SAMPLE_BYTES]
            return self._send(offset, pcm, now)
        if self._until is not None:
            self._stop_was_sent = True
            self._move(Event.STOP_SENT, now)
            return wire.STOP
        return self._keepalive(now)

    def _splice(self, next_offset: int) -> tuple[int, bytes]:
        """A stretch was left out. Silence stands for its beginning, so that the words around it stay apart."""
        samples = min(next_offset - self._cursor, int(self._options.splice_s * SAMPLE_RATE))
        start = self._cursor
        self._cursor = next_offset - samples
        return start, bytes(samples * SAMPLE_BYTES)

    def _send(self, offset: int, pcm: bytes, now: float) -> bytes:
        samples = len(pcm) // SAMPLE_BYTES
        self.timeline.sent(offset, samples)
        self._cursor = max(self._cursor, offset) + samples
        self.metered.sent += samples
        self.metered.messages += 1
        self.metered.resent += max(0, min(offset + samples, self._highest) - offset)
        self._highest = max(self._highest, offset + samples)
        self._last_sent = now
        if self._awaiting_since is None:
            self._awaiting_since = now
        return pcm

    def _keepalive(self, now: float) -> str | None:
        if now - self._last_sent < self._options.keepalive_s:
            return None
        self._last_sent = now
        return wire.KEEPALIVE

    @property
    def wake_at(self) -> float:
        """When `tick` or `take` has something to do although nothing happens."""
        times = [self._last_sent + self._options.keepalive_s]
        if self._awaiting_since is not None:
            times.append(self._awaiting_since + self._options.stall_s)
        if self._flush_by is not None:
            times.append(self._flush_by)
        return min(times)

    def tick(self, now: float) -> bool:
        """Time passed on an open connection. True: give the connection up."""
        if self._flush_by is not None and now >= self._flush_by:
            self._move(Event.FLUSH_OVERDUE, now)
            return True
        if self._awaiting_since is not None and now - self._awaiting_since >= self._options.stall_s:
            self.stalls += 1
            self._awaiting_since = None
            return True
        if self._doubt and now >= self._doubt_until:
            # Had the provider kept audio, its counter would have run ahead of ours by now.
            self._doubt = 0
        return False

    def acknowledged(self, end_bytes: int, now: float) -> None:
        """The provider has received so many bytes in this session. Late and repeated ones are harmless."""
        received = end_bytes // SAMPLE_BYTES
        if received <= self._acked:
            return
        if self.timeline.started:
            self._doubt = max(0, self._doubt - self.timeline.correct(received))
        self._acked = received
        self.stalls = 0
        self._awaiting_since = None if received >= self.timeline.end else now

    def ended(self, now: float) -> None:
        """The service said that nothing more will come, or closed with 1000."""
        if self.state is SessionState.FLUSHING:
            self.complete = True
            self._move(Event.ENDED, now)
        elif self.state is SessionState.STREAMING:
            # After a resume the service may still be busy with the stop we sent before the cut.
            self._move(Event.FLUSH_OVERDUE if self._everything_arrived else Event.ENDED, now)

    def dropped(self, code: int | None, now: float) -> None:
        """The connection is gone: WebSocket close code, HTTP status of a refused upgrade, or None."""
        if self.state not in (SessionState.CONNECTING, SessionState.STREAMING, SessionState.FLUSHING):
            return  # it was us who closed it
        if self._down_since is None:
            self._down_since = now
        if code == 1000 and self.state is not SessionState.CONNECTING:
            self.ended(now)
        elif self.stalls >= 2 or (code is not None and (code in (403, 404, 410) or 4400 <= code < 4500)):
            self._gone(now)
        else:
            self._move(Event.DROPPED, now)
            self._retry_later(now)

    # --- inside -----------------------------------------------------------------------------------------

    def _gone(self, now: float) -> None:
        """The session cannot be resumed. After our stop its result may still be complete."""
        fetchable = self._everything_arrived and self.state is SessionState.CONNECTING
        self._move(Event.FLUSH_OVERDUE if fetchable else Event.GONE, now)

    @property
    def _everything_arrived(self) -> bool:
        return self._stop_was_sent and self._until is not None and self.confirmed >= self._until

    def _retry_later(self, now: float, at_least: float = 0.0) -> None:
        self._attempts += 1
        self._not_before = now + max(at_least, self._options.backoff.delay(self._attempts, self._random()))

    def _move(self, event: Event, now: float) -> None:
        try:
            self.state = MOVES[self.state, event]
        except KeyError:
            raise OutOfOrder(self.state, event) from None
        if self.state is SessionState.FETCHING and event is not Event.OPENED:
            self._attempts, self._not_before = 0, now
            self._fetch_by = now + self._options.fetch_patience_s

    def settle_connection(self) -> None:
        """Audio or a message came through: the next drop starts its patience afresh."""
        self._down_since = None
        self._attempts = 0
