"""The sessions that are watched here and run elsewhere: live from the wire, every final from PostgreSQL if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.live.channel import is_good
from gateway.live.followed import POLL_S, READ_AGAIN_S, Followed
from gateway.live.hub import Hub
from gateway.live.protocol import ResumePoint
from gateway.live.relay import Wire
from gateway.outage import Outage, RecordsUnavailable
from gateway.tasks import Tasks
from gateway.transcription.usecases.follow import Standings

LEAVE_S: Final = 10.0
"""A session without watchers stays subscribed for this many seconds."""
CONFIRM_S: Final = 1.0
PAGE: Final = 200
_LOOK_S: Final = 0.25


@dataclass(slots=True)
class ForeignCounts:
    """Since the process began. `looks` and `reads`: statements, each for any number of sessions."""

    looks: int = 0
    reads: int = 0
    finals_read: int = 0


class Foreign:
    """Keeps the channels of sessions that run elsewhere. `wire`: None without Redis. `run` must run."""

    def __init__(self, hub: Hub, standings: Standings, wire: Wire | None, replica: str = "") -> None:
        """`replica`: the name of this one."""
        self._replica = replica
        self.counts = ForeignCounts()
        self._hub = hub
        self._standings = standings
        self._wire = wire
        self._clock = asyncio.get_running_loop().time
        self._followed: dict[str, Followed] = {}
        self._joining: dict[str, asyncio.Task[bool]] = {}
        self._by_channel: dict[str, Followed] = {}
        self._losses = 0  # of those that were left
        self._tasks = Tasks(log_errors=False)
        self._wake = asyncio.Event()
        self._outage = Outage("finals of sessions on other gateways wait")

    # --- for the endpoint -----------------------------------------------------------------------------------

    async def follow(self, slug: str, session_id: str, since: ResumePoint | None = None) -> None:
        """Bring the channel of a watched session up to date, and keep it so.

        May be repeated: then it waits only where `since` is ahead of what the wire has brought. Raises:
        RecordsUnavailable.
        """
        while self._hub.watching(slug) and not self._hub.runs_here(slug):
            one = self._followed.get(slug) or self._begin(slug, session_id)
            if one.is_kept:
                if one.lacks(since):
                    await self._look([one])
                    await self._read([one])
                return
            joining = self._joining.get(slug)
            if joining is None:
                joining = self._joining[slug] = self._tasks.start(self._join(one), f"follow {slug}")
                joining.add_done_callback(lambda _: self._joining.pop(slug, None))
            if not await asyncio.shield(joining):
                raise RecordsUnavailable("the numbering of the session could not be read")

    def has_all(self, slug: str) -> bool:
        """Whether watchers of a session that is over need not wait for anything here."""
        one = self._followed.get(slug)
        return one is None or one.has_all

    def elsewhere(self, slug: str) -> int:
        """Watchers of a session on other replicas, as far as its owner is heard."""
        one = self._followed.get(slug)
        return one.elsewhere if one is not None else 0

    def release(self, slug: str) -> None:
        """It runs here from now on."""
        one = self._followed.get(slug)
        if one is not None:
            one.release()
            self._leave(one)

    # --- for the metrics ------------------------------------------------------------------------------------

    @property
    def followed(self) -> int:
        """Sessions that are subscribed."""
        return len(self._followed)

    @property
    def degraded(self) -> int:
        """Sessions whose watchers miss something."""
        return sum(bool(one.trouble) for one in self._followed.values())

    @property
    def losses(self) -> int:
        """How often something that was said never came, since the process began."""
        return self._losses + sum(one.losses for one in self._followed.values())

    # --- the wire -------------------------------------------------------------------------------------------

    def message(self, channel: str, data: bytes) -> None:
        """News of a session."""
        if (one := self._by_channel.get(channel)) is not None:
            one.hear(data)

    def live(self, channel: str, *, hole: bool) -> None:
        """The channel is heard from now on; `hole`: it was before, and not in between."""
        if (one := self._by_channel.get(channel)) is not None:
            one.enter(hole=hole)

    def lost(self, channel: str) -> None:
        """The channel is not heard until `live`."""
        if (one := self._by_channel.get(channel)) is not None:
            one.is_live = False
            one.look_soon()

    def changed(self) -> None:
        """The wire as a whole came or went."""
        for one in self._followed.values():
            one.look_soon()

    async def run(self) -> None:
        """Read what the wire does not bring. Runs until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._round()
                except RecordsUnavailable as error:
                    self._outage.noticed(error)
                    await asyncio.sleep(POLL_S)
                else:
                    self._outage.over()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._wake.wait()
        finally:
            self._tasks.cancel()

    # --- beginning and leaving ------------------------------------------------------------------------------

    def _begin(self, slug: str, session_id: str) -> Followed:
        one = Followed(slug, session_id, self._hub, self._wire, self._wake.set, self._clock, self._replica)
        self._followed[slug] = self._by_channel[one.wire_channel] = one
        return one

    def _leave(self, one: Followed) -> None:
        del self._followed[one.slug], self._by_channel[one.wire_channel]
        self._losses += one.losses
        if self._wire is not None:
            self._wire.unsubscribe(one.wire_channel)

    async def _join(self, one: Followed) -> bool:
        """What is said from the confirmation on is heard, or in PostgreSQL before we look there. False: no answer."""
        if one.subscription is not None and self._wire is not None and self._wire.is_up:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONFIRM_S):
                    await one.subscription.confirmed()
        try:
            self.counts.looks += 1
            standings = await self._standings.look([one.session_id])
        except RecordsUnavailable as error:
            self._outage.noticed(error)
            return False
        if self._hub.watching(one.slug) and not self._hub.runs_here(one.slug):
            one.begin(standings.get(one.session_id))
            self._wake.set()
        return True

    # --- PostgreSQL -----------------------------------------------------------------------------------------

    def _rest_s(self) -> float | None:
        if not self._followed:
            return None
        return _LOOK_S if all(one.lacks_since is None for one in self._followed.values()) else READ_AGAIN_S[0]

    async def _round(self) -> None:
        """Raises: RecordsUnavailable."""
        now = self._clock()
        kept = [one for one in list(self._followed.values()) if self._stays(one, now)]
        for one in kept:
            one.tick()
        await self._look([one for one in kept if now - one.looked_at >= one.poll_s])
        await self._read([one for one in kept if one.lacks_since is not None and now >= one.read_at])

    def _stays(self, one: Followed, now: float) -> bool:
        """Whether it is to be kept up to date. One without watchers is left after a while."""
        if self._hub.watching(one.slug):
            one.unwatched_since = None
            return one.is_kept
        one.channel = one.lacks_since = None
        if one.unwatched_since is None:
            one.unwatched_since = now
        elif now - one.unwatched_since >= LEAVE_S:
            self._leave(one)
        return False

    async def _look(self, due: Sequence[Followed]) -> None:
        """Where they stand: one statement for all."""
        if not due:
            return
        for one in due:
            one.looked_at = self._clock()
        self.counts.looks += 1
        standings = await self._standings.look([one.session_id for one in due])
        for one in due:
            one.learn(standings.get(one.session_id))

    async def _read(self, due: Sequence[Followed]) -> None:
        """The finals that are missing, of all sessions in one statement."""
        lacking = {one.session_id: (one, one.channel) for one in due if one.channel is not None}
        if not lacking:
            return
        before = {session_id: channel.last_seq for session_id, (_, channel) in lacking.items()}
        self.counts.reads += 1
        for final in await self._standings.finals(before, PAGE):
            one, channel = lacking[final.session_id]
            if one.channel is channel and is_good(channel, final.epoch, final.seq):
                self.counts.finals_read += 1
                one.hold(final.seq, final.utterance_id, final.data)
        for session_id, (one, channel) in lacking.items():
            if one.channel is channel:
                one.read_from(before[session_id])
