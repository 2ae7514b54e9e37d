"""The voice-activity gate: of a track, the audio around speech goes on and the silence between does not. Pure.

Whole chunks pass or stay; what stays is a gap on the track's clock, so nothing downstream shifts. Speech opens the gate
for the chunk it is in and for the `pre_roll_s` before it, whose weak first sounds no detector hears; it stays open for
`hang_over_s` behind the last speech, so that the provider hears where an utterance ends. A detector that fails opens
the gate for good: silence costs money, a lost word costs trust.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from ingest.pcm import SAMPLE_BYTES, SAMPLE_RATE, Chunk
from ingest.silence import FLOOR

# The gate opens on so many frames of speech out of the last so many (10 ms each): a single click does not open it.
_ENOUGH: Final = 3
_LOOKED_AT: Final = 5


class Detector(Protocol):
    """Tells speech from the rest, one frame after the other."""

    @property
    def frame_samples(self) -> int: ...

    def is_speech(self, frame: bytes) -> bool: ...


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
        self._held: deque[Chunk] = deque()  # not passed, and near enough to be the pre-roll of what comes
        self._recent: deque[bool] = deque(maxlen=_LOOKED_AT)
        self._part = b""  # of a frame, at the end of the last chunk
        self._next = 0  # where the last chunk ended
        self._open_until = -1
        self._is_open = False

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def left_out_to(self) -> int:
        """Nothing before this sample will pass any more."""
        return self._held[0].offset if self._held else self._next

    def push(self, chunk: Chunk) -> list[Chunk]:
        """Take the track's next chunk. Returns: what goes on now, in order; the newest is last."""
        self.counts.heard += chunk.samples
        while self._held and self._held[0].end <= chunk.offset - self._pre_roll:
            self._held.popleft()
        if not self.counts.failures:
            self._listen(chunk)
        self._next = chunk.end
        was_open = self._is_open
        self._is_open = bool(self.counts.failures) or chunk.offset < self._open_until
        self._held.append(chunk)
        if not self._is_open:
            return []
        self.counts.openings += not was_open
        ready = list(self._held)
        self._held.clear()
        self.counts.passed += sum(one.samples for one in ready)
        return ready

    def _listen(self, chunk: Chunk) -> None:
        """Move `_open_until` behind the speech in this chunk."""
        try:
            for end, is_speech in self._frames(chunk):
                self._recent.append(is_speech)
                if is_speech:
                    self.counts.speech += self._detector.frame_samples
                    if end <= self._open_until or sum(self._recent) >= _ENOUGH:
                        self._open_until = end + self._hang_over
        except Exception:  # whatever a detector may raise, the audio goes on
            self.counts.failures += 1

    def _frames(self, chunk: Chunk) -> Iterator[tuple[int, bool]]:
        """(end on the track's clock, whether it is speech) of each whole frame."""
        if chunk.offset != self._next:
            self._part = b""
            self._recent.clear()
        samples = np.frombuffer(chunk.pcm, "<i2")
        if samples.max(initial=0) <= FLOOR and samples.min(initial=0) >= -FLOOR:
            self._part = b""  # digital silence needs no detector
            self._recent.clear()
            return
        pcm = self._part + chunk.pcm
        whole = len(pcm) - len(pcm) % self._frame_bytes
        self._part = pcm[whole:]
        end = chunk.end - len(pcm) // SAMPLE_BYTES
        for at in range(0, whole, self._frame_bytes):
            end += self._detector.frame_samples
            is_speech = self._detector.is_speech(pcm[at : at + self._frame_bytes])
            if self._unsettled > 0:
                self._unsettled -= self._detector.frame_samples
                is_speech = False
            yield end, is_speech
