"""What a speech provider hears, on the clock of the track it was given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """`start` and `end` in seconds since the track's anchor; `text` keeps the provider's leading space."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech. A final replaces every partial of the same `id` and never changes again.

    `id` is `<provider session id>:<the provider's id>`, because the latter restarts in every session.
    `start` and `end` in seconds since the track's anchor. `text` has no space at either end.
    """

    id: str
    is_final: bool
    text: str
    language: str | None
    start: float
    end: float
    confidence: float
    words: tuple[Word, ...] = ()
