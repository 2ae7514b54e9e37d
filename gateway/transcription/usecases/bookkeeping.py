"""What a run writes about itself: state, meter readings, provider sessions, partials. Finals are `record`'s."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from gateway.outage import Outage, RecordsUnavailable, until_database_answers
from gateway.transcription.domain.errors import NotReady
from gateway.transcription.domain.handover import Counted, Heir
from gateway.transcription.domain.transcription import Claimed, TranscriptionState
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.journal import UsageToStore
from gateway.transcription.usecases.presence import Presence
from gateway.transcription.usecases.said import Said
from gateway.transcription.usecases.speech import ProviderSession
from gateway.transcription.usecases.track import Tracks

BEAT_S: Final = 1.0
CHECKPOINT_S: Final = 5.0  # the contract asks for ten; a crash forgets at most this much of the bill
TOUCH_S: Final = 15.0
GIVE_AWAY_S: Final = 2.0


class Bookkeeping:
    """The database's view of one run, at most a second or two behind it.

    `keep` runs beside the run. Then one of `abandon`, `hand_over` and `finish` closes the books; each repeats its calls
    until the database has answered.
    """

    def __init__(
        self,
        claimed: Claimed,
        context: RunContext,
        tracks: Tracks,
        said: Said,
    ) -> None:
        self.state = TranscriptionState.STARTING
        """What the run is doing; stored within a second."""
        self.is_giving_up = False
        """The lease goes, or is gone, by what is written here: that it is not held any more is no loss."""
        self.health: tuple[str, ...] = ()
        """What is wrong with it now; stored within a second."""
        self.is_limited = False
        """A limit ends it."""
        self._claimed = claimed
        self._context = context
        self._records = context.records
        self._tracks = tracks
        self._said = said
        self._outage = Outage("the books of this transcription wait", session=claimed.slug)
        self._stored_state = TranscriptionState.STARTING
        self._stored_health: tuple[str, ...] | None = None  # not known of a run that was taken over
        self._stored_lost_s = claimed.lost_audio_s
        self._owns_state = True
        self.presence = Presence(claimed, context.records.sessions, tracks)
        self._sessions: list[tuple[str, ProviderSession]] = []  # identity and report, in the order of their arrival
        self._noted = asyncio.Event()

    def note(self, identity: str, session: ProviderSession) -> None:
        """A provider session was opened or is over: stored at once, since only the database tells the next process
        what this one, if it crashes, leaves running at the provider."""
        self._sessions.append((identity, session))
        self._noted.set()

    def disown_state(self) -> None:
        """The stored state is the next owner's from now on."""
        self._owns_state = False

    async def keep(self) -> None:
        """Store what there is, until cancelled. An outage is waited out; it is said once."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_meters(), name=f"meters {self._claimed.slug}")
            tasks.create_task(self._keep_notes(), name=f"notes {self._claimed.slug}")

    async def abandon(self) -> None:
        """The lease is lost. Provider sessions are still noted: who opened them has to answer for them."""
        await until_database_answers(self._store_sessions)

    async def is_erased(self) -> bool:
        """The session is gone: of a lost lease, nobody has taken it."""
        found = await until_database_answers(lambda: self._records.sessions.by_slug(self._claimed.slug))
        return found is None or found.id != self._claimed.session_id

    async def hand_over(self) -> None:
        """Leave the transcription running, with nothing of it missing in the database."""
        await until_database_answers(self._store_notes)
        await self._close_meters()
        lease, owner = self._claimed.lease, self._context.options.owner
        self.is_giving_up = True
        await until_database_answers(lambda: self._records.leases.release(lease, owner))

    async def give_away(self, heir: Heir) -> Sequence[Counted] | None:
        """Everything known by now goes to the database; then the lease becomes the heir's.

        Returns: what is counted up to here; None when the lease is not ours any more. Raises: NotReady when the
        database does not answer soon: who has the lease then, only the database can tell.
        """
        options, lease = self._context.options, self._claimed.lease
        try:
            async with asyncio.timeout(GIVE_AWAY_S):
                await self._store_sessions()
                await self._checkpoint()
                await self._context.recorder.settled(lease.transcription_id)
                counted = self._tracks.read().counted()
                is_given = await self._records.leases.hand_over(lease, options.owner, heir, options.lease_s)
        except (TimeoutError, RecordsUnavailable) as error:
            raise NotReady(f"the books of {self._claimed.slug!r} cannot be closed now: {error}") from error
        return counted if is_given else None

    async def finish(self, reason: str, finals_complete: bool) -> bool:
        """Stop the transcription, and number the strays of the session, whose turn is now.

        Returns: False when the lease was lost before.
        """
        self.presence.end()
        await until_database_answers(self._store_notes)
        self._tracks.meters.end(self._context.clock.now())
        await self._close_meters()
        lease, leases = self._claimed.lease, self._records.leases
        self.is_giving_up = True
        self.is_giving_up = await until_database_answers(
            lambda: leases.finish(lease, reason, finals_complete, is_limited=self.is_limited)
        )
        if not self.is_giving_up:
            return False
        channel = self._context.live.channel(self._claimed.slug)
        session_id = self._claimed.session_id
        for final in await until_database_answers(lambda: self._records.finals.number_strays(session_id)):
            channel.final(final.seq, final.utterance_id, final.data)
        return True

    async def _keep_meters(self) -> None:
        """A checkpoint every CHECKPOINT_S, and within a second of a new participant's first audio.

        On full seconds of the replica's clock, all runs at once: then one statement stores the readings of all.
        """
        clock, meters = self._context.clock, self._tracks.meters
        due, participants = _next(clock.monotonic(), CHECKPOINT_S), 0
        while True:
            now = clock.monotonic()
            await asyncio.sleep(_next(now, BEAT_S) - now)
            if clock.monotonic() < due and len(meters) <= participants:
                continue
            try:
                await self._checkpoint()
            except RecordsUnavailable as error:
                self._outage.noticed(error)
                continue
            due, participants = _next(clock.monotonic(), CHECKPOINT_S), len(meters)

    async def _keep_notes(self) -> None:
        """Every second, and at once for a provider session."""
        clock = self._context.clock
        touched_at = clock.monotonic()
        while True:
            beat = asyncio.get_running_loop().call_later(BEAT_S, self._noted.set)
            await self._noted.wait()
            beat.cancel()
            self._noted.clear()
            now = clock.monotonic()
            try:
                await self._store_notes()
                spoken_at = self._said.counts.last_final_at
                if spoken_at is not None and spoken_at > touched_at and now - touched_at >= TOUCH_S:
                    await self._records.sessions.touch(self._claimed.session_id)
                    touched_at = now
            except RecordsUnavailable as error:
                self._outage.noticed(error)
            else:
                self._outage.over()

    async def _checkpoint(self) -> None:
        usage = tuple(self._tracks.read().usage(self._context.transcriber.gate))
        await self._context.recorder.checkpoint(UsageToStore(self._claimed, dict(self._tracks.participants), usage))

    async def _close_meters(self) -> None:
        """The last reading; then every final and reading of this run is in the database."""
        await until_database_answers(self._checkpoint)
        await self._context.recorder.settled(self._claimed.lease.transcription_id)

    async def _store_notes(self) -> None:
        if self._owns_state and self._stored_state is not self.state:
            state = self.state
            await self._records.leases.set_state(self._claimed.lease, state)
            self._stored_state = state
        if self._owns_state and self._stored_health != self.health:
            reasons = self.health
            await self._records.leases.set_health(self._claimed.lease, reasons)
            self._stored_health = reasons
        if self._owns_state:
            await self.presence.store()
        if self._stored_lost_s != (lost_s := self._said.counts.lost_audio_s):
            await self._records.leases.set_lost_audio(self._claimed.lease, lost_s)
            self._stored_lost_s = lost_s
        await self._store_sessions()
        partials = self._said.partials
        if stored := dict(partials):
            await self._records.finals.store_partials(self._claimed.session_id, list(stored.values()))
            for utterance_id, partial in stored.items():
                if partials.get(utterance_id) is partial:  # else a newer one came meanwhile
                    del partials[utterance_id]

    async def _store_sessions(self) -> None:
        while self._sessions:
            identity, session = noted = self._sessions[0]
            await self._records.provider_sessions.note(self._claimed, identity, session)
            if self._sessions and self._sessions[0] is noted:  # a hand-over and the beat may both be at it
                del self._sessions[0]


def _next(now: float, every_s: float) -> float:
    """The next multiple, not right away: clocks and timers differ by a millisecond."""
    return math.ceil((now + 0.01) / every_s) * every_s
