"""What a speech provider hears, on the clock of the track it was given."""

from __future__ import annotations

import msgspec


class Word(msgspec.Struct, frozen=True, gc=False):
    """`start` and `end` in seconds since the track's anchor; `text` keeps the provider's leading space."""

    text: str
    start: float
    end: float
    confidence: float


class Utterance(msgspec.Struct, frozen=True, gc=False):
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
