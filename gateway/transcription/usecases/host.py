"""Keeps one host for each transcription that is fed by browsers, and tells everybody who it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.errors import SessionNotFound
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.errors import NeverStarted, NotFedByBrowsers, NotPresent
from gateway.transcription.domain.host import Reason, host_after, select_host
from gateway.transcription.domain.transcription import TranscriptionState
from gateway.transcription.usecases.live import Live
from gateway.transcription.usecases.records import Participation, Records
from gateway.transcription.usecases.run import Run

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
# A host who was the host before a restart has so long to come back, while there is somebody else.
COME_BACK_LOOKS: Final = 30
FED: Final = "websocket"


@dataclass(slots=True)
class _Seen:
    """What was so when we last looked."""

    host: str | None = None
    looked: bool = False
    feeding: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    quitted: set[str] = field(default_factory=set)
    awaited: int = 0  # how many looks more the host of before a restart is waited for


class Hosts:
    """The database knows the host, so that it survives a restart and any replica may change it."""

    def __init__(self, records: Records, live: Live, runs: Callable[[], Sequence[Run]]) -> None:
        self._records = records
        self._live = live
        self._runs = runs
        self._seen: dict[str, _Seen] = {}  # by transcription id

    async def look_for_ever(self) -> None:
        """Once a second: has the host left? Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            runs = [run for run in self._runs() if run.claimed.source == FED and not run.finished.is_set()]
            self._seen = {id_: seen for id_, seen in self._seen.items() if id_ in {_id(run) for run in runs}}
            for run in runs:
                try:
                    await self._look(run)
                except RecordsUnavailable as error:
                    log.debug("database: %s", error)  # others say it loudly; the host stays who it is

    async def _look(self, run: Run) -> None:
        seen = self._seen.setdefault(_id(run), _Seen())
        feeding = [live.track.speaker.identity for live in run.tracks]
        # Somebody may have come and gone between two looks.
        seen.quitted = (seen.quitted | seen.feeding | (run.speakers - seen.known)) - set(feeding)
        seen.feeding = set(feeding)
        seen.known |= run.speakers
        stored = await self._records.host(_id(run))
        present = await self._records.participants(run.claimed.session_id)
        if stored != seen.host:
            seen.host = stored
            seen.quitted.discard(stored or "")
            seen.awaited = 0 if seen.looked else COME_BACK_LOOKS
            self._tell(run, seen, present, Reason.CLAIMED if seen.looked else Reason.KEPT)
        seen.looked = True
        self._await(seen, present)
        if run.state is TranscriptionState.STOPPING:
            return
        after = host_after(seen.host, present, feeding, seen.quitted)
        # Whoever was asked for meanwhile goes before our choice; the next look tells.
        if after != seen.host and await self._records.pass_host(_id(run), seen.host, after):
            reason = Reason.LEFT if seen.host is not None else Reason.FIRST
            seen.host, seen.awaited = after, 0
            self._tell(run, seen, present, reason)

    def _await(self, seen: _Seen, present: Sequence[Participation]) -> None:
        """Nobody saw a host leave who vanished while the gateway restarted: in the end it has quitted."""
        if seen.host is None or seen.host in seen.feeding:
            seen.awaited = 0
        elif seen.awaited:
            seen.awaited -= 1
            if not seen.awaited and {person.identity for person in present} - {seen.host}:
                seen.quitted.add(seen.host)

    def _tell(self, run: Run, seen: _Seen, present: Sequence[Participation], reason: Reason) -> None:
        names = {live.track.speaker.identity: live.track.speaker.name for live in run.tracks}
        names |= {person.identity: person.name for person in present}
        name = names.get(seen.host) if seen.host is not None else None
        told = {"participantIdentity": seen.host, "participantName": name, "reason": reason.value}
        self._live.channel(run.claimed.slug).say("host.changed", msgspec.json.encode(told))
        log.info("transcription host changed", extra={"session": run.claimed.slug, "reason": reason.value})

    async def current(self, slug: str) -> str | None:
        """Raises: SessionNotFound, NeverStarted, NotFedByBrowsers."""
        return await self._records.host((await self._fed(slug))[0])

    async def appoint(self, slug: str, identity: str | None) -> Participation:
        """Make somebody the host; without an identity the next in line, because the one there is leaving.

        Raises: SessionNotFound, NeverStarted, NotFedByBrowsers, NotPresent.
        """
        transcription_id, session_id = await self._fed(slug)
        present = await self._records.participants(session_id)
        if identity is None:
            before = await self._records.host(transcription_id)
            identity = select_host(present, {before} if before is not None else ())
        for person in present:
            if person.identity == identity:
                if not await self._records.set_host(transcription_id, identity):
                    raise NotFedByBrowsers(slug)  # it has stopped meanwhile
                return person
        raise NotPresent(slug, identity)

    async def _fed(self, slug: str) -> tuple[str, str]:
        session = await self._records.session(slug)
        if session is None:
            raise SessionNotFound(slug)
        record = await self._records.transcription(slug)
        if record is None:
            raise NeverStarted(slug)
        if record.source != FED or record.state == TranscriptionState.STOPPED:
            raise NotFedByBrowsers(slug)
        return record.id, session.id


def _id(run: Run) -> str:
    return run.claimed.lease.transcription_id
