"""One connection to a LiveKit room: who is there, which of their tracks are heard, captions on their way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from livekit import rtc

from ingest import livekit_dispatch
from ingest.livekit_caption_sender import CaptionSender
from ingest.livekit_captions import RoomCaption
from ingest.livekit_join import leave
from ingest.livekit_track import LivekitTrack
from ingest.pcm import SAMPLE_RATE

log = logging.getLogger(__name__)

FRAME_MS: Final = 100  # ten events a second and track; the SDK's own default of 10 ms makes a hundred
LINGER_S: Final = 0.3  # after the end is signalled: what the jitter buffer and the last frame still hold
RECONCILE_S: Final = 5.0  # between two comparisons of what is published with what is heard
REST_S: Final = 2.0  # muted for this long beyond the hang-over, a stream is closed
_REASON_S: Final = 1.0  # between "disconnected" and why

_MACHINES: Final = frozenset({rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS, rtc.ParticipantKind.PARTICIPANT_KIND_AGENT})
_MICROPHONES: Final = frozenset({rtc.TrackSource.SOURCE_MICROPHONE, rtc.TrackSource.SOURCE_UNKNOWN})


@dataclass(frozen=True, slots=True)
class VisitOptions:
    """`hang_over_s`: silence that still goes to the provider, so that it hears the end of an utterance.

    `unsubscribe_muted_s`: a track muted for this many seconds is not received until it is unmuted; 0 = always.
    Receiving it again takes up to 0.6 s, in which words are lost.
    """

    screen_share: bool = False
    captions: bool = True
    hang_over_s: float = 0.8
    unsubscribe_muted_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Hearing:
    """A publication that is wanted. `pump` is None while it rests: muted beyond its hang-over, its stream closed.

    Muted tracks yield zeros like any others; a resting one costs a quarter of that. `quieter`: the timer of the next
    step of a muted track, which is to rest or to be unsubscribed.
    """

    publication: rtc.RemoteTrackPublication
    track: LivekitTrack
    pump: asyncio.Task[None] | None = None
    quieter: asyncio.TimerHandle | None = None


class Visit:
    """Everything between one join and its disconnect. A Room of the SDK serves one connection only."""

    def __init__(
        self,
        found: Callable[[LivekitTrack], None],
        options: VisitOptions,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self.room = rtc.Room()
        self.gone: asyncio.Future[rtc.DisconnectReason.ValueType] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        """Set when a participant came or went."""
        self._found = found
        self._options = options
        self._monotonic = monotonic
        self._wall = wall
        self._tasks: asyncio.TaskGroup | None = None  # while listening
        self._hearings: dict[str, _Hearing] = {}  # by publication sid
        self._refused: dict[str, str] = {}  # publication sid → why it is not heard
        self._captions = CaptionSender(self.room, monotonic=monotonic)
        self._reconnected = asyncio.Event()
        self._connect_events()

    def people(self) -> int:
        """Participants that can speak: neither recorders nor agents."""
        return len([one for one in self.room.remote_participants.values() if one.kind not in _MACHINES])

    def trouble(self) -> str | None:
        """Why one of the tracks is not heard; None when all that are wanted are."""
        return next(iter(self._refused.values()), None)

    @property
    def hears_all(self) -> bool:
        """Whether audio has come of everything that is published, wanted and not muted; it takes a moment to flow."""
        return all(
            (hearing := self._hearings.get(publication.sid)) is not None and hearing.track.anchor is not None
            for publication, participant in self._publications()
            if _is_wanted(publication, participant, self._options)
            and not publication.muted
            and publication.sid not in self._refused
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """After joining: hear every participant until the end of the block, then close every stream and leave."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                captioning = tasks.create_task(self._captions.run(), name="livekit-captions")
                reconciling = tasks.create_task(self._reconcile(), name="livekit-subscriptions")
                try:
                    yield
                finally:
                    self._tasks = None
                    captioning.cancel()
                    reconciling.cancel()
                    for hearing in self._hearings.values():
                        _end(hearing)
        finally:
            await leave(self.room)

    # --- what the room says (plain functions: they run inside the SDK's listening task) ----------------------

    def _connect_events(self) -> None:
        room = self.room
        room.on("track_published", self._subscribe_if_wanted)
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", lambda track, publication, participant: self._unsubscribed(publication.sid))
        room.on("track_unpublished", lambda publication, participant: self._lost(publication.sid))
        room.on("track_muted", lambda participant, publication: self._muted(publication.sid, True))
        room.on("track_unmuted", lambda participant, publication: self._muted(publication.sid, False))
        room.on("track_subscription_failed", self._subscription_failed)
        room.on("participant_attributes_changed", lambda changed, participant: self._described(participant))
        room.on("participant_connected", lambda participant: self.changed.set())
        room.on("participant_disconnected", self._left)
        room.on("connection_state_changed", self._state_changed)
        room.on("reconnected", self._reconnected.set)
        room.on("disconnected", self._disconnected)

    async def _reconcile(self) -> None:
        """Subscribe to what was published before we joined, of which no event tells, and again where it was in vain.

        The SDK loses a request made while it reconnects: after a full reconnect that would be every track's. An
        unmuting that was missed would leave a participant unheard as well.
        """
        while True:
            for publication, participant in self._publications():
                self._described(participant)
                if publication.track is None:
                    self._subscribe_if_wanted(publication, participant)
                elif publication.sid not in self._hearings:
                    self._subscribed(publication.track, publication, participant)
                elif publication.muted != self._hearings[publication.sid].track.stats.muted:
                    self._muted(publication.sid, publication.muted)
            self._reconnected.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(RECONCILE_S):
                    await self._reconnected.wait()

    def _publications(self) -> Iterator[tuple[rtc.RemoteTrackPublication, rtc.RemoteParticipant]]:
        for participant in self.room.remote_participants.values():
            for publication in participant.track_publications.values():
                yield publication, participant

    def _subscribe_if_wanted(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if not _is_wanted(publication, participant, self._options):
            return
        if publication.sid in self._hearings and publication.muted:
            return  # it rests
        if publication.encryption_type != rtc.EncryptionType.NONE:
            self._refuse(
                publication.sid,
                f"the audio of {participant.identity!r} is end-to-end encrypted and cannot be transcribed; "
                "turn encryption off for rooms with transcription",
            )
            return
        publication.set_subscribed(True)

    def _subscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if self._tasks is None or publication.kind != rtc.TrackKind.KIND_AUDIO:
            return
        hearing = self._hearings.get(publication.sid)
        if hearing is None or hearing.pump is not None:
            self._lost(publication.sid)  # never two streams of one publication
            hearing = self._hearings[publication.sid] = self._new(publication, participant)
        self._hear(hearing, track)
        self._muted(publication.sid, publication.muted)

    def _hear(self, hearing: _Hearing, track: rtc.Track) -> None:
        if self._tasks is not None:
            pump = self._tasks.create_task(self._pump(track, hearing.track), name=f"livekit-track {hearing.track.sid}")
            pump.add_done_callback(lambda _: hearing.track.end() if hearing.pump is pump else None)
            hearing.pump = pump

    def _new(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> _Hearing:
        heard = LivekitTrack(
            publication.sid,
            participant.identity,
            participant.name or None,
            dict(participant.attributes),
            self,
            hang_over_s=self._options.hang_over_s,
            monotonic=self._monotonic,
            wall=self._wall,
        )
        self._found(heard)
        return _Hearing(publication, heard)

    def _unsubscribed(self, sid: str) -> None:
        if sid in self._hearings and self._hearings[sid].pump is not None:  # a resting one is unsubscribed by us
            self._lost(sid)

    def _lost(self, sid: str) -> None:
        self._refused.pop(sid, None)
        if sid in self._hearings:
            _end(self._hearings.pop(sid), linger_s=LINGER_S)

    def _muted(self, sid: str, muted: bool) -> None:
        if (hearing := self._hearings.get(sid)) is None:
            return
        hearing.track.stats.muted = muted
        _cancel_timer(hearing)
        if muted and hearing.pump is not None:
            self._later(hearing, self._options.hang_over_s + REST_S, self._rest)
        elif not muted and hearing.pump is None:
            if (track := hearing.publication.track) is not None:
                self._hear(hearing, track)
            else:
                hearing.publication.set_subscribed(True)

    def _described(self, participant: rtc.RemoteParticipant) -> None:
        """A participant's attributes have changed, or may have without an event."""
        for hearing in self._hearings.values():
            if hearing.track.identity == participant.identity:
                hearing.track.attributes = dict(participant.attributes)

    def _later(self, hearing: _Hearing, seconds: float, do: Callable[[_Hearing], None]) -> None:
        hearing.quieter = asyncio.get_running_loop().call_later(seconds, do, hearing)

    def _rest(self, hearing: _Hearing) -> None:
        """Stays subscribed, so that it is heard from the moment of its unmuting."""
        pump, hearing.pump = hearing.pump, None
        if pump is not None:
            pump.cancel()
            hearing.track.rest()
            if self._options.unsubscribe_muted_s:
                already_s = self._options.hang_over_s + REST_S
                self._later(hearing, max(0.0, self._options.unsubscribe_muted_s - already_s), _unsubscribe)

    def _subscription_failed(self, participant: rtc.RemoteParticipant, sid: str, error: str) -> None:
        self._refuse(
            sid, f"LiveKit does not let us hear {participant.identity!r} ({error}); check its track permissions"
        )

    def _refuse(self, sid: str, why: str) -> None:
        if sid not in self._refused:
            log.warning("%s", why)
        self._refused[sid] = why

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        self._captions.forget(participant.identity)
        self.changed.set()

    def _state_changed(self, state: rtc.ConnectionState.ValueType) -> None:
        if state == rtc.ConnectionState.CONN_DISCONNECTED:
            asyncio.get_running_loop().call_later(_REASON_S, self._disconnected, rtc.DisconnectReason.UNKNOWN_REASON)

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self.gone.done():
            self.gone.set_result(reason)

    # --- audio --------------------------------------------------------------------------------------------

    async def _pump(self, track: rtc.Track, heard: LivekitTrack) -> None:
        """Move samples, nothing else: what the SDK's own queue holds when a stream is closed is lost.

        A stream does not end with its track, so this task is cancelled when the track is gone.
        """
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=FRAME_MS)
        livekit_dispatch.attach(stream)
        try:
            async for event in stream:
                heard.feed(bytes(event.frame.data))
        except Exception:
            log.exception("a LiveKit track failed")
        finally:
            await stream.aclose()
            livekit_dispatch.detach(stream)

    # --- captions -----------------------------------------------------------------------------------------

    def caption(self, identity: str, track_sid: str, segment_id: str, text: str, *, is_final: bool) -> None:
        """Show in the room what `identity` said (see `Captioned`). Without effect once the connection is over."""
        if self._options.captions and not self.gone.done():
            self._captions.put(RoomCaption(identity, track_sid, segment_id, text, is_final))


def _is_wanted(
    publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant, options: VisitOptions
) -> bool:
    """A person's microphone, or by option the sound of a shared screen."""
    wanted = publication.source in _MICROPHONES or (
        options.screen_share and publication.source == rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO
    )
    return publication.kind == rtc.TrackKind.KIND_AUDIO and wanted and participant.kind not in _MACHINES


def _cancel_timer(hearing: _Hearing) -> None:
    if hearing.quieter is not None:
        hearing.quieter.cancel()
        hearing.quieter = None


def _unsubscribe(hearing: _Hearing) -> None:
    hearing.publication.set_subscribed(False)


def _end(hearing: _Hearing, linger_s: float = 0.0) -> None:
    _cancel_timer(hearing)
    if hearing.pump is None:
        hearing.track.end()
    elif linger_s:
        asyncio.get_running_loop().call_later(linger_s, hearing.pump.cancel)
    else:
        hearing.pump.cancel()
