"""The database in memory, and what a test does to it behind the gateway's back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from support.fakes.accounts import MemoryProviderSessionRecords, MemoryUsageRecords
from support.fakes.limits import MemoryLedger
from support.fakes.ports import (
    MemoryFinalRecords,
    MemoryHostRecords,
    MemoryLeases,
    MemorySessionRecords,
    MemoryTranscriptionRecords,
    MemoryVocabularyRecords,
)
from support.fakes.tables import Tables
from support.fakes.translations import MemoryTranslationRecords

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import Participation, Records


class MemoryRecords(Records):
    """What `postgres_records` gives, in dictionaries."""

    finals: MemoryFinalRecords
    usage: MemoryUsageRecords

    def __init__(
        self,
        clock: Clock,
        *,
        finals: Callable[[Tables], MemoryFinalRecords] = MemoryFinalRecords,
        usage: Callable[[Tables], MemoryUsageRecords] = MemoryUsageRecords,
    ) -> None:
        self.tables = tables = Tables(clock)
        super().__init__(
            sessions=MemorySessionRecords(tables),
            leases=MemoryLeases(tables),
            transcriptions=MemoryTranscriptionRecords(tables),
            hosts=MemoryHostRecords(tables),
            finals=finals(tables),
            usage=usage(tables),
            translations=MemoryTranslationRecords(tables),
            provider_sessions=MemoryProviderSessionRecords(tables),
            vocabularies=MemoryVocabularyRecords(tables),
        )
        self.ledger = MemoryLedger(self)

    @property
    def down(self) -> bool:
        """Every port raises RecordsUnavailable."""
        return self.tables.down

    @down.setter
    def down(self, is_down: bool) -> None:
        self.tables.down = is_down

    # --- what the app and other replicas do ---------------------------------------------------------------

    def end_session(self, slug: str, status: str = "ENDED") -> None:
        """Also makes it LIVE, and so on."""
        self.tables.sessions[slug] = replace(self.tables.sessions[slug], status=status)

    def delete_session(self, slug: str) -> None:
        """By the gateway, with all that belongs to it."""
        tables, session = self.tables, self.tables.sessions.pop(slug)
        for row in [row for row in tables.transcriptions.values() if row.session_id == session.id]:
            del tables.transcriptions[row.id]
        tables.streams.pop(session.id, None)
        tables.finals.pop(session.id, None)
        tables.usage = {key: used for key, used in tables.usage.items() if used[0] != session.id}

    def delete_session_in_app(self, slug: str) -> None:
        """By the app, which knows nothing of our tables: the transcription's row stays."""
        del self.tables.sessions[slug]

    def person(self, slug: str, identity: str, *, role: str = "GUEST", user_id: str | None = None) -> None:
        """The app lets a participant join."""
        person = Participation(identity, None, role, self.tables.clock.now(), user_id)
        self.tables.present[self.tables.sessions[slug].id, identity] = person

    def left(self, slug: str, identity: str) -> None:
        """The app notes that a participant has left."""
        self.tables.present.pop((self.tables.sessions[slug].id, identity), None)

    def steal(self, slug: str, owner: str, lease_s: float = 3600.0) -> None:
        """Another replica takes the lease although it has not run out."""
        for row in self.tables.transcriptions.values():
            if row.slug == slug and row.is_active:
                row.owner, row.fence = owner, row.fence + 1
                self.tables.lease(row, lease_s)

    # --- what a test reads --------------------------------------------------------------------------------

    def stored(self, slug: str) -> list[FinalToStore]:
        """Finals of a session, by number."""
        finals = self.tables.finals.get(self.tables.sessions[slug].id, {})
        return [finals[seq] for seq in sorted(finals)]

    def metered(self) -> list[tuple[str, str, Usage]]:
        """Session, transcription, usage."""
        return list(self.tables.usage.values())

    @property
    def saves(self) -> list[tuple[datetime, tuple[Usage, ...]]]:
        """Readings that were saved, and when."""
        return self.usage.saves

    async def space_of(self, session_id: str) -> str | None:
        await self.tables.answer()
        session = self.tables.alive(session_id)
        return session.space_id if session is not None else None


class CutLine:
    """One replica's way to a database that others share: cut for it alone. Stands in for `MemoryRecords`."""

    def __init__(self, records: MemoryRecords) -> None:
        self.cut = False
        self._records = records

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._records, name)
        return _CutPort(self, found) if name in Records.__dataclass_fields__ else found


class _CutPort:
    def __init__(self, line: CutLine, port: object) -> None:
        self._line = line
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **named: Any) -> Any:
            if self._line.cut:
                raise RecordsUnavailable("the line is cut")
            return await method(*args, **named)

        return call
