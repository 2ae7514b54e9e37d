"""What waits for the database, and the disk on which it waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class FinalToStore:
    """A numbered final with the bytes that watchers will see; one row and one event in the database."""

    lease: Lease
    session_id: str
    epoch: str
    seq: int
    caption: Caption
    participant_id: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredFinal:
    """A final read back: `data` is the JSON that watchers see. `epoch`: whose number it has, while it is not stored."""

    seq: int
    data: bytes
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class UsageToStore:
    """The meters of one transcription at one moment. Values are absolute, so a later one makes an earlier one moot."""

    claimed: Claimed
    participant_ids: Mapping[str, str | None]
    usage: tuple[Usage, ...]


Entry = FinalToStore | UsageToStore


class JournalTrouble(Exception):
    """The journal is full or its disk fails; nothing of the call was kept. The text says what to do."""


class Journal(Protocol):
    """Entries on disk, in order, until the database has them. Every method may raise JournalTrouble."""

    def __len__(self) -> int: ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """All of them are on the disk when this returns, or none."""

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        """At most so many, and the mark to `forget` them by."""

    async def forget(self, mark: int) -> None: ...
    async def finals(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        """Those that are not forgotten, by number."""
