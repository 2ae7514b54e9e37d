"""What a track's provider sessions say, made into events in which every word comes once. Pure: no I/O, no clock.

Sessions give times in seconds of the audio they received; here they are moved to the track's clock. What was sent again
is heard again: words that were settled before are dropped, messages of doubtful place wait until it is known.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from stt.gladia import belief
from stt.gladia import messages as wire
from stt.gladia.events import (
    AnnotationHeard,
    AudioGivenUp,
    Heard,
    LinkEvent,
    Retracted,
    SpeechChanged,
    TranslationHeard,
    Unusable,
)
from stt.gladia.names import Names
from stt.gladia.retained import SAMPLE_RATE, Retained, Span
from stt.gladia.retold import Pass, Told
from stt.gladia.seam import FURTHEST_S, MOVED_S, Seam, chosen, keeping, keys
from stt.gladia.session import Session
from stt.transcript import Utterance, Word

AddOn: TypeAlias = wire.Translated | wire.Noted

MAX_TEXTS: Final = 4096
"""Texts of a session's finals that are remembered."""
MAX_HELD: Final = 1000
"""Messages held while the provider's counter is unknown; above it the oldest go, the result has them too."""
_RESULT: Final = "result_"


@dataclass(slots=True)
class LinkCounts:
    """Of one track since its beginning."""

    sessions: int = 0
    lost_sessions: int = 0
    finals: int = 0
    partials: int = 0
    malformed: int = 0  # messages that could not be used
    complaints: int = 0
    unread: int = 0  # finals that could not be read, in sessions that are over
    given_up_samples: int = 0
    repeated_words: int = 0  # heard again at a seam, and dropped
    idle_ends: int = 0  # sessions ended because the track was silent


class _Open(msgspec.Struct, frozen=True, gc=False):
    """An utterance that has partials and no final: seconds of the track."""

    start: float
    end: float
    utterance: Utterance


@dataclass(slots=True)
class _Transcript:
    """What one session has said so far. `resumes`: those whose older utterances have been retracted.

    `telling`: what its present connection says (see `seam`); `told_to`: the end of the last final of it, seconds.
    `heard_to`: end of the last final, in seconds of the session. `texts`: of its finals that were not told again yet,
    by hash. `unread`: finals that could not be read. `first`: number of the first word that it can have told.
    """

    names: Names
    telling: int
    first: int
    told_to: float = 0.0
    heard_to: float = 0.0
    texts: Counter[int] = field(default_factory=Counter)
    unread: int = 0
    open: dict[str, _Open] = field(default_factory=dict)
    held: deque[wire.Transcribed | AddOn] = field(default_factory=lambda: deque(maxlen=MAX_HELD))
    resumes: int = 0

    def told(self, text: int, end: float) -> None:
        """A final with this text came over the socket, which ends at this second of the track."""
        self.told_to = max(self.told_to, end)
        self.texts[text] += 1
        if len(self.texts) > MAX_TEXTS:
            del self.texts[next(iter(self.texts))]


class Hearing:
    """What is believed of what the sessions of one track say.

    `audio` and `sessions` are the link's: audio that has a final is dropped here as soon as no session needs it.
    """

    def __init__(self, audio: Retained, sessions: list[Session]) -> None:
        self.counts = LinkCounts()
        self.losses_in_a_row = 0
        """Sessions lost since the last final; the link counts them."""
        self._audio = audio
        self._sessions = sessions
        self._seam = Seam()
        self._tellings = 0
        self._settled_to = 0.0  # seconds: the end of the last final
        self._seam_to = 0.0  # words that begin before may have been settled already
        self._transcripts: dict[Session, _Transcript] = {}
        self._guessed: Counter[int] = Counter()
        """Texts, by hash, of finals whose place was a guess: a repeat is known by its text alone."""
        self._expected: Counter[int] = Counter()
        """Those of them whose audio may be heard again."""
        self._told = Told()
        self._pass = Pass(self._told, 0)
        """What is heard again since the last seam, where no times tell."""

    @property
    def settled_to(self) -> int:
        """Sample of the track up to which there are finals."""
        return _samples(self._settled_to)

    # --- what a session says ------------------------------------------------------------------------------

    def said(self, session: Session, message: wire.Transcribed | AddOn) -> list[LinkEvent]:
        """A transcript or an add-on, which is held while the place of its audio is not known."""
        transcript = self._transcript(session)
        if not session.feed.resume.is_placed:
            if not isinstance(message, wire.Transcribed) or message.is_final:
                transcript.held.append(message)
            return []
        if isinstance(message, wire.Transcribed):
            return self._transcribed(session, transcript, message)
        return _add_on(session, transcript, message)

    def speech(self, session: Session, seconds: float, *, speaking: bool) -> list[LinkEvent]:
        """Speech began or ended at this second of the session."""
        feed = session.feed
        if not feed.resume.is_placed or feed.is_superseded(_samples(seconds)):
            return []
        return [SpeechChanged(speaking, _at(session, seconds, _samples(seconds) - (not speaking)))]

    def concluded(self, session: Session, result: wire.Result, now: float) -> list[LinkEvent]:
        """All that the session heard, once more: what was withheld or lost on the way comes to light."""
        is_whole = session.judge(result, now)
        before = None if is_whole else max(session.feed.needs_from, self._audio.start)
        events, transcript, known = self.settle_resume(session), self._transcript(session), self.counts.finals
        events += self._release(session, transcript, result.utterances, before)
        found = self.counts.finals - known  # among them may be what could not be read before
        if result.unread > transcript.unread:
            events += [Unusable("post_final_transcript", True)] * (result.unread - transcript.unread)
        transcript.unread = max(transcript.unread - found, result.unread)
        return events

    def unusable(self, session: Session, kind: str, *, may_be_final: bool) -> list[LinkEvent]:
        """A message of this session could not be used."""
        self.counts.malformed += 1
        self._transcript(session).unread += may_be_final
        return [Unusable(kind, may_be_final)]

    # --- what happens to a session ------------------------------------------------------------------------

    def begin(self, again_from: int, open: Sequence[int] | None = None) -> None:
        """Another session begins, or one is resumed, and hears the track again from this sample on.

        `open`: keys of the words of utterances without a final, with which a resumed one may go on.
        """
        self._seam_to = self._settled_to
        self._expected = self._guessed.copy()
        self._pass = self._pass.cut(self._told.since(again_from), open)

    def settle_resume(self, session: Session) -> list[LinkEvent]:
        """Once it is known what the provider still has, its older utterances are done with: they are heard again."""
        transcript = self._transcript(session)
        resume = session.feed.resume
        if resume.placed == transcript.resumes:
            return []
        transcript.resumes = resume.placed
        transcript.telling, transcript.told_to = self._next_telling(), 0.0
        again_from = resume.superseded[-1].resent_from
        self.begin(again_from, [key for one in transcript.open.values() for key in keys(one.utterance)])
        session.awaits_final = False
        return self._retract(transcript, again_from) + self._release(session, transcript, (), None)

    def over(self, session: Session, again_from: int | None) -> list[LinkEvent]:
        """The session is over. `again_from`: where a successor begins to hear the track again, None: nowhere."""
        transcript = self._transcripts.pop(session, None)
        if transcript is None:
            return []
        self.counts.unread += transcript.unread
        return self._release(session, transcript, (), again_from) + self._retract(transcript, again_from)

    def forget(self) -> None:
        """Drop audio that no session needs again."""
        if self._sessions:
            self._audio.forget(min(session.feed.needs_from for session in self._sessions))

    def give_up(self, span: Span, kind: str) -> list[LinkEvent]:
        """No final will cover this stretch of the track (samples). `kind`: as in AudioGivenUp."""
        self.counts.given_up_samples += span.end - span.start
        return [AudioGivenUp(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE, kind)]

    # --- transcripts and add-ons --------------------------------------------------------------------------

    def _transcript(self, session: Session) -> _Transcript:
        transcript = self._transcripts.get(session)
        if transcript is None:
            transcript = self._transcripts[session] = _Transcript(
                Names(session.id or ""), self._next_telling(), self._told.since(session.feed.begin)
            )
        return transcript

    def _next_telling(self) -> int:
        self._tellings += 1
        return self._tellings

    def _transcribed(
        self,
        session: Session,
        transcript: _Transcript,
        message: wire.Transcribed,
        *,
        before: int | None = None,
        late: int = 0,
        repeated: Pass | None = None,
    ) -> list[LinkEvent]:
        """`before`: only words that begin before this sample. `late`: the telling that it is of, if not the present.

        `repeated`: the pass through what was told that it is of, likewise.
        """
        feed = session.feed
        spoken, is_guess = _believed(session, transcript, message.utterance)
        is_known = False
        again = self._pass if is_guess and repeated is None else repeated if is_guess or self._guessed else None
        if message.is_final and (again is None or is_guess):
            has_final = transcript.names.is_settled(message.id)
            is_known = self._is_known(
                transcript, spoken.visible_text, is_guess=is_guess, late=late > 0, again=has_final
            )
            if is_known and has_final:
                return []
        name = transcript.names.of(message.id, spoken.start, feed.resume.placed, spoken.text)
        if name is None:
            return []
        utterance = None if is_known else _on_track(session, spoken, name, before, is_final=message.is_final)
        heard_to = utterance.end if utterance is not None else 0.0
        if utterance is not None and again is not None and message.is_final:
            utterance = chosen(utterance, again.news(keys(utterance), feed.reach))
        if utterance is not None and not is_guess:
            utterance = self._fresh(transcript, utterance, late, is_result=message.id.startswith(_RESULT))
        if not message.is_final:
            return [] if utterance is None else self._partial(session, transcript, utterance)
        transcript.names.settle(message.id, spoken.start, spoken.end, spoken.text)
        was_open = transcript.open.pop(name, None)
        session.awaits_final = bool(transcript.open)
        self.losses_in_a_row = 0
        if before is None and heard_to and not is_guess:
            session.heard(_samples(max(spoken.start, spoken.end)), _samples(heard_to))
        if utterance is not None:
            self._settle(
                transcript,
                utterance,
                spoken,
                telling=late or transcript.telling,
                is_guess=is_guess,
                is_told=again is not None,
            )
            if not late:
                transcript.told(hash(spoken.visible_text), utterance.end)
        self.forget()
        if utterance is None:
            return [Retracted(name)] if was_open else []
        self.counts.finals += 1
        return [Heard(utterance)]

    def _partial(self, session: Session, transcript: _Transcript, utterance: Utterance) -> list[LinkEvent]:
        self.counts.partials += 1
        transcript.open[utterance.id] = _Open(utterance.start, utterance.end, utterance)
        session.awaits_final = True
        return [Heard(utterance)]

    def _settle(
        self,
        transcript: _Transcript,
        utterance: Utterance,
        spoken: wire.SpokenUtterance,
        *,
        telling: int,
        is_guess: bool,
        is_told: bool,
    ) -> None:
        """The final is told, and its words are known from now on; by its text alone where its place is a guess."""
        if is_guess:
            self._guessed[hash(spoken.visible_text)] += 1
            return
        words = self._seam.settle(utterance, telling)
        if not is_told:
            self._told.add(words, _samples(utterance.end))
        self._settled_to = max(self._settled_to, utterance.end)
        transcript.heard_to = max(transcript.heard_to, spoken.end)

    def _fresh(self, transcript: _Transcript, utterance: Utterance, late: int, *, is_result: bool) -> Utterance | None:
        """What of it was not told before; most are behind all seams, and are not looked at."""
        is_final = utterance.is_final
        if late or utterance.start < self._seam_to + MOVED_S:
            words = len(utterance.words)
            telling = late or transcript.telling
            fresh = self._seam.fresh(utterance, telling, counts=is_final, whole=is_result)
            if is_final and not late:
                self.counts.repeated_words += words - (len(fresh.words) if fresh is not None else 0)
            return fresh
        # Back in time within one telling: all of it once more under another id, or something else. Not where its last
        # word cannot have been told, as in an utterance that merely begins a moment before its neighbour's end.
        last = utterance.words[-1].start if utterance.words else utterance.start
        is_back = utterance.start < transcript.told_to and last < transcript.told_to + FURTHEST_S
        is_told = is_back and " " in utterance.text and self._seam.fresh(utterance, 0, counts=False) is None
        return None if is_told else utterance

    def _is_known(self, transcript: _Transcript, text: str, *, is_guess: bool, late: bool, again: bool) -> bool:
        """Whether a final is told again whose place, now or before, is a guess: then its text has to tell.

        `again`: the provider's id of it had a final already.
        """
        told = hash(text)
        if is_guess:
            return again and transcript.texts[told] > 0
        is_known = (self._guessed if late or again else self._expected)[told] > 0
        for seen, counts in ((transcript.texts, late), (self._guessed, is_known), (self._expected, is_known)):
            if counts and seen[told] > 0:
                seen[told] -= 1
        return is_known

    def _release(
        self, session: Session, transcript: _Transcript, result: tuple[wire.SpokenUtterance, ...], before: int | None
    ) -> list[LinkEvent]:
        """Messages held back, and the result's utterances, in the order in which they were spoken."""
        finals = [message for message in transcript.held if isinstance(message, wire.Transcribed)]
        add_ons = [message for message in transcript.held if not isinstance(message, wire.Transcribed)]
        transcript.held.clear()
        finals += [wire.Transcribed(f"{_RESULT}{index:08d}", True, spoken) for index, spoken in enumerate(result)]
        finals.sort(key=lambda final: final.utterance.start)
        events: list[LinkEvent] = []
        whole = self._next_telling()
        repeated = Pass(self._told, transcript.first, restarts=session.feed.resume.placed, patience=MAX_TEXTS)
        for final in finals:
            # Each that was held back may be of another connection.
            if final.id.startswith(_RESULT):
                events += self._transcribed(session, transcript, final, before=before, late=whole, repeated=repeated)
            else:
                events += self._transcribed(session, transcript, final, before=before, late=self._next_telling())
        for add_on in add_ons:
            events += _add_on(session, transcript, add_on)
        return events

    def _retract(self, transcript: _Transcript, again_from: int | None) -> list[LinkEvent]:
        """Open utterances get no final; what of them cannot be heard again is lost."""
        events: list[LinkEvent] = []
        for name, was in transcript.open.items():
            events.append(Retracted(name))
            start, end = _samples(was.start), min(_samples(was.end), self._audio.given_up_to)
            if start < end and again_from is not None:
                events += self.give_up(Span(start, end), "overdue")
        transcript.open.clear()
        return events


def _add_on(session: Session, transcript: _Transcript, message: AddOn) -> list[LinkEvent]:
    """A translation or an annotation of an utterance; nothing when that utterance was never heard."""
    match message:
        case wire.Translated(utterance_id, channel, original, target, text):
            name = transcript.names.known(utterance_id, channel)
            if name is None or original == target or not text:
                return []
            return [TranslationHeard(name, original, target, text)]
        case wire.Noted(kind, utterance_id, results):
            name = transcript.names.known(utterance_id, 0)
            placed = tuple(_placed(session, result) for result in results)
            return [] if name is None else [AnnotationHeard(kind, name, placed)]


# --- from the session's clock to the track's ------------------------------------------------------------------


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _at(session: Session, seconds: float, within: int) -> float:
    """Seconds of the track; `within`: a session sample of the same stretch."""
    return session.feed.timeline.to_track(_samples(seconds), within=within) / SAMPLE_RATE


def _placed(session: Session, result: Any) -> Any:
    """An entity or a sentiment with its times on the track's clock."""
    if not isinstance(result, dict):
        return result
    sent = session.feed.furthest / SAMPLE_RATE + belief.SLACK_S
    told = {key: _time(result.get(key), sent) for key in ("start", "end")}
    times = {key: at for key, at in told.items() if at is not None}
    middle = _samples(sum(times.values()) / len(times)) if times else 0
    rest = {key: value for key, value in result.items() if key not in ("start", "end")}
    return {**rest, **{key: _at(session, at, middle) for key, at in times.items()}}


def _time(at: object, latest: float) -> float | None:
    is_number = isinstance(at, int | float) and not isinstance(at, bool)
    return at if is_number and 0 <= at <= latest else None  # type: ignore[operator, return-value]


def _believed(
    session: Session, transcript: _Transcript, spoken: wire.SpokenUtterance
) -> tuple[wire.SpokenUtterance, bool]:
    """The utterance with times that can be true, and whether its place is a guess; else it proves what was received."""
    feed, is_guess = session.feed, False
    sent = feed.furthest / SAMPLE_RATE
    if not belief.is_credible(spoken, sent):
        after = max(transcript.heard_to, feed.resume.base / SAMPLE_RATE)  # what was before is heard again
        spoken, is_guess = belief.corrected(spoken, after, sent)
    if not is_guess and (heard := _samples(spoken.end)) > feed.metered.sent:
        feed.prove(min(heard, feed.timeline.end))
    return spoken, is_guess


def _counts(session: Session, sample: int, before: int | None) -> bool:
    """Whether a word with its middle at this session sample is not heard again elsewhere, and lies before `before`."""
    if session.feed.is_superseded(sample):
        return False
    return before is None or session.feed.timeline.to_track(sample) < before


def _on_track(
    session: Session, spoken: wire.SpokenUtterance, name: str, before: int | None, *, is_final: bool
) -> Utterance | None:
    """The utterance on the track's clock, without what is heard again anyway; None when nothing is left to see."""
    text = spoken.visible_text
    if not text:
        return None
    if not spoken.words:
        middle = _samples((spoken.start + max(spoken.end, spoken.start)) / 2)
        if not _counts(session, middle, before):
            return None
        start = _at(session, spoken.start, middle)
        end = _at(session, max(spoken.end, spoken.start), middle)
        return Utterance(name, is_final, text, spoken.known_language, start, end, spoken.share)
    words: list[Word] = []
    feed = session.feed
    remaining = words if before is None and not feed.has_superseded else []
    latest, limit = 0, feed.reach
    since, newest = feed.timeline.newest
    for heard in spoken.words:  # many, and often: without calls that can be spared
        start, end = heard.start, heard.end
        middle = round((start + (end if end > start else start)) / 2 * SAMPLE_RATE)
        shift = newest if middle >= since else feed.timeline.shift(middle)
        first = round(start * SAMPLE_RATE) + shift
        last = round(end * SAMPLE_RATE) + shift
        if first < 0:
            first = 0
        if last > limit:
            first, last = min(first, limit), limit
        if last < first:
            last = first
        if last > latest:
            latest = last
        words.append(Word(heard.word, first / SAMPLE_RATE, last / SAMPLE_RATE, heard.confidence))
        if remaining is not words and _counts(session, middle, before):
            remaining.append(words[-1])
    utterance = Utterance(
        name,
        is_final,
        text,
        spoken.known_language,
        words[0].start,
        latest / SAMPLE_RATE,
        spoken.share,
        tuple(words),
    )
    return keeping(utterance, remaining)
