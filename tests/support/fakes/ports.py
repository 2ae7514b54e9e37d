"""The ports of `Records`, each on the tables in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from support.fakes.tables import HANDED_OVER, StreamRow, Tables, TranscriptionRow

from gateway.errors import SessionNotFound, SessionOver
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.handover import Heir
from gateway.transcription.domain.host import select_host
from gateway.transcription.domain.limits import places
from gateway.transcription.domain.overlap import unheard
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering, TranscriptionState
from gateway.transcription.domain.usage import Figures
from gateway.transcription.domain.vocabulary import Vocabulary
from gateway.transcription.infra.strays import shown_as
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import (
    InLine,
    NumberedFinal,
    Owned,
    Participation,
    SessionRecord,
    StoreOutcome,
    TranscriptionRecord,
)


class Port:
    """On the tables that all ports share."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables


class MemorySessionRecords(Port):
    async def create(self, slug: str | None, title: str | None, space_id: str | None) -> SessionRecord:
        tables = self._tables
        await tables.answer()
        if space_id is not None and space_id != "default":
            raise LookupError(space_id)
        id_ = tables.new_id("session")
        session = SessionRecord(id_, slug or f"slug-of-{id_}", "CREATED", title, "default", tables.clock.now())
        tables.sessions[session.slug] = session
        return session

    async def by_slug(self, slug: str) -> SessionRecord | None:
        await self._tables.answer()
        return self._tables.sessions.get(slug)

    async def join(self, session_id: str, speaker: Speaker) -> str:
        tables = self._tables
        await tables.answer()
        session = tables.alive(session_id)
        if session is None:
            raise LookupError(session_id)
        if session.status == "CREATED":
            tables.sessions[session.slug] = replace(session, status="LIVE")
        key = session_id, speaker.identity
        tables.present.setdefault(key, Participation(speaker.identity, speaker.name, "GUEST", tables.clock.now(), None))
        if key not in tables.participants:
            tables.participants[key] = tables.new_id("participant")
        return tables.participants[key]

    async def leave(self, session_id: str, identity: str) -> None:
        await self._tables.answer()
        self._tables.present.pop((session_id, identity), None)

    async def people(self, session_id: str) -> Sequence[Participation]:
        await self._tables.answer()
        return [person for (session, _), person in self._tables.present.items() if session == session_id]

    async def names(self, session_id: str, limit: int) -> Sequence[str]:
        return [person.name for person in reversed(await self.people(session_id)) if person.name][:limit]

    async def in_line(self, asked: Sequence[InLine]) -> Mapping[str, Sequence[Participation]]:
        found = {}
        for one in asked:
            there = {person.identity: person for person in await self.people(one.session_id)}
            others = [person for name, person in there.items() if name != one.host]
            chosen = {one.host, select_host(others, one.without), *[person.identity for person in others[:1]]}
            found[one.session_id] = [person for name, person in there.items() if name in chosen]
        return {session_id: people for session_id, people in found.items() if people}

    async def participant(self, session_id: str, identity: str) -> Participation | None:
        await self._tables.answer()
        return self._tables.present.get((session_id, identity))

    async def owner(self, session_id: str, identity: str) -> str | None:
        await self._tables.answer()
        known = self._tables.present.get((session_id, identity))
        return None if known is None else known.user_id

    async def has_room(self, session_id: str, identity: str, *, guest: bool) -> bool:
        await self._tables.answer()
        inside = {who for session, who in self._tables.participants if session == session_id}
        most = places(self._tables.most_participants, guest=guest)
        return not most or identity in inside or len(inside) < most

    async def touch(self, session_id: str) -> None:
        await self._tables.answer()
        self._tables.activity[session_id] = self._tables.clock.now()


class MemoryLeases(Port):
    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        tables = self._tables
        await tables.answer()
        if running := tables.active(session.id):
            return None, tables.record(running)
        found = tables.alive(session.id)
        if found is None:
            raise SessionNotFound(session.slug)
        if found.is_over:
            raise SessionOver(session.slug, found.status)
        now = tables.clock.now()
        tables.streams.setdefault(session.id, StreamRow(tables.new_id("epoch"), now))
        row = TranscriptionRow(
            id=tables.new_id("transcription"),
            session_id=session.id,
            slug=session.slug,
            source=source,
            options=dict(options),
            stream_key=stream_key,
            started_at=now,
            owner=owner,
            lease_until=now + timedelta(seconds=lease_s),
        )
        tables.transcriptions[row.id] = row
        return tables.claimed(row), tables.record(row)

    async def orphans(self, limit: int, *, thorough: bool) -> Sequence[str]:
        await self._tables.answer()
        return [row.id for row in self._tables.transcriptions.values() if self._is_orphaned(row)][:limit]

    async def adopt(
        self, owner: str, lease_s: float, *, own: bool, only: Sequence[str] | None = None
    ) -> Sequence[Claimed]:
        tables = self._tables
        await tables.answer()
        taken = [
            row
            for row in tables.transcriptions.values()
            if (only is None or row.id in only)
            and (self._is_orphaned(row) or (row.is_active and own and row.owner == owner))
        ]
        for row in taken:
            if row.lease_until > HANDED_OVER and not (own and row.owner == owner):
                stream = tables.streams[row.session_id]
                stream.former[stream.epoch] = stream.last_seq
                stream.epoch = tables.new_id("epoch")
            row.owner, row.fence = owner, row.fence + 1
            tables.lease(row, lease_s)
        return [tables.claimed(row) for row in taken]

    def _is_orphaned(self, row: TranscriptionRow) -> bool:
        return row.is_active and row.lease_until < self._tables.clock.now()

    async def renew(self, owner: str, lease_s: float) -> frozenset[Lease]:
        await self._tables.answer()
        held = [row for row in self._tables.transcriptions.values() if row.is_active and row.owner == owner]
        for row in held:
            self._tables.lease(row, lease_s)
        return frozenset(Lease(row.id, row.fence) for row in held)

    async def release(self, lease: Lease, owner: str) -> None:
        await self._tables.answer()
        row = self._tables.owned(lease)
        if row is not None and row.owner == owner:
            self._tables.lease(row, 0.0)

    async def hand_over(self, lease: Lease, owner: str, heir: Heir, lease_s: float) -> bool:
        await self._tables.answer()
        row = self._tables.owned(lease)
        if row is None or row.owner != owner:
            return False
        row.owner, row.owner_run, row.fence = heir.replica, heir.run, row.fence + 1
        self._tables.lease(row, lease_s)
        return True

    async def of(self, heir: Heir) -> Sequence[Claimed]:
        tables = self._tables
        await tables.answer()
        return [
            tables.claimed(row)
            for row in tables.transcriptions.values()
            if row.is_active
            and (row.owner, row.owner_run) == (heir.replica, heir.run)
            and row.lease_until > HANDED_OVER
        ]

    async def published(self, keys: Sequence[str]) -> Owned | None:
        tables = self._tables
        await tables.answer()
        rows = [row for row in tables.transcriptions.values() if row.is_active and row.stream_key in keys]
        return Owned(tables.claimed(rows[0]), rows[0].owner) if len(rows) == 1 else None

    async def set_state(self, lease: Lease, state: TranscriptionState) -> None:
        await self._tables.answer()
        if row := self._tables.owned(lease):
            row.state = state
            self._tables.states.append(state)

    async def set_options(self, lease: Lease, options: Mapping[str, Any]) -> bool:
        await self._tables.answer()
        if row := self._tables.owned(lease):
            row.options = msgspec.json.decode(msgspec.json.encode(options))
        return row is not None

    async def set_health(self, lease: Lease, reasons: Sequence[str]) -> None:
        await self._tables.answer()

    async def set_lost_audio(self, lease: Lease, seconds: float) -> None:
        await self._tables.answer()
        if row := self._tables.owned(lease):
            row.lost_audio_s = seconds

    async def finish(self, lease: Lease, reason: str, finals_complete: bool, *, is_limited: bool = False) -> bool:
        await self._tables.answer()
        if row := self._tables.owned(lease):
            row.state, row.stopped_at = TranscriptionState.STOPPED, self._tables.clock.now()
            row.stop_reason, row.finals_complete = reason, finals_complete
        last = self._tables.transcriptions.get(lease.transcription_id)
        return last is not None and last.fence == lease.fence


class MemoryTranscriptionRecords(Port):
    async def newest(self, slug: str) -> TranscriptionRecord | None:
        tables = self._tables
        await tables.answer()
        session = tables.sessions.get(slug)
        rows = [row for row in tables.transcriptions.values() if session is not None and row.session_id == session.id]
        return tables.record(rows[-1]) if rows else None

    async def active(self) -> Sequence[tuple[TranscriptionRecord, Figures]]:
        tables = self._tables
        await tables.answer()
        rows = [row for row in tables.transcriptions.values() if row.is_active]
        used = {row.id: [one for _, owner, one in tables.usage.values() if owner == row.id] for row in rows}
        return [(tables.record(row), Figures.of(used[row.id])) for row in rows]

    async def numbering(self, session_id: str) -> Numbering | None:
        await self._tables.answer()
        return self._tables.numbering(session_id)


class MemoryHostRecords(Port):
    async def current(self, transcription_id: str) -> str | None:
        await self._tables.answer()
        row = self._tables.transcriptions.get(transcription_id)
        return row.host if row is not None else None

    async def of_all(self, transcription_ids: Sequence[str]) -> Mapping[str, str | None]:
        await self._tables.answer()
        found = {one: self._tables.transcriptions.get(one) for one in transcription_ids}
        return {one: row.host for one, row in found.items() if row is not None}

    async def appoint(self, transcription_id: str, identity: str) -> bool:
        await self._tables.answer()
        return self._set(transcription_id, identity)

    async def replace(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        await self._tables.answer()
        row = self._tables.transcriptions.get(transcription_id)
        return row is not None and row.host == before and self._set(transcription_id, after)

    def _set(self, transcription_id: str, identity: str | None) -> bool:
        row = self._tables.transcriptions.get(transcription_id)
        if row is None or not row.is_active:
            return False
        row.host = identity
        return True


class MemoryFinalRecords(Port):
    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.calls = 0
        """Of `store`, that were answered."""

    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        tables = self._tables
        await tables.answer()
        self.calls += 1
        fenced, gone = set(), set()
        for final in finals:
            row = tables.transcriptions.get(final.lease.transcription_id)
            if row is None or (row.fence, row.session_id) != (final.lease.fence, final.session_id):
                fenced.add(final.lease.transcription_id)
            elif tables.alive(final.session_id) is None:
                gone.add(final.session_id)
            else:
                self._store(final)
        return StoreOutcome(frozenset(fenced), frozenset(gone))

    def _store(self, final: FinalToStore) -> None:
        stored = self._tables.finals.setdefault(final.session_id, {})
        known = {one.caption.utterance_id for one in stored.values()}
        if final.seq not in stored and final.caption.utterance_id not in known:
            stored[final.seq] = final
            stream = self._tables.streams[final.session_id]
            stream.last_seq = max(stream.last_seq, final.seq)

    async def store_strays(self, finals: Sequence[FinalToStore]) -> int:
        tables = self._tables
        await tables.answer()
        known = {stored.caption.utterance_id for finals_ in tables.finals.values() for stored in finals_.values()}
        known |= {stray.caption.utterance_id for stray in tables.strays}
        fresh = [final for final in finals if final.caption.utterance_id not in known]
        tables.strays += fresh
        return len(fresh) - sum(self._settle(one) for one in {final.session_id for final in fresh})

    def _settle(self, session_id: str) -> int:
        """Take out of strays what is numbered already. Returns: of how many nothing is left."""
        tables, dropped = self._tables, 0
        stored = [final.caption for final in tables.finals.get(session_id, {}).values()]
        for stray in [one for one in tables.strays if one.session_id == session_id]:
            said = stray.caption
            kept = unheard(said, [one for one in stored if one.speaker.identity == said.speaker.identity])
            tables.strays.remove(stray)
            dropped += kept is None
            if kept is not None:
                stored.append(kept)
                data = stray.data if kept is said else shown_as(kept, stray.data)
                tables.strays.append(replace(stray, caption=kept, data=data))
        return dropped

    async def number_strays(self, session_id: str) -> Sequence[NumberedFinal]:
        tables = self._tables
        await tables.answer()
        if tables.active(session_id) is not None or tables.alive(session_id) is None:
            return []
        self._settle(session_id)
        numbered = []
        stream, stored = tables.streams[session_id], tables.finals.setdefault(session_id, {})
        for stray in [one for one in tables.strays if one.session_id == session_id]:
            tables.strays.remove(stray)
            stream.last_seq += 1
            stored[stream.last_seq] = stray
            numbered.append(NumberedFinal(stream.last_seq, stray.caption.utterance_id, stray.data))
            self._count(session_id, stray.lease.transcription_id, stray.caption.speaker.identity)
        return numbered

    def _count(self, session_id: str, transcription_id: str, identity: str) -> None:
        """A usage row counts no fewer finals than are numbered."""
        usage, stored = self._tables.usage, self._tables.finals[session_id].values()
        finals = sum(
            one.lease.transcription_id == transcription_id and one.caption.speaker.identity == identity
            for one in stored
        )
        for key, (of, run, row) in usage.items():
            if (of, run, row.identity) == (session_id, transcription_id, identity) and row.final_transcripts < finals:
                received = finals + row.partial_transcripts
                counted = msgspec.structs.replace(row, final_transcripts=finals, transcripts_received=received)
                usage[key] = (of, run, counted)

    async def store_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None:
        await self._tables.answer()
        self._tables.partials |= {said.utterance_id: (said, participant) for said, participant in captions}

    async def last(self, session_id: str, limit: int) -> Sequence[Caption]:
        await self._tables.answer()
        stored = self._tables.finals.get(session_id, {})
        return [stored[seq].caption for seq in sorted(stored)][-limit:]

    async def counts(self, claimed: Claimed) -> Mapping[str, int]:
        await self._tables.answer()
        own = [
            final.caption.speaker.identity
            for final in self._tables.finals.get(claimed.session_id, {}).values()
            if final.lease.transcription_id == claimed.lease.transcription_id
        ]
        return {identity: own.count(identity) for identity in own}

    async def since(self, session_id: str, after: int, limit: int) -> Sequence[StoredFinal]:
        await self._tables.answer()
        stored = self._tables.finals.get(session_id, {})
        return [StoredFinal(seq, stored[seq].data) for seq in sorted(stored) if seq > after][:limit]

    async def newest(self, session_id: str) -> int:
        await self._tables.answer()
        return max(self._tables.finals.get(session_id, {}), default=0)

    async def at(self, session_id: str, moment_ms: int) -> int | None:
        await self._tables.answer()
        stored = self._tables.finals.get(session_id, {})
        return next((seq for seq in sorted(stored) if stored[seq].caption.end_ms > moment_ms), None)


class MemoryVocabularyRecords(Port):
    async def of_space(self, space_id: str) -> Vocabulary:
        await self._tables.answer()
        return self._tables.vocabularies.get(space_id, Vocabulary())

    async def save(self, space_id: str, vocabulary: Vocabulary) -> None:
        await self._tables.answer()
        self._tables.vocabularies[space_id] = vocabulary
