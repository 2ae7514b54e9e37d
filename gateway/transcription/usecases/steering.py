"""Start and stop a transcription wherever it runs, or is to run: the control API's service over all replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import SessionError, SessionNotFound
from gateway.transcription.domain.errors import NoAnswer, NoRoom, NotReady, RunsElsewhere
from gateway.transcription.domain.preferences import Change
from gateway.transcription.domain.transcription import Ingest, StartRequest, TranscriptionState
from gateway.transcription.usecases.asked import InForce
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.transcriptions import (
    STOP_MARGIN_S,
    STOPPED_BY_REQUEST,
    Started,
    Stopped,
    Transcriptions,
)

log = logging.getLogger(__name__)

LOOK_S: Final = 0.3
AGAIN_S: Final = 3.0
PATIENCE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class StartedThere:
    """Another replica's answer to a start. `created`: by this call; else the rest may be out of date."""

    created: bool
    state: str
    ingest: Ingest


class Others(Protocol):
    """The replicas beside this one, by id. Every call has a deadline of its own and may be repeated."""

    @property
    def me(self) -> str:
        """This replica."""

    async def candidates(self) -> Sequence[str]:
        """In the order in which a new transcription is to be offered to them; this replica may be one. Never empty."""

    async def start(self, replica: str, request: StartRequest) -> StartedThere:
        """Begin it there, and nowhere else. Raises: NoAnswer; NoRoom, NotReady, RefusedThere as it has refused."""

    async def is_stopping(self, replica: str, slug: str) -> bool:
        """Whether it says so, which the database learns a little later. False also when it has no answer."""

    async def stop(self, replica: str, slug: str, reason: str) -> None:
        """Begin to stop what runs there; returns at once. Raises: NoAnswer; RunsElsewhere with the owner it knows."""

    async def change(self, replica: str, slug: str, change: Change) -> InForce:
        """Of what runs there. Raises: NoAnswer; RunsElsewhere with the owner it knows; RefusedThere."""


class Steering:
    """`drain_s`: how long a stop awaits late finals. `lease_s`: how long a dead owner's lease stands in the way; more
    than PATIENCE_S is not waited for."""

    def __init__(self, here: Transcriptions, records: Records, others: Others, drain_s: float, lease_s: float) -> None:
        self._here = here
        self._records = records.transcriptions
        self._others = others
        self._stop_s = drain_s + STOP_MARGIN_S
        self._patience_s = min(lease_s + 1, PATIENCE_S)
        self._clock = asyncio.get_running_loop().time

    async def start(self, request: StartRequest) -> Started:
        """On one of the replicas with room; idempotent per session over all of them.

        Raises: as `Transcriptions.start`, RefusedThere; NoRoom when none takes it.
        """
        slug = request.session_slug
        if self._here.run_of(slug) is not None:
            return await self._here.start(request)
        if (running := await self._running(request)) is not None:
            return running
        refused: SessionError | None = None
        for replica in await self._others.candidates():
            try:
                if replica == self._others.me:
                    return await self._here.start(request)
                there = await self._others.start(replica, request)
            except (NoRoom, NotReady) as error:
                refused = error
            except NoAnswer as error:
                log.warning("not started on replica %s: %s", replica, error, extra={"session": slug})
            else:
                return await self._started(slug, there)
        raise refused or NoRoom("no replica has answered")

    async def stop(self, slug: str, *, wait: bool = True, reason: str = STOPPED_BY_REQUEST) -> Stopped | None:
        """Drain, then stop, wherever it runs; idempotent. None when not waited for.

        A replica that has died meanwhile, or dies while it drains, is replaced by the one that adopts. Raises:
        SessionNotFound, NeverStarted, NotReady, RecordsUnavailable; RunsElsewhere when its owner neither answers nor
        loses its lease.
        """
        ends_at, told = self._clock() + self._patience_s, ""
        trouble: NoAnswer | None = None
        while True:
            try:
                return await self._here.stop(slug, wait=wait, reason=reason)
            except RunsElsewhere as error:
                elsewhere = error
            try:
                await self._tell(elsewhere.owner, slug, reason)
            except NoAnswer as error:
                if trouble is None:
                    log.warning("not told to stop, trying again: %s", error, extra={"session": slug})
                trouble = error
            else:
                if not wait:
                    return None
                if elsewhere.owner != told:
                    ends_at, told = self._clock() + self._stop_s, elsewhere.owner
            if not await self._stopped_or_moved(slug, told, ends_at):
                raise elsewhere

    async def change(self, slug: str, change: Change) -> InForce:
        """What is asked for while it runs, wherever that is; who is paused, too. Idempotent.

        Raises: SessionNotFound, NeverStarted, NotRunning, RefusedThere, NotReady, RecordsUnavailable; RunsElsewhere
        when its owner neither answers nor loses its lease.
        """
        ends_at = self._clock() + self._patience_s
        while True:
            try:
                return await self._here.change(slug, change)
            except RunsElsewhere as error:
                elsewhere = error
            try:
                if elsewhere.owner not in ("", self._others.me):
                    return await self._others.change(elsewhere.owner, slug, change)
            except (NoAnswer, RunsElsewhere) as error:
                log.warning("not told of a change, trying again: %s", error, extra={"session": slug})
            if self._clock() >= ends_at:
                raise elsewhere
            await asyncio.sleep(LOOK_S)

    # --- inside -------------------------------------------------------------------------------------------

    async def _running(self, request: StartRequest) -> Started | None:
        """The answer when it runs on another replica. One that is stopping there is waited for."""
        ends_at = self._clock() + self._stop_s
        while (record := await self._records.newest(request.session_slug)) is not None:
            if request.session_id not in (None, record.session_id):
                raise SessionNotFound(request.session_slug)
            if record.is_stopped or record.owner == self._others.me:
                return None
            stops = record.state is TranscriptionState.STOPPING or await self._others.is_stopping(
                record.owner, record.slug
            )
            if not stops or self._clock() >= ends_at:
                return self._here.elsewhere(record)
            await asyncio.sleep(LOOK_S)
        return None

    async def _started(self, slug: str, there: StartedThere) -> Started:
        record = await self._records.newest(slug)
        if record is None:
            raise SessionNotFound(slug)  # it was deleted meanwhile
        if not there.created:
            return self._here.elsewhere(record)
        return Started(record, there.state, True, there.ingest)

    async def _tell(self, owner: str, slug: str, reason: str) -> None:
        """The owner stops it. Who owns it no more names the one who does, and that one is told. Raises: NoAnswer."""
        try:
            await self._others.stop(owner, slug, reason)
        except RunsElsewhere as error:
            if error.owner in ("", owner):
                raise NoAnswer(f"replica {owner} does not run it, and knows no other that does") from error
            try:
                await self._others.stop(error.owner, slug, reason)
            except RunsElsewhere as again:
                raise NoAnswer(f"{owner} and {error.owner} have both lost it") from again

    async def _stopped_or_moved(self, slug: str, told: str, ends_at: float) -> bool:
        """Wait until it has stopped, or its owner is to be told: a new one, or the same, which may have restarted.

        Returns: False when the time is over.
        """
        again_at = min(self._clock() + AGAIN_S, ends_at)
        while self._clock() < again_at:
            await asyncio.sleep(LOOK_S)
            record = await self._records.newest(slug)
            if record is None or record.is_stopped or record.owner != told:
                return True
        return again_at < ends_at
