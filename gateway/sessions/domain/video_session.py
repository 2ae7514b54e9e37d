"""A video session and who is in it: their states, and the slug that names the session and its room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class SessionStatus(StrEnum):
    """Names as in the app's table."""

    CREATED = "CREATED"  # made; no participant has joined yet
    LIVE = "LIVE"  # since the first join
    ENDED = "ENDED"  # over, ready for analysis
    EXPIRED = "EXPIRED"  # no participant joined in time


_S = SessionStatus
MOVES: Final[Mapping[str, frozenset[SessionStatus]]] = {
    _S.CREATED: frozenset({_S.LIVE, _S.EXPIRED}),
    _S.LIVE: frozenset({_S.ENDED}),
    _S.ENDED: frozenset(),
    _S.EXPIRED: frozenset(),
}


def may_move(before: str, after: SessionStatus) -> bool:
    """Whether the table lists the move. `before` may also be a label that the app has added since: that never moves."""
    return after in MOVES.get(before, frozenset())


def is_over(status: str) -> bool:
    """Nothing new begins in it. False for a label that the app has added since."""
    return status in (SessionStatus.ENDED, SessionStatus.EXPIRED)


class Role(StrEnum):
    HOST = "HOST"
    GUEST = "GUEST"


@dataclass(frozen=True, slots=True)
class VideoSession:
    """The app's row. `status` is a SessionStatus, or a label that the app has added since."""

    id: str
    slug: str
    title: str | None
    created_by_user_id: str | None
    space_id: str
    status: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_activity_at: datetime | None = None
    raw_transcript_blob_url: str | None = None
    raw_transcript_size_bytes: int | None = None
    raw_transcript_ready_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Participant:
    """The app's row. `role` is a Role, or a label that the app has added since; `left_at` is None while present."""

    id: str
    session_id: str
    user_id: str | None
    identity: str
    name: str | None
    role: str
    joined_at: datetime
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One utterance as the app keeps it. `identity` and `name` are the speaker's, where known."""

    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    started_at: datetime
    ended_at: datetime | None
    identity: str | None = None
    name: str | None = None


# A nanoid over letters and digits only, so that no slug reads as a command line option: 47 bits in eight characters.
SLUG_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SLUG_LENGTH: Final = 8


def new_slug(choose: Callable[[str], str]) -> str:
    """`choose` picks one letter at random, unpredictably: a guest's only key to a session may be its slug."""
    return "".join(choose(SLUG_LETTERS) for _ in range(SLUG_LENGTH))
