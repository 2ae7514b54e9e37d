"""The voice-activity gate: of a track, the audio around speech goes on and the silence between does not. Pure.

Whole chunks pass or stay; what stays is a gap on the track's clock, so nothing downstream shifts. Speech opens the gate
for the chunk it is in and for the `pre_roll_s` before it, whose weak first sounds no detector hears; it stays open for
`hang_over_s` behind the last speech, so that the provider hears where an utterance ends. A detector that fails opens
the gate for good: silence costs money, a lost word costs trust.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from ingest.pcm import SAMPLE_BYTES, SAMPLE_RATE, Piece
from ingest.silence import is_silent

# The gate opens on _ENOUGH frames of speech out of the last _LOOKED_AT (10 ms each): a single click does not open it.
_ENOUGH: Final = 3
_LOOKED_AT: Final = 5
_RECENT: Final = (1 << _LOOKED_AT) - 1


class Detector(Protocol):
    """Tells speech from the rest, one frame after the other."""

    @property
    def frame_samples(self) -> int:
        """Length of a frame in samples of 16 kHz."""

    def is_speech(self, frame: bytes, /) -> bool:
        """Whether the next frame of the track (s16le) is speech. It may raise: the gate then stays open."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Seconds. Figures: 108 human utterances, none cut by more than 20 ms with 300 ms of pre-roll in a quiet room."""

    pre_roll_s: float = 0.3
    hang_over_s: float = 0.6
    """At least the provider's endpointing and 0.3 s, else an utterance gets no final before the next one begins."""
    settle_s: float = 0.12
    """The WebRTC detector calls the first 100 ms of every track speech."""


@dataclass(slots=True)
class GateCounts:
    """Samples and events of one track; `speech` as the detector hears it, `passed` as the gate lets it through."""

    heard: int = 0
    speech: int = 0
    passed: int = 0
    openings: int = 0
    failures: int = 0

    @property
    def withheld(self) -> int:
        """Samples that did not pass, or not yet: the newest may still pass as pre-roll."""
        return self.heard - self.passed


class Gate:
    """One track's gate. Holds at most `pre_roll_s` and two chunks."""

    def __init__(self, detector: Detector, options: GateOptions | None = None) -> None:
        options = options or GateOptions()
        self.counts = GateCounts()
        self._detector = detector
        self._frame_bytes = detector.frame_samples * SAMPLE_BYTES
        # What opens the gate began some frames before the chunk in which it does.
        self._pre_roll = round(options.pre_roll_s * SAMPLE_RATE) + _LOOKED_AT * detector.frame_samples
        self._hang_over = round(options.hang_over_s * SAMPLE_RATE)
        self._unsettled = round(options.settle_s * SAMPLE_RATE)  # samples the detector still has to hear
        self._held: deque[Piece] = deque()  # not passed, and near enough to be the pre-roll of what comes
        self._recent = 0  # a bit for each of the last _LOOKED_AT frames: whether it was speech; the newest is 1
        self._part = b""  # of a frame, at the end of the last chunk
        self._next = 0  # where the last chunk ended
        self._open_until = -1
        self._spoken_to = -SAMPLE_RATE
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether the last chunk passed."""
        return self._is_open

    @property
    def silence(self) -> int:
        """Samples since the last frame of speech, also of a word that is too short yet to open the gate."""
        return 0 if self.counts.failures else self._next - self._spoken_to

    @property
    def left_out_to(self) -> int:
        """Nothing before this sample will pass any more."""
        return self._held[0].offset if self._held else self._next

    def stall(self, gap: int | None = None) -> int:
        """The track delivers nothing: for `gap` samples, which lie behind it, or for now (None), which closes the gate.

        Returns: samples of the hang-over that the provider has not heard, to be replaced by silence.
        """
        behind = self._open_until if not self.counts.failures else self._next + self._hang_over
        owed = max(0, behind - self._next)
        if gap is not None:
            return min(owed, gap)
        self._open_until = min(self._open_until, self._next)
        self._is_open = False
        return owed

    def push(self, chunk: Piece) -> list[Piece]:
        """Take the track's next chunk. Returns: what goes on now, in order; the newest is last."""
        counts, held = self.counts, self._held
        samples = chunk.samples
        counts.heard += samples
        while held and held[0].end <= chunk.offset - self._pre_roll:
            held.popleft()
        if not counts.failures:
            try:
                self._listen(chunk)
            except Exception:  # whatever a detector may raise, the audio goes on
                counts.failures += 1
        self._next = chunk.offset + samples
        was_open = self._is_open
        self._is_open = bool(counts.failures) or chunk.offset < self._open_until
        if not self._is_open:
            held.append(chunk)
            return []
        counts.openings += not was_open
        counts.passed += samples
        if not held:
            return [chunk]
        counts.passed += sum([one.samples for one in held])
        ready = [*held, chunk]
        held.clear()
        return ready

    def _listen(self, chunk: Piece) -> None:
        """Move `_open_until` behind the speech in this chunk."""
        if chunk.offset != self._next:
            self._part, self._recent = b"", 0
        if is_silent(chunk.pcm):
            self._part, self._recent = b"", 0  # digital silence needs no detector
            return
        end = chunk.offset - len(self._part) // SAMPLE_BYTES
        pcm = self._part + chunk.pcm
        frame, size, is_speech = self._detector.frame_samples, self._frame_bytes, self._detector.is_speech
        whole = len(pcm) - len(pcm) % size
        self._part = pcm[whole:]
        recent, open_until = self._recent, self._open_until
        for at in range(0, whole, size):
            end += frame
            speaks = is_speech(pcm[at : at + size])
            if self._unsettled > 0:
                self._unsettled -= frame
                speaks = False
            recent = (recent << 1 | speaks) & _RECENT
            if speaks:
                self.counts.speech += frame
                self._spoken_to = end
                if end <= open_until or recent.bit_count() >= _ENOUGH:
                    open_until = end + self._hang_over
        self._recent, self._open_until = recent, open_until
