"""What is to be stored in the database, and the port of the disk on which it waits while that does not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class FinalToStore:
    """A numbered final; one segment and one event in the database. `data`: the JSON that watchers see.

    `participant_id`: the speaker's row; None while it is not known.
    """

    lease: Lease
    session_id: str
    epoch: str
    seq: int
    caption: Caption
    participant_id: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class UsageToStore:
    """The meters of one transcription at one moment, with absolute values: the latest one alone would do.

    `participant_ids`: by identity.
    """

    claimed: Claimed
    participant_ids: Mapping[str, str | None]
    usage: tuple[Usage, ...]


@dataclass(frozen=True, slots=True)
class TranslationToStore:
    """Of one utterance, into one language. `data`: the JSON that watchers see, an object, without its numbers.

    `transcription_id`: whose provider has said it; it is stored whoever owns that now.
    """

    transcription_id: str
    session_id: str
    slug: str
    utterance_id: str
    language: str
    data: bytes


Entry = FinalToStore | UsageToStore | TranslationToStore


class JournalTrouble(Exception):
    """The journal is full or its disk fails; the call has changed nothing. The text says what to do."""


class Journal(Protocol):
    """Entries on disk, oldest first, which outlive the process. Every coroutine may raise JournalTrouble."""

    def __len__(self) -> int:
        """Entries that are not forgotten."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """All of them are durable when this returns, behind all earlier ones. Raises JournalTrouble: none of them is.

        One call at a time.
        """

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        """At most `count` entries, and the mark by which to `forget` exactly these."""

    async def forget(self, mark: int) -> None:
        """Drop all entries up to `mark`, which the database has. After a crash they may be there again."""

    async def finals(self, session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        """Finals that this process has appended and that are not forgotten: at most `limit` with a number above
        `after`, in order."""
