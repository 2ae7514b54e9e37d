"""One provider session, seen from our side: what to do next, and what the answers mean. Pure: no I/O, no clock.

The shell asks `step()` what to do outside a connection and `take()` what to send inside one, and reports what happened.
Positions are samples on the track's clock unless a name says `session`; times are monotonic seconds.

After a cut nobody says what the provider still has: audio it had not acknowledged, finals it had made meanwhile. So all
audio without a final is sent again. The first message goes alone, because the place of its acknowledgement tells where
the provider's counter stands; from then on, what the provider says about audio from before the cut is superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import accumulate
from math import ceil, inf
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
    RESUMING = auto()  # open again; the first acknowledgement will tell what the provider still has
    STREAMING = auto()
    FLUSHING = auto()  # no more audio goes out; final transcripts may still arrive
    FETCHING = auto()  # the socket gave no end; the result is read over REST
    CLOSED = auto()  # over, nothing to send again
    LOST = auto()  # over too early; a successor has to send again what has no final yet


class Event(Enum):
    CREATED = auto()
    OPENED = auto()
    REOPENED = auto()
    PLACED = auto()  # we know where the provider's counter stands
    STOP_SENT = auto()
    TURNED_AWAY = auto()  # the provider takes no more audio
    DROPPED = auto()  # the connection is gone; the session may live
    GONE = auto()  # the session cannot be continued
    ENDED = auto()  # all that was sent has been heard
    CUT_SHORT = auto()  # the provider ended before it had heard everything
    UNCERTAIN = auto()  # only the result can tell whether everything was heard
    ABANDONED = auto()  # the time is up, or we were refused


_S, _E = SessionState, Event
MOVES: Final[Mapping[tuple[SessionState, Event], SessionState]] = {
    (_S.CREATING, _E.CREATED): _S.CONNECTING,
    (_S.CREATING, _E.ABANDONED): _S.CLOSED,
    (_S.CONNECTING, _E.OPENED): _S.STREAMING,
    (_S.CONNECTING, _E.REOPENED): _S.RESUMING,
    (_S.CONNECTING, _E.DROPPED): _S.CONNECTING,
    (_S.CONNECTING, _E.GONE): _S.LOST,
    (_S.CONNECTING, _E.UNCERTAIN): _S.FETCHING,
    (_S.CONNECTING, _E.ABANDONED): _S.CLOSED,
    (_S.RESUMING, _E.PLACED): _S.STREAMING,
    (_S.RESUMING, _E.STOP_SENT): _S.FLUSHING,
    (_S.RESUMING, _E.TURNED_AWAY): _S.FLUSHING,
    (_S.RESUMING, _E.DROPPED): _S.CONNECTING,
    (_S.RESUMING, _E.GONE): _S.LOST,
    (_S.RESUMING, _E.ENDED): _S.CLOSED,
    (_S.RESUMING, _E.CUT_SHORT): _S.LOST,
    (_S.RESUMING, _E.UNCERTAIN): _S.FETCHING,
    (_S.RESUMING, _E.ABANDONED): _S.CLOSED,
    (_S.STREAMING, _E.STOP_SENT): _S.FLUSHING,
    (_S.STREAMING, _E.TURNED_AWAY): _S.FLUSHING,
    (_S.STREAMING, _E.DROPPED): _S.CONNECTING,
    (_S.STREAMING, _E.GONE): _S.LOST,
    (_S.STREAMING, _E.CUT_SHORT): _S.LOST,
    (_S.STREAMING, _E.ABANDONED): _S.CLOSED,
    (_S.FLUSHING, _E.PLACED): _S.FLUSHING,
    (_S.FLUSHING, _E.DROPPED): _S.CONNECTING,
    (_S.FLUSHING, _E.GONE): _S.LOST,
    (_S.FLUSHING, _E.ENDED): _S.CLOSED,
    (_S.FLUSHING, _E.CUT_SHORT): _S.LOST,
    (_S.FLUSHING, _E.UNCERTAIN): _S.FETCHING,
    (_S.FLUSHING, _E.ABANDONED): _S.CLOSED,
    (_S.FETCHING, _E.ENDED): _S.CLOSED,
    (_S.FETCHING, _E.CUT_SHORT): _S.LOST,
    (_S.FETCHING, _E.ABANDONED): _S.CLOSED,
}
_ROUNDING: Final = SAMPLE_RATE // 100  # how exactly the provider tells the length of its recording
CONNECTED: Final = frozenset({_S.RESUMING, _S.STREAMING, _S.FLUSHING})
OVER: Final = frozenset({_S.CLOSED, _S.LOST})


class OutOfOrder(SttError):
    """A move that the table does not list: a bug, never a warning."""

    def __init__(self, state: SessionState, event: Event) -> None:
        super().__init__(f"{event.name} in state {state.name}")


def move(state: SessionState, event: Event) -> SessionState:
    """Raises: OutOfOrder."""
    try:
        return MOVES[state, event]
    except KeyError:
        raise OutOfOrder(state, event) from None


# What the shell is to do next. `within`: seconds that it may take at most.


@dataclass(frozen=True, slots=True)
class Create:
    """POST a new provider session."""

    within: float


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the session's socket."""

    url: str
    within: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the session's result over REST."""

    id: str
    within: float


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
    overlap_s: float = 0.2
    """Audio is sent again from so long before the end of the last final, whose end may be told too late."""
    keepalive_s: float = 20.0
    """The provider drops a connection after 30 s without audio."""
    connect_timeout_s: float = 10.0
    resume_deadline_s: float = 30.0
    """How long a session is resumed without progress before a new one takes over."""
    stall_s: float = 10.0
    """Something awaited and nothing heard for so long: the connection counts as dead."""
    probe_s: float = 1.0
    """The first message after a resume goes alone for so long; then further ones follow at this pace."""
    full_s: float = 1.0
    """A full account is asked again after so long, at least: a place comes free when somebody stops."""
    fetch_patience_s: float = 5.0
    """How long the result of a session that gave no end is asked for."""
    roll_over_s: float = 10_200.0
    """Age (audio or life) from which a new session takes over as soon as nobody is in mid-utterance."""
    roll_over_grace_s: float = 300.0
    """So much later it takes over in any case (the provider's cap is 3 h)."""
    splice_s: float = 0.1
    """Silence sent in place of a longer stretch that was left out, so that the words around it stay apart."""
    hush_s: float = 0.6
    """Silence sent when the track falls silent in mid-utterance: at least the provider's endpointing and 0.3 s."""
    rest_s: float = 60.0
    """No audio for so long: the session is ended and its place given up; the next audio opens another."""
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class _Again:
    """What it heard from session sample `since` to `base` is said again from track sample `heard_from` on."""

    since: int
    base: int
    heard_from: int


@dataclass(slots=True)
class Metered:
    """Samples as the provider sees them. `sent` includes `resent`."""

    sent: int = 0
    resent: int = 0
    messages: int = 0


class Session:
    """Decides; the shell acts.

    `begin`: where on the track's clock this session starts to hear. `sent_to`: how far other sessions were sent it.
    """

    # A backlog goes out in pieces of a second: far below the provider's frame limit of 1 MiB.
    MOST_PER_MESSAGE: Final = SAMPLE_RATE
    MOST_STALLS: Final = 2

    def __init__(
        self,
        audio: Retained,
        begin: int,
        options: LinkOptions,
        now: float,
        random: Callable[[], float],
        *,
        sent_to: int = 0,
    ) -> None:
        self.state = SessionState.CREATING
        self.id: str | None = None
        self.url = ""
        self.timeline = Timeline()
        self.metered = Metered()
        self.refused: ProviderRefused | None = None
        self.complete = False
        self.is_waiting = False  # the account had no place when we last asked
        self.is_retired = False
        self.is_resting = False  # ended because the track fell silent, which may speak again
        self.awaits_final = False  # an utterance has partials and no final; the link knows
        self.is_unsettled = False  # after a cut: not known yet what the provider has
        self.is_ended_there = False  # the provider said so: it needs no good-bye
        self.resumes = 0  # resumes after which the provider's counter was placed
        self.begin = begin
        self.sent_to = sent_to
        self._audio = audio
        self._options = options
        self._random = random
        # what the track wants
        self._until: int | None = None
        self._flush_by: float | None = None
        self._look_by: float = 0.0
        # what was sent and heard
        self._cursor = begin
        self._reach = begin  # end of the track's audio that was sent; behind it is silence of ours
        self._acked = 0  # session samples
        self._heard_to = begin
        self._base = 0  # session sample at which the newest connection began
        self._before_cut = 0  # timeline's end at the last cut
        self._agains: list[_Again] = []
        self._is_doubtful = False  # a resume was cut before it was placed: what arrived of it is not known
        self._probes: list[tuple[int, int]] = []  # track position, samples: sent since, in RESUMING
        self._run = (0, 0)  # session samples: unbroken acknowledgements on this connection
        self._stop_at: int | None = None  # timeline's end when stop was last sent
        self._whole: bool | None = None  # what the provider's own result says
        # patience
        self._stalls = 0
        self._attempts = 0
        self._not_before = now
        self._down_since: float | None = None
        self._awaiting_since: float | None = None
        self._overlap = int(options.overlap_s * SAMPLE_RATE)
        self._hush = int(options.hush_s * SAMPLE_RATE)
        self._born = now
        self._last_sent = now
        self._last_audio = now
        self._fetch_by = 0.0

    # --- what the track wants ---------------------------------------------------------------------------

    def finish(self, until: int, now: float, flush_by: float) -> None:
        """No audio from `until` on is for this session; all finals should be here by `flush_by`."""
        self._until = until if self._until is None else min(self._until, until)
        self._flush_by = flush_by if self._flush_by is None else min(self._flush_by, flush_by)
        # The last moments are for a look at the result, should the socket be silent until then.
        self._look_by = self._flush_by - min(1.0, max(self._flush_by - now, 0.0) / 4)

    def retire(self, until: int, now: float, flush_by: float) -> None:
        """Another session hears the track from `until` on, and so says what has no final here."""
        self.is_retired = True
        self.finish(until, now, flush_by)

    @property
    def finishing(self) -> bool:
        return self._until is not None

    @property
    def until(self) -> int:
        """Where the next session goes on; once it is finishing."""
        return self._cursor if self._until is None else self._until

    def age(self, now: float) -> float:
        """Seconds of audio or of life, whichever is more: the provider's cap may mean either."""
        return max(self.timeline.end / SAMPLE_RATE, now - self._born)

    @property
    def cursor(self) -> int:
        """Position of the next sample to send."""
        return self._cursor

    @property
    def confirmed(self) -> int:
        """Position up to which the provider certainly has the audio."""
        if not self._acked:
            return self.begin
        return min(self.timeline.to_track(self._acked, within=self._acked - 1), self._reach)

    @property
    def needs_from(self) -> int:
        """Position from which audio has to be sent again, should this session be cut or lost."""
        return max(self.begin, self._heard_to - self._overlap)

    @property
    def has_heard_all(self) -> bool:
        return self._until is not None and self._heard_to >= self._until

    @property
    def has_superseded(self) -> bool:
        """Whether anything is superseded at all."""
        return self._until is not None or bool(self._agains)

    def is_superseded(self, session: int) -> bool:
        """Whether what the provider hears at this session sample is heard again, or by another session."""
        if not self.has_superseded:
            return False
        position = self.timeline.to_track(session)
        if self._until is not None and position >= self._until:
            return True
        return any(again.since <= session < again.base and position >= again.heard_from for again in self._agains)

    @property
    def again_from(self) -> int:
        """What was sent first on the newest connection."""
        return self._agains[-1].heard_from if self._agains else self.begin

    def heard(self, session_end: int, position: int) -> None:
        """A final with its last word at this place was accepted; the service sends finals in order."""
        position = min(position, self._reach)
        if session_end > self._base and position > self._heard_to:
            self._heard_to = position
            self._progress()

    # --- outside a connection ---------------------------------------------------------------------------

    def step(self, now: float) -> Step:
        """What to do now. Safe to call at any time outside a connection."""
        self._give_up_if_late(now)
        match self.state:
            case SessionState.CREATING:
                if now >= self._not_before:
                    return Create(self._left(now, inf))
                return self._wait()
            case SessionState.CONNECTING:
                if now >= self._not_before:
                    return Connect(self.url, self._left(now, self._options.connect_timeout_s))
                return self._wait()
            case SessionState.FETCHING:
                if now >= self._not_before:
                    return Fetch(self.id or "", max(self._fetch_by - now, 0.0))
                return Wait(min(self._not_before, self._fetch_by))
            case _:
                return Done()

    def _give_up_if_late(self, now: float) -> None:
        is_overdue = self._flush_by is not None and now >= self._flush_by
        if self.state is SessionState.CREATING and is_overdue:
            self._move(Event.ABANDONED, now)
        elif self.state is SessionState.CONNECTING:
            if self._stop_at is not None and now >= self._look_by:
                self._move(Event.UNCERTAIN, now)
            elif is_overdue:
                self._move(Event.ABANDONED, now)
            elif self._down_since is not None and now >= self._down_since + self._options.resume_deadline_s:
                self._gone(now)
        if self.state is SessionState.FETCHING and now >= self._fetch_by:
            # With time left a successor can hear the rest again; at the deadline it is given up.
            self._move(Event.ABANDONED if is_overdue else Event.CUT_SHORT, now)

    def _left(self, now: float, at_most: float) -> float:
        return at_most if self._flush_by is None else min(at_most, self._flush_by - now)

    def _wait(self) -> Wait:
        times = [self._not_before]
        if self._flush_by is not None:
            times.append(self._flush_by if self._stop_at is None else self._look_by)
        if self._down_since is not None:
            times.append(self._down_since + self._options.resume_deadline_s)
        return Wait(min(times))

    def created(self, session_id: str, url: str, now: float) -> None:
        self.id, self.url, self.is_waiting = session_id, url, False
        self._attempts, self._not_before, self._down_since = 0, now, now
        self._born = now
        self._move(Event.CREATED, now)

    def not_created(self, error: SttError, now: float) -> None:
        """The POST failed. A refusal ends the session; anything else is tried again later."""
        if isinstance(error, ProviderRefused):
            self.refused = error
            self._move(Event.ABANDONED, now)
            return
        self.is_waiting = isinstance(error, ProviderFull)
        self._retry_later(now, at_least=self._options.full_s if self.is_waiting else 0.0)

    def fetched(self, found: wire.SessionResult | None, now: float) -> None:
        """The answer to Fetch, or None when there was none."""
        if found is None or found.status in ("queued", "processing", ""):
            self._retry_later(now)
        elif found.status == "done" and found.result is not None and self.judge(found.result, now):
            self._ended(now)
        else:
            self._move(Event.CUT_SHORT, now)

    # --- inside a connection ----------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The socket is open."""
        self._last_sent = self._last_audio = now
        self._awaiting_since = None
        if not self.timeline.started:
            self._stop_at = None  # if it was sent, it is sent again
            self._move(Event.OPENED, now)
            return
        self._is_doubtful |= self.is_unsettled and bool(self._probes)
        self.is_unsettled = True
        self._before_cut = self.timeline.end
        self._probes.clear()
        self._run = (-1, -1)
        self._cursor = max(self.needs_from, self._audio.start)
        self._move(Event.REOPENED, now)
        if self._stop_at is None and self._acked == self.timeline.end:
            self._placed(self._acked, now)  # the provider acknowledged everything: no doubt where it stands

    def take(self, now: float) -> bytes | str | None:
        """The next message to send, or None when there is nothing to send yet."""
        match self.state:
            case SessionState.STREAMING:
                return (
                    self._take_audio(self.MOST_PER_MESSAGE, now)
                    or self._take_stop(now)
                    or self._take_hush(now)
                    or self._take_rest(now)
                    or self._keepalive(now)
                )
            case SessionState.RESUMING:
                return self._take_probe(now) or self._take_rest(now) or self._keepalive(now)
            case _:
                return self._keepalive(now)

    def _take_audio(self, most: int, now: float) -> bytes | None:
        if self._cursor >= self._audio.end:
            return None
        found = self._audio.read(self._cursor, most)
        if found is None or (self._until is not None and found[0] >= self._until):
            return None
        offset, pcm = found
        if self._until is not None:
            pcm = pcm[: (self._until - offset) * SAMPLE_BYTES]
        if self.timeline.started and offset > self._cursor:
            # A stretch was left out. Silence stands for its beginning, so that the words around it stay apart.
            samples = min(offset - self._cursor, int(self._options.splice_s * SAMPLE_RATE), most)
            before, self._cursor = self._cursor, offset
            return self._sent(before, bytes(samples * SAMPLE_BYTES), now)
        self._cursor = offset + len(pcm) // SAMPLE_BYTES
        self._reach = max(self._reach, self._cursor)
        self.metered.resent += max(0, min(self._cursor, self.sent_to) - offset)
        self.sent_to = max(self.sent_to, self._cursor)
        self._last_audio = now
        return self._sent(offset, pcm, now)

    def _sent(self, offset: int, pcm: bytes, now: float) -> bytes:
        """The next message is this audio of the track, or silence that stands at its place."""
        samples = len(pcm) // SAMPLE_BYTES
        if self.state is SessionState.RESUMING:
            self._probes.append((offset, samples))
        self.timeline.sent(offset, samples)
        self.metered.sent += samples
        self.metered.messages += 1
        self._last_sent = now
        if self._awaiting_since is None:
            self._awaiting_since = now
        return pcm

    def _take_probe(self, now: float) -> bytes | str | None:
        if self._stop_at is not None and self._acked >= self._stop_at:
            return self._take_stop(now)  # all of it had arrived before the cut: only the end is missing
        if self._probes and now < self._last_sent + self._options.probe_s:
            return None
        # Each is of another size, so that an acknowledgement tells whose it is.
        probe = self._take_audio(self._probe_size(), now)
        return probe if probe is not None else self._take_stop(now)

    def _probe_size(self) -> int:
        found = self._audio.read(self._cursor, self.MOST_PER_MESSAGE)
        samples = len(found[1]) // SAMPLE_BYTES if found is not None else 0
        taken = {size for _, size in self._probes}
        return next((size for size in range(samples - 1, 0, -1) if size not in taken), 1)

    def _take_stop(self, now: float) -> str | None:
        if self._until is None:
            return None
        if self._stop_at is None:
            self._stop_at = self.timeline.end
        self._awaiting_since = now
        self._last_sent = now
        self._move(Event.STOP_SENT, now)
        return wire.STOP

    def _take_hush(self, now: float) -> bytes | None:
        """The track is left out from here on, in mid-utterance: a provider that hears nothing would never end it."""
        samples = self._hush
        if not self.awaits_final or self._audio.left_out_to - self._cursor < samples:
            return None
        self._cursor += samples
        return self._sent(self._cursor - samples, bytes(samples * SAMPLE_BYTES), now)

    @property
    def _may_rest(self) -> bool:
        """Not while it is unknown what the provider has of the audio, nor twice."""
        return self._until is None and not (self.state is SessionState.RESUMING and self._probes)

    def _take_rest(self, now: float) -> str | None:
        if not self._may_rest or now < self._last_audio + self._options.rest_s:
            return None
        self.is_resting = True
        self.finish(self._cursor, now, now + self._options.resume_deadline_s)
        return self._take_stop(now)

    def _keepalive(self, now: float) -> str | None:
        if now < self._last_sent + self._options.keepalive_s:
            return None
        self._last_sent = now
        return None if self.state is SessionState.FLUSHING else wire.KEEPALIVE

    @property
    def wake_at(self) -> float:
        """When `tick` or `take` has something to do although nothing happens."""
        when = min(self._last_sent + self._options.keepalive_s, self.tick_at)
        if self._may_rest:
            when = min(when, self._last_audio + self._options.rest_s)
        if self.state is SessionState.RESUMING and self._probes:
            when = min(when, self._last_sent + self._options.probe_s)
        return when

    @property
    def tick_at(self) -> float:
        """When `tick` has something to do."""
        when = inf if self._awaiting_since is None else self._awaiting_since + self._options.stall_s
        if self._flush_by is not None:
            when = min(when, self._look_by if self._stop_at is not None else self._flush_by)
        return when

    def tick(self, now: float) -> bool:
        """Time passed on an open connection. True: cut it, without a close frame and without waiting."""
        if self.state not in CONNECTED:
            return True
        if self._flush_by is not None and now >= self._flush_by:
            self._move(Event.ABANDONED, now)
            return True
        if self._stop_at is not None and now >= self._look_by:
            self._move(Event.UNCERTAIN, now)
            return True
        if self._awaiting_since is not None and now >= self._awaiting_since + self._options.stall_s:
            self._stalls += 1
            self._awaiting_since = None
            return True
        return False

    def alive(self, now: float) -> None:
        """The provider said something about audio or about the end: it is not stalled."""
        if self._awaiting_since is not None:
            self._awaiting_since = now

    def acknowledged(self, begin_bytes: int, end_bytes: int, now: float) -> None:
        """The provider has received this part of the session. Late and repeated acknowledgements are harmless."""
        end = end_bytes // SAMPLE_BYTES
        if end <= self._acked or self.state not in CONNECTED:
            return
        if self.is_unsettled:
            self._place(begin_bytes, end_bytes, now)
            return
        if end > self.timeline.end:
            # It has more than we sent: our idea of its clock is wrong.
            self._move(Event.CUT_SHORT, now)
            return
        self._acked = end
        self._stalls = 0
        # Were the end inclusive, as one document has it, the last sample would never be acknowledged.
        is_caught_up = self._acked >= self.timeline.end - 1
        if self.state is SessionState.STREAMING:
            self._awaiting_since = None if is_caught_up else now
        if is_caught_up:
            self._progress()

    def _place(self, begin_bytes: int, end_bytes: int, now: float) -> None:
        """Read from the acknowledgements after a cut how much the provider has of what came before."""
        if not self._probes:
            return
        # Were the end inclusive, as one document has it, half a sample would be missing.
        begin, end = begin_bytes // SAMPLE_BYTES, ceil(end_bytes / SAMPLE_BYTES)
        self._run = (self._run[0], end) if begin == self._run[1] else (begin, end)
        base = self._base_told_by(begin, end)
        is_senseless = base is not None and not self._acked <= base <= self._before_cut
        if is_senseless or begin_bytes % SAMPLE_BYTES:
            # It counts in a way that we do not understand. A new session starts from nothing.
            self._move(Event.CUT_SHORT, now)
            return
        if base is None:
            return
        self._placed(base, now)
        self._acked = end
        self._awaiting_since = now if self._acked < self.timeline.end else None

    def _base_told_by(self, begin: int, end: int) -> int | None:
        """Where the provider's counter stood when this connection began, once an acknowledgement proves it."""
        sizes = [samples for _, samples in self._probes]
        befores = list(accumulate(sizes, initial=0))
        if end - begin in sizes:  # it is for this message
            return begin - befores[sizes.index(end - begin)]
        if self._run[1] - self._run[0] in befores[1:]:  # several together are for the first messages
            return self._run[0]
        if end - sizes[0] == self._before_cut and len(sizes) == 1:  # one for all that was kept and the first message
            return self._before_cut
        return None  # a late one of the former connection, or a part: others will follow

    def _placed(self, base: int, now: float) -> None:
        self.timeline.rewind(base)
        for position, samples in self._probes:
            self.timeline.sent(position, samples)
        if self._is_doubtful:
            # Somewhere in here an earlier resume began. All of it is heard again.
            self._agains.append(_Again(self._acked, base, 0))
            self._is_doubtful = False
        self._agains.append(_Again(0, base, self._probes[0][0] if self._probes else self._cursor))
        self._base = base
        # A stop from before the cut was never read, or this audio would have been refused.
        self._stop_at = self.timeline.end if self.state is SessionState.FLUSHING else None
        self._stalls = 0
        self.is_unsettled = False
        self.resumes += 1
        self._move(Event.PLACED, now)

    def turned_away(self, now: float) -> bool:
        """The provider takes no more audio. Returns whether that is news."""
        if self.state not in (SessionState.RESUMING, SessionState.STREAMING):
            return False
        if self.state is SessionState.RESUMING:
            self.timeline.rewind(self._before_cut)
            self._probes.clear()
        self._awaiting_since = now
        self._move(Event.TURNED_AWAY, now)
        return True

    def judge(self, result: wire.Result, now: float) -> bool:
        """Whether this result covers all audio of the session: the provider counts what it heard."""
        heard = None if result.audio_seconds is None else round(result.audio_seconds * SAMPLE_RATE)
        if heard is not None and self.state is SessionState.FLUSHING and self.is_unsettled and self._probes:
            # It came on the same connection behind the probes, so they are what it counted last.
            base = heard - sum(samples for _, samples in self._probes)
            if self._acked - _ROUNDING <= base <= self._before_cut + _ROUNDING:
                self._placed(base, now)
        if heard is None:
            self._whole = self._stop_at is not None and not self.is_unsettled
        else:
            self._whole = self._stop_at is not None and abs(heard - self._stop_at) <= _ROUNDING
        return self._whole

    def ended(self, now: float) -> None:
        """The service said that nothing more will come."""
        self.is_ended_there = True
        self._conclude(Event.UNCERTAIN if self.is_unsettled else Event.ENDED, now)

    def dropped(self, code: int | None, now: float) -> None:
        """The connection is gone: WebSocket close code, HTTP status of a refused upgrade, or None."""
        if self.state is not SessionState.CONNECTING and self.state not in CONNECTED:
            return  # it was us who closed it
        if self.state in CONNECTED and (code == 1000 or self._whole is not None):
            self._conclude(Event.UNCERTAIN, now)
            return
        if code in (404, 410):
            self.is_ended_there = True
        self.is_waiting = code == 429
        is_final = code is not None and (4400 <= code < 4500 or (400 <= code < 500 and code not in (408, 425, 429)))
        if self._down_since is None:
            self._down_since = now
        if is_final or self._stalls >= self.MOST_STALLS:
            self._gone(now)
        else:
            self._move(Event.DROPPED, now)
            self._retry_later(now)

    # --- inside -----------------------------------------------------------------------------------------

    def _conclude(self, otherwise: Event, now: float) -> None:
        """The session ended at the provider. Its own count says whether all was heard, else `otherwise`."""
        if self.state not in CONNECTED:
            return
        if self._whole is not None:
            otherwise = Event.ENDED if self._whole else Event.CUT_SHORT
        elif self._stop_at is None:
            otherwise = Event.CUT_SHORT
        if otherwise is Event.ENDED:
            self._ended(now)
        else:
            self._move(otherwise, now)

    def _ended(self, now: float) -> None:
        self.complete = self.is_ended_there = True
        self._move(Event.ENDED, now)

    def _gone(self, now: float) -> None:
        """The session cannot be resumed. After our stop its result may still be complete."""
        if self._stop_at is None:
            self._move(Event.GONE, now)
        else:
            self._move(Event.UNCERTAIN, now)

    def _progress(self) -> None:
        """The connection is good for something: the next drop starts its patience afresh."""
        self._down_since = None
        self._attempts = 0
        self._stalls = 0

    def _retry_later(self, now: float, at_least: float = 0.0) -> None:
        self._attempts += 1
        self._not_before = now + max(at_least, self._options.backoff.delay(self._attempts, self._random()))

    def _move(self, event: Event, now: float) -> None:
        self.state = move(self.state, event)
        if self.state is SessionState.FETCHING:
            self._attempts, self._not_before = 0, now
            self._fetch_by = now + self._options.fetch_patience_s
            if self._flush_by is not None:
                self._fetch_by = min(self._fetch_by, self._flush_by)
