"""Where each packet of a track belongs in time. Pure: arithmetic on timestamps, sample counts and times of arrival."""

from __future__ import annotations

from typing import Final

# A step of the timestamps that says that audio is missing; below it is jitter.
STEP_S: Final = 0.2
# The time of arrival confirms a step when the audio is late by as much, give or take this.
ALLOWANCE_S: Final = 0.15
# Without a step, audio counts as missing when all of it has been this late for SUSTAINED_S and does not catch up.
LATE_S: Final = 0.2
SUSTAINED_S: Final = 1.5
CATCHING_UP_S: Final = 0.1
# A publisher that sends a file faster than it is heard cannot be checked by the time of arrival: its timestamps are
# believed, up to this step.
FAST: Final = 0.6  # seconds of arrival for a second of audio
PACE_S: Final = 2.0  # of audio over which that is measured
AHEAD_S: Final = 1.0  # as far as audio is ahead of its arrival then; a backlog that is being caught up is not
BELIEVED_S: Final = 600.0


class TrackClock:
    """The count of samples is the clock: it never runs backwards, and timestamps can neither stretch nor shrink it.

    Timestamps run fast or slow, are coarse, jump, repeat and fall back. They are asked one thing only: whether audio is
    missing. A step forward is a gap when the packet has arrived later, too, by as much as the step says; otherwise it
    is counted in `steps_ignored`. Time that passes while the timestamps say nothing of it (a source was paused) is a
    gap once the audio has been late for a while without catching up.

    `position_s`: end of what has been placed, since the anchor. `drift_s`: by how much the timestamps have moved away
    from it in small steps.
    """

    def __init__(self) -> None:
        self.gaps = 0
        self.steps_ignored = 0
        self.position_s = 0.0
        self.drift_s = 0.0
        self._due_ms: float | None = None
        self._usual_late_s = 0.0  # of this connection: what the network and our own batches take
        self._filled_s = 0.0
        self._late_since: float | None = None
        self._late_at_first_s = self._least_late_s = 0.0
        self._pace_from = (0.0, 0.0)  # time of arrival, and the position up to which audio had come
        self._ahead_s = 0.0
        self._is_fast = self._was_paused = False

    def begin_at(self, position_s: float) -> None:
        """Nothing could be decoded before."""
        self.position_s = position_s

    def paused(self) -> None:
        """The source has delivered nothing, and goes on without a backlog: its lateness is a gap, at once."""
        self._was_paused = True

    def place(self, timestamp_ms: float, heard_s: float, arrival_s: float, behind_s: float = 0.0) -> float:
        """Place a packet of `heard_s` seconds that has arrived `arrival_s` after the anchor, by a monotonic clock.

        `behind_s`: seconds of audio that had arrived behind it at that time: a backlog is not late.
        Returns: seconds to leave out before the packet.
        """
        late_s = arrival_s - self.position_s - heard_s - behind_s
        step_s = 0.0
        if self._due_ms is None:
            self._usual_late_s = late_s
        else:
            step_s = (timestamp_ms - self._due_ms) / 1000
        self._due_ms = timestamp_ms + heard_s * 1000
        # What was left out makes the audio earlier than it was before; that must not pass for a faster network.
        self._usual_late_s = min(self._usual_late_s, late_s + self._filled_s)
        self._measure_pace(arrival_s, self.position_s + heard_s + behind_s)
        gap_s = self._gap(step_s, late_s - self._usual_late_s, arrival_s)
        if gap_s:
            self.gaps += 1
            self._filled_s += gap_s
            self._late_since = None
        self.position_s += gap_s + heard_s
        return gap_s

    def _gap(self, step_s: float, late_s: float, arrival_s: float) -> float:
        if abs(step_s) <= STEP_S:
            self.drift_s += step_s
        elif step_s > 0 and late_s >= max(ALLOWANCE_S, step_s - ALLOWANCE_S):
            return step_s
        elif late_s >= STEP_S + ALLOWANCE_S:  # a new count, and some time has passed
            return late_s
        elif 0 < step_s <= BELIEVED_S and self._is_fast and self._ahead_s >= AHEAD_S:
            return step_s
        else:
            self.steps_ignored += 1
        if self._was_paused:
            self._was_paused = False
            return late_s if late_s >= LATE_S else 0.0
        return self._lasting(late_s, arrival_s)

    def _lasting(self, late_s: float, arrival_s: float) -> float:
        """The gap that the time of arrival alone tells of."""
        if late_s < LATE_S:
            self._late_since = None
        elif self._late_since is None or late_s < self._late_at_first_s - CATCHING_UP_S:
            self._late_since, self._late_at_first_s, self._least_late_s = arrival_s, late_s, late_s
        else:
            self._least_late_s = min(self._least_late_s, late_s)
            if arrival_s - self._late_since >= SUSTAINED_S:
                return self._least_late_s
        return 0.0

    def _measure_pace(self, arrival_s: float, arrived_to_s: float) -> None:
        self._ahead_s = arrived_to_s - arrival_s
        from_s, position_s = self._pace_from
        heard_s = arrived_to_s - position_s
        if heard_s >= PACE_S:
            self._is_fast = arrival_s - from_s < FAST * heard_s
            self._pace_from = (arrival_s, arrived_to_s)
