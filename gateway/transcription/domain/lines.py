"""What a replica must reach to transcribe a session, besides the database. Pure."""

from __future__ import annotations

from enum import StrEnum


class Line(StrEnum):
    """Names as metrics, logs and other replicas know them."""

    PROVIDER = "provider"
    LIVEKIT = "livekit"


def needed(source: str) -> frozenset[Line]:
    """By a transcription whose audio comes from there."""
    return frozenset(Line) if source == "livekit" else frozenset({Line.PROVIDER})


def can_move(source: str) -> bool:
    """Whether the audio follows to another replica. An encoder over RTMP does not: it publishes again where it was told
    to, which takes the transcription back there, and meanwhile its audio is lost."""
    return source != "rtmp"
