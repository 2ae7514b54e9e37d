"""Migrations and the history of those that were applied: which comes next, and when this build must not go on. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from storage.postgres.ownership import Ownership


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


def unfit_history(history: Sequence[Applied], build: Sequence[Migration]) -> list[str]:
    """Why this build must not touch a database with that history: it is from a newer build, or files were changed."""
    known = {(m.set, m.version): m for m in build}
    problems = []
    for row in history:
        migration = known.get((row.set, row.version))
        label = f"{row.set}/{row.version:04}_{row.name}"
        if migration is None:
            problems.append(f"migration {label} was applied by a newer gateway; run that version or a newer one")
        elif migration.checksum != row.checksum:
            problems.append(
                f"migration {label} was changed after it had been applied; restore the file it was applied from"
            )
    return problems


def next_pending(history: Sequence[Applied], build: Sequence[Migration], ownership: Ownership) -> Migration | None:
    """The app's tables first, where they are ours; then by number. None when all is applied."""
    done = {(row.set, row.version) for row in history}
    sets = ("app", "gateway") if ownership is Ownership.OWN else ("gateway",)
    pending = [m for m in build if m.set in sets and (m.set, m.version) not in done]
    return min(pending, key=lambda m: (sets.index(m.set), m.version), default=None)
