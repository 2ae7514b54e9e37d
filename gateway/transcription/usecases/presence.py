"""Who is in the session because they are heard: speakers over RTMP and WebSocket come and go with their audio."""

from __future__ import annotations

import asyncio

from gateway.outage import until_database_answers
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.audio import AudioTrack
from gateway.transcription.usecases.records import SessionRecords
from gateway.transcription.usecases.track import Tracks


class SpeakerRefused(Exception):
    """What it says is not transcribed; the text says why."""


class Presence:
    """One run's. A participant who had joined in another way (a page, the app) also leaves in that way; so does
    everybody in a LiveKit room, whose server says so. What `ended` and `end` note is written by `store`.
    """

    def __init__(self, claimed: Claimed, sessions: SessionRecords, tracks: Tracks) -> None:
        self._session_id = claimed.session_id
        self._by_audio = claimed.source != "livekit"
        self._sessions = sessions
        self._tracks = tracks
        self._ours = set(tracks.meters.identities)  # those whom a former owner has heard came by their audio
        self._leaving: set[str] = set()
        self._order = asyncio.Lock()  # a leave that is on its way must not overtake the next join

    async def join(self, track: AudioTrack) -> str:
        """The row of a track's speaker, when the database answers.

        Raises: SpeakerRefused; LookupError when the session was deleted.
        """
        speaker, session_id = track.speaker, self._session_id
        identity = speaker.identity
        async with self._order:
            self._leaving.discard(identity)
            if not self._by_audio:
                await until_database_answers(lambda: self._admit(track))
            elif identity not in self._ours:
                there = await until_database_answers(lambda: self._sessions.participant(session_id, identity))
                if there is None:
                    self._ours.add(identity)
            return await until_database_answers(lambda: self._sessions.join(session_id, speaker))

    async def _admit(self, track: AudioTrack) -> None:
        """Of a room, whose door is not ours. Raises: SpeakerRefused, RecordsUnavailable."""
        identity, bearer = track.speaker.identity, track.bearer
        is_vouched = bearer is None or bearer.kind == "service"
        user_id = None if bearer is None else bearer.user_id
        if not is_vouched and await self._sessions.owner(self._session_id, identity) not in (None, user_id):
            raise SpeakerRefused(f"{identity!r} is a signed-in user's identity, and is spoken under with another token")
        if not await self._sessions.has_room(self._session_id, identity, guest=not is_vouched and user_id is None):
            raise SpeakerRefused(f"{identity!r} is not heard: the session is full; see GATEWAY_MAX_PARTICIPANTS")

    def ended(self, identity: str) -> None:
        """A track of theirs has ended; they may have another one."""
        if self._by_audio and identity in self._ours and not self._is_heard(identity):
            self._leaving.add(identity)

    def end(self) -> None:
        """The transcription is over."""
        for identity in self._ours:
            self.ended(identity)

    async def store(self) -> None:
        """Write down who has gone. Raises: RecordsUnavailable; it may be repeated."""
        while self._leaving:
            async with self._order:
                if not self._leaving:
                    return
                identity = next(iter(self._leaving))
                await self._sessions.leave(self._session_id, identity)
                self._leaving.discard(identity)

    def _is_heard(self, identity: str) -> bool:
        return any(live.track.speaker.identity == identity for live in self._tracks.live)
