"""One track's way through the provider: a series of sessions that together hear every word once. Pure.

Audio goes into a bounded window until it has a final. The current session reads from it. Whenever a connection or a
session is lost, and when a session has to be changed before the provider's cap, what has no final yet is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from stt.errors import ProviderRefused
from stt.gladia import messages as wire
from stt.gladia.blame import Blame
from stt.gladia.complaints import kind_of
from stt.gladia.events import Complained, LinkEvent, Unusable
from stt.gladia.hearing import Hearing, LinkCounts
from stt.gladia.meter import Metered, Reach
from stt.gladia.moves import SHOWN, LinkState, ProviderEnd, SessionState
from stt.gladia.options import LinkOptions
from stt.gladia.retained import SAMPLE_BYTES, SAMPLE_RATE, Retained, Span
from stt.gladia.session import Session

MAX_TAIL_RETRIES: Final = 3
"""Sessions lost in a row at the end of an idle track's audio: then that end has no final until the track goes on."""


class Link:
    """The pure core of a track's link; `stt.gladia.client` is its shell. Times are monotonic seconds."""

    def __init__(self, options: LinkOptions, random: Callable[[], float]) -> None:
        self.failed: ProviderRefused | None = None
        self.sessions: list[Session] = []  # oldest first; all but the owner are flushing
        self.logged: set[str] = set()  # kinds of unusable messages that the log has seen
        self._owner: Session | None = None  # hears the track's audio from its beginning on
        self._options = options
        self._random = random
        self._audio = Retained(int(options.retain_s * SAMPLE_RATE))
        self._hearing = Hearing(self._audio, self.sessions)
        self._finish_by: float | None = None
        self._all_complete = True
        # Where the last idle session ended, and from where on the audio before that has no final.
        self._idle_from = self._again_from = -1
        self._tail_given_up = False  # the audio between the two is heard when the track goes on, or ends
        self._reach = Reach()
        self._blame = Blame(is_on=options.leave_out_poison)
        self._metered = Metered()  # of the sessions that are over

    # --- the track's side ---------------------------------------------------------------------------------

    def audio(self, offset: int, pcm: bytes, now: float) -> list[LinkEvent]:
        """The track goes on at sample `offset` with `pcm` (s16le). Ignored once finished or refused.

        Raises: ValueError when `offset` lies before audio already here.
        """
        if self.failed is not None or self._finish_by is not None:
            return []
        lost = self._audio.append(offset, pcm)
        if self._owner is None:
            again = offset == self._idle_from or self._tail_given_up
            self._tail_given_up = False
            self._begin(max(self._again_from, self._audio.start) if again else offset, now)
        elif self._owner.is_idle:
            self._hand_over(self._owner, now)
        elif (overdue := self._owner.age(now) - self._options.roll_over_s) >= 0:
            self._roll_over(self._owner, overdue, now)
        elif self._owner.outdated_since is not None:
            self._change(self._owner, self._owner.outdated_since, now)
        elif self._owner.rests:
            self._owner.rests = False
        return self._given_up(lost) if lost else []

    def leave_out(self, to: int) -> None:
        """The track is silent: its audio before sample `to` does not come."""
        self._audio.leave_out(to)

    def fall_silent(self, samples: int) -> None:
        """The source delivers nothing for now: so much silence ends the utterance. The track's clock stands still."""
        if self.failed is None and self._finish_by is None:
            self._audio.fall_silent(samples)

    def renew(self, now: float) -> bool:
        """Let a new session hear again what has no final. Returns: False when there is no session to replace."""
        if self._owner is None or self._owner.state is not SessionState.STREAMING or self._owner.finishing:
            return False
        self._hand_over(self._owner, now)
        return True

    def outdate(self, now: float) -> None:
        """Another configuration is wanted: a session that has it takes over as soon as no utterance is open."""
        if self._owner is not None and self._owner.outdated_since is None:
            self._owner.outdated_since = now

    def rest(self) -> None:
        """Nobody is to be heard for now: the session ends with what it has been given. The next audio opens another."""
        if self._owner is not None:
            self._owner.rests = True

    def finish(self, now: float, flush_by: float) -> None:
        """No more audio. Finals are awaited until `flush_by`; the given-up end of an idle track is tried once more."""
        self._finish_by = flush_by
        for session in self.sessions:
            session.finish(self._audio.end, now, flush_by)
        if self._tail_given_up and self._owner is None and self.failed is None:
            self._tail_given_up = False
            self._begin(max(self._again_from, self._audio.start), now)

    @property
    def done(self) -> bool:
        """Whether every session is over and no other will begin."""
        return not self.sessions and (self._finish_by is not None or self.failed is not None)

    @property
    def complete(self) -> bool:
        """Whether everything that was sent is known to have been heard, so that no final can be missing."""
        return self._all_complete and not self._tail_given_up and self.failed is None and not self.counts.unread

    @property
    def state(self) -> LinkState:
        """That of the session which hears what is said now."""
        session = self._owner
        if session is None:
            return LinkState.IDLE
        return LinkState.WAITING if session.is_waiting else SHOWN[session.state]

    @property
    def counts(self) -> LinkCounts:
        """Of the track since its beginning; the same object at every call."""
        return self._hearing.counts

    @property
    def metered(self) -> Metered:
        """Samples that the provider can charge, and messages written, of all sessions together."""
        total = Metered(self._metered.sent, self._metered.resent, self._metered.messages)
        for session in self.sessions:
            total.add(session.feed.metered)
        return total

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that no session has sent yet."""
        return max(0, self._audio.end - self._owner.feed.cursor) / SAMPLE_RATE if self._owner else 0.0

    def silent_s(self, now: float) -> float:
        """Seconds since an open connection should have been answered, and was not."""
        session = self._owner
        since = session.feed.awaiting_since if session is not None and session.is_connected else None
        return 0.0 if since is None else max(0.0, now - since)

    def unsettled(self) -> Iterator[tuple[int, bytes]]:
        """The audio without a final, as it was given to `audio`, in pieces of at most a second."""
        position = max(self._audio.start, self._hearing.settled_to)
        while found := self._audio.read(position, SAMPLE_RATE):
            yield found
            position = found[0] + len(found[1]) // SAMPLE_BYTES

    @property
    def retained_samples(self) -> int:
        """Audio in memory: at most `retain_s`."""
        return self._audio.held

    # --- the provider's side ------------------------------------------------------------------------------

    def opened(self, session: Session, now: float) -> list[LinkEvent]:
        """The socket of `session` is open, for the first time or again."""
        session.opened(now)
        return self._hearing.settle_resume(session)

    def received(self, session: Session, message: wire.Message | Unusable, now: float) -> list[LinkEvent]:
        """A message came over the socket of `session`, or one that cannot be used."""
        if isinstance(message, wire.AudioAcknowledged):  # two of three are
            events = (
                self._hearing.settle_resume(session) if session.acknowledged(message.begin, message.end, now) else []
            )
            return events if self._blame.trial is None else events + self._left_out(session, now)
        if isinstance(message, wire.Transcribed):  # most others
            session.feed.alive(now)
            return self._hearing.said(session, message)
        match message:
            case wire.AudioRefused(reason, code):
                return self.complained("audio_chunk", reason, code) if session.turned_away(now) else []
            case wire.Complaint(about, text, code):
                return self.complained(about, text, code)
            case Unusable(kind, may_be_final):
                return self._hearing.unusable(session, kind, may_be_final=may_be_final)
            case wire.Ignored():
                return []
        session.feed.alive(now)
        match message:
            case wire.Translated() | wire.Noted():
                return self._hearing.said(session, message)
            case wire.SpeechStarted(time):
                return self._hearing.speech(session, time, speaking=True)
            case wire.SpeechEnded(time):
                return self._hearing.speech(session, time, speaking=False)
            case wire.Concluded(result):
                return self._hearing.concluded(session, result, now)
            case wire.SessionEnded():
                session.ended(now)
        return []

    def complained(self, about: str, text: str, code: str = "") -> list[LinkEvent]:
        """The provider reported an error of its own, in a message, by closing or by refusing a connection."""
        self.counts.complaints += 1
        return [Complained(about, text, kind_of(about, code, text))]

    def fetched(self, session: Session, found: wire.SessionResult | None, now: float) -> list[LinkEvent]:
        """The session's result came over REST (None: not this time): late finals are in it."""
        result = found.result if found is not None else None
        events = self._hearing.concluded(session, result, now) if result is not None else []
        session.fetched(found, now)
        return events

    def over(self, session: Session, now: float) -> list[LinkEvent]:
        """The shell has nothing left to do for `session`: it is CLOSED or LOST."""
        feed = session.feed
        self.sessions.remove(session)
        self._metered.add(feed.metered)
        is_heard = session.provider_end is ProviderEnd.COMPLETE or feed.has_heard_all
        is_over = self._finish_by is not None and now >= self._finish_by
        # An idle track has time to send again what the provider did not confirm.
        is_lost = session.state is SessionState.LOST or (session.is_idle and not is_heard and not is_over)
        again_from = max(feed.needs_from, self._audio.start) if is_lost else None
        events = self._hearing.over(session, again_from) + self._left_out(session, now)
        if session.refused is not None:
            self.failed = session.refused
            self._owner = None
            self._all_complete = False
            return events
        if is_lost:
            self.counts.lost_sessions += 1
            self._hearing.losses_in_a_row += 1
            self._succeed(session, again_from or 0, now)
        elif not is_heard:
            self._all_complete = False
            if not session.is_replaced and feed.confirmed < feed.stops_at:
                events += self._hearing.give_up(Span(feed.confirmed, feed.stops_at), "unconfirmed")
        if self._owner is session:
            self._owner = None
            if session.is_idle:
                self._ended_idle(session)
        self._hearing.forget()
        return events

    # --- sessions -----------------------------------------------------------------------------------------

    def _begin(self, at: int, now: float) -> Session:
        losses = self._hearing.losses_in_a_row
        delay = self._options.backoff.delay(losses, self._random()) if losses else 0
        session = Session(
            self._audio,
            at,
            self._options,
            now + delay,
            self._random,
            reach=self._reach,
            blame=self._blame,
            wary=losses > 0,
        )
        if self._finish_by is not None:
            session.finish(self._audio.end, now, self._finish_by)
        self.sessions.append(session)
        self._owner = session
        self.counts.sessions += 1
        self._hearing.begin(at)
        return session

    def _succeed(self, lost: Session, at: int, now: float) -> None:
        """Begin a session that hears the track again from sample `at` on, unless that is pointless or too late."""
        if lost.feed.has_heard_all or lost.is_replaced:
            return
        if self._finish_by is None:
            self._tail_given_up = lost.is_idle and self._hearing.losses_in_a_row >= MAX_TAIL_RETRIES
        elif now >= self._finish_by:  # a person waits for the last words: the deadline alone ends that
            self._all_complete = False
            return
        if not self._tail_given_up:
            self._begin(at, now)

    def _roll_over(self, session: Session, overdue: float, now: float) -> None:
        """Change the session before the provider's cap, if possible while no utterance is open."""
        if not session.awaits_final or overdue >= self._options.roll_over_grace_s:
            self._hand_over(session, now)

    def _change(self, session: Session, since: float, now: float) -> None:
        """A session with another configuration takes over, as soon as no utterance is open."""
        is_paused = not session.awaits_final or now - since >= self._options.change_grace_s
        if is_paused and session.state is SessionState.STREAMING:
            self._hand_over(session, now)

    def _hand_over(self, session: Session, now: float) -> None:
        """A new session begins with the audio that has no final yet; the old one only has to be stopped."""
        at = max(session.feed.needs_from, self._audio.start)
        session.replace(at, now, now + self._options.resume_deadline_s)
        self._begin(at, now)

    def _ended_idle(self, session: Session) -> None:
        """The track fell silent, and its session has ended."""
        self.counts.idle_ends += 1
        # A track that goes on without a gap did not fall silent: its source was held up, perhaps within a word.
        self._idle_from, self._again_from = session.feed.stops_at, session.feed.needs_from
        self._audio.forget(session.feed.needs_from)

    def _left_out(self, session: Session, now: float) -> list[LinkEvent]:
        """A stretch is left out on trial because connections died of it: is that proved to be right?"""
        if not session.feed.resume.is_placed:
            return []
        is_over = session.provider_end is ProviderEnd.COMPLETE
        given_up = self._blame.proved(session.feed.confirmed, now, is_over=is_over)
        if given_up is None:
            return []
        self._all_complete = False
        return self._hearing.give_up(given_up, "poison")

    # --- what goes wrong ----------------------------------------------------------------------------------

    def _given_up(self, spans: list[Span]) -> list[LinkEvent]:
        """Of what left the window, the part that the provider may not have is lost."""
        confirmed = self._owner.feed.confirmed if self._owner else 0
        return [
            event
            for span in spans
            if max(span.start, confirmed) < span.end
            for event in self._hearing.give_up(Span(max(span.start, confirmed), span.end), "overdue")
        ]
