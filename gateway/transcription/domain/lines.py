"""What a replica must have to transcribe a session, besides the database. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Line(StrEnum):
    """Names as metrics, logs and other replicas know them."""

    PROVIDER = "provider"
    LIVEKIT = "livekit"
    ENCODERS = "encoders"
    """Audio of encoders that are connected to another replica can be carried here."""


CAN_BE_DOWN: Final = (Line.PROVIDER, Line.LIVEKIT)
"""Without its being a matter of settings or versions."""


def needed(source: str) -> frozenset[Line]:
    """By a transcription whose audio comes from there."""
    return frozenset({Line.PROVIDER} | {"livekit": {Line.LIVEKIT}, "rtmp": {Line.ENCODERS}}.get(source, set()))
