"""The browser stream on the wire: messages, close codes, resume points, subprotocols. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from gateway.moment import timestamp
from gateway.transcription.domain.captions import Caption, Word

SUBPROTOCOL: Final = "transcript.v1"
_BEARER: Final = "bearer."
NO_EPOCH: Final = "-"
"""Epoch of a session whose numbering has not begun; never equal to a real one."""
BEAT: Final = b'{"v":1,"type":"beat"}'
"""For pages that ask for it (`beat=1`): they cannot see pings, and a line can die without a word."""


class CloseCode(IntEnum):
    """4000–4499: come back. 4500–4999: do not."""

    DRAINING = 4000
    TOO_SLOW = 4008
    TOO_MANY = 4029
    MALFORMED = 4500
    CREDENTIAL_REFUSED = 4501
    NO_SUCH_SESSION = 4504
    TAKEN_OVER = 4509
    SESSION_ENDED = 4510
    WRONG_AUDIO = 4522
    NOT_TEXT = 1003
    TOO_MANY_FRAMES = 1008
    NORMAL = 1000
    INTERNAL = 1011


class StreamState(StrEnum):
    """How the session's transcription stands, as `hello` and `session.state` say it."""

    IDLE = "idle"  # there has never been one
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The last final a watcher has: everything after it is wanted."""

    epoch: str
    seq: int
    translation: int = 0
    """The last translation it has, of the language it reads."""


_POINT: Final = re.compile(r"(.{0,64}):([0-9]{1,15}):([0-9]{1,15})", re.DOTALL)


def parse_since(text: str, *, translated: bool = False) -> ResumePoint:
    """Read `EPOCH:SEQ`; with `translated` perhaps `EPOCH:SEQ:TRANSLATION`.

    Raises: ValueError when it has not that shape.
    """
    if translated and (whole := _POINT.fullmatch(text)):
        return ResumePoint(whole[1], int(whole[2]), int(whole[3]))
    epoch, colon, seq = text.rpartition(":")
    if not colon or not seq.isdecimal() or not seq.isascii() or len(seq) > 15 or len(epoch) > 64:
        raise ValueError("since must be EPOCH:SEQ as the stream's messages carry them, for example k3f9:42")
    return ResumePoint(epoch, int(seq))


def offered_token(subprotocols: Sequence[str]) -> str | None:
    """The credential among the offered subprotocols: `transcript.v1, bearer.<token>`."""
    return next((name[len(_BEARER) :] for name in subprotocols if name.startswith(_BEARER)), None)


class _Transcript(msgspec.Struct, rename="camel"):
    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    participant_identity: str
    participant_name: str | None
    started_at: str
    ended_at: str
    start_ms: int
    end_ms: int
    confidence: float
    words: tuple[Word, ...]
    stable_chars: int | msgspec.UnsetType = msgspec.UNSET


_encoder = msgspec.json.Encoder()


def encode_caption(caption: Caption, stable_chars: int | None = None) -> bytes:
    """The `data` of transcript.partial and transcript.final. `stable_chars`: of a partial; UTF-16 units."""
    return _encoder.encode(
        _Transcript(
            caption.utterance_id,
            caption.text,
            caption.language,
            caption.is_final,
            caption.speaker.identity,
            caption.speaker.name,
            timestamp(caption.started_at),
            timestamp(caption.ended_at),
            caption.start_ms,
            caption.end_ms,
            caption.confidence,
            caption.words,
            msgspec.UNSET if stable_chars is None else stable_chars,
        )
    )


def encode(value: object) -> bytes:
    """Any other `data` as JSON."""
    return _encoder.encode(value)


def without_words(payload: bytes) -> bytes:
    """The `data` of a partial's message, with nothing said: it takes the words off the screens."""
    data: dict[str, object] = msgspec.json.decode(payload)["data"]
    return _encoder.encode(data | {"text": "", "words": [], "stableChars": 0})


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    """As JSON. A slug or an epoch is in every message of its session."""
    return encode(text).decode()


def message(kind: str, slug: str, epoch: str, seq: int | None, at: datetime, data: bytes) -> bytes:
    """One message of the stream as JSON. `data` is JSON already and is not read again."""
    head = (
        f'{{"v":1,"type":"{kind}","sessionSlug":{_quoted(slug)},"epoch":{_quoted(epoch)},'
        + (f'"seq":{seq},' if seq is not None else "")
        + f'"ts":"{timestamp(at)}","data":'
    )
    return head.encode() + data + b"}"


class Message:
    """Encoded once; framed once for each kind of connection that is watched on.

    `kind`: the message's `type`. `payload`: the whole message as JSON. `point`: EPOCH:SEQ of the last final that a
    watcher has who has this message; None when the message says nothing of that.
    """

    __slots__ = ("_framed", "kind", "payload", "point")

    def __init__(self, kind: str, payload: bytes, point: str | None = None) -> None:
        self.kind = kind
        self.payload = payload
        self.point = point
        self._framed: dict[Framing, bytes] = {}

    def at(self, point: str | None) -> Message:
        """The same with another point."""
        return Message(self.kind, self.payload, point)

    def framed(self, framing: Framing) -> bytes:
        """The bytes for one kind of connection; the same object each time."""
        return self._framed.get(framing) or self._framed.setdefault(framing, framing(self))


Framing: TypeAlias = Callable[[Message], bytes]
"""What a message is on one kind of connection. A module-level function: it is the same key for every watcher."""
