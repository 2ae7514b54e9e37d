"""One provider session, seen from our side: what to do next, and what the answers mean. Pure: no I/O, no clock.

The shell asks `step()` what to do outside a connection and `take()` what to send inside one, and reports what happened.
Positions are samples on the track's clock unless a name says `session`; times are monotonic seconds.

After a cut it is not known what the provider still has: audio it had not acknowledged, finals it had made meanwhile. So
all audio without a final is sent again. The first message goes alone, because the place of its acknowledgement tells
where the provider's counter stands; from then on, what the provider says about audio from before the cut is superseded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from stt.errors import ProviderFull, ProviderRefused, SttError
from stt.gladia import messages as wire
from stt.gladia.blame import Blame
from stt.gladia.feed import Feed
from stt.gladia.meter import Reach
from stt.gladia.moves import CONNECTED, Event, ProviderEnd, SessionState, move
from stt.gladia.options import LinkOptions
from stt.gladia.patience import Patience
from stt.gladia.retained import SAMPLE_BYTES, SAMPLE_RATE, Retained

_ROUNDING: Final = SAMPLE_RATE // 100  # how exactly the provider tells the length of its recording
_MAX_STALLS: Final = 2  # connections in a row on which nothing was heard; then the session is given up

_MAX_IMPOSSIBLE: Final = 2
# Named with each message, and a member of an enumeration is found by a call.
_STREAMING: Final = SessionState.STREAMING
_RESUMING: Final = SessionState.RESUMING

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
    """Nothing to do until then, or until the track has news."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """The session is over."""


Step = Create | Connect | Fetch | Wait | Done


class Session:
    """Decides; the shell acts.

    `begin`: where on the track's clock this session starts to hear. `reach`: the track's, shared by its sessions.
    `blame`: what its connections died of, shared as well. `wary`: the session before was lost.
    """

    def __init__(
        self,
        audio: Retained,
        begin: int,
        options: LinkOptions,
        now: float,
        random: Callable[[], float],
        *,
        reach: Reach | None = None,
        blame: Blame | None = None,
        wary: bool = False,
    ) -> None:
        self.state = SessionState.CREATING
        self.is_connected = False
        self.id: str | None = None
        self.url = ""
        self.feed = Feed(audio, begin, reach or Reach(), blame or Blame(), options, now, wary=wary)
        self._blame = blame or Blame()
        self.refused: ProviderRefused | None = None
        self.provider_end = ProviderEnd.OPEN
        self.is_waiting = False  # the account had no place when we last asked
        self.awaits_final = False  # an utterance has partials and no final; the link knows
        # Why it is finishing, unless the track is: an idle session may be replaced as well.
        self.is_replaced = False  # another session hears the track from `feed.until` on
        self.is_idle = False  # the track fell silent, and may go on
        self.rests = False  # nobody is to be heard for now: it ends as soon as it has sent what it has
        self.outdated_since: float | None = None  # another configuration is wanted from then on
        self._resume = self.feed.resume
        self._is_explained = False  # it is known why this connection ends
        self._patience = Patience(options, now, random)
        self._options = options
        self._impossible = 0  # acknowledgements in a row of more than was sent
        self._stop_at: int | None = None  # timeline's end when stop was last sent
        self._is_whole: bool | None = (
            None  # whether the provider's own result covers all that was sent; None: no result
        )

    # --- what the track wants -------------------------------------------------------------------------------

    def finish(self, until: int, now: float, flush_by: float) -> None:
        """No audio from `until` on is for this session; all finals should be here by `flush_by`."""
        self.feed.until = until if self.feed.until is None else min(self.feed.until, until)
        self._patience.finish(now, flush_by)

    def replace(self, until: int, now: float, flush_by: float) -> None:
        """Another session hears the track from `until` on, and so transcribes what has no final here."""
        self.is_replaced = True
        self.finish(until, now, flush_by)

    @property
    def finishing(self) -> bool:
        """Whether the end of its audio is known."""
        return self.feed.until is not None

    def age(self, now: float) -> float:
        """Seconds of audio or of life, whichever is more: the provider's cap may mean either."""
        return max(self.feed.timeline.end / SAMPLE_RATE, now - self._patience.born)

    def heard(self, session_end: int, position: int) -> None:
        """A final was accepted whose last word ends at this session sample and this position."""
        if self.feed.heard(session_end, position):
            self._patience.progress()

    # --- outside a connection -------------------------------------------------------------------------------

    def step(self, now: float) -> Step:
        """What to do now. Safe to call at any time outside a connection."""
        self._give_up_if_late(now)
        patience = self._patience
        match self.state:
            case SessionState.CREATING:
                if now >= patience.not_before:
                    return Create(patience.left(now, inf))
                return Wait(patience.wait_until(stop_was_sent=self._stop_at is not None))
            case SessionState.CONNECTING:
                if now >= patience.not_before:
                    return Connect(self.url, patience.left(now, self._options.connect_timeout_s))
                return Wait(patience.wait_until(stop_was_sent=self._stop_at is not None))
            case SessionState.FETCHING:
                if now >= patience.not_before:
                    return Fetch(self.id or "", max(patience.fetch_by - now, 0.0))
                return Wait(min(patience.not_before, patience.fetch_by))
            case _:
                return Done()

    def _give_up_if_late(self, now: float) -> None:
        is_overdue = self._patience.is_overdue(now)
        if self.state is SessionState.CREATING and is_overdue:
            self._move(Event.ABANDONED, now)
        elif self.state is SessionState.CONNECTING:
            if self._stop_at is not None and now >= self._patience.fetch_from:
                self._move(Event.UNCERTAIN, now)
            elif is_overdue:
                self._move(Event.ABANDONED, now)
            elif self._patience.is_down_for_long(now):
                self._gone(now)
        if self.state is SessionState.FETCHING and now >= self._patience.fetch_by:
            # With time left a successor can hear the rest again; at the deadline it is given up.
            self._move(Event.ABANDONED if is_overdue else Event.CUT_SHORT, now)

    def created(self, session_id: str, url: str, now: float) -> None:
        """The POST was answered with this id and the URL of the session's socket."""
        self.id, self.url, self.is_waiting = session_id, url, False
        self._patience.created(now)
        self._move(Event.CREATED, now)

    def not_created(self, error: SttError, now: float) -> None:
        """The POST failed. A refusal ends the session; anything else is tried again later."""
        if isinstance(error, ProviderRefused):
            self.refused = error
            self._move(Event.ABANDONED, now)
            return
        self.is_waiting = isinstance(error, ProviderFull)
        self._patience.retry_later(now, at_least=self._options.full_s if self.is_waiting else 0.0)

    def fetched(self, found: wire.SessionResult | None, now: float) -> None:
        """The answer to Fetch, or None when there was none."""
        if found is None or found.is_running:
            self._patience.retry_later(now)
        elif found.final_result is not None and self.judge(found.final_result, now):
            self._move(Event.ENDED, now)
        else:
            self._move(Event.CUT_SHORT, now)

    # --- inside a connection --------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The socket is open, for the first time or again."""
        feed = self.feed
        feed.connected(now)
        self._is_explained = False
        if not feed.timeline.started:
            self._stop_at = None  # if it was sent, it is sent again
            self._move(Event.OPENED, now)
            return
        feed.resumed()
        self._move(Event.REOPENED, now)
        if self._stop_at is None and feed.acknowledged == feed.timeline.end:
            self._placed(feed.acknowledged, now)  # the provider acknowledged everything: no doubt where it stands

    def take(self, now: float) -> bytes | str | None:
        """The next message to send: audio (s16le) or text; None when there is nothing to send yet."""
        feed = self.feed
        if self.state is _STREAMING:
            audio = feed.audio(feed.room(now), now)
            if audio is not None or feed.held_back or feed.stop_waits(now):
                return audio
            if feed.until is not None:
                return self._take_stop(now)
            silence = feed.trailing_silence(now) if self.awaits_final else None
            if silence is not None or now == feed.last_audio:  # right behind audio nothing else is due
                return silence
            return self._take_idle_stop(now) or feed.keepalive(now)
        if self.state is _RESUMING:
            return self._take_probe(now) or self._take_idle_stop(now) or feed.keepalive(now)
        message = feed.keepalive(now)
        return None if self.state is SessionState.FLUSHING else message

    @property
    def is_steady(self) -> bool:
        """Whether audio goes out as it comes: no deadline is nearer than `soonest_s` when it comes up."""
        return self.state is _STREAMING and self.feed.until is None and self.feed.is_free and not self.rests

    @property
    def soonest_s(self) -> float:
        """From an event until it is seen that the next one does not come, at least, while all is steady."""
        return min(self._options.stall_s, self._options.keepalive_s, self._options.idle_s)

    def _take_probe(self, now: float) -> bytes | str | None:
        feed = self.feed
        if self._blame.accused is not None:
            return feed.probe(now)
        if self._stop_at is not None and feed.acknowledged >= self._stop_at:
            return self._take_stop(now)  # all of it had arrived before the cut: only the end is missing
        if self._resume.probes and now < feed.last_sent + self._options.probe_s:
            return None
        probe = feed.probe(now)
        return probe if probe is not None else self._take_stop(now)

    def _take_stop(self, now: float) -> str | None:
        if self.feed.until is None:
            return None
        if self._stop_at is None:
            self._stop_at = self.feed.timeline.end
        message = self.feed.stop(now)
        self._move(Event.STOP_SENT, now)
        return message

    @property
    def _may_end_idle(self) -> bool:
        """Not while it is unknown what the provider has of the audio, nor twice."""
        return self.feed.until is None and not (self.state is _RESUMING and self._resume.probes)

    @property
    def _idle_from(self) -> float:
        return self.feed.last_audio + (0.0 if self.rests else self._options.idle_s)

    def _take_idle_stop(self, now: float) -> str | None:
        if not self._may_end_idle or now < self._idle_from:
            return None
        self.is_idle = True
        self.finish(self.feed.cursor, now, now + self._options.resume_deadline_s)
        return self._take_stop(now)

    @property
    def wake_at(self) -> float:
        """When `tick` or `take` has something to do although nothing happens."""
        feed = self.feed
        when = min(feed.last_sent + self._options.keepalive_s, self.tick_at)
        if self._may_end_idle:
            when = min(when, self._idle_from)
        if self.state is _RESUMING and self._resume.probes:
            when = min(when, feed.last_sent + self._options.probe_s)
        if self.state is _STREAMING and (feed.held_back or feed.stop_waits(feed.last_sent)):
            when = min(when, feed.held_until)
        return when

    @property
    def tick_at(self) -> float:
        """When `tick` has something to do."""
        awaiting_since, patience = self.feed.awaiting_since, self._patience
        when = inf if awaiting_since is None else awaiting_since + self._options.stall_s
        if self._blame.accused is not None or self.feed.is_moot:
            when = min(when, self.feed.held_until)
        if patience.flush_by is not None:
            when = min(when, patience.fetch_from if self._stop_at is not None else patience.flush_by)
        return when

    def tick(self, now: float) -> bool:
        """Time passed on an open connection. True: cut it, without a close frame and without waiting."""
        if not self.is_connected:
            return True
        if self._patience.is_overdue(now):
            self._move(Event.ABANDONED, now)
            return True
        if self._stop_at is not None and now >= self._patience.fetch_from:
            self._move(Event.UNCERTAIN, now)
            return True
        if self.feed.acquits(now):
            self._is_explained = True
            return True
        awaiting_since = self.feed.awaiting_since
        if awaiting_since is not None and now >= awaiting_since + self._options.stall_s:
            self._patience.stalled()
            self.feed.awaiting_since = None
            self._is_explained = True
            return True
        return False

    def acknowledged(self, begin_bytes: int, end_bytes: int, now: float) -> bool:
        """The provider has received this part of the session. Late and repeated acknowledgements are harmless.

        Returns: whether it is known from now on what the provider had of the audio before a cut.
        """
        feed = self.feed
        end = end_bytes // SAMPLE_BYTES
        if end <= feed.acknowledged or not self.is_connected:
            return False
        if not self._resume.is_placed:
            self._place(begin_bytes, end_bytes, now)
            return self._resume.is_placed
        if end > feed.timeline.end:
            # It has more than we sent. Once that is an odd message; twice, our idea of its clock is wrong.
            self._impossible += 1
            if self._impossible == _MAX_IMPOSSIBLE:
                self._move(Event.CUT_SHORT, now)
            return False
        self._impossible = 0
        feed.acknowledge(end)
        # Were the end inclusive, as one document has it, the last sample would never be acknowledged.
        is_caught_up = end >= feed.timeline.end - 1
        if self.state is _STREAMING:
            feed.awaiting_since = None if is_caught_up else now
        if is_caught_up and not feed.held_back:
            self._patience.progress()
        else:
            self._patience.stalls = 0
            if end - self._resume.base >= SAMPLE_RATE:
                self._patience.taken(now)
        return False

    def _place(self, begin_bytes: int, end_bytes: int, now: float) -> None:
        """Read from the acknowledgements after a cut how much the provider has of what came before."""
        feed, resume = self.feed, self._resume
        if not resume.probes:
            return
        base, end = resume.base_told_by(begin_bytes, end_bytes)
        is_senseless = base is not None and not feed.acknowledged <= base <= resume.before_cut
        if is_senseless or begin_bytes % SAMPLE_BYTES:
            # It counts in a way that we do not understand. A new session starts from nothing.
            self._move(Event.CUT_SHORT, now)
            return
        if base is None:
            return
        self._placed(base, now)
        feed.acknowledge(end)
        feed.awaiting_since = now if end < feed.timeline.end else None

    def _placed(self, base: int, now: float) -> None:
        feed = self.feed
        feed.prove(base)
        self._resume.place(base, feed.timeline, feed.acknowledged, feed.cursor)
        feed.acknowledged = max(feed.acknowledged, base)
        # A stop from before the cut was never read, or this audio would have been refused.
        self._stop_at = feed.timeline.end if self.state is SessionState.FLUSHING else None
        self._patience.stalls = 0
        self._move(Event.PLACED, now)

    def turned_away(self, now: float) -> bool:
        """The provider takes no more audio. Returns whether that is news."""
        if self.state not in (SessionState.RESUMING, SessionState.STREAMING):
            return False
        self._is_explained = True  # what ends the connection is known
        if self.state is _RESUMING:
            self._resume.abandon(self.feed.timeline)
        self.feed.awaiting_since = now
        self._move(Event.TURNED_AWAY, now)
        return True

    def judge(self, result: wire.Result, now: float) -> bool:
        """Whether this result covers all audio of the session: the provider counts what it heard."""
        heard = None if result.audio_seconds is None else round(result.audio_seconds * SAMPLE_RATE)
        is_placed = self._resume.is_placed
        if heard is not None and self.state is SessionState.FLUSHING and not is_placed and self._resume.probes:
            # It came on the same connection behind the probes, so they are what it counted last.
            base = heard - sum(samples for _, samples in self._resume.probes)
            if self.feed.acknowledged - _ROUNDING <= base <= self._resume.before_cut + _ROUNDING:
                self._placed(base, now)
        self.feed.prove(heard or 0)
        if heard is None:
            self._is_whole = self._stop_at is not None and self._resume.is_placed
        else:
            self._is_whole = self._stop_at is not None and abs(heard - self._stop_at) <= _ROUNDING
        return self._is_whole

    def ended(self, now: float) -> None:
        """The provider said that nothing more will come."""
        if self.provider_end is ProviderEnd.OPEN:
            self.provider_end = ProviderEnd.ENDED
        self._conclude(Event.ENDED if self._resume.is_placed else Event.UNCERTAIN, now)

    def dropped(self, code: int | None, now: float) -> None:
        """The connection is gone: WebSocket close code, HTTP status of a refused upgrade, or None."""
        if self.state is not SessionState.CONNECTING and not self.is_connected:
            return  # it was us who closed it
        if self.is_connected and (code == 1000 or self._is_whole is not None):
            self._conclude(Event.UNCERTAIN, now)
            return
        if self.is_connected and not self._is_explained:
            self.feed.died(now)
        if code in (404, 410):
            self.provider_end = ProviderEnd.ENDED
        self.is_waiting = code == 429
        is_final = code is not None and (4400 <= code < 4500 or (400 <= code < 500 and code not in (408, 425, 429)))
        if self._patience.down_since is None:
            self._patience.down_since = now
        if is_final or self._patience.stalls >= _MAX_STALLS:
            self._gone(now)
        else:
            self._move(Event.DROPPED, now)
            self._patience.retry_later(now, at_once=not self._is_explained and self._blame.may_hurry())

    # --- inside ---------------------------------------------------------------------------------------------

    def _conclude(self, otherwise: Event, now: float) -> None:
        """The session ended at the provider. Its own count says whether all was heard, else `otherwise`."""
        if not self.is_connected:
            return
        if self._is_whole is not None:
            otherwise = Event.ENDED if self._is_whole else Event.CUT_SHORT
        elif self._stop_at is None:
            otherwise = Event.CUT_SHORT
        self._move(otherwise, now)

    def _gone(self, now: float) -> None:
        """The session cannot be resumed. After our stop its result may still be complete."""
        self._move(Event.GONE if self._stop_at is None else Event.UNCERTAIN, now)

    def _move(self, event: Event, now: float) -> None:
        self.state = move(self.state, event)
        self.is_connected = self.state in CONNECTED
        if event is Event.ENDED:
            self.provider_end = ProviderEnd.COMPLETE
        elif self.state is SessionState.FETCHING:
            self._patience.fetch(now)
