"""What was said: from an utterance on a track's clock to a numbered caption on the session's clock.

A caption and its words are made for every partial of every speaker: structs cost a tenth of frozen dataclasses, and
nothing is copied from one shape to the next. What the provider's client hears is an `Utterance` here, and a `Word` is
encoded for watchers as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec


class Word(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Milliseconds since the session's origin. Encoded by the names of the live stream.

    The defaults are for spools of older versions, which spell the names otherwise; words are not read from there.
    """

    text: str
    start_ms: int = 0
    end_ms: int = 0


class SpokenWord(Protocol):
    """One word of an utterance."""

    @property
    def text(self) -> str:
        """May carry the provider's leading space."""

    @property
    def start(self) -> float:
        """Seconds since the track's anchor."""

    @property
    def end(self) -> float:
        """Seconds since the track's anchor."""


class Utterance(Protocol):
    """What the provider heard on one track. The room of the provider's client has its own class for it."""

    @property
    def id(self) -> str:
        """Unique in the session."""

    @property
    def is_final(self) -> bool:
        """It never changes again."""

    @property
    def text(self) -> str:
        """All of it, with or without words of their own."""

    @property
    def language(self) -> str | None:
        """A code like `en`; None: not told."""

    @property
    def start(self) -> float:
        """Seconds since the track's anchor."""

    @property
    def end(self) -> float:
        """Seconds since the track's anchor."""

    @property
    def confidence(self) -> float:
        """0 to 1."""

    @property
    def words(self) -> Sequence[SpokenWord]:
        """In the order they were said; empty when the provider told no times."""


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
    words = []
    for word in utterance.words:  # many, and often: without calls that can be spared
        begins, ends = round((base + word.start) * 1000), round((base + word.end) * 1000)
        words.append(Word(word.text.strip(), begins if begins > 0 else 0, ends if ends > 0 else 0))
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
        words=tuple(words),
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
