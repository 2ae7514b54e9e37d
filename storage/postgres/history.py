"""Migrations and the history of those that were applied: which comes next, and when this build must not go on. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storage.postgres.ownership import Ownership

BREAKING: Final = "breaking_"
"""How the name of a migration begins behind which an older build must not start. All others only add, so older builds
go on beside them while replicas are replaced, and may be started again."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `migrations/<set>/NNNN_name.sql`."""

    set: str
    version: int
    name: str
    text: str

    @property
    def label(self) -> str:
        """`set/NNNN_name`, for people."""
        return f"{self.set}/{self.version:04}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal; the history keeps it, so an applied file must never change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of the history."""

    set: str
    version: int
    name: str
    checksum: str

    @property
    def label(self) -> str:
        """As a migration's."""
        return f"{self.set}/{self.version:04}_{self.name}"


def unfit_history(history: Sequence[Applied], build: Sequence[Migration]) -> list[str]:
    """Why this build must not touch a database with that history: a newer one broke with it, or files were changed."""
    checksums = {(m.set, m.version): m.checksum for m in build}
    problems = [
        f"migration {row.label} was applied by a newer gateway; run that version or a newer one"
        for row in newer(history, build)
        if row.name.startswith(BREAKING)
    ]
    return problems + [
        f"migration {row.label} was changed after it had been applied; restore the file it was applied from"
        for row in history
        if checksums.get((row.set, row.version), row.checksum) != row.checksum
    ]


def newer(history: Sequence[Applied], build: Sequence[Migration]) -> list[Applied]:
    """What a newer build has applied."""
    known = {(m.set, m.version) for m in build}
    return [row for row in history if (row.set, row.version) not in known]


def next_pending(history: Sequence[Applied], build: Sequence[Migration], ownership: Ownership) -> Migration | None:
    """The app's tables first, where they are ours; then by number. None when all is applied."""
    done = {(row.set, row.version) for row in history}
    sets = ("app", "gateway") if ownership is Ownership.OWN else ("gateway",)
    pending = [m for m in build if m.set in sets and (m.set, m.version) not in done]
    return min(pending, key=lambda m: (sets.index(m.set), m.version), default=None)
