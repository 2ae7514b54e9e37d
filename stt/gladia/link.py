"""One track's way through the provider: a series of sessions that together hear every word once. Pure.

Audio goes into a bounded window until it has a final. The current session reads from it. Whenever a connection or a
session is lost, and when a session has to be changed before the provider's cap, what has no final yet is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stt.errors import ProviderRefused
from stt.gladia import messages as wire
from stt.gladia.retained import Retained, Span
from stt.gladia.seam import Seam, keeping
from stt.gladia.session import SAMPLE_RATE, LinkOptions, Session, SessionState
from stt.transcript import Utterance, Word


class Heard(msgspec.Struct, frozen=True):
    """A partial or a final, on the track's clock."""

    utterance: Utterance


class Retracted(msgspec.Struct, frozen=True):
    """The partials of this utterance will get no final: their audio is heard again under another id."""

    utterance_id: str


class TranslationHeard(msgspec.Struct, frozen=True):
    utterance_id: str
    original_language: str | None
    target_language: str
    text: str


class AnnotationHeard(msgspec.Struct, frozen=True):
    """`kind`: named_entity_recognition or sentiment_analysis.

    `results` as the provider sent them, except that `start` and `end` are seconds on the track's clock.
    """

    kind: str
    utterance_id: str
    results: tuple[Any, ...]


class SpeechChanged(msgspec.Struct, frozen=True):
    """The provider heard speech begin or end at `at` seconds on the track's clock."""

    speaking: bool
    at: float


class AudioGivenUp(msgspec.Struct, frozen=True):
    """Audio left the window before the provider had heard it: seconds on the track's clock."""

    start: float
    end: float


class Complained(msgspec.Struct, frozen=True):
    """The provider reported an error of its own."""

    about: str
    message: str


LinkEvent = Heard | Retracted | TranslationHeard | AnnotationHeard | SpeechChanged | AudioGivenUp | Complained


@dataclass(slots=True)
class LinkCounts:
    sessions: int = 0
    lost_sessions: int = 0
    finals: int = 0
    partials: int = 0
    malformed: int = 0
    complaints: int = 0
    given_up_samples: int = 0
    repeated_words: int = 0  # heard again at a seam, and dropped
    rests: int = 0  # sessions ended because nobody spoke


_FAREWELLS = 3
"""Sessions lost in a row at the end of a silent track's audio: then it is left, rather than said again for ever."""

_HELD = 1000
"""Messages kept while it is not known what the provider has; above it the oldest go, the result has them too."""


class _Name(msgspec.Struct):
    """Who bears one of the provider's utterance ids at the moment."""

    generation: int
    resumes: int
    spelt: str
    settled_to: float | None = None  # seconds of the session


@dataclass(slots=True)
class _Names:
    """Utterance ids of one session. The provider's counter may restart after a resume; ours must not."""

    session_id: str
    by_id: dict[str, _Name] = field(default_factory=dict)

    def of(self, provider_id: str, start: float, resumes: int) -> str | None:
        """The id to use, or None for a repeat of something already final. `start`: seconds of the session."""
        name = self.by_id.get(provider_id)
        if name is None:
            name = self.by_id[provider_id] = _Name(1, resumes, f"{self.session_id}:{provider_id}")
        elif name.resumes < resumes or (name.settled_to is not None and start >= name.settled_to - 0.001):
            name.generation, name.resumes, name.settled_to = name.generation + 1, resumes, None
            name.spelt = f"{self.session_id}:{provider_id}.{name.generation}"
        elif name.settled_to is not None:
            return None
        return name.spelt

    def settle(self, provider_id: str, end: float) -> None:
        self.by_id[provider_id].settled_to = end

    def known(self, utterance_id: str, channel: int) -> str | None:
        """Add-ons name the utterance in full or by its bare counter (both were seen)."""
        provider_id = f"{channel:02d}_{int(utterance_id):08d}" if utterance_id.isdecimal() else utterance_id
        name = self.by_id.get(provider_id)
        return None if name is None else name.spelt


class _Open(msgspec.Struct, frozen=True, gc=False):
    """An utterance that has partials and no final: seconds of the track."""

    start: float
    end: float


@dataclass(slots=True)
class _Ear:
    """What one session has said so far."""

    names: _Names
    open: dict[str, _Open] = field(default_factory=dict)
    held: deque[wire.Message] = field(default_factory=lambda: deque(maxlen=_HELD))
    resumes: int = 0


class Link:
    """The pure core of a track's link; `stt.gladia.client` is its shell."""

    def __init__(self, options: LinkOptions, random: Callable[[], float]) -> None:
        self.counts = LinkCounts()
        self.failed: ProviderRefused | None = None
        self.sessions: list[Session] = []  # oldest first; all but the owner are flushing
        self._owner: Session | None = None  # hears the track's audio from its beginning on
        self._options = options
        self._random = random
        self._audio = Retained(int(options.retain_s * SAMPLE_RATE))
        self._seam = Seam()
        self._settled_to = 0.0  # seconds: the end of the last final
        self._seam_to = 0.0  # words that begin before may have been settled already
        self._ears: dict[Session, _Ear] = {}
        self._finish_by: float | None = None
        self._losses_in_a_row = 0
        self._all_complete = True
        self._rested_at = self._again_from = -1  # where the last session came to rest, and what had a final there
        self._sent_to = 0
        self._sent = self._resent = self._messages = 0

    # --- the track's side ---------------------------------------------------------------------------------

    def audio(self, offset: int, pcm: bytes, now: float) -> list[LinkEvent]:
        """The track goes on at sample `offset` with `pcm` (s16le)."""
        if self.failed is not None or self._finish_by is not None:
            return []
        lost = self._audio.append(offset, pcm)
        if self._owner is None:
            self._begin(self._again_from if offset == self._rested_at else offset, now)
        elif self._owner.is_resting:
            self._hand_over(self._owner, now)
        else:
            self._roll_over(self._owner, now)
        return self._given_up(lost)

    def leave_out(self, to: int) -> None:
        """The track is silent: its audio before sample `to` does not come."""
        self._audio.leave_out(to)

    def renew(self, now: float) -> bool:
        """Let a new session hear again what has no final. Returns: False when there is no session to replace."""
        if self._owner is None or self._owner.state is not SessionState.STREAMING or self._owner.finishing:
            return False
        self._hand_over(self._owner, now)
        return True

    def finish(self, now: float, flush_by: float) -> None:
        """No more audio. Finals are awaited until `flush_by`."""
        self._finish_by = flush_by
        for session in self.sessions:
            session.finish(self._audio.end, now, flush_by)

    @property
    def done(self) -> bool:
        return not self.sessions and (self._finish_by is not None or self.failed is not None)

    @property
    def complete(self) -> bool:
        """Whether everything that was sent is known to have been heard, so that no final can be missing."""
        return self._all_complete and self.failed is None

    @property
    def sent_samples(self) -> int:
        return self._sent + sum(session.metered.sent for session in self.sessions)

    @property
    def resent_samples(self) -> int:
        return self._resent + sum(session.metered.resent for session in self.sessions)

    @property
    def messages_sent(self) -> int:
        return self._messages + sum(session.metered.messages for session in self.sessions)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that no session has sent yet."""
        return max(0, self._audio.end - self._owner.cursor) / SAMPLE_RATE if self._owner else 0.0

    @property
    def current(self) -> Session | None:
        """The session that what is said now is for; None while nobody has spoken for long."""
        return self._owner

    @property
    def retained_samples(self) -> int:
        """Audio in memory: at most `retain_s`."""
        return self._audio.held

    # --- the provider's side ------------------------------------------------------------------------------

    def opened(self, session: Session, now: float) -> list[LinkEvent]:
        """The socket of `session` is open, for the first time or again."""
        session.opened(now)
        return self._settle_resume(session)

    def received(self, session: Session, message: wire.Message, now: float) -> list[LinkEvent]:
        """A message came over the socket of `session`."""
        if isinstance(message, wire.AudioAcknowledged):  # two of three are
            session.acknowledged(message.begin, message.end, now)
            return self._settle_resume(session)
        match message:
            case wire.AudioRefused(reason):
                return self._complained("audio_chunk", reason) if session.turned_away(now) else []
            case wire.Complaint(about, text):
                return self._complained(about, text)
            case wire.Ignored():
                return []
        session.alive(now)
        match message:
            case wire.Transcribed() | wire.Translated() | wire.Noted():
                ear = self._ear(session)
                if not session.is_unsettled:
                    return self._said(session, ear, message)
                if not (isinstance(message, wire.Transcribed) and not message.is_final):
                    ear.held.append(message)
                return []
            case wire.SpeechStarted(time):
                return self._speech(session, time, speaking=True)
            case wire.SpeechEnded(time):
                return self._speech(session, time, speaking=False)
            case wire.Concluded(result):
                return self._concluded(session, result, now)
            case wire.SessionEnded():
                session.ended(now)
        return []

    def malformed(self) -> None:
        self.counts.malformed += 1

    def fetched(self, session: Session, found: wire.SessionResult | None, now: float) -> list[LinkEvent]:
        """The session's result came over REST (None: not this time): late finals are in it."""
        events = self._concluded(session, found.result, now) if found is not None and found.result is not None else []
        session.fetched(found, now)
        return events

    def over(self, session: Session, now: float) -> list[LinkEvent]:
        """The shell has nothing left to do for `session`: it is CLOSED or LOST."""
        self.sessions.remove(session)
        self._sent_to = max(self._sent_to, session.sent_to)
        self._sent += session.metered.sent
        self._resent += session.metered.resent
        self._messages += session.metered.messages
        ear = self._ears.pop(session, None)
        is_heard = session.complete or session.has_heard_all
        is_over = self._finish_by is not None and now >= self._finish_by
        # A track that only fell silent has time to say again what nobody confirmed.
        is_lost = session.state is SessionState.LOST or (session.is_resting and not is_heard and not is_over)
        again_from = max(session.needs_from, self._audio.start) if is_lost else None
        events: list[LinkEvent] = []
        if ear is not None:
            events += self._release(session, ear, (), again_from)
            events += self._retract(ear, again_from)
        if session.refused is not None:
            self.failed = session.refused
            self._owner = None
            self._all_complete = False
            return events
        if is_lost:
            self.counts.lost_sessions += 1
            self._losses_in_a_row += 1
            self._replace(session, again_from or 0, now)
        elif not is_heard:
            self._all_complete = False
            if not session.is_retired and session.confirmed < session.until:
                events += self._give_up(Span(session.confirmed, session.until))
        if self._owner is session:
            self._owner = None
            if session.is_resting:
                self._rested(session)
        self._forget()
        return events

    def _rested(self, session: Session) -> None:
        """The track fell silent, and its session has ended."""
        self.counts.rests += 1
        # A track that goes on without a gap did not fall silent: its source was held up, perhaps within a word.
        self._rested_at, self._again_from = session.until, session.needs_from
        self._audio.forget(session.needs_from)

    # --- sessions -----------------------------------------------------------------------------------------

    def _begin(self, at: int, now: float) -> Session:
        delay = self._options.backoff.delay(self._losses_in_a_row, self._random()) if self._losses_in_a_row else 0
        sent_to = max((other.sent_to for other in self.sessions), default=self._sent_to)
        session = Session(self._audio, at, self._options, now + delay, self._random, sent_to=sent_to)
        if self._finish_by is not None:
            session.finish(self._audio.end, now, self._finish_by)
        self.sessions.append(session)
        self._owner = session
        self.counts.sessions += 1
        self._seam_to = self._settled_to
        return session

    def _replace(self, lost: Session, at: int, now: float) -> None:
        """Send again what has no final yet."""
        if lost.has_heard_all or lost.is_retired:
            return
        if lost.is_resting and self._losses_in_a_row >= _FAREWELLS:
            self._all_complete = False
            return
        if self._finish_by is not None and now >= self._finish_by:
            self._all_complete = False
            return
        self._begin(at, now)

    def _roll_over(self, session: Session, now: float) -> None:
        """Change the session before the provider's cap, if possible while nobody is in mid-utterance."""
        overdue = session.age(now) - self._options.roll_over_s
        if overdue < 0 or (session.awaits_final and overdue < self._options.roll_over_grace_s):
            return
        self._hand_over(session, now)

    def _hand_over(self, session: Session, now: float) -> None:
        """What has no final yet is for the next session; the old one only has to be stopped."""
        at = max(session.needs_from, self._audio.start)
        session.retire(at, now, now + self._options.resume_deadline_s)
        self._begin(at, now)

    def _settle_resume(self, session: Session) -> list[LinkEvent]:
        """Once it is known what the provider still has, its older utterances are done with: they are heard again."""
        ear = self._ear(session)
        if session.resumes == ear.resumes:
            return []
        ear.resumes = session.resumes
        self._seam_to = self._settled_to
        session.awaits_final = False
        return self._retract(ear, session.again_from) + self._release(session, ear, (), None)

    # --- what is said -------------------------------------------------------------------------------------

    def _ear(self, session: Session) -> _Ear:
        ear = self._ears.get(session)
        if ear is None:
            ear = self._ears[session] = _Ear(_Names(session.id or ""))
        return ear

    def _said(self, session: Session, ear: _Ear, message: wire.Message) -> list[LinkEvent]:
        match message:
            case wire.Transcribed():
                return self._transcribed(session, ear, message)
            case wire.Translated(utterance_id, channel, original, target, text):
                name = ear.names.known(utterance_id, channel)
                if name is None or original == target or not text:
                    return []
                return [TranslationHeard(name, original, target, text)]
            case wire.Noted(kind, utterance_id, results):
                name = ear.names.known(utterance_id, 0)
                placed = tuple(self._placed(session, result) for result in results)
                return [] if name is None else [AnnotationHeard(kind, name, placed)]
        return []

    def _transcribed(
        self, session: Session, ear: _Ear, message: wire.Transcribed, *, before: int | None = None, late: bool = False
    ) -> list[LinkEvent]:
        """`before`: only words that begin before this sample. `late`: its words may have been settled already."""
        spoken = message.utterance
        name = ear.names.of(message.id, spoken.start, session.resumes)
        if name is None:
            return []
        utterance = self._on_track(session, message, name, before)
        heard_to = utterance.end if utterance is not None else 0.0
        if utterance is not None and (late or utterance.start < self._seam_to):
            words = len(utterance.words)
            utterance = self._seam.fresh(utterance)
            if message.is_final and not late:
                self.counts.repeated_words += words - (len(utterance.words) if utterance is not None else 0)
        if not message.is_final:
            if utterance is None:
                return []
            self.counts.partials += 1
            ear.open[name] = _Open(utterance.start, utterance.end)
            session.awaits_final = True
            return [Heard(utterance)]
        ear.names.settle(message.id, spoken.end)
        was_open = ear.open.pop(name, None)
        session.awaits_final = bool(ear.open)
        self._losses_in_a_row = 0
        if utterance is not None:
            if before is None:
                session.heard(_samples(spoken.end), _samples(heard_to))
            self._seam.settle(utterance)
            self._settled_to = max(self._settled_to, utterance.end)
        self._forget()
        if utterance is None:
            return [Retracted(name)] if was_open else []
        self.counts.finals += 1
        return [Heard(utterance)]

    def _concluded(self, session: Session, result: wire.Result, now: float) -> list[LinkEvent]:
        """All that the session heard, once more: what was withheld or lost on the way comes to light."""
        is_whole = session.judge(result, now)
        before = None if is_whole else max(session.needs_from, self._audio.start)
        return self._settle_resume(session) + self._release(session, self._ear(session), result.utterances, before)

    def _release(
        self, session: Session, ear: _Ear, result: tuple[wire.SpokenUtterance, ...], before: int | None
    ) -> list[LinkEvent]:
        """Messages held back, and the result's utterances, in the order in which they were spoken."""
        finals = [message for message in ear.held if isinstance(message, wire.Transcribed)]
        addons = [message for message in ear.held if not isinstance(message, wire.Transcribed)]
        ear.held.clear()
        finals += [wire.Transcribed(f"result_{index:08d}", True, spoken) for index, spoken in enumerate(result)]
        finals.sort(key=lambda final: final.utterance.start)
        events: list[LinkEvent] = []
        for final in finals:
            events += self._transcribed(session, ear, final, before=before, late=True)
        for addon in addons:
            events += self._said(session, ear, addon)
        return events

    def _retract(self, ear: _Ear, again_from: int | None) -> list[LinkEvent]:
        """Open utterances get no final; what of them cannot be heard again is lost."""
        events: list[LinkEvent] = []
        for name, was in ear.open.items():
            events.append(Retracted(name))
            start, end = _samples(was.start), min(_samples(was.end), self._audio.given_up_to)
            if start < end and again_from is not None:
                events += self._give_up(Span(start, end))
        ear.open.clear()
        return events

    def _on_track(self, session: Session, message: wire.Transcribed, name: str, before: int | None) -> Utterance | None:
        """The utterance on the track's clock, without what is heard again anyway; None when nothing is left."""
        spoken = message.utterance
        text = spoken.text.strip()
        if not text:
            return None
        if not spoken.words:
            middle = _samples((spoken.start + spoken.end) / 2)
            if not self._counts(session, middle, before):
                return None
            start = self._at(session, spoken.start, middle)
            end = self._at(session, max(spoken.end, spoken.start), middle)
            return Utterance(name, message.is_final, text, spoken.language, start, end, spoken.confidence)
        words: list[Word] = []
        kept = words if before is None and not session.has_superseded else []
        latest = 0
        since, newest = session.timeline.newest
        for heard in spoken.words:  # many, and often: without calls that can be spared
            middle = round((heard.start + heard.end) / 2 * SAMPLE_RATE)
            shift = newest if middle >= since else session.timeline.shift(middle)
            first = round(heard.start * SAMPLE_RATE) + shift
            last = round(heard.end * SAMPLE_RATE) + shift
            if first < 0:
                first = 0
            if last < first:
                last = first
            if last > latest:
                latest = last
            words.append(Word(heard.word, first / SAMPLE_RATE, last / SAMPLE_RATE, heard.confidence))
            if kept is not words and self._counts(session, middle, before):
                kept.append(words[-1])
        utterance = Utterance(
            name,
            message.is_final,
            text,
            spoken.language,
            words[0].start,
            latest / SAMPLE_RATE,
            spoken.confidence,
            tuple(words),
        )
        return keeping(utterance, kept)

    def _at(self, session: Session, seconds: float, within: int) -> float:
        return session.timeline.to_track(_samples(seconds), within=within) / SAMPLE_RATE

    def _placed(self, session: Session, result: Any) -> Any:
        """An entity or a sentiment with its times on the track's clock."""
        if not isinstance(result, dict):
            return result
        times = {key: at for key in ("start", "end") if isinstance(at := result.get(key), int | float)}
        middle = _samples(sum(times.values()) / len(times)) if times else 0
        return {**result, **{key: self._at(session, at, middle) for key, at in times.items()}}

    def _counts(self, session: Session, sample: int, before: int | None) -> bool:
        if session.is_superseded(sample):
            return False
        return before is None or session.timeline.to_track(sample) < before

    def _speech(self, session: Session, seconds: float, *, speaking: bool) -> list[LinkEvent]:
        if session.is_unsettled or session.is_superseded(_samples(seconds)):
            return []
        return [SpeechChanged(speaking, self._at(session, seconds, _samples(seconds) - (not speaking)))]

    def _complained(self, about: str, text: str) -> list[LinkEvent]:
        self.counts.complaints += 1
        return [Complained(about, text)]

    # --- audio --------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Audio that has a final is not needed again."""
        if self.sessions:
            self._audio.forget(min(session.needs_from for session in self.sessions))

    def _given_up(self, spans: list[Span]) -> list[LinkEvent]:
        """Of what left the window, the part that the provider may not have is lost."""
        if not spans:
            return []
        confirmed = self._owner.confirmed if self._owner else 0
        return [
            event
            for span in spans
            if max(span.start, confirmed) < span.end
            for event in self._give_up(Span(max(span.start, confirmed), span.end))
        ]

    def _give_up(self, span: Span) -> list[LinkEvent]:
        self.counts.given_up_samples += span.end - span.start
        return [AudioGivenUp(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE)]


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
