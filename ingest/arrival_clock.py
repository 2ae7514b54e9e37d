"""The clock of a source that delivers in real time but says no times itself. Pure."""

from __future__ import annotations

from typing import Final

from ingest.pcm import SAMPLE_RATE

BEHIND_S: Final = 0.5  # less than this is buffering
SUSTAINED_S: Final = 2.0
CATCHING_UP_S: Final = 0.1  # a delay that falls by this much is a backlog that is being worked off


class ArrivalClock:
    """Counts samples, and notices when time has passed that the samples do not show.

    A media server's client plays in real time: its sample count is the clock, and jitter does not matter. Only when
    the count has been behind the time of arrival for `sustained_s` without catching up, the difference was lost (the
    machine slept, the player stood still) and is left out as a gap.
    """

    def __init__(self, sustained_s: float = SUSTAINED_S) -> None:
        self._sustained_s = sustained_s
        self.position = 0  # samples since the anchor
        self._late_since: float | None = None
        self._late_at_first_s = self._least_s = 0.0

    def arrived(self, samples: int, at_s: float) -> int:
        """Take `samples` that arrived `at_s` after the anchor. Returns the gap to leave before them, in samples."""
        late_s = at_s - (self.position + samples) / SAMPLE_RATE
        gap = 0
        if late_s < BEHIND_S:
            self._late_since = None
        elif self._late_since is None or late_s < self._late_at_first_s - CATCHING_UP_S:
            self._late_since, self._late_at_first_s, self._least_s = at_s, late_s, late_s
        else:
            self._least_s = min(self._least_s, late_s)
            if at_s - self._late_since >= self._sustained_s:
                gap = int(self._least_s * SAMPLE_RATE)
                self._late_since = None
        self.position += gap + samples
        return gap

    def resumed(self, samples: int, at_s: float) -> int:
        """Like `arrived`, after a pause that was made on purpose: the time that has passed is a gap at once."""
        gap = max(0, round(at_s * SAMPLE_RATE) - self.position - samples)
        self.position += gap + samples
        self._late_since = None
        return gap

    def skip(self, samples: int) -> None:
        """Leave a gap of known length."""
        self.position += samples
        self._late_since = None
