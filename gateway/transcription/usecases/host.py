"""Keeps one host for each transcription that is fed by browsers, and tells its watchers who that is."""

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
from gateway.transcription.usecases.records import InLine, Participation, Records
from gateway.transcription.usecases.run import Run

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
# Looks for which the host of before a restart is awaited while another participant is present.
COME_BACK_LOOKS: Final = 30
FED: Final = "websocket"


@dataclass(slots=True)
class _Seen:
    """One transcription as of the last look. The sets hold identities."""

    host: str | None = None
    looked: bool = False
    feeding: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)  # whose audio has ever come in
    quitted: set[str] = field(default_factory=set)  # whose audio has come in and has ended
    awaited: int = 0  # looks that remain for the host of before a restart to come back


class Hosts:
    """The database knows the host, so that it survives a restart and any replica may change it."""

    def __init__(self, records: Records, live: Live, runs: Callable[[], Sequence[Run]]) -> None:
        self._sessions = records.sessions
        self._transcriptions = records.transcriptions
        self._hosts = records.hosts
        self._live = live
        self._runs = runs
        self._seen: dict[str, _Seen] = {}  # by transcription id

    async def look_for_ever(self) -> None:
        """Choose another host when one has left, looking once a second. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            runs = [run for run in self._runs() if run.claimed.source == FED and not run.finished.is_set()]
            self._seen = {_id(run): self._seen.get(_id(run), _Seen()) for run in runs}
            for run in runs:
                self._notice(run, self._seen[_id(run)])
            try:
                await self._look(runs)
            except RecordsUnavailable as error:
                log.debug("database: %s", error)  # the runs warn of it; the hosts stay as they are

    def _notice(self, run: Run, seen: _Seen) -> None:
        feeding = {live.track.speaker.identity for live in run.tracks}
        # A participant may have come and gone between two looks.
        seen.quitted = (seen.quitted | seen.feeding | (run.speakers - seen.known)) - feeding
        seen.feeding = feeding
        seen.known |= run.speakers

    async def _look(self, runs: Sequence[Run]) -> None:
        """One statement for all, and a second one for those whose host does not speak."""
        if not runs:
            return
        stored = await self._hosts.of_all([_id(run) for run in runs])
        open_ones = []
        for run in runs:
            seen, host = self._seen[_id(run)], stored.get(_id(run))
            if seen.looked and host == seen.host and host in seen.feeding:
                seen.awaited = 0  # it speaks, so it stays: who else is there does not matter
            else:
                open_ones.append((run, host))
        if not open_ones:
            return
        present = await self._sessions.in_line(
            [InLine(run.claimed.session_id, host, self._seen[_id(run)].quitted) for run, host in open_ones]
        )
        for run, host in open_ones:
            await self._choose(run, host, present.get(run.claimed.session_id, ()))

    async def _choose(self, run: Run, stored: str | None, present: Sequence[Participation]) -> None:
        seen = self._seen[_id(run)]
        feeding = [live.track.speaker.identity for live in run.tracks]
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
        # A host whom people have chosen meanwhile goes before our choice; the next look tells.
        if after != seen.host and await self._hosts.replace(_id(run), seen.host, after):
            reason = Reason.LEFT if seen.host is not None else Reason.FIRST
            seen.host, seen.awaited = after, 0
            self._tell(run, seen, present, reason)

    def _await(self, seen: _Seen, present: Sequence[Participation]) -> None:
        """No replica saw a host leave that vanished during a restart: after COME_BACK_LOOKS it counts as quitted."""
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
        """The host's identity, None while there is none.

        Raises: SessionNotFound, NeverStarted, NotFedByBrowsers, RecordsUnavailable.
        """
        return await self._hosts.current((await self._fed(slug))[0])

    async def appoint(self, slug: str, identity: str | None) -> tuple[Participation, bool]:
        """Make a participant the host; without an identity the next in line, because the present host is leaving.

        Returns: the host, and whether it was another one before.

        Raises: SessionNotFound, NeverStarted, NotFedByBrowsers, NotPresent, RecordsUnavailable.
        """
        transcription_id, session_id = await self._fed(slug)
        before = await self._hosts.current(transcription_id)
        if identity is None:
            present = await self._sessions.in_line([InLine(session_id, before)])
            identity = select_host(present.get(session_id, ()), {before} if before is not None else ())
        person = None if identity is None else await self._sessions.participant(session_id, identity)
        if identity is None or person is None:
            raise NotPresent(slug, identity)
        if identity != before and not await self._hosts.appoint(transcription_id, identity):
            raise NotFedByBrowsers(slug)  # it has stopped meanwhile
        return person, identity != before

    async def _fed(self, slug: str) -> tuple[str, str]:
        session = await self._sessions.by_slug(slug)
        if session is None:
            raise SessionNotFound(slug)
        record = await self._transcriptions.newest(slug)
        if record is None:
            raise NeverStarted(slug)
        if record.source != FED or record.is_stopped:
            raise NotFedByBrowsers(slug)
        return record.id, session.id


def _id(run: Run) -> str:
    return run.claimed.lease.transcription_id
