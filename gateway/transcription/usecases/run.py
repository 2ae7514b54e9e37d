"""One running transcription: the pump from audio to captions, and the beat that keeps lease, meter and state."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.outage import Outage, RecordsUnavailable, until_database_answers
from gateway.transcription.domain.annotations import on_session
from gateway.transcription.domain.captions import Caption, Numberer, Speaker, Utterance, caption
from gateway.transcription.domain.receipt import Listened
from gateway.transcription.domain.salvage import Salvage
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import NOBODY_YET, Claimed, TranscriptionState, move
from gateway.transcription.domain.usage import Meter, Usage, exceeds, read, started_minutes, whole_seconds
from gateway.transcription.usecases.audio import AudioSource, AudioTrack, SourceTrouble
from gateway.transcription.usecases.journal import FinalToStore, UsageToStore
from gateway.transcription.usecases.limits import READ_EVERY_S, LimitKeeper
from gateway.transcription.usecases.live import Live
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.speech import (
    Annotation,
    LinkEnd,
    ProviderComplaint,
    ProviderSession,
    Speech,
    SpeechLink,
    SpeechLost,
    Transcriber,
    Translation,
    Withdrawn,
)

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
CHECKPOINT_S: Final = 5.0  # the contract asks for ten; a crash forgets at most this much of the bill
TOUCH_S: Final = 15.0
NOBODY_AFTER_S: Final = 5.0
# A cap is looked at once a second; two seconds of audio ahead is where the money must still be enough.
CAP_AHEAD_S: Final = 2


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`drain_s`: how long late finals are awaited. `lease_s`: how long a silent owner keeps the right.

    `maximum_s`: length of a transcription; 0 = no limit.
    """

    owner: str
    drain_s: float = 10.0
    lease_s: float = 30.0
    cost_per_minute: float = 0.01
    store_partials: bool = False
    maximum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every run is given."""

    records: Records
    recorder: Recorder
    live: Live
    transcriber: Transcriber
    clock: Clock
    options: RunOptions
    limits: LimitKeeper


@dataclass(slots=True)
class LiveTrack:
    """A track while it is transcribed."""

    track: AudioTrack
    link: SpeechLink
    meter: Meter
    participant: asyncio.Future[str | None]
    trouble: str | None = None
    end: LinkEnd | None = None


@dataclass(slots=True)
class RunCounts:
    finals: int = 0
    partials: int = 0
    repeated: int = 0
    lost_audio_s: float = 0.0
    complaints: int = 0
    last_final_at: float | None = None
    finals_complete: bool = True


@dataclass(slots=True)
class _Meters:
    """One meter a participant, whatever number of tracks feed it."""

    by_identity: dict[str, Meter] = field(default_factory=dict)
    participants: dict[str, str | None] = field(default_factory=dict)


class Run:
    """Owns one transcription from its claim to its end. `run` is its only task; the rest is called from outside."""

    def __init__(
        self,
        claimed: Claimed,
        speech: SpeechOptions,
        source: AudioSource,
        context: RunContext,
        *,
        earlier: list[Usage] | None = None,
        cap_usd: float | None = None,
        spent_usd: float = 0.0,
    ) -> None:
        self.claimed = claimed
        self.source = source
        self.state = TranscriptionState.STARTING
        self.reason: str | None = None
        self.counts = RunCounts()
        self.tracks: list[LiveTrack] = []
        self.finished = asyncio.Event()
        self._speech = speech
        self._context = context
        self._outage = Outage("the books of this transcription wait", session=claimed.slug)
        self._numberer = Numberer(claimed.numbering.last_seq)
        self._meters = _Meters()
        self._cap_usd = cap_usd
        self._allowance = context.limits.allowance(claimed.session_id, claimed.lease.transcription_id)
        self._spent_usd = spent_usd
        self._stop_asked = asyncio.Event()
        self._overdue_at = context.clock.monotonic() + NOBODY_AFTER_S
        self._abandoned = False
        self._released = False
        self._health: tuple[str, ...] = ()
        self._partials: dict[str, tuple[Caption, str | None]] = {}
        self._provider_notes: list[tuple[str, ProviderSession]] = []
        self._noted = asyncio.Event()
        self._stored_state = TranscriptionState.STARTING
        for usage in earlier or ():
            self._meters.by_identity[usage.identity] = _resumed(usage)

    # --- from outside -----------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Finish what is held, then end. Asking twice changes nothing."""
        if not self._stop_asked.is_set():
            self.reason = reason
            self._stop_asked.set()

    def release(self) -> None:
        """This process ends, the transcription does not: drain, then leave it to the next owner."""
        self._released = True
        self.stop("the gateway is restarting; come back")

    def abandon(self, reason: str) -> None:
        """The lease is somebody else's, or the session is gone: write nothing more."""
        self._abandoned = True
        self.stop(reason)

    async def renew(self) -> None:
        """Keep the lease, or notice that it is lost. Raises: RecordsUnavailable."""
        options = self._context.options
        if not await self._context.records.renew(self.claimed.lease, options.owner, options.lease_s):
            self.abandon("another replica took over")

    @property
    def speakers(self) -> frozenset[str]:
        """Identities of everybody whose audio has ever come in, this moment or long ago."""
        return frozenset(self._meters.by_identity)

    @property
    def last_seq(self) -> int:
        return self._numberer.last

    def usage(self) -> list[Usage]:
        self._read_links()
        return [read(meter, self._context.transcriber.gate) for meter in self._meters.by_identity.values()]

    @property
    def health(self) -> tuple[str, ...]:
        """What is wrong now, in words; empty when all is well."""
        return self._health

    # --- the run ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Transcribe until stopped, then drain, settle the books and end. Never raises but on cancellation."""
        slug, context = self.claimed.slug, self._context
        context.live.begin(slug, self.claimed.numbering)
        self._show_state()
        log.info("transcription started", extra={"session": slug, "transcription": self.claimed.lease.transcription_id})
        try:
            async with asyncio.TaskGroup() as tasks:
                beat = tasks.create_task(self._beat(), name=f"beat {slug}")
                async with asyncio.TaskGroup() as listening:
                    listening.create_task(self._close_when_asked(), name=f"stop {slug}")
                    async for track in self.source.tracks():
                        listening.create_task(self._track(track), name=f"track {slug}")
                    self.stop(self.source.trouble() or "the source ended")
                beat.cancel()
            await self._settle()
        except Exception:
            log.exception("transcription failed", extra={"session": slug})
            self.reason = "internal error"
            await self._save_what_can_be()
        finally:
            self.finished.set()

    async def _save_what_can_be(self) -> None:
        """After a bug: it must not take the other transcriptions of this process with it."""
        try:
            await self.source.close("internal error")
            await self._settle()
        except Exception:
            log.exception("the books were not closed; another owner will do it", extra={"session": self.claimed.slug})
            self._context.live.set_state(self.claimed.slug, TranscriptionState.STOPPED.shown, self.reason)

    async def _close_when_asked(self) -> None:
        await self._stop_asked.wait()
        self._move(TranscriptionState.STOPPING)
        await self.source.close(self.reason or "stopped")

    async def _settle(self) -> None:
        """Everything said is in the database, then the books are closed."""
        if self.state is not TranscriptionState.STOPPING:
            self._move(TranscriptionState.STOPPING)
        records, lease = self._context.records, self.claimed.lease
        if self._abandoned:
            await until_database_answers(self._keep_provider_notes)  # they are ours whoever has the lease
        else:
            await until_database_answers(self._keep_notes)
            if self._released:
                await self._close_meters()
                await until_database_answers(lambda: records.release(lease, self._context.options.owner))
            else:
                now = self._context.clock.now()
                for meter in self._meters.by_identity.values():
                    meter.ended_at = now
                await self._close_meters()
                complete = self.counts.finals_complete
                await until_database_answers(lambda: records.finish(lease, self.reason or "stopped", complete))
                await self._number_strays()
        self.state = move(self.state, TranscriptionState.STOPPED)
        if not self._released:
            self._show_state()
        log.info(
            "transcription stopped: %s",
            self.reason,
            extra={"session": self.claimed.slug, "finals": self.counts.finals, "complete": self.counts.finals_complete},
        )

    async def _close_meters(self) -> None:
        """The last reading; then nothing of this run is missing in the database."""
        await until_database_answers(self._checkpoint)
        await self._context.recorder.settled(self.claimed.lease.transcription_id)

    async def _number_strays(self) -> None:
        """Words of a former owner that came back while we numbered: only now is their number sure."""
        channel = self._context.live.channel(self.claimed.slug)
        for final in await until_database_answers(lambda: self._context.records.number_strays(self.claimed.session_id)):
            channel.final(final.seq, final.utterance_id, final.data)

    # --- one track ----------------------------------------------------------------------------------------

    async def _track(self, track: AudioTrack) -> None:
        """source → chunks → provider, until the track ends; then its last finals."""
        speaker, context = track.speaker, self._context
        meter = self._meter(speaker)
        participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        link = context.transcriber.open(
            self._speech,
            {"transcription": self.claimed.lease.transcription_id, "identity": speaker.identity[:200]},
            lambda speech: self._hear(live, speech),
            lambda session: self._note(speaker.identity, session),
        )
        live = LiveTrack(track, link, meter, participant)
        self.tracks.append(live)
        log.info("track began", extra={"session": self.claimed.slug, "identity": speaker.identity})
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._join(live), name=f"join {speaker.identity}")
                tasks.create_task(self._listen(live), name=f"listen {speaker.identity}")
                await self._pump(live)
                link.finish(context.options.drain_s)
        finally:
            # Only this track's own: another one of the same participant may still run, after a takeover for example.
            meter.listened_before += _listened(live)
            meter.samples_sent_before += link.sent_samples
            meter.chunks_sent_before += link.messages_sent
            self.tracks.remove(live)
            self._read_links()
            if live.end is None or not live.end.complete:
                self.counts.finals_complete = False
            if not participant.done():
                participant.set_result(None)  # the writer of every session's finals waits for it

    def _note(self, identity: str, session: ProviderSession) -> None:
        """At once into the books: after a crash only they know what is left running at the provider."""
        self._provider_notes.append((identity, session))
        self._noted.set()

    async def _pump(self, live: LiveTrack) -> None:
        recorder, link = self._context.recorder, live.link
        try:
            async for chunk in live.track.chunks():
                if self.state is TranscriptionState.STARTING:
                    self._move(TranscriptionState.RUNNING)
                await recorder.room()
                link.send(chunk.offset, chunk.pcm)
        except SourceTrouble as error:
            self._trouble(live, str(error))

    async def _listen(self, live: LiveTrack) -> None:
        live.end = await live.link.run()
        if live.end.refused is not None:
            self._trouble(live, live.end.refused)
            self.stop(live.end.refused)

    def _trouble(self, live: LiveTrack, message: str) -> None:
        """Something that somebody has to mend: said once on the stream, in the log and in the counters."""
        live.trouble = message
        live.meter.errors += 1
        self._say("error", {"message": message, "participantIdentity": live.track.speaker.identity})
        log.error("%s", message, extra={"session": self.claimed.slug})

    async def _join(self, live: LiveTrack) -> None:
        """The speaker's row, made in the background so that a slow database holds up no audio."""
        speaker = live.track.speaker
        try:
            participant = await until_database_answers(
                lambda: self._context.records.joined(self.claimed.session_id, speaker)
            )
        except LookupError:
            participant = None  # the session was deleted; its finals are dropped by the writer
        self._meters.participants[speaker.identity] = participant
        live.participant.set_result(participant)

    # --- what the provider says ---------------------------------------------------------------------------

    def _hear(self, live: LiveTrack, speech: Speech) -> None:
        match speech:
            case Utterance():
                self._caption(live, speech)
            case Withdrawn(utterance_id):
                self._withdraw(live, utterance_id)
            case Translation():
                self._say(
                    "translation",
                    {
                        "utteranceId": speech.utterance_id,
                        "language": speech.original_language,
                        "targetLanguage": speech.target_language,
                        "text": speech.text,
                        "participantIdentity": live.track.speaker.identity,
                        "participantName": live.track.speaker.name,
                    },
                )
            case Annotation():
                self._annotate(live, speech)
            case SpeechLost(start, end):
                live.meter.errors += 1
                self.counts.lost_audio_s += end - start
                log.error("%.1f s of audio were given up: the provider did not take them", end - start)
            case ProviderComplaint(message):
                live.meter.errors += 1
                self.counts.complaints += 1
                log.warning("the provider complains: %s", message, extra={"session": self.claimed.slug})

    def _caption(self, live: LiveTrack, utterance: Utterance) -> None:
        anchor = live.track.anchor
        if anchor is None or self._abandoned:
            return
        said = caption(utterance, live.track.speaker, anchor, self.claimed.numbering.origin)
        if not utterance.is_final:
            if not self._numberer.is_settled(said.utterance_id):
                self.counts.partials += 1
                live.meter.partials += 1
                self._show_partial(said, live)
            return
        if self._final(said, live.participant):
            live.meter.finals += 1
            self._partials.pop(said.utterance_id, None)
            live.track.caption(said.utterance_id, said.text, is_final=True)

    def _final(self, said: Caption, participant: asyncio.Future[str | None]) -> bool:
        """Number it and hand it to the writer. False: it is a repeat."""
        seq = self._numberer.number(said.utterance_id)
        if seq is None:
            self.counts.repeated += 1
            return False
        self.counts.finals += 1
        self.counts.last_final_at = self._context.clock.monotonic()
        final = FinalToStore(
            self.claimed.lease,
            self.claimed.session_id,
            self.claimed.numbering.epoch,
            seq,
            said,
            None,
            self._context.live.encode(said),
        )
        self._context.recorder.put(self.claimed.slug, final, participant)
        return True

    def salvage(self, speaker: Speaker, participant_id: str, found: Salvage) -> None:
        """Finals of a process that died before it had kept them."""
        if self._abandoned or self.state in (TranscriptionState.STOPPING, TranscriptionState.STOPPED):
            return
        origin = self.claimed.numbering.origin
        begins = origin + timedelta(milliseconds=found.begins_ms)
        participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        participant.set_result(participant_id)
        for utterance in found.utterances:
            said = caption(utterance, speaker, begins, origin)
            if said.text and self._final(said, participant):
                self._meter(speaker).finals += 1
        log.info("finals of a dead process were recovered from the provider", extra={"session": self.claimed.slug})

    def _annotate(self, live: LiveTrack, found: Annotation) -> None:
        if live.track.anchor is None:
            return
        anchored = live.track.anchor - self.claimed.numbering.origin
        self._say(
            "annotation",
            {
                "utteranceId": found.utterance_id,
                "kind": found.kind,
                "results": [on_session(result, anchored) for result in found.results],
                "participantIdentity": live.track.speaker.identity,
                "participantName": live.track.speaker.name,
            },
        )

    def _show_partial(self, said: Caption, live: LiveTrack) -> None:
        self._context.live.channel(self.claimed.slug).partial(said.utterance_id, self._context.live.encode(said))
        live.track.caption(said.utterance_id, said.text, is_final=False)
        if self._context.options.store_partials:
            known = live.participant.result() if live.participant.done() else None
            self._partials[said.utterance_id] = (said, known)

    def _withdraw(self, live: LiveTrack, utterance_id: str) -> None:
        """An empty partial takes the unsettled words off the screens."""
        now = self._context.clock.now()
        since = now - self.claimed.numbering.origin
        at_ms = max(0, since // timedelta(milliseconds=1))
        empty = Caption(utterance_id, "", None, False, live.track.speaker, now, now, at_ms, at_ms, 0.0, ())
        self._context.live.channel(self.claimed.slug).partial(utterance_id, self._context.live.encode(empty))
        live.track.caption(utterance_id, "", is_final=False)
        self._partials.pop(utterance_id, None)

    # --- the beat -----------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Once a second: state, health, cap; every five, and at once for a new participant: usage.

        The books are kept beside it, because the database may be slow.
        """
        clock = self._context.clock
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_books(), name=f"books {self.claimed.slug}")
            checkpoint = clock.monotonic() + CHECKPOINT_S
            rows = 0
            while True:
                await asyncio.sleep(BEAT_S)
                self._look()
                if clock.monotonic() >= checkpoint or len(self._meters.by_identity) > rows:
                    try:
                        await self._checkpoint()
                    except RecordsUnavailable as error:
                        self._outage.noticed(error)
                        continue
                    rows = len(self._meters.by_identity)
                    checkpoint = clock.monotonic() + CHECKPOINT_S

    async def _keep_books(self) -> None:
        """Once a second: what may be late in the database; every third of the lease: its renewal."""
        clock, options = self._context.clock, self._context.options
        renewal = clock.monotonic() + options.lease_s / 3
        reading = clock.monotonic()
        touched = clock.monotonic()
        while True:
            soon = asyncio.get_running_loop().call_later(BEAT_S, self._noted.set)
            await self._noted.wait()
            soon.cancel()
            self._noted.clear()
            now = clock.monotonic()
            try:
                if now >= renewal:
                    await self.renew()
                    renewal = now + options.lease_s / 3
                if now >= reading:
                    await self._allowance.refresh()
                    reading = now + READ_EVERY_S
                await self._keep_notes()
                spoken_at = self.counts.last_final_at
                if spoken_at is not None and spoken_at > touched and now - touched >= TOUCH_S:
                    await self._context.records.touch(self.claimed.session_id)
                    touched = now
            except RecordsUnavailable as error:
                # The fence guards every write, so going on without a renewal can harm nobody.
                self._outage.noticed(error)
            else:
                self._outage.over()

    def _look(self) -> None:
        """Derive the state and the health from the tracks."""
        waiting = any(live.link.state == "waiting" for live in self.tracks)
        if self.state in (TranscriptionState.RUNNING, TranscriptionState.WAITING):
            self._move(TranscriptionState.WAITING if waiting else TranscriptionState.RUNNING)
        for live in self.tracks:
            if live.trouble is None and (trouble := live.track.trouble()):
                self._trouble(live, trouble)
        reasons = []
        if (trouble := self._context.transcriber.trouble) and self.tracks:
            reasons.append(trouble)
        if waiting:
            reasons.append("the provider's concurrent sessions are all in use; audio is held")
        if any(live.link.state in ("creating", "connecting") and live.link.backlog_s > 3 for live in self.tracks):
            reasons.append("the connection to the speech provider is being restored")
        if self._context.recorder.behind_s > 2:
            where = "in memory only" if self._context.recorder.trouble else "on disk"
            reasons.append(f"the database is behind; finals are kept {where}")
        reasons += [
            f"{live.track.speaker.identity} speaks and no text comes: the provider is mute, or it is only noise"
            for live in self.tracks
            if live.link.is_mute
        ]
        reasons += [live.trouble for live in self.tracks if live.trouble]
        if trouble := self.source.trouble():
            reasons.append(trouble)
        elif self._is_unattended():
            reasons.append(NOBODY_YET[self.claimed.source])
        if tuple(reasons) != self._health:
            self._health = tuple(reasons)
            self._say("health", {"status": "degraded" if reasons else "ok", "reasons": reasons})
        if self._cap_usd is not None and exceeds(self._cost_soon(), self._cap_usd):
            self.stop(f"cost cap of {self._cap_usd:.2f} USD reached")
        if found := self._allowance.reached(self._seconds_sent(), len(self.tracks)):
            self.stop(found.reason)
        longest = self._context.options.maximum_s
        if longest and (self._context.clock.now() - self.claimed.started_at).total_seconds() >= longest:
            self.stop(f"maximum length of {longest:g} s reached")

    def _is_unattended(self) -> bool:
        """Nobody has come since the start, although there was time."""
        alone = self.state is TranscriptionState.STARTING and not self.tracks
        return alone and self._context.clock.monotonic() >= self._overdue_at

    def _seconds_sent(self) -> int:
        self._read_links()
        return sum(whole_seconds(meter.samples_sent) for meter in self._meters.by_identity.values())

    def _cost_soon(self) -> float:
        """What the session will have cost in CAP_AHEAD_S seconds if every track goes on."""
        self._read_links()
        return self._spent_usd + sum(
            started_minutes(whole_seconds(meter.samples_sent) + CAP_AHEAD_S) * meter.cost_per_minute
            for meter in self._meters.by_identity.values()
        )

    async def _checkpoint(self) -> None:
        reading = UsageToStore(self.claimed, dict(self._meters.participants), tuple(self.usage()))
        await self._context.recorder.checkpoint(reading)

    async def _keep_notes(self) -> None:
        """What may be a second late in the database: state, provider sessions, partials."""
        records = self._context.records
        if self._stored_state is not self.state and not (self._abandoned or self._released):
            state = self.state
            await records.set_state(self.claimed.lease, state)
            self._stored_state = state
        await self._keep_provider_notes()
        if self._partials:
            await records.keep_partials(self.claimed.session_id, list(self._partials.values()))
            self._partials.clear()

    async def _keep_provider_notes(self) -> None:
        while self._provider_notes:
            identity, session = self._provider_notes[0]
            await self._context.records.provider_session(self.claimed, identity, session)
            del self._provider_notes[0]

    # --- small things -------------------------------------------------------------------------------------

    def _meter(self, speaker: Speaker) -> Meter:
        meters = self._meters.by_identity
        if speaker.identity not in meters:
            meters[speaker.identity] = Meter(
                self._context.records.usage_id(self.claimed.lease, speaker.identity),
                speaker.identity,
                speaker.name,
                self._context.clock.now(),
                self._context.options.cost_per_minute,
            )
        return meters[speaker.identity]

    def _read_links(self) -> None:
        for meter in self._meters.by_identity.values():
            meter.listened = meter.listened_before
            meter.samples_sent, meter.chunks_sent = meter.samples_sent_before, meter.chunks_sent_before
        for live in self.tracks:
            live.meter.listened += _listened(live)
            live.meter.samples_sent += live.link.sent_samples
            live.meter.chunks_sent += live.link.messages_sent

    def _move(self, after: TranscriptionState) -> None:
        if after is self.state:
            return
        self.state = move(self.state, after)
        self._show_state()

    def _show_state(self) -> None:
        reason = self.reason if self.state in (TranscriptionState.STOPPING, TranscriptionState.STOPPED) else None
        self._context.live.set_state(self.claimed.slug, self.state.shown, reason)

    def _say(self, kind: str, data: dict[str, object]) -> None:
        self._context.live.channel(self.claimed.slug).say(kind, msgspec.json.encode(data))


def _listened(live: LiveTrack) -> Listened:
    """What the link has listened to, and what the source spared it."""
    left_out = live.track.left_out
    return live.link.listened + Listened(heard=left_out, silent=left_out, kept=left_out)


def _resumed(usage: Usage) -> Meter:
    """Go on counting where a former owner's last checkpoint stood."""
    samples = usage.duration_seconds * 16_000
    listened = Listened(*(round(s * 16_000) for s in (usage.heard_s, usage.speech_s, usage.silent_s, usage.kept_s)))
    return Meter(
        usage.id,
        usage.identity,
        None,
        usage.started_at,
        usage.cost_per_minute,
        listened=listened,
        listened_before=listened,
        samples_sent=samples,
        chunks_sent=usage.audio_chunks_sent,
        finals=usage.final_transcripts,
        partials=usage.partial_transcripts,
        errors=usage.errors_count,
        samples_sent_before=samples,
        chunks_sent_before=usage.audio_chunks_sent,
    )
