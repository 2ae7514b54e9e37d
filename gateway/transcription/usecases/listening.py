"""One track of a run: source → chunks → provider. An error in its code ends at most its link, which is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.correlation import bound
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.asked import Asked
from gateway.transcription.usecases.audio import AudioChunk, AudioTrack, SourceTrouble
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.presence import Presence, SpeakerRefused
from gateway.transcription.usecases.said import Said
from gateway.transcription.usecases.speech import ProviderSession, SpeechLink
from gateway.transcription.usecases.track import LiveTrack, Tracks
from gateway.transcription.usecases.unheard import Seam

log = logging.getLogger(__name__)

MAX_RESTARTS: Final = 5
"""Links of a track that fail one after the other without a final; then the track is given up."""
FIRST_PAUSE_S: Final = 0.5
"""Before a failed link's successor runs; doubled each time. Meanwhile it holds the audio."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run's tracks share. `began`: audio has come. `stop`: end the run, for this reason.
    `may_send`: waits until it is certain that the run is ours; false when it is no longer. `carry`: leaves to an heir
    what has no final of a track that has ended; false when there is none, or it is heard here. `seam`: what has to hear
    the beginning of a track, too."""

    claimed: Claimed
    asked: Asked
    context: RunContext
    tracks: Tracks
    said: Said
    presence: Presence
    note: Callable[[str, ProviderSession], None]
    began: Callable[[], None]
    stop: Callable[[str], None]
    may_send: Callable[[], Awaitable[bool]]
    carry: Callable[[LiveTrack], Awaitable[bool]]
    seam: Callable[[AudioTrack], Seam | None]


class Listening:
    """A track from its first chunk to its last final. `run` is called once."""

    def __init__(self, track: AudioTrack, parts: Parts, *, is_former: bool = False) -> None:
        """`is_former`: what a former owner could not get heard."""
        loop = asyncio.get_running_loop()
        speaker = track.speaker
        self._parts = parts
        self._extra = {"session": parts.claimed.slug, "identity": speaker.identity}
        meter = parts.tracks.meters.of(speaker, parts.context.clock.now())
        self._live = LiveTrack(track, self._open(track), meter, loop.create_future())
        self._live.asked = parts.asked.of(speaker.identity)
        self._live.is_former = is_former
        self._seam = parts.seam(track)
        self._replaced: asyncio.Future[None] = loop.create_future()  # the link that runs has failed
        self._is_over = False  # the track has ended
        self._is_given_up = False
        self._flush_s = parts.context.options.drain_s
        self._is_whole = True
        self._has_failed = False  # something that is no reason to lose audio
        self._restarts = 0  # since a final came
        self._finals = 0  # of the participant, at the last restart

    async def run(self) -> bool:
        """Until the track has ended and its last finals are there. Raises nothing but CancelledError.

        Returns: whether no final can be missing.
        """
        with bound(identity=self._live.track.speaker.identity):
            return await self._run()

    async def _run(self) -> bool:
        live, tracks = self._live, self._parts.tracks
        tracks.live.append(live)
        log.info("track began", extra=self._extra)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._join(), name=f"join {live.track.speaker.identity}")
                tasks.create_task(self._hear(), name=f"hear {live.track.speaker.identity}")
                await self._pump()
        except Exception:
            log.exception("the transcription of a track failed", extra=self._extra)
            self._parts.said.trouble(live, _given_up(live))
            self._is_whole = False
        finally:
            tracks.close(live)
            log.info("track ended", extra=self._extra)
            self._parts.presence.ended(live.track.speaker.identity)
            if not live.participant.done():
                live.participant.set_result(None)  # the recorder, which writes for all sessions, waits for it
        is_complete = live.is_given_away or (live.end is not None and live.end.complete)
        return self._is_whole and is_complete

    def _open(self, track: AudioTrack) -> SpeechLink:
        parts, identity = self._parts, track.speaker.identity
        return parts.context.transcriber.open(
            parts.asked.of(identity),
            {"transcription": parts.claimed.lease.transcription_id, "identity": identity[:200]},
            lambda speech: parts.said.hear(self._live, speech),
            self._note,
        )

    def _note(self, session: ProviderSession) -> None:
        self._parts.note(self._live.track.speaker.identity, session)
        self._parts.asked.opened(self._live, session)

    # --- audio in -----------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        live, failures = self._live, 0
        try:
            while (failed := await self._read(failures)) is not None:
                failures = failed
                if failures > MAX_RESTARTS:
                    self._parts.said.trouble(live, _given_up(live))
                    break
                self._parts.said.begun_again(live)
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))
        finally:
            live.track.release()
        if not await self._parts.may_send():
            self._flush_s = self._parts.said.flush_s
        self._is_over = True
        if await self._parts.carry(live):
            self._is_given_up = True
            if not self._replaced.done():
                self._replaced.set_result(None)
            return
        try:
            live.link.finish(self._flush_s)
        except Exception as error:
            self._replace(error)

    async def _read(self, failures: int) -> int | None:
        """Until the track ends (None), or reading it fails. Returns: failures in a row, `failures` of them before."""
        parts, live = self._parts, self._live
        try:
            async for chunk in live.track.chunks():
                failures = 0
                live.taken.mark(chunk.end, parts.context.clock.monotonic())
                await self._prepare()
                if not await parts.may_send():
                    break
                self._send(chunk)
        except SourceTrouble as error:
            parts.said.trouble(live, str(error))
        except Exception:
            log.exception("the audio of a track could not be read; it is read on", extra=self._extra)
            self._is_whole = False
            return failures + 1
        return None

    async def _prepare(self) -> None:
        """Before a chunk is sent: the run has audio, and the recorder room."""
        try:
            self._parts.began()
            await self._parts.context.recorder.room()
        except Exception:
            if not self._has_failed:
                log.exception("a chunk of audio has met a failure, and is sent all the same", extra=self._extra)
            self._has_failed = True

    def _send(self, chunk: AudioChunk) -> None:
        live = self._live
        if self._is_given_up or (not live.is_former and self._parts.asked.is_silenced(live, chunk)):
            return
        if self._seam is not None and not self._seam.take(chunk):
            self._seam = None
        try:
            self._pass(chunk)
        except Exception as error:
            held_to = self._replace(error)
            if chunk.offset >= held_to:
                with suppress(Exception):  # the next chunk will tell
                    self._pass(chunk)

    def _pass(self, chunk: AudioChunk) -> None:
        link = self._live.link
        if self._live.is_former:
            link.hear_again(chunk.offset, chunk.pcm)
        else:
            link.send(chunk)

    # --- words out ----------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        live = self._live
        while True:
            running = asyncio.create_task(live.link.run(), name=f"link {live.track.speaker.identity}")
            try:
                await asyncio.wait((running, self._replaced), return_when=asyncio.FIRST_COMPLETED)
                if not self._replaced.done():
                    live.end = running.result()
                    break
            except Exception as error:
                self._replace(error)
            finally:
                running.cancel()
                await asyncio.wait((running,))
                if not running.cancelled():
                    running.exception()  # it is told already, or comes of the failure that is
            if self._is_given_up:
                break
            self._replaced = asyncio.get_running_loop().create_future()
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (self._restarts - 1))
        if live.end is not None and live.end.refused is not None:
            self._parts.said.trouble(live, live.end.refused)
            self._parts.stop(live.end.refused)

    def _replace(self, error: Exception) -> int:
        """The link has failed: another one hears again what has no final. Returns: the sample up to which it has audio.

        It runs as soon as `_hear` has seen the old one out.
        """
        live, said = self._live, self._parts.said
        self._is_whole = False
        if live.meter.finals > self._finals:
            self._restarts, self._finals = 0, live.meter.finals
        self._restarts += 1
        if not self._replaced.done():
            self._replaced.set_result(None)
        log.error("the link of a track failed; it is begun again", exc_info=error, extra=self._extra)
        if self._restarts > MAX_RESTARTS:
            self._is_given_up = True
            said.trouble(live, _given_up(live))
            return 0
        said.begun_again(live)
        former = live.replace_link(self._open(live.track))
        try:
            held_to = live.link.succeed(former)
        except Exception:
            log.exception("the audio of a failed link could not be taken over", extra=self._extra)
            held_to = 0
        if self._is_over:
            live.link.finish(self._flush_s)
        return held_to

    async def _join(self) -> None:
        """The speaker's row, made beside the pump so that a slow database holds up no audio."""
        parts, live = self._parts, self._live
        speaker = live.track.speaker
        participant = None
        try:
            participant = await parts.presence.join(live.track)
        except SpeakerRefused as error:
            self._is_given_up = True
            parts.said.trouble(live, str(error))
            log.info("a speaker was refused: %s", error, extra=self._extra)
        except LookupError:
            pass  # the session was deleted; the recorder drops its finals
        except Exception:
            log.exception("a speaker's row could not be made", extra=self._extra)
        if participant is not None:
            parts.tracks.participants[speaker.identity] = participant
        else:
            parts.tracks.participants.setdefault(speaker.identity)  # another track of the same may have it
        live.participant.set_result(participant)
        with suppress(RecordsUnavailable):  # with the next speaker it is tried again
            await parts.asked.learn_names()


def _given_up(live: LiveTrack) -> str:
    return f"an internal error ended the transcription of {live.track.speaker.identity}: publish the audio again"
