"""What a watcher needs to know of a session: that it exists, where its numbering stands, its finals so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import SessionNotFound
from gateway.outage import until_database_answers
from gateway.transcription.domain.transcription import Numbering
from gateway.transcription.domain.translations import numbered
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.records import Records


@dataclass(frozen=True, slots=True)
class Watched:
    """A session that may be watched. `is_over`: it has ended or expired."""

    session_id: str
    slug: str
    space_id: str
    is_over: bool


class NoSuchLanguage(Exception):
    """Nobody has asked for translations into it. The text says what there is."""

    def __init__(self, language: str, known: Sequence[str]) -> None:
        there = f"there are {', '.join(known)}" if known else "there are none"
        super().__init__(
            f"nobody has asked for translations of this session into {language[:16]!r} ({there}); "
            "start its transcription with translateTo, or leave lang out"
        )


class LiveState(Protocol):
    """Where this replica shows the live state of sessions."""

    def runs_here(self, session_slug: str) -> bool:
        """Whether a run of this replica keeps the session's state and numbering itself."""

    def refresh(self, session_slug: str, numbering: Numbering | None, state: str) -> None:
        """Replace both, as the database tells them. `state`: as the stream spells it, `idle` before any transcription.

        May be repeated; only for a session that does not run here."""


class Watching:
    """Read-only. `finals`: also those that only this process holds."""

    def __init__(self, records: Records, finals: FinalReader) -> None:
        self._sessions = records.sessions
        self._transcriptions = records.transcriptions
        self._translations = records.translations
        self._finals = finals

    async def session(self, slug: str) -> Watched:
        """Raises: SessionNotFound, RecordsUnavailable."""
        session = await self._sessions.by_slug(slug) if 0 < len(slug) <= 128 else None
        if session is None:
            raise SessionNotFound(slug[:128])
        return Watched(session.id, session.slug, session.space_id, session.is_over)

    async def refresh(self, watched: Watched, live: LiveState) -> None:
        """Bring the live state up to date on a session that does not run here. Raises: RecordsUnavailable."""
        if live.runs_here(watched.slug):
            return
        record = await self._transcriptions.newest(watched.slug)
        numbering = await self._transcriptions.numbering(watched.session_id) if record is not None else None
        if not live.runs_here(watched.slug):  # it may have started meanwhile
            live.refresh(watched.slug, numbering, record.state.shown if record is not None else "idle")

    async def end(self, watched: Watched) -> tuple[str, int] | None:
        """Epoch and number of the last final so far; None before the numbering began. Raises: RecordsUnavailable."""
        numbering = await self._transcriptions.numbering(watched.session_id)
        return (numbering.epoch, numbering.last_seq) if numbering is not None else None

    async def translations(self, session_id: str, language: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Numbers and data of a language's translations after a number, in order. Raises: RecordsUnavailable."""
        found = await self._translations.since(session_id, language, after, limit)
        return [(one.seq, numbered(one.data, one.seq, one.of_seq)) for one in found]

    async def check_language(self, session_id: str, language: str) -> None:
        """Raises: NoSuchLanguage when the session was transcribed and not translated into it; RecordsUnavailable."""
        known = await self._translations.languages(session_id)
        if language not in known and await self._transcriptions.numbering(session_id) is not None:
            raise NoSuchLanguage(language, known)

    def reader(self, watched: Watched) -> Callable[[int, int], Awaitable[list[tuple[int, bytes]]]]:
        """A function (after, limit) → numbers and data of the session's finals, which waits for the database."""

        async def read(after: int, limit: int) -> list[tuple[int, bytes]]:
            finals = await until_database_answers(lambda: self._finals.since(watched.session_id, after, limit))
            return [(final.seq, final.data) for final in finals]

        return read
