"""What the provider says about a run's tracks: finals are numbered and recorded, the rest is shown. Never waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.transcription.domain.annotations import on_session
from gateway.transcription.domain.captions import Caption, Numberer, Speaker, Utterance, caption
from gateway.transcription.domain.handover import Heard
from gateway.transcription.domain.lost_audio import LostAudio
from gateway.transcription.domain.meters import Meters
from gateway.transcription.domain.overlap import Edges
from gateway.transcription.domain.salvage import Salvage
from gateway.transcription.domain.stable import utf16
from gateway.transcription.domain.timing import Passage, Timeline
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.journal import FinalToStore, TranslationToStore
from gateway.transcription.usecases.speech import (
    Annotation,
    ProviderComplaint,
    Speech,
    SpeechLost,
    Translation,
    Unread,
    Withdrawn,
)
from gateway.transcription.usecases.track import LiveTrack
from gateway.transcription.usecases.underway import UnderWay

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

LOST_FLUSH_S: Final = 3.0
"""How long an owner that has lost its lease listens on for what it has sent."""
ADD_ON: Final = "add_on"
"""Kind of complaint about translations, entities and sentiments: the words themselves come."""


@dataclass(slots=True)
class SaidCounts:
    """Since this replica has run the transcription. `repeated`: finals that had a number already.

    `lost_audio_s`: audio that was given up unheard, also by who has handed over to it. `unread`: messages
    of the provider that could not be used.
    `last_final_at`: on the monotonic clock.
    """

    finals: int = 0
    partials: int = 0
    repeated: int = 0
    lost_audio_s: float = 0.0
    complaints: int = 0
    unread: int = 0
    last_final_at: float | None = None
    _former_lost_s: float = 0.0

    def learn_lost(self, seconds: float) -> None:
        """What the former owner has given up in all, as far as it knows by now. May be told again."""
        grown = max(0.0, seconds - self._former_lost_s)
        self._former_lost_s += grown
        self.lost_audio_s += grown


class Said:
    """Turns speech into captions of one transcription. Owns its numbering, and the partials that are to be stored."""

    def __init__(self, claimed: Claimed, context: RunContext, meters: Meters) -> None:
        self.counts = SaidCounts()
        self.lost = LostAudio()
        """What was given up unheard."""
        self.partials: dict[str, tuple[Caption, str | None]] = {}
        """The newest partial of each utterance without a final, with its speaker's row; empty unless
        `store_partials`. The bookkeeping stores and clears them."""
        self.timeline = Timeline()
        """Where the time of the newest finals went."""
        self._claimed = claimed
        self._context = context
        self._meters = meters
        self.under_way = UnderWay(context.clock, self._show_partial)
        """Must run."""
        self._numberer = Numberer(claimed.numbering.last_seq)
        self._silenced = False
        self._is_lost = False
        self.flush_s = 0.0
        """How long finals are worth waiting for once the run is no longer ours."""
        self._unnumbered: list[tuple[Caption, asyncio.Future[str | None]]] | None = None  # during a hand-over
        self._pass_on: Callable[[Caption], None] | None = None
        self._edges = Edges((), claimed.numbering.origin)

    @property
    def last_seq(self) -> int:
        """Number of the last final."""
        return self._numberer.last

    def silence(self, *, is_lost: bool) -> None:
        """From now on nothing is shown. `is_lost`: the lease is another owner's, for behind whose finals those are kept
        of what the provider has heard already; else the session was deleted."""
        self._is_lost, self._silenced = is_lost, not is_lost
        self.flush_s = LOST_FLUSH_S if is_lost else 0.0

    @property
    def _is_quiet(self) -> bool:
        return self._silenced or self._is_lost or not self._context.membership.may_act()

    def hold_finals(self) -> None:
        """The numbering may be another owner's in a moment: no final gets a number until that is known."""
        self._unnumbered = []

    def number_held(self) -> None:
        """The numbering is still ours."""
        held, self._unnumbered = self._unnumbered or [], None
        for said, participant in held:
            self._final(said, participant)

    def pass_finals(
        self, to: Callable[[Caption], None], heard: Sequence[Heard], deaf: Sequence[LiveTrack] = ()
    ) -> None:
        """The numbering is another owner's: what was held, and every final from now on, goes there, without what that
        one hears itself behind `heard`. Partials of `deaf` tracks, which are heard again there, get no final."""
        for live in deaf:
            for utterance_id in self.under_way.of(live):
                self._withdraw(live, utterance_id)
        held, self._unnumbered = self._unnumbered or [], None
        edges = Edges(heard, self._origin)
        self._pass_on = lambda said: to(kept) if (kept := edges.before(said)) is not None else None
        for said, _ in held:
            self._pass_on(said)

    def skip(self, edges: Edges) -> None:
        """Leave out words that the former owner has heard."""
        self._edges = edges

    def late(self, captions: Sequence[Caption], participants: Mapping[str, asyncio.Future[str | None]]) -> None:
        """Finals that came to the former owner after the hand-over. `participants`: by identity, done: their rows."""
        for told in captions:
            said = self._edges.once(told, is_late=True)
            if said is None or self._silenced:
                continue
            self._final(said, participants[said.speaker.identity])

    def hear(self, live: LiveTrack, speech: Speech) -> None:
        """One thing that the provider has said about a track."""
        if live.is_given_away:
            return
        match speech:
            case Withdrawn(utterance_id):
                self._withdraw(live, utterance_id)
            case Translation():
                _answered(live, lambda kind: kind == ADD_ON)
                self.translate(live.track.speaker, speech)
            case Annotation():
                self._annotation(live, speech)
            case SpeechLost(start, end, kind):
                self._lose(live, kind, end - start)
            case ProviderComplaint(message, kind):
                self.counts.complaints += 1
                self._complain(live, kind, f"the speech provider reports an error ({message})")
            case Unread(kind, may_be_final):
                self.counts.unread += 1
                live.unread += may_be_final
                live.meter.errors += 1
            case utterance:
                self._utterance(live, utterance)

    def salvage(self, speaker: Speaker, participant: asyncio.Future[str | None], found: Salvage) -> None:
        """Number what a dead process had sent to the provider and not stored. `participant` is done: their row's id."""
        begins = self._origin + timedelta(milliseconds=found.begins_ms)
        for utterance in found.utterances:
            said = self._edges.once(caption(utterance, speaker, begins, self._origin), is_late=True)
            if said is not None and said.text:
                self._final(said, participant)
        log.info("finals of a dead process were recovered from the provider", extra={"session": self._claimed.slug})

    def trouble(self, live: LiveTrack, message: str) -> None:
        """A track's audio cannot be used until a person acts: said on the stream, in the log and in its meter."""
        live.trouble = message
        live.meter.errors += 1
        self.say("error", {"message": message, "participantIdentity": live.track.speaker.identity})
        log.error("%s", message, extra={"session": self._claimed.slug})

    def _lose(self, live: LiveTrack, kind: str, seconds: float) -> None:
        identity = live.track.speaker.identity
        live.meter.errors += 1
        self.counts.lost_audio_s += seconds
        told = self.lost.note(identity, kind, seconds, self._context.clock.monotonic())
        if told is not None:
            self.say("error", {"message": told, "participantIdentity": identity})
            log.error("%s", told, extra={"session": self._claimed.slug})

    def begun_again(self, live: LiveTrack) -> None:
        """Our own code failed at a track, whose link has a successor now."""
        identity = live.track.speaker.identity
        self._complain(live, "internal", f"an internal error interrupted {identity}'s transcription; it begins again")

    def _complain(self, live: LiveTrack, kind: str, why: str) -> None:
        """Why there is no text: told once a kind, on the stream and in the log, until text comes again."""
        live.meter.errors += 1
        if kind not in live.complaints:
            live.complaints[kind] = why
            self.say("error", {"message": why, "participantIdentity": live.track.speaker.identity})
            log.warning("%s", why, extra={"session": self._claimed.slug})

    def say(self, kind: str, data: dict[str, object]) -> None:
        """Send the session's watchers an event that is not replayed. `data` is in the spelling of the stream."""
        if self._is_quiet:
            return
        self._context.live.channel(self._claimed.slug).say(kind, msgspec.json.encode(data))

    @property
    def _origin(self) -> datetime:
        return self._claimed.numbering.origin

    def _utterance(self, live: LiveTrack, utterance: Utterance) -> None:
        anchor = live.track.anchor
        if live.complaints:
            _answered(live, lambda kind: kind != ADD_ON)
        if anchor is None or self._silenced:
            return
        said = _counting(self._edges, live, caption(utterance, live.track.speaker, anchor, self._origin))
        if said is None:
            return
        if not utterance.is_final:
            if not (self._is_given_away or self._is_lost or self._numberer.is_settled(said.utterance_id)):
                self._partial(live, said)
        elif self._final(said, live.participant, live.passage(utterance.end, self.timeline)):
            self.partials.pop(said.utterance_id, None)
            self.under_way.forget(said.utterance_id)
            if not self._is_quiet:
                live.track.caption(said.utterance_id, said.text, is_final=True)

    def _partial(self, live: LiveTrack, said: Caption) -> None:
        self.counts.partials += 1
        live.meter.partials += 1
        self.under_way.hear(live, said)
        if self._context.options.store_partials:
            known = live.participant.result() if live.participant.done() else None
            self.partials[said.utterance_id] = (said, known)

    @property
    def _is_given_away(self) -> bool:
        return self._unnumbered is not None or self._pass_on is not None

    def _final(self, said: Caption, participant: asyncio.Future[str | None], passage: Passage | None = None) -> bool:
        """Number it, count it in its speaker's meter and hand it to the recorder.

        Returns: False when it has a number already, or is not for us to number.
        """
        if self._is_given_away and not self._numberer.is_settled(said.utterance_id):
            if self._unnumbered is not None:
                self._unnumbered.append((said, participant))
            elif self._pass_on is not None:
                self._pass_on(said)
            return False
        seq = self._numberer.number(said.utterance_id)
        if seq is None:
            self.counts.repeated += 1
            return False
        self.counts.finals += 1
        self._meters.of(said.speaker, self._context.clock.now()).finals += 1
        self.counts.last_final_at = self._context.clock.monotonic()
        claimed = self._claimed
        data = self._context.live.encode(said)
        final = FinalToStore(claimed.lease, claimed.session_id, claimed.numbering.epoch, seq, said, None, data)
        self._context.recorder.put(claimed.slug, final, participant, passage or Passage(timeline=self.timeline))
        return True

    def _withdraw(self, live: LiveTrack, utterance_id: str) -> None:
        """An empty partial takes the words off the screens."""
        now = self._context.clock.now()
        at_ms = max(0, (now - self._origin) // timedelta(milliseconds=1))
        empty = Caption(utterance_id, "", None, False, live.track.speaker, now, now, at_ms, at_ms, 0.0, ())
        self.under_way.forget(utterance_id)
        if self._show_partial(live, empty, 0):
            live.track.caption(utterance_id, "", is_final=False)
        self.partials.pop(utterance_id, None)

    def _show_partial(self, _: LiveTrack, said: Caption, stable: int) -> bool:
        """`stable`: how much of its text is, an index. False: nothing may be shown now."""
        if self._is_quiet:
            return False
        data = self._context.live.encode(said, utf16(said.text[:stable]))
        self._context.live.channel(self._claimed.slug).partial(said.utterance_id, data)
        return True

    def translate(self, speaker: Speaker, translation: Translation) -> None:
        """It is kept whoever owns the lease by now: its final may be on the way there."""
        if self._silenced:
            return
        data = {
            "utteranceId": translation.utterance_id,
            "language": translation.original_language,
            "targetLanguage": translation.target_language,
            "text": translation.text,
            "participantIdentity": speaker.identity,
            "participantName": speaker.name,
        }
        claimed = self._claimed
        self._context.recorder.translate(
            TranslationToStore(
                claimed.lease.transcription_id,
                claimed.session_id,
                claimed.slug,
                translation.utterance_id,
                translation.target_language,
                msgspec.json.encode(data),
            )
        )

    def _annotation(self, live: LiveTrack, found: Annotation) -> None:
        _answered(live, lambda kind: kind == ADD_ON)
        if live.track.anchor is None:
            return
        anchored = live.track.anchor - self._origin
        self.say(
            "annotation",
            {
                "utteranceId": found.utterance_id,
                "kind": found.kind,
                "results": [on_session(result, anchored) for result in found.results],
                "participantIdentity": live.track.speaker.identity,
                "participantName": live.track.speaker.name,
            },
        )


def _counting(edges: Edges, live: LiveTrack, said: Caption) -> Caption | None:
    """What counts of it. What a former owner has left to be heard is judged as if that one had heard it."""
    if not live.is_former:
        return edges.once(said)
    kept = edges.before(said)
    return None if kept is None else edges.once(kept, is_late=True)


def _answered(live: LiveTrack, over: Callable[[str], bool]) -> None:
    """What the provider sends shows that complaints of these kinds are over."""
    for kind in [kind for kind in live.complaints if over(kind)]:
        del live.complaints[kind]
