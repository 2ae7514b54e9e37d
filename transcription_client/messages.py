"""The messages of the live stream, as docs/stream.md describes them. Comparing `type` tells a type checker which it is.

Types that are newer than this client are delivered as they come: leave alone what you do not know.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Word(TypedDict):
    """`startMs`, `endMs`: since the beginning of the session's first transcription."""

    text: str
    startMs: int
    endMs: int


class Utterance(TypedDict):
    """What somebody says. `utteranceId` is the same for all partials of an utterance and its final."""

    utteranceId: str
    text: str
    language: str | None
    isFinal: bool
    participantIdentity: str
    participantName: str | None
    startedAt: str
    endedAt: str
    startMs: int
    endMs: int
    confidence: float
    words: list[Word]


class UtteranceUnderWay(Utterance):
    """So many characters of `text`, in UTF-16 code units, have held still and will probably stay."""

    stableChars: int


class _Envelope(TypedDict):
    v: int
    sessionSlug: str
    epoch: str
    ts: str


class HelloData(TypedDict):
    """`seq`: the number of the last final there is. `restarted` is this client's word: the numbering has begun anew, so
    throw away the finals you have; all follow. `ended`: the session was over when you came; absent otherwise.
    """

    state: str
    epoch: str
    seq: int
    resumed: bool
    restarted: bool
    ended: NotRequired[bool]


class Hello(_Envelope):
    """The first message of each connection."""

    type: Literal["hello"]
    data: HelloData


class Final(_Envelope):
    """An utterance as it will stay. `seq` counts 1, 2, 3 … within an epoch."""

    type: Literal["transcript.final"]
    seq: int
    data: Utterance


class Partial(_Envelope):
    """Replaced by a later partial or the final of the same utterance; an empty text takes it back."""

    type: Literal["transcript.partial"]
    data: UtteranceUnderWay


class GapData(TypedDict):
    """Both numbers belong to the gap."""

    fromSeq: int
    toSeq: int


class Gap(_Envelope):
    """Finals that will not come."""

    type: Literal["gap"]
    data: GapData


class StateData(TypedDict):
    """`state`: starting, running, waiting, stopping, stopped."""

    state: str
    reason: NotRequired[str]


class State(_Envelope):
    """What the transcription does now."""

    type: Literal["session.state"]
    data: StateData


class HealthData(TypedDict):
    """`status`: ok or degraded."""

    status: str
    reasons: list[str]


class Health(_Envelope):
    """What is wrong now, in words."""

    type: Literal["health"]
    data: HealthData


class TranslationData(TypedDict):
    """Of the final `ofSeq`; `seq` counts 1, 2, 3 … in its target language. Without both it is not stored yet, and comes
    once more with them."""

    utteranceId: str
    language: str | None
    targetLanguage: str
    text: str
    participantIdentity: str
    participantName: str | None
    seq: NotRequired[int]
    ofSeq: NotRequired[int]


class Translation(_Envelope):
    """A final in another language."""

    type: Literal["translation"]
    data: TranslationData


class Other(_Envelope):
    """Annotations, hosts, options, pauses, errors: docs/stream.md says what their `data` is."""

    type: Literal["annotation", "host.changed", "session.options", "session.pause", "error"]
    data: dict[str, Any]


Message = Hello | Final | Partial | Translation | Gap | State | Health | Other
