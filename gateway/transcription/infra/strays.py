"""Finals as they are stored, read again: what of a stray one is new. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from gateway.moment import timestamp
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.overlap import unheard
from storage.postgres.segments import StrayRow


class _Shown(msgspec.Struct, frozen=True, rename="camel"):
    """`data` of a transcript.final."""

    utterance_id: str
    text: str
    language: str | None
    participant_identity: str
    participant_name: str | None
    started_at: datetime
    ended_at: datetime
    start_ms: int
    end_ms: int
    confidence: float
    words: tuple[Word, ...] = ()


_decoder = msgspec.json.Decoder(_Shown)


def caption_of(data: bytes) -> Caption | None:
    """None: an old or odd one, of which nothing can be said."""
    try:
        shown = _decoder.decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return Caption(
        utterance_id=shown.utterance_id,
        text=shown.text,
        language=shown.language,
        is_final=True,
        speaker=Speaker(shown.participant_identity, shown.participant_name),
        started_at=shown.started_at,
        ended_at=shown.ended_at,
        start_ms=shown.start_ms,
        end_ms=shown.end_ms,
        confidence=shown.confidence,
        words=shown.words,
    )


def shown_as(said: Caption, data: bytes) -> bytes:
    """`data` with the words of `said`."""
    shown = msgspec.json.decode(data) | {
        "text": said.text,
        "startedAt": timestamp(said.started_at),
        "endedAt": timestamp(said.ended_at),
        "startMs": said.start_ms,
        "endMs": said.end_ms,
        "words": said.words,
    }
    return msgspec.json.encode(shown)


def unheard_of(strays: Sequence[StrayRow]) -> Iterator[tuple[StrayRow, Caption, Caption | None]]:
    """Each stray as it is, and what of it is new: neither numbered nor in a stray before it. Odd ones are left out."""
    before: list[Caption] = []
    for stray in strays:
        said = caption_of(stray.data)
        if said is None:
            continue
        near = [other for data in stray.near if (other := caption_of(data)) is not None]
        near += [other for other in before if other.speaker.identity == said.speaker.identity]
        kept = unheard(said, near)
        if kept is not None:
            before.append(kept)
        yield stray, said, kept
