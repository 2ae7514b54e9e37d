"""Where the time of a final went, from the end of its words to the watchers: hops that add up. No words in it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

REMEMBERED: Final = 200
"""Finals of a transcription, the newest."""
_MARKS: Final = 600
"""Chunks of a track: a minute, as long as audio waits for its final."""


class Marks:
    """When the samples of one track passed one place; of the last minute."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque(maxlen=_MARKS)

    def mark(self, end: int, at: float) -> None:
        """What lies before sample `end` has passed at `at`, monotonic; some of it perhaps again."""
        self._marks.append((end, at))

    def at(self, sample: int) -> float | None:
        """When it passed last; None: not at all, or too long ago."""
        found, behind = None, None
        for end, at in reversed(self._marks):
            if end < sample or (behind is not None and end > behind):  # from here on it was sent for the first time
                return found
            found, behind = at, end
        return found if len(self._marks) < _MARKS else None


class Timing(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of one final, in milliseconds. The hops add up to `end_to_end_ms`.

    `source_ms`: end of the words → their last chunk has come out of the source. `socket_ms`: → it was written to the
    provider's socket. `provider_ms`: → the provider's final. `durable_ms`: → in the database, or on disk.
    `watchers_ms`: → given to the watchers. The first two are null where that chunk is not known; then the third begins
    at the end of the words.
    """

    seq: int
    utterance_id: str
    participant_identity: str
    source_ms: int | None
    socket_ms: int | None
    provider_ms: int
    durable_ms: int
    watchers_ms: int
    end_to_end_ms: int


class Timeline:
    """The newest finals of one transcription, the oldest of them first."""

    def __init__(self) -> None:
        self._finals: deque[Timing] = deque(maxlen=REMEMBERED)

    def add(self, timing: Timing) -> None:
        """The oldest one goes when there are REMEMBERED."""
        self._finals.append(timing)

    def finals(self) -> Sequence[Timing]:
        """As they are now."""
        return list(self._finals)


@dataclass(frozen=True, slots=True)
class Passage:
    """The chunk in which the words of a final ended: out of the source, and to the provider's socket; monotonic.

    `timeline`: of its transcription.
    """

    taken_at: float | None = None
    sent_at: float | None = None
    timeline: Timeline = field(default_factory=Timeline)


@dataclass(frozen=True, slots=True)
class Arrival:
    """The provider's final. `at`: monotonic. `after_s`: since the end of its words, on the wall clock; not negative."""

    at: float
    after_s: float

    def timing(
        self, seq: int, utterance_id: str, identity: str, passage: Passage, durable_at: float, shown_at: float
    ) -> Timing:
        """Points in time are brought into their order: the wall clock and the provider's word for the end are not
        exact."""
        heard = self._ms(self.at)
        durable = max(heard, self._ms(durable_at))
        shown = max(durable, self._ms(shown_at))
        taken = sent = None
        if passage.taken_at is not None and passage.sent_at is not None:
            taken = min(max(0, self._ms(passage.taken_at)), heard)
            sent = min(max(taken, self._ms(passage.sent_at)), heard)
        return Timing(
            seq,
            utterance_id,
            identity,
            taken,
            None if sent is None or taken is None else sent - taken,
            heard - (sent or 0),
            durable - heard,
            shown - durable,
            shown,
        )

    def _ms(self, at: float) -> int:
        """Since the end of the words."""
        return round((self.after_s + at - self.at) * 1000)
