"""Audio over a WebSocket on the wire: what a sender may say, and what it is answered. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from gateway.live.protocol import encode
from gateway.reading import NotJson, read_json
from gateway.transcription.usecases.feed import FeedStart

SUBPROTOCOL: Final = "audio.v1"
_MAX_AGE_MS: Final = 60_000.0
MAX_TEXT: Final = 4096
"""Characters; nothing that a sender has to say is longer."""


class WrongMessage(Exception):
    """The sender said something that cannot be understood; the text says what is expected."""


class _Start(msgspec.Struct, tag_field="type", tag="start", rename="camel"):
    sample_rate: int
    channels: int = 1
    stream: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    age_ms: Annotated[float, Meta(ge=0, le=_MAX_AGE_MS)] | None = None
    gaps: bool = False


class Stop(msgspec.Struct, tag_field="type", tag="stop"):
    """No more audio will come."""


class Gap(msgspec.Struct, tag_field="type", tag="gap"):
    """For `ms` milliseconds before what follows nothing was recorded."""

    ms: Annotated[float, Meta(ge=0, le=86_400_000)]


class Pause(msgspec.Struct, tag_field="type", tag="pause"):
    """What the sender's microphone hears is not to be heard here until it resumes."""


class Resume(msgspec.Struct, tag_field="type", tag="resume"):
    """The end of a pause."""


class _Type(msgspec.Struct):
    type: str


Said: TypeAlias = FeedStart | Stop | Gap | Pause | Resume | None
_Known: Final[Any] = _Start | Stop | Gap | Pause | Resume


def read(text: str) -> Said:
    """One text message. None: of a type that is not known here, to be ignored.

    Raises: WrongMessage.
    """
    if len(text) > MAX_TEXT:
        raise WrongMessage(f"a text message of more than {MAX_TEXT} characters; see docs/audio.md")
    try:
        if read_json(text, _Type).type not in ("start", "stop", "gap", "pause", "resume"):
            return None
        said: _Start | Stop | Gap | Pause | Resume = read_json(text, _Known)
    except NotJson as error:
        raise WrongMessage(f"not understood ({error}); see docs/audio.md") from None
    if not isinstance(said, _Start):
        return said
    age_s = None if said.age_ms is None else said.age_ms / 1000
    return FeedStart(said.sample_rate, said.channels, said.stream, age_s, said.gaps)


def aged(start: FeedStart, text: str, by_s: float) -> tuple[FeedStart, str]:
    """The first message of a sender that has waited so long for its answer, read and as it came: its first sample was
    spoken so much earlier."""
    if start.age_s is None:
        return start, text
    age_ms = min(start.age_s * 1000 + by_s * 1000, _MAX_AGE_MS)
    told = read_json(text, dict[str, Any]) | {"ageMs": age_ms}
    return replace(start, age_s=age_ms / 1000), encode(told).decode()


def ready(taken: int | None) -> str:
    """`taken`: for senders that named their stream, how much of it is here already."""
    return _text({"type": "ready"} if taken is None else {"type": "ready", "samples": taken})


def paused(*, is_paused: bool) -> str:
    """The answer to a pause or resume: it is in force from here on, and kept."""
    return _text({"type": "paused" if is_paused else "resumed"})


def ack(taken: int) -> str:
    """`taken`: frames so far, those of the stream's earlier connections included."""
    return _text({"type": "ack", "samples": taken})


def _text(value: dict[str, str | int]) -> str:
    return encode(value).decode()
