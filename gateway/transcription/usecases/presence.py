"""Who is in the session because they are heard: speakers over RTMP and WebSocket come and go with their audio."""

from __future__ import annotations

import asyncio

from gateway.outage import until_database_answers
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.records import SessionRecords
from gateway.transcription.usecases.track import Tracks


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

    async def join(self, speaker: Speaker) -> str:
        """The speaker's row, when the database answers. Raises: LookupError when the session was deleted."""
        identity = speaker.identity
        async with self._order:
            self._leaving.discard(identity)
            if self._by_audio and identity not in self._ours:
                present = await until_database_answers(lambda: self._sessions.present(self._session_id))
                if identity not in {one.identity for one in present}:
                    self._ours.add(identity)
            return await until_database_answers(lambda: self._sessions.join(self._session_id, speaker))

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
