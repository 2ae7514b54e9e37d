"""Words that a dead process had not stored: read from the provider's record of its session."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Final

import msgspec

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.salvage import StoredUtterance, salvage
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.records import SessionRecords
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.sweep import ProviderReport, UnreconciledSession

log = logging.getLogger(__name__)

_PAGE: Final = 500


async def salvage_into(
    run: Run, orphan: UnreconciledSession, told: ProviderReport, sessions: SessionRecords, finals: FinalReader
) -> None:
    """Give the run what the provider heard and has no final, and all translations of what it heard.

    Raises: RecordsUnavailable; it may be repeated, since a final and its translation into a language are stored once.
    """
    session_id = run.claimed.session_id
    stored: list[StoredUtterance] = []
    name: str | None = None
    after = 0
    while page := await finals.since(session_id, after, _PAGE):
        after = page[-1].seq
        for final in page:
            said = msgspec.json.decode(final.data)
            if said["participantIdentity"] == orphan.identity:
                name = said["participantName"]
            if said["utteranceId"].startswith(f"{orphan.id}:"):
                stored.append(StoredUtterance(said["text"], said["startMs"], said["utteranceId"]))
    opened = orphan.opened_at - run.claimed.numbering.origin
    missing = salvage(stored, told.heard, round(opened.total_seconds() * 1000))
    if missing is None:
        log.warning("the provider's record of a dead process's session does not fit what was kept of it")
        return
    speaker = Speaker(orphan.identity, name)
    if missing.utterances:
        with suppress(LookupError):  # the session was deleted
            run.salvage(speaker, await sessions.join(session_id, speaker), missing)
    for one in told.translations:
        run.translate(speaker, replace(one, utterance_id=missing.stored.get(one.utterance_id, one.utterance_id)))
