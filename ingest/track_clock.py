"""Where each packet of a track belongs in time. Pure: arithmetic on timestamps and sample counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from ingest.pcm import SAMPLE_RATE

TOLERANCE_S: Final = 0.1  # timestamps and audio may disagree by this much for ever
SETTLED_S: Final = 0.01  # a drift that is being absorbed is done when they agree so well
JUMP_S: Final = 0.05  # a packet that moves the disagreement by more tells of lost audio, by less of drift ...
LATE_S: Final = 0.15  # ... unless it moves by less again and again, and stretching is too slow for it
BACKWARD_S: Final = 0.5  # timestamps that fall back further than this begin a new count
STRETCH: Final = 0.01  # of a packet's length: too little to hear, 100 ms of drift in 10 s


@dataclass(frozen=True, slots=True)
class Placement:
    """What to do before and to one packet, in samples of the packet's own rate unless said otherwise."""

    silence: int = 0  # to be heard before it
    stretch: int = 0  # by which it is to be made longer, or shorter if negative
    skip_to: int | None = None  # 16 kHz samples since the anchor: leave time out up to there, then the packet


class TrackClock:
    """Counts samples, checks the count against the publisher's timestamps and says how to make them agree.

    The count is what stands: it never runs backwards. Positions are compared in absolute terms, so that jitter
    does not add up. Three kinds of disagreement beyond TOLERANCE_S are told apart:

    gap        a sudden step forward: fill it with silence, as long as silence is left. Silence is limited to
               `max_silence_s` at a time and earned back by audio, so that wild timestamps cannot make hours of it.
    drift      a slow one, either way: stretch or shorten the packets by STRETCH until it is gone.
    new count  a step too far forward to fill, or back: timestamps count from here on anew. The track goes on where
               it is, or at the time of arrival if that is later.
    """

    def __init__(self, max_silence_s: float = 10.0) -> None:
        self.gaps = 0
        self.reanchors = 0
        self.position_s = 0.0  # end of what has been placed, since the anchor
        self._max_silence_s = max_silence_s
        self._silence_left_s = max_silence_s
        self._base_ms: int | None = None
        self._base_s = 0.0
        self._error_s = 0.0  # of the last packet, after its placement
        self._drifting = False

    def place(self, timestamp_ms: int, samples: int, sample_rate: int, arrival_s: float) -> Placement:
        """Place a packet of `samples` that arrived `arrival_s` after the anchor, by a monotonic clock."""
        if self._base_ms is None:
            self._base_ms = timestamp_ms
        error = self._base_s + (timestamp_ms - self._base_ms) / 1000 - self.position_s
        jump = error - self._error_s
        silence = stretch = 0
        skip_to: int | None = None
        if error < -BACKWARD_S or error > max(self._silence_left_s, TOLERANCE_S):
            self.reanchors += 1
            if arrival_s > self.position_s:
                skip_to = ceil(arrival_s * SAMPLE_RATE)
                self.position_s = skip_to / SAMPLE_RATE
            self._base_s, self._base_ms = self.position_s, timestamp_ms
            self._drifting = False
            error = 0.0
        elif error > TOLERANCE_S and (jump > JUMP_S or error > LATE_S):
            self.gaps += 1
            silence = round(error * sample_rate)
            self._drifting = False
        else:
            self._drifting = abs(error) > (SETTLED_S if self._drifting else TOLERANCE_S)
            if self._drifting:
                most = round(STRETCH * samples)
                stretch = max(-most, min(most, round(error * sample_rate)))
        heard_s = samples / sample_rate
        silence_s = silence / sample_rate
        self._silence_left_s = min(self._max_silence_s, self._silence_left_s - silence_s + heard_s)
        self._error_s = error - silence_s - stretch / sample_rate
        self.position_s += heard_s + silence_s + stretch / sample_rate
        return Placement(silence, stretch, skip_to)
