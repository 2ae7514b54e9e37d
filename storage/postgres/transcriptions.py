"""Runs of transcription, and the lease that says which process may write one (`gateway.transcription`).

A run has one owner at a time, for as long as the owner's own row in `gateway.replica` stands; then another process
adopts it and raises its fence, and from then on every write under the old fence is refused by the statement that would
make it. An owner that has no such row, because its version knows none, renews `lease_until`. Every comparison is made
by the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from storage import ids
from storage.postgres import translations
from storage.postgres.errors import SessionOver
from storage.postgres.values import clean, clean_or_none, json_bytes, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database

ADOPT_OWN: Final = 10_000


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
    former: Mapping[str, int]
    """Earlier epochs, each with the number up to which it is good."""
    lost_audio_s: float
    """Audio that was given up unheard, seconds."""


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
    former: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Heir:
    """Who adopts. `owner_run`: as in `claim`. `process`: as in `gateway.provider_place`."""

    owner: str
    owner_run: str | None = None
    process: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """`places`: ids of the provider places that came with the runs, by run."""

    runs: Sequence[TranscriptionRow]
    places: Mapping[str, Sequence[str]]


class Transcriptions:
    """Runs and their leases. `fence` in a call must be the row's, else nothing is written."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def claim(
        self, new: NewTranscription, owner: str, lease_s: float, now: datetime, owner_run: str | None = None
    ) -> tuple[TranscriptionRow, bool]:
        """Start a run, or find the one that is running, of any owner and even if that is dead. `now`: it starts then.

        `owner_run`: the owner's row in `gateway.replica` as it stands; None: it has none, and `lease_s` counts.
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
            float(lease_s),
            owner_run,
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
        return [
            read(
                StandingRow,
                row | {"state": TranscriptionState(row["state"]), "former": msgspec.json.decode(row["former"])},
            )
            for row in rows
        ]

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

    async def renew(self, owner: str, lease_s: float, owner_run: str | None = None) -> set[tuple[str, int]]:
        """Keep what this run of an owner holds from those who do not look at replicas. Returns: its ids and fences."""
        await self._db.run("transcription_renew", owner, owner_run, float(lease_s))
        return {(r["id"], r["fence"]) for r in await self._db.rows("transcription_held", owner, owner_run)}

    async def release(self, transcription_id: str, owner: str, fence: int) -> bool:
        """Hand the run over to whoever comes: every final that watchers have seen is stored. Returns: False when it
        is not ours."""
        return await self._db.run("transcription_release", transcription_id, owner, fence) == 1

    async def hand_over(
        self, transcription_id: str, owner: str, fence: int, heir: str, heir_run: str, lease_s: float
    ) -> bool:
        """Make a run another owner's, in the same epoch. Returns: False when it is not `owner`'s under that fence."""
        args = (transcription_id, owner, fence, clean(heir), clean(heir_run) or None, float(lease_s))
        return await self._db.run("transcription_hand_over", *args) == 1

    async def of_owner(self, owner: str, owner_run: str) -> Sequence[TranscriptionRow]:
        """What an owner has under one run of its own, and has neither stopped nor given up."""
        return [_row(r) for r in await self._db.rows("transcription_of_owner", clean(owner), clean(owner_run))]

    async def by_keys(self, stream_keys: Sequence[str]) -> Sequence[TranscriptionRow]:
        """Runs that are not stopped, at most two."""
        return [_row(r) for r in await self._db.rows("transcription_by_keys", [clean(key) for key in stream_keys])]

    async def set_state(self, transcription_id: str, fence: int, state: TranscriptionState) -> bool:
        """Any state but STOPPED, which `finish` sets. Returns: False when the run is not ours or stopped."""
        if state is TranscriptionState.STOPPED:
            raise ValueError("a run is stopped with finish(), which also records when and why")
        return await self._db.run("transcription_set_state", transcription_id, fence, state.value) == 1

    async def set_options(self, transcription_id: str, fence: int, options: Mapping[str, Any]) -> bool:
        """Returns: False when the run is not ours or stopped."""
        return await self._db.run("transcription_set_options", transcription_id, fence, json_bytes(options)) == 1

    async def host(self, run_id: str) -> str | None:
        """Whose browser feeds it."""
        host: str | None = await self._db.value("transcription_host", run_id)
        return host

    async def hosts(self, run_ids: Sequence[str]) -> dict[str, str | None]:
        """As `host`, of all at once; those that do not exist are left out."""
        return {r["id"]: r["host"] for r in await self._db.rows("transcription_hosts", [*run_ids])}

    async def set_host(self, run_id: str, identity: str) -> bool:
        """Unless it has stopped. Returns: whether it was set."""
        return await self._db.run("transcription_set_host", run_id, clean(identity)) == 1

    async def pass_host(self, run_id: str, before: str | None, after: str | None) -> bool:
        """Only while `before` is the host. Returns: whether it was set."""
        args = (run_id, clean_or_none(before), clean_or_none(after))
        return await self._db.run("transcription_pass_host", *args) == 1

    async def set_health(self, transcription_id: str, fence: int, reasons: Sequence[str], now: datetime) -> None:
        """What is wrong now; nothing changes when that is known, or the run is not ours or stopped."""
        await self._db.run("transcription_set_health", transcription_id, fence, [clean(r) for r in reasons], now)

    async def set_lost_audio(self, transcription_id: str, fence: int, seconds: float) -> None:
        """Given up unheard, in all; nothing changes when the run is not ours or stopped."""
        await self._db.run("transcription_set_lost_audio", transcription_id, fence, float(seconds))

    async def finish(
        self,
        transcription_id: str,
        fence: int,
        stopped_at: datetime,
        reason: str,
        finals_complete: bool,
        is_limited: bool = False,
    ) -> bool:
        """The first call counts. `is_limited`: a limit was reached. Returns: False when the run is not ours."""
        args = (transcription_id, fence, stopped_at, clean_or_none(reason), finals_complete, is_limited)
        async with self._db.transaction() as link:
            if await link.run("transcription_finish", *args) == 1:
                await link.run("transcription_reconcile", transcription_id)  # its bills may all have come before
                return True
            # Repeated, because an answer was lost, it finds the run stopped under this fence.
            return await link.value("transcription_stopped", transcription_id, fence) is not None

    async def number_strays(self, session_id: str, now: datetime) -> Sequence[tuple[int, str, bytes]]:
        """Give the next numbers to stray finals (`Segments.keep_strays`), unless a run of the session is active.

        Returns: number, utterance id and data of each, in order.
        """
        async with self._db.transaction() as link:
            if await link.value("session_hold", session_id) is None:
                return []
            # A statement of its own: it sees a run that began while we waited for the row.
            records = await link.rows("stray_number", session_id, now)
            await link.rows("translation_hold", [session_id])
            await translations.number(link, [session_id])  # also those that came before their final
        return [(r["seq"], r["utterance_id"], r["data"]) for r in records]

    async def orphans(self, limit: int, *, thorough: bool) -> Sequence[str]:
        """Ids of runs that may be adopted, those that wait longest first. `thorough`: look at all that run."""
        return [r["id"] for r in await self._db.rows("transcription_orphans", thorough, limit)]

    async def adopt(
        self,
        heir: Heir,
        lease_s: float,
        limit: int = 100,
        *,
        own: bool = False,
        only: Sequence[str] | None = None,
    ) -> Adopted:
        """Take over orphaned runs. Returns: them, with their new fence and exact `last_seq`.

        `own`: also those of this very owner, whatever its row says; for a restart, before anything runs and after
        everything that it had on disk is stored. `only`: not others than these. A run that was neither handed over nor
        is our own begins a new epoch, whose predecessor is good up to `last_seq`: its owner may have shown finals that
        are stored nowhere else, under the numbers that come next. Places at the provider come with their run.
        """
        async with self._db.transaction() as link:
            args = heir.owner, heir.owner_run, float(lease_s), own, None if only is None else [*only]
            taken = await link.rows("transcription_adopt", *args, ADOPT_OWN if own else limit)
            if not taken:
                return Adopted((), {})
            if cut_off := [r["session_id"] for r in taken if r["cut_off"]]:
                await link.run("stream_begin_epoch", cut_off, [ids.epoch() for _ in cut_off])
            found = [r["id"] for r in taken]
            places: dict[str, list[str]] = {}
            for place in await link.rows("place_adopt", heir.process, found, float(lease_s)):
                places.setdefault(place["transcription_id"], []).append(place["id"])
            # Read after the rows are locked, so no final of the old owner can be on its way any more.
            return Adopted([_row(r) for r in await link.rows("transcription_by_ids", found)], places)


def _row(record: Mapping[str, Any]) -> TranscriptionRow:
    values = dict(record)
    values["state"] = TranscriptionState(values["state"])
    options = msgspec.json.decode(values["options"])
    values["options"] = options if isinstance(options, dict) else {}
    values["former"] = msgspec.json.decode(values["former"])
    return read(TranscriptionRow, values)


def _row_or_none(record: Mapping[str, Any] | None) -> TranscriptionRow | None:
    return None if record is None else _row(record)
