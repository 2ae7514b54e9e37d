"""The transcript of a whole session as one JSON document; docs/transcript-document.md publishes its schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gateway.moment import timestamp

FORMAT: Final = "transcript-document/1"
_PLAIN: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Attendee:
    """A participant's row, as the head of the document needs it."""

    id: str
    identity: str
    name: str | None
    role: str
    user_id: str | None
    joined_at: datetime
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class Head:
    """The session, and where its numbering stands. `origin` is time zero of `startMs`; None when nothing ran."""

    session_id: str
    slug: str
    title: str | None
    space_id: str
    created_by: str | None
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attendees: Sequence[Attendee]
    epoch: str | None
    origin: datetime | None
    last_seq: int
    finals_complete: bool | None


@dataclass(frozen=True, slots=True)
class StoredFinal:
    """One final as it is stored. `heard` is the event's JSON; None for a segment that the app has written itself."""

    utterance_id: str
    participant_id: str | None
    identity: str | None
    name: str | None
    text: str
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    seq: int | None
    heard: bytes | None
    translations: bytes | None = None
    """JSON: text by language."""


class Word(msgspec.Struct, rename="camel"):
    text: str
    start_ms: int
    end_ms: int


class _Heard(msgspec.Struct, rename="camel"):
    text: str = ""
    participant_identity: str | None = None
    participant_name: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    confidence: float | None = None
    words: list[Word] = []


class Segment(msgspec.Struct, rename="camel"):
    """One final. `words` is empty where the provider gave none, or where the text was changed since."""

    seq: int | None
    utterance_id: str
    participant_id: str | None
    participant_identity: str | None
    participant_name: str | None
    text: str
    language: str | None
    started_at: str
    ended_at: str | None
    start_ms: int
    end_ms: int
    confidence: float | None
    words: list[Word]
    translations: dict[str, str] = {}
    """Text by language, where there are some."""


class Participant(msgspec.Struct, rename="camel"):
    participant_id: str
    identity: str
    name: str | None
    role: str
    user_id: str | None
    joined_at: str
    left_at: str | None


class Document(msgspec.Struct, rename="camel"):
    """The whole; `segments` are in spoken order."""

    format: str
    session_id: str
    session_slug: str
    title: str | None
    space_id: str
    created_by_user_id: str | None
    status: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    generated_at: str
    epoch: str | None
    origin: str | None
    last_seq: int
    finals_complete: bool | None
    participants: list[Participant]
    segments: list[Segment]


_heard: Final = msgspec.json.Decoder(_Heard).decode
_texts: Final = msgspec.json.Decoder(dict[str, str]).decode
_encode: Final = msgspec.json.Encoder().encode


def opening(head: Head, now: datetime) -> bytes:
    """The document as JSON up to its first segment; segments joined by commas and `CLOSING` follow. `now`: made at."""
    attendees = [
        Participant(
            one.id,
            one.identity,
            one.name,
            one.role,
            one.user_id,
            timestamp(one.joined_at),
            _moment(one.left_at),
        )
        for one in head.attendees
    ]
    document = Document(
        FORMAT,
        head.session_id,
        head.slug,
        head.title,
        head.space_id,
        head.created_by,
        head.status,
        timestamp(head.created_at),
        _moment(head.started_at),
        _moment(head.ended_at),
        timestamp(now),
        head.epoch,
        _moment(head.origin),
        head.last_seq,
        head.finals_complete,
        attendees,
        [],
    )
    return _encode(document).removesuffix(CLOSING)


CLOSING: Final = b"]}"


def segment(stored: StoredFinal, origin: datetime) -> bytes:
    """One final as JSON. `origin`: time zero of `startMs`, for a segment whose event does not tell its times."""
    heard = _heard(stored.heard) if stored.heard is not None else _Heard()
    start = heard.start_ms if heard.start_ms is not None else _ms(stored.started_at - origin)
    end = heard.end_ms if heard.end_ms is not None else _ms((stored.ended_at or stored.started_at) - origin)
    return _encode(
        Segment(
            stored.seq,
            stored.utterance_id,
            stored.participant_id,
            stored.identity or heard.participant_identity,
            stored.name or heard.participant_name,
            stored.text,
            stored.language,
            timestamp(stored.started_at),
            _moment(stored.ended_at),
            start,
            max(end, start),
            heard.confidence,
            heard.words if heard.text == stored.text else [],
            _texts(stored.translations) if stored.translations is not None else {},
        )
    )


def key(slug: str, secret: str) -> str:
    """Name of a session's document in a blob store. `secret` keeps it from being guessed where URLs are public."""
    return f"transcripts/{_PLAIN.sub('-', slug)[:64].strip('-') or 'session'}-{secret}.json"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _ms(length: timedelta) -> int:
    return max(0, length // timedelta(milliseconds=1))
