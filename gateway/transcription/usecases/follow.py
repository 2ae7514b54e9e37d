"""What a replica asks the database about sessions that other replicas run: all of them in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.transcription.domain.transcription import Lease, Numbering


@dataclass(frozen=True, slots=True)
class Standing:
    """A session's newest transcription. `state`: as the stream spells it. `owner`: who holds or held its lease."""

    lease: Lease
    owner: str
    state: str
    numbering: Numbering


@dataclass(frozen=True, slots=True)
class FollowedFinal:
    """A stored final of one of several sessions."""

    session_id: str
    epoch: str
    seq: int
    utterance_id: str
    data: bytes


class Standings(Protocol):
    """Both may raise RecordsUnavailable, and may be repeated."""

    async def look(self, session_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Where sessions stand, by id; without those that were never transcribed. One statement."""

    async def finals(self, after: Mapping[str, int], limit: int) -> Sequence[FollowedFinal]:
        """Of each session (by id) at most `limit` finals with a number above the given one, in order. One statement."""
