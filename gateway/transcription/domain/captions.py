"""What was said: from an utterance on a track's clock to a numbered caption on the session's clock.

A caption and its words are made for every partial of every speaker: structs cost a tenth of frozen dataclasses.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

import msgspec


class Word(msgspec.Struct, frozen=True, gc=False):
    """Milliseconds since the session's origin."""

    text: str
    start_ms: int
    end_ms: int


class SpokenWord(msgspec.Struct, frozen=True, gc=False):
    """Seconds since the track's anchor; `text` may carry the provider's leading space."""

    text: str
    start: float
    end: float


class Utterance(msgspec.Struct, frozen=True):
    """What the provider heard on one track; `start` and `end` in seconds since the track's anchor."""

    id: str
    is_final: bool
    text: str
    language: str | None
    start: float
    end: float
    confidence: float
    words: tuple[SpokenWord, ...] = ()


class Speaker(msgspec.Struct, frozen=True):
    """Frozen when the track begins: a name change in mid-utterance does not move words to another name."""

    identity: str
    name: str | None


class Caption(msgspec.Struct, frozen=True):
    """One partial or final as watchers see it. `started_at`/`ended_at` are wall-clock, UTC."""

    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    speaker: Speaker
    started_at: datetime
    ended_at: datetime
    start_ms: int
    end_ms: int
    confidence: float
    words: tuple[Word, ...]


def caption(utterance: Utterance, speaker: Speaker, anchor: datetime, origin: datetime) -> Caption:
    """Place an utterance on the session's clock.

    `anchor`: wall time of the track's first sample. `origin`: time zero of the session's milliseconds. An utterance
    cannot begin before the origin: a track anchored a moment earlier is cut there.
    """
    base = (anchor - origin).total_seconds()

    def at(seconds: float) -> int:
        ms = round((base + seconds) * 1000)
        return ms if ms > 0 else 0

    start_ms, end_ms = at(utterance.start), at(utterance.end)
    return Caption(
        utterance_id=utterance.id,
        text=utterance.text.strip(),
        language=utterance.language,
        is_final=utterance.is_final,
        speaker=speaker,
        started_at=origin + timedelta(milliseconds=start_ms),
        ended_at=origin + timedelta(milliseconds=end_ms),
        start_ms=start_ms,
        end_ms=end_ms,
        confidence=round(utterance.confidence, 4),
        words=tuple([Word(word.text.strip(), at(word.start), at(word.end)) for word in utterance.words]),
    )


class Numberer:
    """Gives each final its `seq`, once. The owner of a session's lease has the only one."""

    # A provider repeats itself within seconds; the database's unique index covers the rest.
    _MEMORY = 10_000

    def __init__(self, last_seq: int) -> None:
        self._last = last_seq
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def last(self) -> int:
        """The number given last."""
        return self._last

    def number(self, utterance_id: str) -> int | None:
        """The next number, or None when this utterance has one already."""
        if utterance_id in self._seen:
            return None
        self._seen[utterance_id] = None
        if len(self._seen) > self._MEMORY:
            self._seen.popitem(last=False)
        self._last += 1
        return self._last

    def is_settled(self, utterance_id: str) -> bool:
        """It has a number, so a partial of it comes too late."""
        return utterance_id in self._seen
