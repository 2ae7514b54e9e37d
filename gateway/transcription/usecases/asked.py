"""What is asked for a transcription while it runs: changed from outside, stored, and brought to its tracks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from gateway.errors import WrongRequest
from gateway.transcription.domain.errors import RunsElsewhere
from gateway.transcription.domain.preferences import MOST_PARTICIPANTS, Change, Preferences
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.transcription import Claimed, TranscriptionState
from gateway.transcription.domain.vocabulary import MOST_NAMES, with_names
from gateway.transcription.usecases.audio import AudioChunk, AudioTrack
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.said import Said
from gateway.transcription.usecases.speech import ProviderSession
from gateway.transcription.usecases.track import LiveTrack, Tracks

log = logging.getLogger(__name__)

SAMPLE_RATE: Final = 16_000


class InForce(msgspec.Struct, frozen=True, rename="camel"):
    """What is asked for, and where it stands. `state`: as the API shows it; `paused` when nobody is heard.

    `paused`: identities of those who are paused by themselves. `pending`: of those whose provider session does not have
    it yet: it begins at their next pause, or with their next words. `changed`: by this call.
    """

    transcription_id: str
    session_slug: str
    state: str
    preferences: Preferences
    paused: tuple[str, ...]
    pending: tuple[str, ...]
    changed: bool = True


class Asked:
    """One run's. Who is paused is also asked where the audio comes from: see `AudioTrack.is_opted_out`."""

    def __init__(
        self, claimed: Claimed, context: RunContext, tracks: Tracks, said: Said, preferences: Preferences
    ) -> None:
        self.preferences = preferences
        """In force, or as soon as each speaker pauses."""
        self._claimed = claimed
        self._context = context
        self._tracks = tracks
        self._said = said
        self._stored = preferences
        self._changing = asyncio.Lock()
        self._names: tuple[str | None, ...] = ()
        self._told: tuple[bool, tuple[str, ...]] = (False, ())

    @property
    def options(self) -> dict[str, Any]:
        """As the next owner is to find them."""
        return self.preferences.stored_in(self._claimed.options)

    @property
    def paused(self) -> tuple[str, ...]:
        """Identities of those who are paused by themselves, or have opted out where their audio comes from."""
        out = {live.track.speaker.identity for live in self._tracks.live if live.track.is_opted_out}
        return tuple(sorted(out.union(self.preferences.paused)))

    def in_force(self, state: TranscriptionState, *, changed: bool) -> InForce:
        """How it stands. `state`: of the run. `changed`: as in the answer."""
        return InForce(
            self._claimed.lease.transcription_id,
            self._claimed.slug,
            "paused" if self.preferences.is_paused and not state.is_ending else state.shown,
            self.preferences,
            self.paused,
            tuple(sorted({live.track.speaker.identity for live in self._tracks.live if live.is_pending})),
            changed,
        )

    def of(self, identity: str) -> SpeechOptions:
        """What the provider is to be asked for this speaker's audio."""
        return with_names(self.preferences.of(identity), self._names)

    async def learn_names(self) -> None:
        """Of those who take part: sessions that the provider opens from now on expect them; none is interrupted."""
        present = await self._context.records.sessions.names(self._claimed.session_id, MOST_NAMES)
        speakers = [live.track.speaker.name for live in self._tracks.live]
        known = [*self._names, *speakers, *reversed(present)]
        self._names = tuple(dict.fromkeys(known))[-MOST_NAMES:]
        for live in self._tracks.live:
            wanted = self.of(live.track.speaker.identity)
            if wanted != live.asked:
                live.asked = wanted
                live.link.change(wanted, at_once=False)

    async def change(self, change: Change) -> bool:
        """Store it, then bring it to the tracks; a pause begins before it is stored. May be repeated.

        Returns: False when all was so already.

        Raises: WrongRequest above MOST_PARTICIPANTS; RunsElsewhere when the lease is lost; RecordsUnavailable, and then
        a pause holds until this owner ends.
        """
        async with self._changing:
            wanted = self.preferences.changed(change, self._context.clock.now())
            if max(len(wanted.participants), len(wanted.pauses)) > MOST_PARTICIPANTS:
                raise WrongRequest(f"wishes of {MOST_PARTICIPANTS} participants are kept, and no more")
            if any(change.pauses.values()):
                self.preferences = msgspec.structs.replace(self.preferences, pauses=wanted.pauses)
                self._bring()
            is_new = wanted != self._stored
            if is_new:
                options = wanted.stored_in(self._claimed.options)
                if not await self._context.records.leases.set_options(self._claimed.lease, options):
                    raise RunsElsewhere(self._claimed.slug)
                self._stored = self.preferences = wanted
                log.info("options changed", extra={"session": self._claimed.slug})
            self._bring()
            return is_new

    def opened(self, live: LiveTrack, session: ProviderSession) -> None:
        """A provider session of a track was opened, or is over."""
        if session.over or not session.is_current:
            return
        live.in_force = self.of(live.track.speaker.identity)
        if live.is_pending:
            live.is_pending = False
            self._said.say(
                "session.options", {"participantIdentity": live.track.speaker.identity, **shown(live.in_force)}
            )

    def is_silenced(self, live: LiveTrack, chunk: AudioChunk) -> bool:
        """Whether this is not to be heard: its speaker is paused, or was when it came or was said."""
        track, pauses = live.track, self.preferences.pauses
        said_at = _said_at(track, chunk) if pauses else None
        is_silenced = (
            track.is_opted_out
            or (bool(pauses) and self.preferences.silences(track.speaker.identity, said_at))
            or (live.unheard_until is not None and said_at is not None and said_at < live.unheard_until)
        )
        live.silence(is_silenced)
        return is_silenced

    def tell(self) -> None:
        """The watchers who is paused, if that has changed."""
        now = self.preferences.is_paused, self.paused
        if now != self._told:
            self._told = now
            self._said.say("session.pause", {"everybody": now[0], "participants": list(now[1])})

    def _bring(self) -> None:
        for live in self._tracks.live:
            identity = live.track.speaker.identity
            if live.track.is_opted_out or self.preferences.silences(identity, None):
                live.silence(True)
            elif live.is_silenced:
                live.unheard_until = live.track.ends_at
            wanted = self.of(identity)
            if wanted != live.asked:
                live.asked, live.is_pending = wanted, True
                live.link.change(wanted)
        self.tell()


def shown(options: SpeechOptions) -> Mapping[str, object]:
    """As the stream and the status spell what is in force."""
    return {"languages": list(options.languages), "translateTo": list(options.translate_to)}


def _said_at(track: AudioTrack, chunk: AudioChunk) -> datetime | None:
    return None if track.anchor is None else track.anchor + timedelta(seconds=chunk.offset / SAMPLE_RATE)
