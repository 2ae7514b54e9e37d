"""Runs of transcription, and the lease that says which process may write one (`gateway.transcription`).

A run has one owner at a time. The owner renews its lease; when it does not, another process adopts the run and raises
its fence, and from then on every write under the old fence is refused by the statement that would make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from storage import ids
from storage.postgres.errors import SessionOver
from storage.postgres.values import clean, clean_or_none, json_bytes, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database

# The lease of a run that its owner has handed over, with everything stored.
_HANDED_OVER: Final = datetime.fromtimestamp(0, UTC)


class TranscriptionState(StrEnum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class NewTranscription:
    """What a start asks for."""

    session_id: str
    session_slug: str
    source: str
    options: Mapping[str, Any]
    """Anything JSON can hold."""
    stream_key: str | None = None


@dataclass(frozen=True, slots=True)
class TranscriptionRow:
    id: str
    session_id: str
    session_slug: str
    source: str
    state: TranscriptionState
    options: Mapping[str, Any]
    stream_key: str | None
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None
    finals_complete: bool | None
    owner: str
    fence: int
    lease_until: datetime
    epoch: str
    """Name of the numbering that the session's finals are in."""
    origin: datetime
    """Moment zero of the session's transcript: the start of its first run."""
    last_seq: int
    """The highest number stored; the next final is `last_seq + 1`."""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """A session's numbering, and its latest run."""

    session_id: str
    transcription_id: str
    fence: int
    owner: str
    state: TranscriptionState
    epoch: str
    origin: datetime
    last_seq: int


class Transcriptions:
    """Runs and their leases. `fence` in a call must be the row's, else nothing is written."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def claim(
        self, new: NewTranscription, owner: str, lease_s: float, now: datetime
    ) -> tuple[TranscriptionRow, bool]:
        """Start a run, or find the one that is running, of any owner and even if its lease has run out.

        Of any number of calls at once, on any number of replicas, exactly one creates.
        Raises: SessionOver; UniqueViolationError when `stream_key` is taken.
        """
        args = (
            ids.cuid(),
            new.session_id,
            clean(new.session_slug),
            new.source,
            json_bytes(new.options),
            new.stream_key,
            now,
            owner,
            now + timedelta(seconds=lease_s),
        )
        while True:
            async with self._db.transaction() as link:
                await link.run("stream_ensure", new.session_id, ids.epoch(), now)
                created = await link.run("transcription_claim", *args) == 1
                # A statement of its own: its snapshot is newer than whatever the insert waited for.
                record = await link.row("transcription_running", new.session_id)
            if record is not None:
                return _row(record), created
            if await self._db.value("session_is_open", new.session_id) is None:
                raise SessionOver(new.session_id)
            # The run that stood in the way stopped between the two statements: it is our turn.

    async def by_session(self, session_id: str) -> TranscriptionRow | None:
        """The session's latest run."""
        return _row_or_none(await self._db.row("transcription_by_session", session_id))

    async def standings(self, session_ids: Sequence[str]) -> Sequence[StandingRow]:
        """Of the sessions that have a numbering, in any order."""
        rows = [dict(record) for record in await self._db.rows("stream_standings", session_ids)]
        return [read(StandingRow, row | {"state": TranscriptionState(row["state"])}) for row in rows]

    async def list(self, *, active_only: bool = True, limit: int = 1000) -> Sequence[TranscriptionRow]:
        """Newest first."""
        return [_row(r) for r in await self._db.rows("transcription_list", active_only, limit)]

    async def figures(self, limit: int = 1000) -> Sequence[tuple[TranscriptionRow, tuple[int, int, float]]]:
        """All that are not stopped, newest first, each with its finals, its partials and its cost so far, USD."""
        found = []
        for record in map(dict, await self._db.rows("transcription_figures", limit)):
            figures = record.pop("finals"), record.pop("partials"), record.pop("cost")
            found.append((_row(record), figures))
        return found

    async def owners(self, transcription_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        """The session of each, and who runs it, None when it is stopped; those that do not exist are left out."""
        rows = await self._db.rows("transcription_owners", [*transcription_ids])
        return {r["id"]: (r["session_id"], r["owner"]) for r in rows}

    async def renew(self, transcription_id: str, owner: str, fence: int, lease_s: float, now: datetime) -> bool:
        """Returns: False when the lease is lost; stop writing at once.

        `lease_s` 0 hands the run over, which says that every final that watchers have seen is stored.
        """
        until = now + timedelta(seconds=lease_s) if lease_s else _HANDED_OVER
        return await self._db.run("transcription_renew", transcription_id, owner, fence, until) == 1

    async def hand_over(
        self, transcription_id: str, owner: str, fence: int, heir: str, heir_run: str, lease_s: float
    ) -> bool:
        """Make a run another owner's, in the same epoch. Returns: False when it is not `owner`'s under that fence."""
        args = (transcription_id, owner, fence, clean(heir), clean(heir_run) or None, float(lease_s))
        return await self._db.run("transcription_hand_over", *args) == 1

    async def held(self, owner: str, owner_run: str) -> Sequence[TranscriptionRow]:
        """What an owner has under one run of its own, and has neither stopped nor given up."""
        return [_row(r) for r in await self._db.rows("transcription_held", clean(owner), clean(owner_run))]

    async def by_keys(self, stream_keys: Sequence[str]) -> Sequence[TranscriptionRow]:
        """Runs that are not stopped, at most two."""
        return [_row(r) for r in await self._db.rows("transcription_by_keys", [clean(key) for key in stream_keys])]

    async def set_state(self, transcription_id: str, fence: int, state: TranscriptionState) -> bool:
        """Any state but STOPPED, which `finish` sets. Returns: False when the run is not ours or stopped."""
        if state is TranscriptionState.STOPPED:
            raise ValueError("a run is stopped with finish(), which also records when and why")
        return await self._db.run("transcription_set_state", transcription_id, fence, state.value) == 1

    async def host(self, run_id: str) -> str | None:
        """Whose browser feeds it."""
        host: str | None = await self._db.value("transcription_host", run_id)
        return host

    async def set_host(self, run_id: str, identity: str) -> bool:
        """Unless it has stopped. Returns: whether it was set."""
        return await self._db.run("transcription_set_host", run_id, clean(identity)) == 1

    async def pass_host(self, run_id: str, before: str | None, after: str | None) -> bool:
        """Only while `before` is the host. Returns: whether it was set."""
        args = (run_id, clean_or_none(before), clean_or_none(after))
        return await self._db.run("transcription_pass_host", *args) == 1

    async def finish(
        self, transcription_id: str, fence: int, stopped_at: datetime, reason: str, finals_complete: bool
    ) -> bool:
        """Returns: False when the run is not ours or stopped already."""
        args = (transcription_id, fence, stopped_at, clean_or_none(reason), finals_complete)
        return await self._db.run("transcription_finish", *args) == 1

    async def number_strays(self, session_id: str, now: datetime) -> Sequence[tuple[int, str, bytes]]:
        """Give the next numbers to stray finals (`Segments.keep_strays`), unless a run of the session is active.

        Returns: number, utterance id and data of each, in order.
        """
        async with self._db.transaction() as link:
            if await link.value("session_hold", session_id) is None:
                return []
            # A statement of its own: it sees a run that began while we waited for the row.
            records = await link.rows("stray_number", session_id, now)
        return [(r["seq"], r["utterance_id"], r["data"]) for r in records]

    async def adopt(
        self, owner: str, lease_s: float, now: datetime, limit: int = 100, *, own: bool = False
    ) -> Sequence[TranscriptionRow]:
        """Take over runs whose lease ran out before `now`. Returns: them, with their new fence and exact `last_seq`.

        `own`: also those of this very owner, whatever their lease; for a restart, before anything runs and after
        everything that it had on disk is stored. A run that was neither handed over nor is our own begins a new epoch:
        its owner may have shown finals that are stored nowhere else, under the numbers that come next.
        """
        async with self._db.transaction() as link:
            until = now + timedelta(seconds=lease_s)
            taken = await link.rows("transcription_adopt", owner, until, now, limit, own)
            if cut_off := [r["session_id"] for r in taken if r["cut_off"]]:
                await link.run("stream_begin_epoch", cut_off, [ids.epoch() for _ in cut_off])
            found = [r["id"] for r in taken]
            # Read after the rows are locked, so no final of the old owner can be on its way any more.
            return [_row(r) for r in await link.rows("transcription_by_ids", found)] if found else []


def _row(record: Mapping[str, Any]) -> TranscriptionRow:
    values = dict(record)
    values["state"] = TranscriptionState(values["state"])
    values["options"] = msgspec.json.decode(values["options"])
    return read(TranscriptionRow, values)


def _row_or_none(record: Mapping[str, Any] | None) -> TranscriptionRow | None:
    return None if record is None else _row(record)
