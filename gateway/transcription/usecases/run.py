"""The life of one transcription, from its claim to its end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from gateway import tracing
from gateway.correlation import bound
from gateway.transcription.domain import health
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.errors import NotReady, RunsElsewhere
from gateway.transcription.domain.handover import HandedOver, Heir, Late
from gateway.transcription.domain.lines import Line
from gateway.transcription.domain.meters import Meters
from gateway.transcription.domain.overlap import Edges
from gateway.transcription.domain.preferences import Preferences
from gateway.transcription.domain.recent_trouble import RecentTrouble
from gateway.transcription.domain.salvage import Salvage
from gateway.transcription.domain.timing import Timeline
from gateway.transcription.domain.transcription import Claimed, TranscriptionState, move
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.asked import Asked
from gateway.transcription.usecases.audio import AudioSource, AudioTrack
from gateway.transcription.usecases.bookkeeping import BEAT_S, Bookkeeping
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.late import Former, LateFinals
from gateway.transcription.usecases.limits import Budget
from gateway.transcription.usecases.listening import Listening, Parts
from gateway.transcription.usecases.membership import UNCERTAIN_S
from gateway.transcription.usecases.said import Said, SaidCounts
from gateway.transcription.usecases.speech import Translation
from gateway.transcription.usecases.track import LiveTrack, Tracks, heard_again
from gateway.transcription.usecases.unheard import UnheardTracks

log = logging.getLogger(__name__)

NO_PUBLISHER_AFTER_S: Final = 5.0
FORMER_MARGIN_S: Final = 2.0
"""Beyond the time in which a former owner's finals come: for telling them."""
FAILED: Final = "internal error"
LEASE_LOST: Final = "another replica took over"
DELETED: Final = "the session was deleted"
MOVED: Final = "another gateway goes on with it; come back"


class Run:
    """Owns one transcription. `run` is its only task; everything else is called from outside and does not wait.

    Its parts: `Tracks` are listened to and metered, `Said` turns what is heard into captions, `Bookkeeping` writes
    down how far it is, `Budget` says when it has to end.
    """

    def __init__(
        self,
        claimed: Claimed,
        preferences: Preferences,
        source: AudioSource,
        context: RunContext,
        *,
        earlier: Sequence[Usage] = (),
        recovered: Mapping[str, int] | None = None,
        cap_usd: float | None = None,
        spent_usd: float = 0.0,
    ) -> None:
        """`earlier`: the last meter readings of a former owner; `recovered`: finals that are stored of it, by identity.
        `cap_usd`: what the session may cost, of which `spent_usd` are spent in other transcriptions."""
        self.claimed = claimed
        self.source = source
        self.state = TranscriptionState.STARTING
        self.reason: str | None = None
        """Why it stops; None before that."""
        self.health: tuple[str, ...] = ()
        """What is wrong now, in words; empty when all is well."""
        self.finals_complete = True
        """No final can be missing, as far as is known."""
        self.finished = asyncio.Event()
        self._context = context
        row_id = partial(context.records.usage.row_id, claimed.lease)
        self._tracks = Tracks(Meters(context.options.cost_per_minute, row_id, earlier))
        self._tracks.meters.recover(recovered or {}, claimed.started_at)
        self._said = Said(claimed, context, self._tracks.meters)
        self.counts.learn_lost(claimed.lost_audio_s)
        self.allowance = context.limits.allowance(claimed.session_id, claimed.lease.transcription_id)
        """Kept up to date by the `LimitKeeper`."""
        self._budget = Budget(self.allowance, cap_usd, spent_usd, context.options.maximum_s)
        self._books = Bookkeeping(claimed, context, self._tracks, self._said)
        self.asked = Asked(claimed, context, self._tracks, self._said, preferences)
        """What is asked for now, and who is paused."""
        self._unheard = UnheardTracks()
        self._parts = Parts(
            claimed,
            self.asked,
            context,
            self._tracks,
            self._said,
            self._books.presence,
            self._books.note,
            self._began,
            self.stop,
            self._may_send,
            self._carry,
            self._unheard.seam,
        )
        self._turned_away = RecentTrouble()
        self._stop_asked = asyncio.Event()
        self._stopping = tracing.NO_SPAN
        self._publisher_due_at = context.clock.monotonic() + NO_PUBLISHER_AFTER_S
        self._is_abandoned = False
        self._is_released = False
        self._is_lost = False  # it goes on elsewhere, and nobody is told anything of it here
        self._is_unshown = False
        self._has_left = False
        self.is_moving = False
        """It is being handed over, or was: whose the lease is decides the hand-over alone."""
        self._is_decided = asyncio.Event()
        self._is_decided.set()
        self._late: LateFinals | None = None
        self._former = Former(context.clock)
        self.came_at = -math.inf
        """When another living replica has given it away, monotonic; a publisher that came here is no reason to stay."""

    # --- from outside -----------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Finish what is held, then end. Only the first call counts."""
        if not self._stop_asked.is_set():
            self.reason = reason
            facts = {"session": self.claimed.slug, "transcription": self.claimed.lease.transcription_id}
            self._stopping = tracing.begin(
                "transcription stop", facts, parent=self.claimed.traceparent, links=[tracing.here()]
            )
            self._stop_asked.set()

    def release(self) -> None:
        """This process ends and the transcription does not: drain, then leave it to the next owner."""
        self._is_released = True
        self._books.disown_state()
        self._former.end()  # it tells the next owner
        self.stop("the gateway is restarting; come back")

    async def hand_over(self, heir: Heir, patience_s: float, late: LateFinals) -> HandedOver:
        """Give it to another replica, at a pause if one comes within `patience_s`.

        Audio is heard up to that moment; words of it that have no number yet go to `late`. Raises: NotReady when it is
        ending, or its books cannot be closed now: then it ends here, and whoever adopts it goes on. RunsElsewhere.
        """
        await self._tracks.quiet(patience_s)
        if self._stop_asked.is_set():
            raise NotReady("the transcription is ending here")
        self._said.hold_finals()
        self._books.disown_state()
        self.is_moving = True
        self._is_decided.clear()
        is_room = self.claimed.source == "livekit"  # which both hear; senders go on behind their last sample
        heard = self._tracks.heard() if is_room else self._tracks.interrupted()
        streams = await self.source.leave(MOVED, heir.replica)
        self.stop(MOVED)
        try:
            counted = await self._books.give_away(heir)
            if counted is None:
                self.abandon(LEASE_LOST)
                raise RunsElsewhere(self.claimed.slug)
            self._late = late
            self._former.end()  # it has no way to us any more
            deaf = self._tracks.leave_deaf()
            heard = heard if is_room else heard_again(heard, deaf)
            self._said.pass_finals(late.put, heard, deaf)
            self._leave_stream(self._context.live.move)
        except NotReady:
            self._is_released = True
            self._said.number_held()
            raise
        finally:
            self._is_decided.set()
        usage, lost_s = tuple(self.usage()), self.counts.lost_audio_s
        return HandedOver(self.claimed.lease.fence + 1, usage, tuple(counted), tuple(streams), heard, lost_s)

    def go_on(self, handed: HandedOver, former: Sequence[Caption] = ()) -> None:
        """What the former owner knows better than the database. `former`: its last stored finals. Before `run`."""
        self._former.expect(self._context.clock.monotonic() + self._context.options.drain_s + FORMER_MARGIN_S)
        self._tracks.meters.learn(handed.counted, self.claimed.started_at)
        self.counts.learn_lost(handed.lost_audio_s)
        self.source.skip(handed.heard)
        self._said.skip(edges := Edges(handed.heard, self.claimed.numbering.origin, former))
        if self.claimed.source != "livekit":  # a room is heard by both from before the cut on
            self._unheard.expect([one.identity for one in handed.heard], edges.mend)

    def recall(self, former: Sequence[Caption]) -> None:
        """The former owner was lost; `former`: its last stored finals. Before `run`."""
        self._said.skip(Edges((), self.claimed.numbering.origin, former, self._context.clock.now()))

    def hear_late(self, late: Late, participants: Mapping[str, asyncio.Future[str | None]]) -> None:
        """What came to the former owner after the hand-over. `participants`: by identity, done: their rows."""
        self._said.late(late.captions, participants)
        self._tracks.meters.learn(late.counted, self.claimed.started_at)
        self.counts.learn_lost(late.lost_audio_s)
        self._unheard.take(late.unheard)
        if not late.is_complete:
            self.finals_complete = False
        if late.is_last:
            self._former.end()

    def abandon(self, reason: str) -> None:
        """Another replica has the lease, or the session was deleted: end, and say nothing more.

        Of a lost lease, finals of what the provider has heard already are kept for behind the next owner's. A lease
        that this run itself gives up is not lost: a renewal at that moment finds it gone.
        """
        if reason == LEASE_LOST and self._books.is_giving_up:
            return
        if not self._is_abandoned:
            self._is_abandoned = True
            self._former.end()
            self._books.disown_state()
            self._said.silence(is_lost=reason == LEASE_LOST)
            if reason == LEASE_LOST:
                self._is_lost, self.reason = True, reason
                self._context.recorder.abandon(self.claimed.lease)
                self._leave_stream(self._context.live.lose)
        self.stop(reason)

    def salvage(self, speaker: Speaker, participant_id: str, found: Salvage) -> None:
        """Take over the finals of a process that died before it had stored them; too late once this run is ending."""
        if not self._is_abandoned and not self.state.is_ending:
            participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            participant.set_result(participant_id)
            self._said.salvage(speaker, participant, found)
            self._books.presence.ended(speaker.identity)  # the row says that they are there

    def translate(self, speaker: Speaker, translation: Translation) -> None:
        """Keep a translation of a final that a process had left; too late once this run has been abandoned."""
        if not self._is_abandoned:
            self._said.translate(speaker, translation)

    def turned_away(self, who: str | None, why: str) -> None:
        """A sender of audio was refused or thrown out: health says so for some minutes.

        `who`: its identity; None for those who have not proved one, of whom only the last is told.
        """
        name = "a sender of audio" if who is None else repr(who)
        self._turned_away.note(f"{name} was refused: {why}", self._context.clock.monotonic(), about=who or "")

    @property
    def tracks(self) -> Sequence[LiveTrack]:
        """Those that are transcribed now."""
        return self._tracks.live

    @property
    def speakers(self) -> frozenset[str]:
        """Identities of all participants whose audio has ever come in."""
        return self._tracks.meters.identities

    @property
    def cut_from(self) -> frozenset[Line]:
        """What it needs and has no line to at this moment."""
        is_deaf = any(live.is_cut_off for live in self._tracks.live)
        found = {Line.PROVIDER: is_deaf, Line.LIVEKIT: self.source.is_cut_off}
        return frozenset(line for line, is_cut in found.items() if is_cut)

    @property
    def counts(self) -> SaidCounts:
        """What the provider has said so far."""
        return self._said.counts

    @property
    def timeline(self) -> Timeline:
        """Where the time of its newest finals went, since it is run here."""
        return self._said.timeline

    @property
    def last_seq(self) -> int:
        """Number of the last final, whether it is stored already or not."""
        return self._said.last_seq

    def usage(self) -> list[Usage]:
        """The meters at this moment."""
        return self._tracks.read().usage(self._context.transcriber.gate)

    # --- the run ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Transcribe until stopped, then drain, close the books and end. Raises nothing but CancelledError."""
        claimed = self.claimed
        with bound(session=claimed.slug, transcription=claimed.lease.transcription_id):
            await self._live(claimed.slug)

    async def _live(self, slug: str) -> None:
        self._context.live.begin(slug, self.claimed.numbering, self.claimed.lease)
        self._show_state()
        log.info("transcription started", extra={"session": slug})
        try:
            async with asyncio.TaskGroup() as beside:
                books = beside.create_task(self._books.keep(), name=f"books {slug}")
                beat = beside.create_task(self._beat(), name=f"beat {slug}")
                steady = beside.create_task(self._said.under_way.run(), name=f"stable words {slug}")
                async with asyncio.TaskGroup() as listening:
                    listening.create_task(self._close_when_asked(), name=f"stop {slug}")
                    listening.create_task(self._hear_unheard(listening), name=f"unheard {slug}")
                    async for track in self.source.tracks():
                        listening.create_task(self._transcribe(track), name=f"track {slug}")
                    self.stop(self.source.trouble() or "the source ended")
                books.cancel()
                beat.cancel()
                steady.cancel()
            await self._settle()
        except Exception:
            log.exception("transcription failed", extra={"session": slug})
            self.reason = FAILED
            await self._settle_after_a_bug()
        finally:
            self._leave_stream(self._context.live.move)
            self._end_stopping()
            self.finished.set()

    async def _close_when_asked(self) -> None:
        await self._stop_asked.wait()
        self._move(TranscriptionState.STOPPING)
        if self._is_lost:
            await self.source.leave(LEASE_LOST)  # whoever sends audio finds the next owner
        await self.source.close(self.reason or "stopped")

    def _end_stopping(self) -> None:
        counts = {"finals": self.counts.finals, "finals_complete": self.finals_complete}
        self._stopping.note(counts | {"reason": self.reason or ""})
        self._stopping.end("failed" if self.reason == FAILED else None)

    async def _settle(self) -> None:
        """Everything said is in the database; then the books are closed."""
        self._move(TranscriptionState.STOPPING)
        await self._is_decided.wait()
        if self._late is not None:
            await self._books.abandon()
            self.state = move(self.state, TranscriptionState.STOPPED)
            counted, lost_s = self._tracks.read().counted(), self.counts.lost_audio_s
            self._late.close(counted, is_complete=self.finals_complete, lost_audio_s=lost_s)
            return
        await self._hear_former_out()
        if self._is_abandoned:
            await self._books.abandon()
        elif self._is_released:
            await self._books.hand_over()
        elif await self._books.finish(self.reason or "stopped", self.finals_complete):
            self._leave_stream(self._show_stopped)
        else:
            self.abandon(LEASE_LOST)
        if self._is_lost and await self._books.is_erased():
            self.reason = DELETED
        self.state = move(self.state, TranscriptionState.STOPPED)
        log.info(
            "transcription stopped: %s",
            self.reason,
            extra={"session": self.claimed.slug, "finals": self.counts.finals, "complete": self.finals_complete},
        )

    async def _hear_former_out(self) -> None:
        """The former owner may still wait for finals of what it has sent, for as long as a stop would."""
        await self._former.wait()
        if not self._former.is_done:
            log.warning("the former owner has not told its last finals", extra={"session": self.claimed.slug})
            self.finals_complete = False

    async def _hear_unheard(self, listening: asyncio.TaskGroup) -> None:
        """While the former owner may bring audio that it could not get heard."""
        self._unheard.begin(lambda track: listening.create_task(self._transcribe(track, is_former=True)))
        await self._former.wait()
        self._unheard.end()

    async def _carry(self, live: LiveTrack) -> bool:
        """The track has ended. Its audio without a final goes to the heir, where no line is here to hear it on."""
        await self._is_decided.wait()
        if self._late is None or live.track.anchor is None or not (live.is_deaf or live.is_cut_off):
            return False
        self._late.carry(live.track.speaker, live.track.anchor, list(live.link.unheard()))
        live.is_given_away = True
        return True

    async def _settle_after_a_bug(self) -> None:
        """It must not take the other transcriptions of this process with it."""
        try:
            await self.source.close(FAILED)
            await self._settle()
        except Exception:
            log.exception("the books were not closed; another owner will do it", extra={"session": self.claimed.slug})
            self._leave_stream(self._show_stopped)

    # --- the stream ---------------------------------------------------------------------------------------

    def _leave_stream(self, leave: Callable[[str], None]) -> None:
        """The session's stream is not this run's from here on: it has stopped, is lost, or moves. Told once, however it
        ends, and before another run may begin here: whoever watches would wait for it for ever."""
        if not self._has_left:
            self._has_left = True
            leave(self.claimed.slug)

    def _show_stopped(self, slug: str) -> None:
        self._context.live.set_state(slug, TranscriptionState.STOPPED.shown, self.reason)

    def _show_state(self) -> None:
        self._is_unshown = not (self._is_abandoned or self._context.membership.may_act())
        if self._has_left or self._is_unshown:
            return
        reason = self.reason if self.state.is_ending else None
        self._context.live.set_state(self.claimed.slug, self.state.shown, reason)

    # --- one track ----------------------------------------------------------------------------------------

    async def _transcribe(self, track: AudioTrack, *, is_former: bool = False) -> None:
        """Until the track's last finals are there. An error in its code is its own: the other tracks go on."""
        try:
            is_whole = await Listening(track, self._parts, is_former=is_former).run()
        except Exception:
            log.exception("a track could not be transcribed", extra={"session": self.claimed.slug})
            track.release()
            is_whole = False
        if not is_whole:
            self.finals_complete = False

    async def _may_send(self) -> bool:
        """Wait until it is certain that the transcription is ours. False: it is no longer."""
        while not self._is_abandoned:
            if self._context.membership.may_act():
                return True
            await asyncio.sleep(UNCERTAIN_S)
        return False

    def _began(self) -> None:
        if self.state is TranscriptionState.STARTING:
            self._move(TranscriptionState.RUNNING)

    # --- the beat -----------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        has_failed = False
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                self._look()
            except Exception:
                if not has_failed:
                    log.exception("the state of a run could not be read", extra={"session": self.claimed.slug})
                has_failed = True

    def _look(self) -> None:
        """Derive state and health from the tracks, and end when there is nothing left to spend."""
        for live in self._tracks.live:
            if live.trouble is None and (trouble := live.track.trouble()):
                self._said.trouble(live, trouble)
        if not self._context.membership.may_act():
            return
        if self._is_unshown:
            self._show_state()
        self.asked.tell()
        facts = self._facts()
        if self.state in (TranscriptionState.RUNNING, TranscriptionState.WAITING):
            waits = facts.waits_for_provider
            self._move(TranscriptionState.WAITING if waits else TranscriptionState.RUNNING)
        reasons = health.reasons(facts)
        if reasons != self.health:
            self.health = self._books.health = reasons
            self._said.say("health", {"status": "degraded" if reasons else "ok", "reasons": reasons})
        age_s = (self._context.clock.now() - self.claimed.started_at).total_seconds()
        if reason := self._budget.exhausted(self._tracks.read(), len(self._tracks.live), age_s):
            self.stop(reason)
            self._books.is_limited = self.reason == reason

    def _facts(self) -> health.Facts:
        recorder, tracks = self._context.recorder, self._tracks.live
        is_alone = self.state is TranscriptionState.STARTING and not tracks
        is_overdue = is_alone and self._context.clock.monotonic() >= self._publisher_due_at
        return health.Facts(
            tracks=[live.facts for live in tracks],
            provider=self._context.transcriber.trouble,
            database_behind_s=recorder.behind_s,
            disk=recorder.trouble,
            lost_audio=self._said.lost.told(self._context.clock.monotonic()),
            source=self.source.trouble(),
            awaits_publisher=self.claimed.source if is_overdue else None,
            turned_away=self._turned_away.told(self._context.clock.monotonic()),
        )

    def _move(self, after: TranscriptionState) -> None:
        if after is not self.state:
            self.state = self._books.state = move(self.state, after)
            if not self.is_moving:
                self._show_state()
