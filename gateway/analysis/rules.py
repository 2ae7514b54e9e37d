"""The analysis of an ended session: how far it can be, and what it consists of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

Method = Literal["model", "extractive"]
Severity = Literal["low", "medium", "high"]


class AnalysisStatus(StrEnum):
    """Names as in the database and in the API."""

    PENDING = "PENDING"  # waits for a worker, or for its next attempt
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"  # its reason is kept; a service or the creator may ask for a retry


_S = AnalysisStatus
MOVES: Final[Mapping[AnalysisStatus, frozenset[AnalysisStatus]]] = {
    _S.PENDING: frozenset({_S.RUNNING}),
    _S.RUNNING: frozenset({_S.PENDING, _S.DONE, _S.FAILED}),  # PENDING: to be tried again, or left at a shutdown
    _S.DONE: frozenset(),
    _S.FAILED: frozenset({_S.PENDING}),
}


def may_move(before: AnalysisStatus, after: AnalysisStatus) -> bool:
    """Whether the table lists the move. Staying is no move."""
    return after in MOVES[before]


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance in spoken order. `at_ms`: from the session's start."""

    speaker: str | None
    text: str
    language: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that an analysis is made from."""

    lines: tuple[Line, ...]
    title: str | None = None
    held_at: datetime | None = None

    @property
    def language(self) -> str | None:
        """The language in which most letters were spoken."""
        return main_language(self.lines)


class Task(msgspec.Struct, rename="camel", omit_defaults=True):
    """Something to do. `dueDate`: YYYY-MM-DD where it could be told, else as it was said. `quote`: what was said,
    `atMs` after the session's start."""

    title: str
    assignee: str | None = None
    due_date: str | None = None
    quote: str | None = None
    at_ms: int | None = None


class Risk(msgspec.Struct, rename="camel", omit_defaults=True):
    """Something that may go wrong. `mitigation`: what was said to do about it."""

    title: str
    severity: Severity
    mitigation: str | None = None
    quote: str | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What came out."""

    method: Method
    summary: str
    tasks: tuple[Task, ...] = ()
    risks: tuple[Risk, ...] = ()


NOTHING_SAID: Final = "No speech was transcribed in this session."


def main_language(lines: Sequence[Line]) -> str | None:
    """Two- or three-letter code, in lower case, of the language with most letters; None where none is known."""
    spoken: Counter[str] = Counter()
    for line in lines:
        if line.language:
            spoken[line.language.lower().partition("-")[0]] += len(line.text)
    return spoken.most_common(1)[0][0] if spoken else None


def fitting(kind: type[Task] | type[Risk], document: Any) -> list[Any]:
    """Those items of a stored document that have our shape: the app may have written the row."""
    found = []
    for item in document if isinstance(document, list) else []:
        try:
            found.append(msgspec.convert(item, kind))
        except msgspec.ValidationError:
            continue
    return found


def one_line(text: str, limit: int) -> str:
    """Without line breaks and control characters, at most `limit` characters."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
