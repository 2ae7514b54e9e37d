"""Transcriptions of this program, as a session starts and stops them: a direct call."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.sessions.domain.errors import NeverStarted, RunsElsewhere
from gateway.sessions.domain.transcription import StartRequest
from gateway.sessions.usecases.ports import Records
from gateway.sessions.usecases.session_ports import Begun
from gateway.sessions.usecases.transcriptions import Transcriptions, again

LOOK_S: Final = 0.5


class LocalControl:
    """`patience_s`: how long another replica is awaited that runs it; it notices an ended session by itself."""

    def __init__(self, transcriptions: Transcriptions, records: Records, patience_s: float) -> None:
        self._transcriptions = transcriptions
        self._records = records
        self._patience_s = patience_s

    async def start(self, slug: str, source: str) -> Begun:
        """With the options of the session's last one, if that had the same source."""
        last = await self._records.transcription(slug)
        request = StartRequest(slug, source=source) if last is None or last.source != source else again(last)
        started = await self._transcriptions.start(request)
        record = started.record
        return Begun(
            record.id, record.slug, record.source, started.state, started.created, record.started_at, started.ingest
        )

    async def stop(self, slug: str, reason: str) -> bool:
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        await self._transcriptions.stop(slug, reason=reason)
                    except RunsElsewhere:
                        await asyncio.sleep(LOOK_S)
                        continue
                    return True
        except NeverStarted:
            return True
        except TimeoutError:
            return False
