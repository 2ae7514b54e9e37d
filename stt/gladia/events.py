"""What a track's link tells its listener, on the track's clock: seconds since its anchor, gaps included."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stt.transcript import Utterance


class Heard(msgspec.Struct, frozen=True):
    """A partial or a final."""

    utterance: Utterance


class Retracted(msgspec.Struct, frozen=True):
    """The partials of this utterance will get no final: their audio is heard again under another id."""

    utterance_id: str


class TranslationHeard(msgspec.Struct, frozen=True):
    """The text of a final in another language. The languages are codes as the provider names them."""

    utterance_id: str
    original_language: str | None
    target_language: str
    text: str


class AnnotationHeard(msgspec.Struct, frozen=True):
    """`kind`: named_entity_recognition or sentiment_analysis.

    `results` as the provider sent them, except that `start` and `end` are seconds on the track's clock.
    """

    kind: str
    utterance_id: str
    results: tuple[Any, ...]


class SpeechChanged(msgspec.Struct, frozen=True):
    """The provider heard speech begin or end at `at` seconds."""

    speaking: bool
    at: float


class AudioGivenUp(msgspec.Struct, frozen=True):
    """No final will cover the audio from `start` to `end`.

    `kind`: `poison`, each connection ended at it; `overdue`, it left the window before the provider had heard it;
    `unconfirmed`, the last session ended without a word about it.
    """

    start: float
    end: float
    kind: str = "overdue"


class Complained(msgspec.Struct, frozen=True):
    """The provider reported an error of its own; `about` is the type of the message in which it did.

    `about` may also be `close`, a connection that it ended. `kind` is one of `complaints.kind_of`.
    """

    about: str
    message: str
    kind: str = "engine"


INTERNAL: Final = "internal"
"""Kind of a message at which our own code failed."""


class Unusable(msgspec.Struct, frozen=True):
    """A message of the provider could not be used. `may_be_final`: the words of a final may have been in it.

    `kind`: its type where that can be told, `other`, or INTERNAL.
    """

    kind: str
    may_be_final: bool


LinkEvent = (
    Heard | Retracted | TranslationHeard | AnnotationHeard | SpeechChanged | AudioGivenUp | Complained | Unusable
)
