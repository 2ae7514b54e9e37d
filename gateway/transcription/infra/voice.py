"""The voice-activity gate before the provider: silence is not sent, and speech that brings no text is noticed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.transcription.domain.link_state import LinkState
from gateway.transcription.domain.mute import Unanswered
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.timing import Marks
from gateway.transcription.domain.usage import Listened
from gateway.transcription.usecases.audio import AudioChunk
from gateway.transcription.usecases.speech import LinkEnd
from ingest.gate import Detector, Gate, GateOptions
from ingest.pcm import SAMPLE_RATE
from ingest.vad import WebRtcDetector
from stt.gladia.client import GladiaLink
from stt.gladia.events import Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.gladia.moves import LinkState as ProviderLinkState

log = logging.getLogger(__name__)

# Silence beyond the provider's endpointing that it must hear to end an utterance.
MARGIN_S: Final = 0.3
BREATH: Final = SAMPLE_RATE // 5
"""Samples of silence that lie between words rather than inside one."""
CUT_SHORT_S: Final = 2.0
"""So long a speaker whose audio stops coming in the middle of a word counts as one who speaks."""


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """`gate`: off, shadow (measures only) or on. `hang_over_s` is the provider's endpointing and MARGIN_S.

    `mute_s`: seconds of speech without any text after which the provider counts as mute; 0 = never.
    """

    gate: str = "on"
    hang_over_s: float = 0.6
    mute_s: float = 20.0


@dataclass(slots=True)
class VoiceCounts:
    """Of all tracks since the process began. Samples and events."""

    heard: int = 0
    speech: int = 0
    withheld: int = 0  # in shadow: would have been
    sent_by_the_ended: int = 0
    openings: int = 0
    failures: int = 0
    renewals: int = 0


class Voice:
    """Makes links with a gate before them, and counts over all of them."""

    def __init__(
        self,
        options: VoiceOptions,
        detector: Callable[[], Detector] = WebRtcDetector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.clock = clock
        self.counts = VoiceCounts()
        self._detector = detector
        self._open: set[VoicedLink] = set()

    @property
    def sent_samples(self) -> int:
        """To the provider, by all tracks, audio sent again included."""
        return self.counts.sent_by_the_ended + sum(link.sent_samples for link in self._open)

    @property
    def unanswered_s(self) -> float:
        """Seconds of speech without any text, worst track."""
        return max((link.unanswered_s for link in self._open), default=0.0)

    def link(
        self,
        open_link: Callable[[Callable[[LinkEvent], None]], GladiaLink],
        identity: str,
        endpointing_s: float | None = None,
    ) -> VoicedLink:
        """`open_link` is given what is to hear every event before others do. `endpointing_s`: this track's."""
        hang_over_s = max(self.options.hang_over_s, (endpointing_s or 0.0) + MARGIN_S)
        voiced = VoicedLink(self, Gate(self._detector(), GateOptions(hang_over_s=hang_over_s)), identity)
        voiced.link = open_link(voiced.hear)
        voiced.link.on_sent = voiced.sent.mark
        self._open.add(voiced)
        return voiced

    def over(self, voiced: VoicedLink) -> None:
        """A link has ended: its counters are added to the totals, once."""
        if voiced in self._open:
            self._open.discard(voiced)
            self.counts.sent_by_the_ended += voiced.sent_samples


class VoicedLink:
    """One track's way through the gate to the provider. `link` and `configure` are set before any audio comes."""

    link: GladiaLink
    configure: Callable[[SpeechOptions], LiveConfig]

    def __init__(self, voice: Voice, gate: Gate, identity: str) -> None:
        self._voice = voice
        self._gate = gate
        self._identity = identity
        self._end = 0  # of the last chunk
        self._speaks_until: float | None = None  # since the source delivers nothing; None while it delivers
        self.sent = Marks()
        """When audio was written to the provider's socket."""
        self._unanswered = Unanswered(voice.options.mute_s)

    def send(self, chunk: AudioChunk) -> None:
        """Through the gate; in shadow and off mode everything is sent, and the gate only counts.

        Silence has a clock of its own: where the source delivers nothing (an empty chunk, or a gap), the rest of the
        hang-over follows the speech all the same, so that the provider ends the utterance.
        """
        if not chunk.pcm:
            self._stall(is_silent=0 < self._end < chunk.offset)
            self._end = chunk.offset
            return
        self._speaks_until = None
        if 0 < self._end < chunk.offset:
            self._fall_silent(self._gate.stall(chunk.offset - self._end))
        self._end = chunk.offset + chunk.samples
        mine, total = self._gate.counts, self._voice.counts
        speech, passed, openings, failures = mine.speech, mine.passed, mine.openings, mine.failures
        ready = self._gate.push(chunk)
        speech, passed = mine.speech - speech, mine.passed - passed
        total.heard += chunk.samples
        total.speech += speech
        total.withheld += chunk.samples - passed
        total.openings += mine.openings - openings
        if mine.failures != failures:
            total.failures += 1
            log.error("voice detection fails; all audio of this track is sent", extra={"identity": self._identity})
        if self._voice.options.gate != "on":
            ready, passed = [chunk], chunk.samples
        for one in ready:
            self.link.send(one.offset, one.pcm)
        if not ready:
            self.link.leave_out(self._gate.left_out_to)
        if self.link.state is ProviderLinkState.STREAMING:  # else it is known why there is no text
            self._unanswered.sent(passed, speech)
            if self._unanswered.may_renew():
                self._renew()

    def _stall(self, *, is_silent: bool) -> None:
        """Nothing comes for now. Inside a word it is held up rather than not said: silence there would cut the word in
        two. So it is waited for until the source stalls once more, unless it says that there is nothing."""
        may_be_held_up = self._speaks_until is None and self._gate.silence < BREATH and not is_silent
        if self._speaks_until is None:
            self._speaks_until = self._voice.clock() + CUT_SHORT_S * (self.is_speaking and not is_silent)
        if not may_be_held_up:
            self._fall_silent(self._gate.stall())

    def _fall_silent(self, samples: int) -> None:
        if samples:
            self.link.fall_silent(samples)

    def _renew(self) -> None:
        self._voice.counts.renewals += 1
        log.warning(
            "%.0f s of speech and no text: the provider session is renewed",
            self._unanswered.seconds,
            extra={"identity": self._identity},
        )
        self.link.renew()

    def hear(self, event: LinkEvent) -> None:
        """A transcript has come: the provider is not mute."""
        if isinstance(event, Heard):
            self._unanswered.answered()

    def change(self, options: SpeechOptions, *, at_once: bool = True) -> None:
        self.link.configure(self.configure(options), at_once=at_once)

    def rest(self) -> None:
        self._gate.stall()  # the end of the session ends the utterance: no silence has to follow it
        self.link.rest()

    def finish(self, flush_s: float) -> None:
        self.link.finish(flush_s)

    def succeed(self, former: VoicedLink) -> int:
        """The gate has let this audio through before."""
        self._voice.over(former)
        held_to = 0
        for offset, pcm in former.link.unsettled():
            self.link.send(offset, pcm)
            held_to = offset + len(pcm) // 2
        return held_to

    async def run(self) -> LinkEnd:
        try:
            outcome = await self.link.run()
        finally:
            self._voice.over(self)
        return LinkEnd(outcome.complete, str(outcome.failed) if outcome.failed else None)

    @property
    def state(self) -> LinkState:
        return LinkState(self.link.state)

    @property
    def sent_samples(self) -> int:
        return self.link.sent_samples

    @property
    def messages_sent(self) -> int:
        return self.link.messages_sent

    def sent_at(self, sample: int) -> float | None:
        return self.sent.at(sample)

    @property
    def is_speaking(self) -> bool:
        return self.is_in_word or (self._speaks_until is None and self._gate.is_open)

    @property
    def is_in_word(self) -> bool:
        if self._speaks_until is not None:
            return self._voice.clock() < self._speaks_until
        return self._gate.silence < BREATH

    @property
    def backlog_s(self) -> float:
        return self.link.backlog_s

    @property
    def listened(self) -> Listened:
        mine = self._gate.counts
        withheld = mine.withheld if self._voice.options.gate == "on" else 0
        return Listened(mine.heard, mine.speech, mine.withheld, withheld)

    @property
    def unanswered_s(self) -> float:
        """Seconds of speech since the last transcript."""
        return self._unanswered.seconds

    @property
    def is_mute(self) -> bool:
        return self._unanswered.is_mute
