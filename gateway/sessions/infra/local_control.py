"""Transcriptions of this gateway and its replicas, as a session starts and stops them: direct calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gateway.sessions.usecases.ports import Begun, Wanted
from gateway.transcription.domain.errors import NeverStarted, NotReady, RunsElsewhere
from gateway.transcription.domain.preferences import Preferences
from gateway.transcription.domain.transcription import StartRequest
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.steering import Steering
from gateway.transcription.usecases.transcriptions import again

LOOK_S: Final = 0.5


class LocalControl:
    """`patience_s`: how long to wait for a run on a replica that cannot be asked: it notices by itself that its session
    is over."""

    def __init__(self, steering: Steering, records: Records, patience_s: float) -> None:
        self._steering = steering
        self._records = records
        self._patience_s = patience_s

    async def start(self, slug: str, source: str, wanted: Wanted | None = None) -> Begun:
        """By default with the options of the session's last one, if that had the same source. Its cap and its pauses
        hold in any case: who may not choose them does not lift them by choosing something else."""
        last = await self._records.transcriptions.newest(slug)
        former = None if last is None else again(last)
        if wanted is None and former is not None and former.source == source:
            request = former
        else:
            request = StartRequest(slug, source=source) if wanted is None else replace(wanted.request, source=source)
            if former is not None:
                cap = request.cost_cap_usd or former.cost_cap_usd
                request = replace(request, cost_cap_usd=cap, pauses=former.pauses)
        started = await self._steering.start(request)
        record = started.record
        return Begun(
            record.id,
            record.slug,
            record.source,
            started.state,
            started.created,
            record.started_at,
            started.ingest,
            detects_language=not Preferences.read(record.options).speech.languages,
        )

    async def stop(self, slug: str, reason: str) -> bool:
        """False when another replica's run has not stopped within `patience_s`. Raises: SessionError."""
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        await self._steering.stop(slug, reason=reason)
                    except RunsElsewhere:
                        await asyncio.sleep(LOOK_S)
                        continue
                    return True
        except NeverStarted:
            return True
        except TimeoutError:
            return False


class NoControl:
    """For a process that transcribes nothing: waits until the replica that does has noticed the end and stopped."""

    def __init__(self, records: Records, patience_s: float) -> None:
        self._records = records
        self._patience_s = patience_s

    async def start(self, slug: str, source: str, wanted: Wanted | None = None) -> Begun:
        """Raises: NotReady, always."""
        raise NotReady("this process does not transcribe")

    async def stop(self, slug: str, reason: str) -> bool:
        """Waits; stops nothing. False when it has not stopped within `patience_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                while True:
                    last = await self._records.transcriptions.newest(slug)
                    if last is None or last.is_stopped:
                        return True
                    await asyncio.sleep(LOOK_S)
        return False
