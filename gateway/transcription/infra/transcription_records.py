"""The rows of `gateway.transcription`, behind `Leases`, `TranscriptionRecords` and `HostRecords`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.availability import available
from gateway.clock import Clock
from gateway.errors import SessionNotFound, SessionOver
from gateway.transcription.domain.handover import Heir
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering, TranscriptionState
from gateway.transcription.domain.usage import Figures
from gateway.transcription.usecases.records import Owned, SessionRecord, TranscriptionRecord
from storage.postgres import errors, transcriptions
from storage.postgres.pool import Database
from storage.postgres.sessions import Sessions
from storage.postgres.transcriptions import NewTranscription, TranscriptionRow, Transcriptions


class PostgresLeases:
    """A lease is the columns `owner`, `owner_run` and `fence`, which grows with every adoption; it lasts as long as the
    owner's row among the replicas, or to `lease_until` where there is no such row.

    `process`: as in `Heir`. `run()`: under which the owner holds what it takes now; None: it has no row. `inherit` is
    told which places at the provider came with the transcriptions that were adopted, by their ids.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        process: str = "",
        run: Callable[[], str | None] = lambda: None,
        inherit: Callable[[Mapping[str, Sequence[str]]], None] = lambda places: None,
    ) -> None:
        self._transcriptions = Transcriptions(database)
        self._sessions = Sessions(database)
        self._clock = clock
        self._process = process
        self._run = run
        self._inherit = inherit

    @available
    async def claim(
        self,
        session: SessionRecord,
        source: str,
        options: Mapping[str, Any],
        stream_key: str | None,
        owner: str,
        lease_s: float,
    ) -> tuple[Claimed | None, TranscriptionRecord]:
        """Under the session's row lock. Raises: SessionOver, SessionNotFound."""
        new = NewTranscription(session.id, session.slug, source, options, stream_key)
        try:
            row, created = await self._transcriptions.claim(new, owner, lease_s, self._clock.now(), self._run())
        except errors.SessionOver:
            found = await self._sessions.by_id(session.id)
            if found is None:
                raise SessionNotFound(session.slug) from None
            raise SessionOver(session.slug, found.status) from None
        return (_claimed(row) if created else None), _record(row)

    @available
    async def orphans(self, limit: int, *, thorough: bool) -> Sequence[str]:
        """By two indexes, unless it is to be thorough."""
        return await self._transcriptions.orphans(limit, thorough=thorough)

    @available
    async def adopt(
        self, owner: str, lease_s: float, *, own: bool, only: Sequence[str] | None = None
    ) -> Sequence[Claimed]:
        """Rows that another statement has locked are left to the next call."""
        heir = transcriptions.Heir(owner, self._run(), self._process)
        taken = await self._transcriptions.adopt(heir, lease_s, own=own, only=only)
        if taken.places:
            self._inherit(taken.places)
        return [_claimed(row) for row in taken.runs]

    @available
    async def renew(self, owner: str, lease_s: float) -> frozenset[Lease]:
        """Two statements for all of them."""
        return frozenset(Lease(*held) for held in await self._transcriptions.renew(owner, lease_s, self._run()))

    @available
    async def release(self, lease: Lease, owner: str) -> None:
        """No run holds it any more, by which `adopt` knows that it was handed over."""
        await self._transcriptions.release(lease.transcription_id, owner, lease.fence)

    @available
    async def hand_over(self, lease: Lease, owner: str, heir: Heir, lease_s: float) -> bool:
        """One statement."""
        args = (lease.transcription_id, owner, lease.fence, heir.replica, heir.run, lease_s)
        return await self._transcriptions.hand_over(*args)

    @available
    async def of(self, heir: Heir) -> Sequence[Claimed]:
        return [_claimed(row) for row in await self._transcriptions.of_owner(heir.replica, heir.run)]

    @available
    async def published(self, keys: Sequence[str]) -> Owned | None:
        rows = await self._transcriptions.by_keys(keys)
        return Owned(_claimed(rows[0]), rows[0].owner) if len(rows) == 1 else None

    @available
    async def set_state(self, lease: Lease, state: TranscriptionState) -> None:
        stored = transcriptions.TranscriptionState(state.value)
        await self._transcriptions.set_state(lease.transcription_id, lease.fence, stored)

    @available
    async def set_options(self, lease: Lease, options: Mapping[str, Any]) -> bool:
        return await self._transcriptions.set_options(lease.transcription_id, lease.fence, options)

    @available
    async def set_health(self, lease: Lease, reasons: Sequence[str]) -> None:
        await self._transcriptions.set_health(lease.transcription_id, lease.fence, reasons, self._clock.now())

    @available
    async def set_lost_audio(self, lease: Lease, seconds: float) -> None:
        await self._transcriptions.set_lost_audio(lease.transcription_id, lease.fence, seconds)

    @available
    async def finish(self, lease: Lease, reason: str, finals_complete: bool, *, is_limited: bool = False) -> bool:
        return await self._transcriptions.finish(
            lease.transcription_id, lease.fence, self._clock.now(), reason, finals_complete, is_limited
        )


class PostgresTranscriptionRecords:
    """One statement a method, but for `newest`."""

    def __init__(self, database: Database) -> None:
        self._transcriptions = Transcriptions(database)
        self._sessions = Sessions(database)

    @available
    async def newest(self, slug: str) -> TranscriptionRecord | None:
        """Two statements: the session, then its transcription."""
        session = await self._sessions.by_slug(slug)
        row = None if session is None else await self._transcriptions.by_session(session.id)
        return None if row is None else _record(row)

    @available
    async def active(self) -> Sequence[tuple[TranscriptionRecord, Figures]]:
        return [(_record(row), Figures(*figures)) for row, figures in await self._transcriptions.figures()]

    @available
    async def numbering(self, session_id: str) -> Numbering | None:
        """`last_seq` is that of the last stored final; those on disk have later ones."""
        row = await self._transcriptions.by_session(session_id)
        return None if row is None else Numbering(row.epoch, row.origin, row.last_seq, row.former)


class PostgresHostRecords:
    """The column `host`; one statement a method."""

    def __init__(self, database: Database) -> None:
        self._transcriptions = Transcriptions(database)

    @available
    async def current(self, transcription_id: str) -> str | None:
        return await self._transcriptions.host(transcription_id)

    @available
    async def of_all(self, transcription_ids: Sequence[str]) -> Mapping[str, str | None]:
        return await self._transcriptions.hosts(transcription_ids)

    @available
    async def appoint(self, transcription_id: str, identity: str) -> bool:
        return await self._transcriptions.set_host(transcription_id, identity)

    @available
    async def replace(self, transcription_id: str, before: str | None, after: str | None) -> bool:
        """Compare and set, in the statement itself."""
        return await self._transcriptions.pass_host(transcription_id, before, after)


def _record(row: TranscriptionRow) -> TranscriptionRecord:
    return TranscriptionRecord(
        id=row.id,
        session_id=row.session_id,
        slug=row.session_slug,
        source=row.source,
        state=TranscriptionState(row.state),
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        stop_reason=row.stop_reason,
        finals_complete=row.finals_complete,
        stream_key=row.stream_key,
        options=row.options,
        last_seq=row.last_seq,
        owner=row.owner,
        lost_audio_s=row.lost_audio_s,
    )


def _claimed(row: TranscriptionRow) -> Claimed:
    return Claimed(
        lease=Lease(row.id, row.fence),
        session_id=row.session_id,
        slug=row.session_slug,
        source=row.source,
        options=row.options,
        stream_key=row.stream_key,
        started_at=row.started_at,
        numbering=Numbering(row.epoch, row.origin, row.last_seq, row.former),
        lost_audio_s=row.lost_audio_s,
    )
