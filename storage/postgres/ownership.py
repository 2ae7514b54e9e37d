"""Whose tables are these, and do they fit? Pure: facts about a database in, a decision or a list of problems out.

The facts come from `pg_catalog` (`catalogue.py`); information_schema hides what the role has no right on, so that "not
there" and "not allowed" would look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Mode = Literal["auto", "own", "external"]


class Ownership(StrEnum):
    """Whose the app's tables are."""

    OWN = "own"  # we made the app's tables and migrate them
    EXTERNAL = "external"  # Prisma or an operator did: we check them and change nothing


@dataclass(frozen=True, slots=True)
class Column:
    type: str  # as format_type prints it, or the name of an enum
    not_null: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalogue says about the app's schema."""

    columns: Mapping[str, Mapping[str, Column]]  # table -> column; only tables that exist
    prisma_history: bool
    own_history: bool  # our own record says that we made the app's tables
    unique: frozenset[tuple[str, tuple[str, ...]]] = frozenset()  # (table, columns in order), valid and not partial
    labels: Mapping[str, frozenset[str]] | None = None  # enum -> labels
    privileges: frozenset[tuple[str, str]] = frozenset()  # (table, "SELECT"), …


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


TABLES: Final = (
    "Space",
    "User",
    "VideoSession",
    "Participant",
    "TranscriptSegment",
    "TranscriptionUsage",
    "SessionAnalysis",
)


def decide(mode: Mode, facts: Facts) -> Ownership | Refusal:
    """The table of the operator's page `docs/database.md`, row by row."""
    missing = [table for table in TABLES if table not in facts.columns]
    if not missing:
        ours = facts.own_history and not facts.prisma_history
        if mode == "external" or (mode == "auto" and not ours):
            return Ownership.EXTERNAL
        if ours:
            return Ownership.OWN
        return Refusal(
            "the tables were made by somebody else (Prisma or by hand), so they cannot be owned; "
            "use mode auto or external"
        )
    if len(missing) < len(TABLES):
        return Refusal(
            f"some of the app's tables are missing: {', '.join(missing)}; run the app's migrations, "
            "or give the gateway a database or schema (?schema=) of its own"
        )
    if facts.prisma_history:
        return Refusal(
            "the app's migrations have not run yet (there is _prisma_migrations, but no tables); run them first"
        )
    if mode == "external":
        return Refusal("the app's tables do not exist; run the app's migrations first")
    if facts.own_history:
        return Refusal(
            "the gateway made the app's tables once, but they are not in this schema; "
            "restore them, correct ?schema= in DATABASE_URL, or begin with an empty database"
        )
    return Ownership.OWN


_TIME: Final = "timestamp(3) without time zone"

# What the gateway reads and writes: column -> type, `!` for NOT NULL.
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "VideoSession": {
        "id": "text!",
        "slug": "text!",
        "title": "text",
        "createdByUserId": "text",
        "status": "SessionStatus!",
        "createdAt": "time!",
        "startedAt": "time",
        "endedAt": "time",
        "lastActivityAt": "time",
        "spaceId": "text!",
        "rawTranscriptBlobUrl": "text",
        "rawTranscriptSizeBytes": "integer",
        "rawTranscriptReadyAt": "time",
    },
    "Participant": {
        "id": "text!",
        "videoSessionId": "text!",
        "userId": "text",
        "identity": "text!",
        "name": "text",
        "role": "ParticipantRole!",
        "joinedAt": "time!",
        "leftAt": "time",
    },
    "TranscriptSegment": {
        "id": "text!",
        "videoSessionId": "text!",
        "participantId": "text",
        "utteranceId": "text!",
        "text": "text!",
        "language": "text",
        "isFinal": "boolean!",
        "startedAt": "time!",
        "endedAt": "time",
        "createdAt": "time!",
    },
    "TranscriptionUsage": {
        "id": "text!",
        "videoSessionId": "text!",
        "participantId": "text",
        "userId": "text",
        "startedAt": "time!",
        "endedAt": "time",
        "durationSeconds": "integer!",
        "durationMinutes": "integer!",
        "audioChunksSent": "integer!",
        "transcriptsReceived": "integer!",
        "finalTranscripts": "integer!",
        "partialTranscripts": "integer!",
        "costPerMinute": "double precision!",
        "totalCost": "double precision!",
        "errorsCount": "integer!",
        "createdAt": "time!",
        "updatedAt": "time!",
    },
    "SessionAnalysis": {
        "id": "text!",
        "sessionId": "text!",
        "status": "AnalysisStatus!",
        "createdAt": "time!",
        "updatedAt": "time!",
        "summary": "text",
        "tasksJson": "jsonb",
        "risksJson": "jsonb",
    },
}
_UNIQUE: Final = (  # each stands in an ON CONFLICT or makes a lookup unambiguous
    ("VideoSession", ("slug",)),
    ("Participant", ("videoSessionId", "identity")),
    ("TranscriptSegment", ("videoSessionId", "utteranceId")),
    ("TranscriptionUsage", ("id",)),
    ("SessionAnalysis", ("sessionId",)),
)
_LABELS: Final[Mapping[str, frozenset[str]]] = {
    "SessionStatus": frozenset({"CREATED", "LIVE", "ENDED", "EXPIRED"}),
    "ParticipantRole": frozenset({"HOST", "GUEST"}),
    "AnalysisStatus": frozenset({"PENDING", "RUNNING", "DONE", "FAILED"}),
}
# Transcribing needs these; without the others only the sessions module is affected.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "VideoSession": ("SELECT", "UPDATE"),
    "Participant": ("SELECT", "INSERT", "UPDATE"),
    "TranscriptSegment": ("SELECT", "INSERT", "UPDATE"),
    "TranscriptionUsage": ("SELECT", "INSERT", "UPDATE"),
}
_WISHED: Final[Mapping[str, tuple[str, ...]]] = {
    "VideoSession": ("INSERT", "DELETE"),
    "Participant": ("DELETE",),
    "TranscriptSegment": ("DELETE",),
    "TranscriptionUsage": ("DELETE",),
    "SessionAnalysis": ("SELECT", "INSERT", "UPDATE", "DELETE"),
}


def check(facts: Facts) -> tuple[list[str], list[str]]:
    """Returns: every problem that would make a write fail or a read lie, then mere warnings."""
    problems: list[str] = []
    warnings: list[str] = []
    for table, wanted in _COLUMNS.items():
        actual = facts.columns.get(table)
        if actual is None:
            problems.append(f'table "{table}" is missing')
            continue
        for name, spec in wanted.items():
            problems += _column_problems(f'"{table}"."{name}"', spec, actual.get(name))
        problems += [
            f'"{table}"."{name}" is NOT NULL without a default and unknown to this build: inserts would fail; '
            "give it a default or update the gateway"
            for name, column in actual.items()
            if name not in wanted and column.not_null and not column.has_default
        ]
        problems += [
            f'"{table}" lacks the unique index on ({", ".join(columns)})'
            for owner, columns in _UNIQUE
            if owner == table and (table, columns) not in facts.unique
        ]
        rights = {right for owner, right in facts.privileges if owner == table}
        if lacking := [right for right in _NEEDED.get(table, ()) if right not in rights]:
            problems.append(f'the role may not {", ".join(lacking)} on "{table}"; GRANT {", ".join(lacking)} on it')
        if lacking := [right for right in _WISHED.get(table, ()) if right not in rights]:
            warnings.append(
                f'the role may not {", ".join(lacking)} on "{table}": creating, deleting or analysing a session fails'
            )
    for enum, labels in _LABELS.items():
        if absent := sorted(labels - (facts.labels or {}).get(enum, frozenset())):
            problems.append(f'enum "{enum}" lacks {", ".join(absent)}')
    return problems, warnings


def _column_problems(name: str, spec: str, actual: Column | None) -> list[str]:
    kind, not_null = spec.removesuffix("!"), spec.endswith("!")
    kind = _TIME if kind == "time" else kind
    if actual is None:
        return [f"column {name} ({kind}) is missing"]
    problems = []
    if actual.type != kind:
        problems.append(f"column {name} is {actual.type}; it must be {kind}")
    if actual.not_null and not not_null:
        problems.append(f"column {name} is NOT NULL, but the gateway may have nothing to put there")
    if not_null and not actual.not_null:
        problems.append(f"column {name} allows NULL; it must be NOT NULL")
    return problems
