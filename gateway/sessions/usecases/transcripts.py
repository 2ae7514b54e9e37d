"""Segments that the app writes itself, and all segments of a session in spoken order."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.sessions.domain.access import Caller, What
from gateway.sessions.domain.video_session import Segment
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.ports import ParticipantRepository, TranscriptRepository

AT_ONCE: Final = 4
"""Sessions that are read whole at the same time, whoever asks: each is in memory, and none may take all connections."""


class Transcripts:
    """Every method raises as `Admission.session`, and RecordsUnavailable."""

    def __init__(
        self, transcripts: TranscriptRepository, participants: ParticipantRepository, admission: Admission
    ) -> None:
        self._transcripts = transcripts
        self._participants = participants
        self._admission = admission
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def append(self, caller: Caller, slug: str, segment: Segment) -> Segment:
        """appendTranscriptChunk: one row an utterance; a final is never undone. Returns: what is stored now.

        Such segments have no number and are not in the live stream: those are a transcription's own.
        """
        session = await self._admission.session(caller, slug, What.APPEND)
        speaker = None
        if segment.identity is not None:
            speaker = await self._participants.by_identity(session.id, segment.identity)
        await self._transcripts.append(session.id, None if speaker is None else speaker.id, segment)
        return await self._transcripts.by_utterance(session.id, segment.utterance_id) or segment

    async def of(self, caller: Caller, slug: str) -> list[Segment]:
        """listSessionTranscripts: finals, in spoken order."""
        session = await self._admission.session(caller, slug, What.VIEW)
        async with self._turns:
            return await self._transcripts.of(session.id, finals_only=True)
