"""One track's way through the provider: a series of sessions that together hear every word once. Pure.

Audio goes into a bounded window until it has a final. The current session reads from it; when a session is lost, a
successor begins where the last final ended; before the provider's cap, the next session begins at a pause while
the old one still delivers its finals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from stt.errors import ProviderRefused
from stt.gladia import messages as wire
from stt.gladia.retained import Retained, Span
from stt.gladia.seam import Seam
from stt.gladia.session import SAMPLE_RATE, LinkOptions, Session, SessionState
from stt.transcript import Utterance, Word


@dataclass(frozen=True, slots=True)
class Heard:
    """A partial or a final, on the track's clock."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Retracted:
    """The partials of this utterance will get no final: their audio is heard again under another id."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class TranslationHeard:
    utterance_id: str
    original_language: str | None
    target_language: str
    text: str


@dataclass(frozen=True, slots=True)
class AnnotationHeard:
    """`kind`: named_entity_recognition or sentiment_analysis; `results` as the provider sent them."""

    kind: str
    utterance_id: str
    results: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SpeechChanged:
    """The provider heard speech begin or end at `at` seconds on the track's clock."""

    speaking: bool
    at: float


@dataclass(frozen=True, slots=True)
class AudioGivenUp:
    """Audio that never reached the provider left the window: seconds on the track's clock."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Complained:
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


@dataclass(slots=True)
class _Names:
    """Utterance ids of one session. The provider's counter may restart after a resume; ours must not."""

    settled: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def of(self, session_id: str, provider_id: str, start: float) -> str | None:
        """The id to use, or None for a repeat of something already final."""
        before = self.settled.get(provider_id, [])
        if before and any(start < end - 0.001 for _, end in before):
            return None
        generation = len(before)
        return f"{session_id}:{provider_id}" + (f".{generation + 1}" if generation else "")

    def settle(self, provider_id: str, start: float, end: float) -> None:
        self.settled.setdefault(provider_id, []).append((start, end))

    def known(self, utterance_id: str, channel: int, session_id: str) -> str:
        """Add-ons name the utterance in full or by its bare counter (both were seen)."""
        name = f"{channel:02d}_{int(utterance_id):08d}" if utterance_id.isdigit() else utterance_id
        generation = len(self.settled.get(name, ())) or 1
        return f"{session_id}:{name}" + (f".{generation}" if generation > 1 else "")


class Link:
    """The pure core of a track's link; `stt.gladia.client` is its shell."""

    def __init__(self, options: LinkOptions, random: Callable[[], float]) -> None:
        self.counts = LinkCounts()
        self.failed: ProviderRefused | None = None
        self.sessions: list[Session] = []  # oldest first; all but the last are flushing
        self._options = options
        self._random = random
        self._audio = Retained(int(options.retain_s * SAMPLE_RATE))
        self._seam = Seam()
        self._settled = 0
        self._names: dict[str, _Names] = {}
        self._open: dict[str, Session] = {}
        self._finish_by: float | None = None
        self._losses_in_a_row = 0
        self._all_complete = True
        self._sent = self._resent = self._messages = 0

    # --- the track's side ---------------------------------------------------------------------------------

    def audio(self, offset: int, pcm: bytes, now: float) -> list[LinkEvent]:
        """The track goes on at sample `offset` with `pcm` (s16le)."""
        if self.failed is not None or self._finish_by is not None:
            return []
        lost = self._audio.append(offset, pcm)
        if not self.sessions:
            self._settled = max(self._settled, offset)
            self._begin(offset, now)
        self._roll_over(now)
        return self._given_up(lost)

    def finish(self, now: float, flush_by: float) -> None:
        """No more audio. Finals are awaited until `flush_by`."""
        self._finish_by = flush_by
        for session in self.sessions:
            session.finish(self._audio.end, flush_by)

    @property
    def done(self) -> bool:
        return not self.sessions and (self._finish_by is not None or self.failed is not None)

    @property
    def complete(self) -> bool:
        """Whether every session ended in order, so that no final can be missing."""
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
        return max(0, self._audio.end - self.sessions[-1].cursor) / SAMPLE_RATE if self.sessions else 0.0

    @property
    def repeated_words(self) -> int:
        return self._seam.repeated

    # --- the provider's side ------------------------------------------------------------------------------

    def received(self, session: Session, message: wire.Message, now: float) -> list[LinkEvent]:
        """A message came over the socket of `session`."""
        if not isinstance(message, wire.Complaint):
            session.settle_connection()
        match message:
            case wire.AudioAcknowledged(end):
                session.acknowledged(end, now)
                self._forget()
                return []
            case wire.Transcribed():
                return self._transcribed(session, message)
            case wire.SpeechStarted(time):
                return [SpeechChanged(True, self._track_seconds(session, time))]
            case wire.SpeechEnded(time):
                return [SpeechChanged(False, self._track_seconds(session, time, is_end=True))]
            case wire.Translated(utterance_id, channel, original, target, text):
                if original == target or not text:
                    return []
                return [TranslationHeard(self._known(session, utterance_id, channel), original, target, text)]
            case wire.Annotated(kind, utterance_id, results):
                return [AnnotationHeard(kind, self._known(session, utterance_id, 0), results)]
            case wire.SessionEnded():
                session.ended(now)
                return []
            case wire.Complaint(about, text):
                self.counts.complaints += 1
                return [Complained(about, text)]
            case wire.StopAcknowledged() | wire.Ignored():
                return []

    def malformed(self) -> None:
        self.counts.malformed += 1

    def fetched(self, session: Session, result: wire.SessionResult | None, now: float) -> list[LinkEvent]:
        """The session's result came over REST (None: not this time): late finals are in it."""
        found: list[LinkEvent] = []
        for transcribed in session.fetched(result, now):
            found += self._transcribed(session, transcribed)
        return found

    def over(self, session: Session, now: float) -> list[LinkEvent]:
        """The shell has nothing left to do for `session`: it is CLOSED or LOST."""
        self.sessions.remove(session)
        self._sent += session.metered.sent
        self._resent += session.metered.resent
        self._messages += session.metered.messages
        events: list[LinkEvent] = [Retracted(name) for name, owner in self._open.items() if owner is session]
        self._open = {name: owner for name, owner in self._open.items() if owner is not session}
        if session.id is not None:
            self._names.pop(session.id, None)
        if session.refused is not None:
            self.failed = session.refused
            self._all_complete = False
            return events
        if session.state is SessionState.LOST:
            self.counts.lost_sessions += 1
            self._losses_in_a_row += 1
            events += self._replace(session, now)
        elif not session.complete:
            self._all_complete = False
            if session.cursor < self._audio.end:
                events += self._given_up([Span(session.cursor, self._audio.end)])
        self._forget()
        return events

    # --- inside -------------------------------------------------------------------------------------------

    def _begin(self, at: int, now: float) -> Session:
        delay = self._options.backoff.delay(self._losses_in_a_row, self._random()) if self._losses_in_a_row else 0
        session = Session(self._audio, at, self._options, now + delay, self._random)
        if self._finish_by is not None:
            session.finish(self._audio.end, self._finish_by)
        self.sessions.append(session)
        self.counts.sessions += 1
        return session

    def _replace(self, lost: Session, now: float) -> list[LinkEvent]:
        """Send again what has no final yet."""
        at = max(self._settled, lost.begin, self._audio.start)
        if self._finish_by is not None and (now >= self._finish_by or at >= self._audio.end):
            self._all_complete = self._all_complete and at >= self._audio.end
            return []
        if lost.finishing and self._finish_by is None:
            # It was being rolled over: its successor runs already, so this one only hears the rest.
            heir = self._begin(at, now)
            self.sessions.remove(heir)
            self.sessions.insert(0, heir)
            heir.finish(self.sessions[1].begin, now + self._options.resume_deadline_s)
            return []
        self._begin(at, now)
        return []

    def _roll_over(self, now: float) -> None:
        session = self.sessions[-1]
        if session.finishing or session.timeline.end < self._options.roll_over_s * SAMPLE_RATE:
            return
        in_a_pause = not any(owner is session for owner in self._open.values())
        overdue = session.timeline.end >= (self._options.roll_over_s + 300) * SAMPLE_RATE
        if in_a_pause or overdue:
            at = session.cursor
            session.finish(at, now + self._options.resume_deadline_s)
            self._begin(at, now)

    def _transcribed(self, session: Session, message: wire.Transcribed) -> list[LinkEvent]:
        session_id = session.id or ""
        names = self._names.setdefault(session_id, _Names())
        spoken = message.utterance
        name = names.of(session_id, message.id, spoken.start)
        if name is None:
            return []
        utterance = self._on_track(session, spoken, name, is_final=message.is_final)
        if not message.is_final:
            self.counts.partials += 1
            fresh = self._seam.partial(utterance)
            if fresh is None:
                return []
            self._open[name] = session
            return [Heard(fresh)]
        names.settle(message.id, spoken.start, spoken.end)
        self._losses_in_a_row = 0
        was_open = self._open.pop(name, None)
        fresh = self._seam.final(utterance)
        self._settled = max(self._settled, round(utterance.end * SAMPLE_RATE))
        self._forget()
        if fresh is None:
            return [Retracted(name)] if was_open else []
        self.counts.finals += 1
        return [Heard(fresh)]

    def _on_track(self, session: Session, spoken: wire.SpokenUtterance, name: str, *, is_final: bool) -> Utterance:
        words = tuple(
            Word(
                word.word,
                self._track_seconds(session, word.start),
                self._track_seconds(session, word.end, is_end=True),
                word.confidence,
            )
            for word in spoken.words
        )
        start, end = (
            self._track_seconds(session, spoken.start),
            self._track_seconds(session, spoken.end, is_end=True),
        )
        utterance = Utterance(
            name, is_final, spoken.text.strip(), spoken.language, start, end, spoken.confidence, words
        )
        return utterance if end >= start else replace(utterance, end=start)

    def _track_seconds(self, session: Session, seconds: float, *, is_end: bool = False) -> float:
        return session.timeline.to_track(round(seconds * SAMPLE_RATE), is_end=is_end) / SAMPLE_RATE

    def _known(self, session: Session, utterance_id: str, channel: int) -> str:
        names = self._names.setdefault(session.id or "", _Names())
        return names.known(utterance_id, channel, session.id or "")

    def _forget(self) -> None:
        """Audio that has a final, and that every session has got across, is not needed again."""
        needed = [session.confirmed for session in self.sessions]
        self._audio.forget(min([self._settled, *needed]))

    def _given_up(self, spans: list[Span]) -> list[LinkEvent]:
        """Of what left the window, the part that no session had sent is lost."""
        unsent_from = self.sessions[-1].cursor if self.sessions else 0
        events: list[LinkEvent] = []
        for span in spans:
            start = max(span.start, unsent_from)
            if start < span.end:
                self.counts.given_up_samples += span.end - start
                events.append(AudioGivenUp(start / SAMPLE_RATE, span.end / SAMPLE_RATE))
        return events
