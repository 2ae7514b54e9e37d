"""Audio that ends every connection on which it is sent: found, and left out. Pure: no I/O, no clock of its own.

A recogniser may die of a stretch of audio, and it is sent again after each resume. Connections that end at the same
place of the track narrow it down: the third time it is accused, and sent alone on a connection that has borne silence
before it. A line that ends at some byte of the session, whatever is sent, ends in that silence, or not at all: then
all is sent as before. If two die of the stretch, it is left out on trial; only when a connection then lives on well
behind it, it is given up for good.

The recogniser may also die some time after: then the last that was sent differs, and only what was sent on each of the
connections at all is suspected. Such a search, and one at a place where it was the line before, goes more slowly.

Positions are samples on the track's clock; times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from stt.gladia.retained import SAMPLE_RATE, Span

_PACE_S: Final = 0.3
_SLOWER: Final = 4
_MOST_ACQUITTALS: Final = 3  # at one place; from then on it is the line
_BEHIND: Final = SAMPLE_RATE  # a connection that has taken this much behind the stretch lives without it
_STEP: Final = SAMPLE_RATE // 10
_SMALL: Final = 2 * _STEP
_LONGEST: Final = 4 * SAMPLE_RATE  # a longer one is no piece of audio, it is the line
_MOST_HURRIED: Final = 24
_GUILTY: Final = 2  # connections that died of the stretch alone
_SUSPICIOUS, _CERTAIN, _AT_ANY_SIZE = 2, 3, 6  # deaths in a row at the same place
_ALL_ALIKE: Final = 4  # deaths in a row on connections that had something in common at all
# Before the stretch, each time of another length: what ends at a byte of the session does not meet it twice.
_SILENCES: Final = (SAMPLE_RATE // 2, SAMPLE_RATE * 4 // 5)


class Blame:
    """What the connections of one track died of."""

    def __init__(self, *, is_on: bool = True) -> None:
        self._is_on = is_on
        self.suspect: Span | None = None
        self.is_used = False  # no connection has died yet
        self.accused: Span | None = None
        """Sent alone on the next connection."""
        self.trial: Span | None = None
        """Left out for now."""
        self.silence_due = 0
        """Samples of silence to send before the accused stretch."""
        self._deaths = 0
        self._common: Span | None = None  # sent on each of the last connections
        self._in_common = 0  # how many those are
        self._is_slow = False  # they die some time after
        self._given_up: list[Span] = []
        self._deaths_alone = 0
        self._hurried = 0
        self._longer_by = _STEP
        self._behind_since: float | None = None
        self._acquitted = Span(0, 0)  # where it was the line
        self._acquittals = 0
        self._sent: deque[tuple[float, int, int, int]] = deque(maxlen=128)
        self.sent = self._sent.append
        """Note what was sent on this connection: when, start, end, and how many samples it was in all, with silence."""

    # --- what happens ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Nothing was sent on this connection yet."""
        self._sent.clear()
        self._behind_since = None
        self.silence_due = _SILENCES[self._deaths_alone] if self.accused is not None else 0

    def acquit(self) -> None:
        """The connection has borne the accused stretch, or died before it: it was the line."""
        accused, place = self.accused, self._acquitted
        if accused is None:
            return
        self._acquittals = self._acquittals + 1 if _common(accused, place) else 1
        self._acquitted = Span(max(accused.start - _BEHIND, 0), accused.end + _BEHIND)
        self.accused = None
        self._forget()

    def died(self, now: float, acknowledged: int) -> None:
        """The connection ended, of whatever was sent last. `acknowledged`: samples of this connection."""
        since = now - self.pace_s * 2 / 3
        if self._is_slow and self._sent:
            since = min(since, self._sent[-1][0])
        sent = [(start, end) for _, start, end, _ in self._sent]
        fresh = [(start, end) for when, start, end, to in self._sent if to > acknowledged or when >= since]
        self._sent.clear()
        if not self._is_on:
            return
        if self.accused is not None:
            self._died_alone(is_silent=not sent)
        elif sent:
            self.is_used = True
            self._suspect(_hull(sent), _hull(fresh) if fresh else None)

    def _suspect(self, whole: Span, seen: Span | None) -> None:
        """The connection ended, of `seen` perhaps, or of anything in `whole`."""
        if self.trial is not None:
            found = whole if self._is_slow else seen
            if found is not None:
                self._tried_in_vain(self.trial, found)
            return
        if self._acquittals >= _MOST_ACQUITTALS and (seen or whole).end <= self._acquitted.end:
            return
        common = _common(whole, self._common)
        self._common, self._in_common = (whole, 1) if common is None else (common, self._in_common + 1)
        if seen is not None:
            self._narrow(seen)
        is_lost = self._deaths < _SUSPICIOUS and self._in_common >= _ALL_ALIKE
        if is_lost and self._common.end - self._common.start <= _LONGEST:
            self.suspect, self._deaths, self._is_slow = self._common, _SUSPICIOUS, True

    def _narrow(self, seen: Span) -> None:
        both = _common(seen, self.suspect)
        if both is None:
            both, self._deaths, self._hurried, self._is_slow = seen, 0, 0, False
        self.suspect = both
        self._deaths += 1
        length = both.end - both.start
        if self._deaths >= _CERTAIN and (length <= _SMALL or self._deaths >= _AT_ANY_SIZE) and length <= _LONGEST:
            self.accused, self._deaths_alone = both, 0

    def _died_alone(self, *, is_silent: bool) -> None:
        if is_silent:
            if not self.silence_due:
                self.acquit()  # of the silence before it
            return
        self._deaths_alone += 1
        if self._deaths_alone >= _GUILTY:
            self.trial, self.accused, self._longer_by = self.accused, None, _STEP

    def _tried_in_vain(self, trial: Span, seen: Span) -> None:
        """The next connection died without it: there is more of it, or it is the line."""
        longer = Span(trial.start, trial.end + self._longer_by)
        if seen.start > trial.end + _BEHIND or longer.end - longer.start > _LONGEST:
            self._acquitted = Span(0, max(trial.end, seen.end))
            self._acquittals = _MOST_ACQUITTALS
            self.trial = None
            self._forget()
        else:
            self.trial = longer
            self._longer_by = min(self._longer_by + _STEP, 3 * _STEP)

    def proved(self, taken_to: int, now: float, *, is_over: bool) -> Span | None:
        """The session has taken the track up to here, and `is_over` if it ended well.

        Returns: what is given up for good, because the connection lives on well behind it.
        """
        trial = self.trial
        if trial is None or (taken_to < trial.end + _BEHIND and not is_over):
            return None
        if self._behind_since is None:
            self._behind_since = now
        if now < self._behind_since + self.pace_s and not is_over:
            return None
        self.trial = None
        self._hurried = 0
        self._forget()
        self._given_up = [*self._given_up[-15:], trial]
        return trial

    def _forget(self) -> None:
        self.suspect = self._common = None
        self._deaths = self._in_common = 0
        self._is_slow = False

    # --- what follows ---------------------------------------------------------------------------------------

    @property
    def pace_s(self) -> float:
        """Pieces of a suspect follow each other this slowly, so that it is seen which one ends the connection."""
        place = self.accused or self.trial or self.suspect
        if self._is_slow or (self._acquittals and place and _common(place, self._acquitted)):
            return _PACE_S * _SLOWER
        return _PACE_S

    @property
    def is_borne(self) -> bool:
        """Whether the accused stretch was sent on this connection, which lives."""
        return self.accused is not None and bool(self._sent)

    @property
    def is_searching(self) -> bool:
        """Whether the next connection is opened for the sake of finding out."""
        return self.trial is not None or self.accused is not None or self._deaths >= _SUSPICIOUS

    def may_hurry(self) -> bool:
        """Whether to connect again at once for the sake of finding out: so often in a row, and then patiently."""
        self._hurried += self.is_searching
        return self.is_searching and self._hurried <= _MOST_HURRIED

    def past(self, position: int) -> int:
        """Where to go on from `position`, what is left out being left out."""
        for span in self._left_out():
            if span.start <= position < span.end:
                position = span.end
        return position

    def most(self, position: int, samples: int) -> int:
        """How many of so many samples may be sent together from `position` on."""
        if self.accused is not None:
            return max(min(samples, self.accused.end - position), 0)
        for span in self._left_out():
            if position < span.start:
                samples = min(samples, span.start - position)
        suspect = self.suspect
        if suspect is None or self._deaths < _SUSPICIOUS or position >= suspect.end:
            return samples
        if position < suspect.start:
            return min(samples, suspect.start - position)
        return min(samples, max(_STEP, (suspect.end - suspect.start) // 8), suspect.end - position)

    def is_alone(self, position: int) -> bool:
        """Whether what comes from here on waits until what was sent before it has been survived for `pace_s`."""
        suspect = self.suspect
        return (
            suspect is not None
            and self.trial is None
            and self.accused is None
            and self._deaths >= _SUSPICIOUS
            and suspect.start <= position <= suspect.end
        )

    def _left_out(self) -> list[Span]:
        return [*self._given_up, self.trial] if self.trial is not None else self._given_up


def _hull(spans: list[tuple[int, int]]) -> Span:
    return Span(min(start for start, _ in spans), max(end for _, end in spans))


def _common(one: Span, other: Span | None) -> Span | None:
    """What both have; all of `one` if there is no other."""
    if other is None:
        return one
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Span(start, end) if start < end else None
