"""The ports of `Records` for what is metered and billed, on the tables in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import structs
from support.fakes.ports import Port
from support.fakes.tables import Tables

from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.speech import ProviderSession

_GROWING: Final = (
    "duration_seconds",
    "duration_minutes",
    "audio_chunks_sent",
    "transcripts_received",
    "final_transcripts",
    "partial_transcripts",
    "total_cost",
    "errors_count",
    "heard_s",
    "speech_s",
    "silent_s",
    "withheld_s",
)


class MemoryUsageRecords(Port):
    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.saves: list[tuple[datetime, tuple[Usage, ...]]] = []
        self.participant_ids: dict[str, str | None] = {}

    def row_id(self, lease: Lease, identity: str) -> str:
        return f"{lease.transcription_id}/{identity}"

    async def save(self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]) -> None:
        tables = self._tables
        await tables.answer()
        self.saves.append((tables.clock.now(), tuple(usage)))
        self.participant_ids |= participant_ids
        if tables.alive(claimed.session_id) is None:
            return
        for one in usage:
            _, _, before = tables.usage.get(one.id, ("", "", one))
            grown = structs.replace(
                one,
                started_at=before.started_at,
                cost_per_minute=before.cost_per_minute,
                **{name: max(getattr(before, name), getattr(one, name)) for name in _GROWING},
            )
            tables.usage[one.id] = (claimed.session_id, claimed.lease.transcription_id, grown)

    async def of_transcription(self, transcription_id: str) -> Sequence[Usage]:
        await self._tables.answer()
        return [used for _, owner, used in self._tables.usage.values() if owner == transcription_id]

    async def spent(self, session_id: str) -> float:
        await self._tables.answer()
        return sum(used.total_cost for session, _, used in self._tables.usage.values() if session == session_id)


class MemoryProviderSessionRecords(Port):
    async def note(self, claimed: Claimed, identity: str, session: ProviderSession) -> None:
        tables, now = self._tables, self._tables.clock.now()
        await tables.answer()
        tables.provider_sessions[session.id] = session
        _, _, opened_at = tables.opened.get(session.id, ("", "", now))
        tables.opened[session.id] = claimed.lease.transcription_id, identity, opened_at

    async def bills(self, transcription_id: str) -> Sequence[Bill]:
        tables = self._tables
        await tables.answer()
        return [
            Bill(id_, identity, opened_at, opened_at if one.over else None, one.seconds_sent, 0.0, None, one.outcome)
            for id_, (of, identity, opened_at) in tables.opened.items()
            if of == transcription_id and (one := tables.provider_sessions[id_])
        ]
