"""Finals in PostgreSQL, the app's segments and our numbered events, behind `FinalRecords`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.strays import caption_of, shown_as, unheard_of
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import NumberedFinal, StoreOutcome
from storage.postgres.finals import FinalRow, Finals
from storage.postgres.pool import Database
from storage.postgres.segments import NewSegment, Segments, Stray
from storage.postgres.transcriptions import Transcriptions

log = logging.getLogger(__name__)


class PostgresFinalRecords:
    """One statement a method, unless it says otherwise."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._finals = Finals(database)
        self._segments = Segments(database)
        self._transcriptions = Transcriptions(database)
        self._clock = clock

    @available
    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        """One statement, and a second one when some of them are stored already. 1 to 200 finals is what pays."""
        now = self._clock.now()
        appended = await self._finals.append([_row(final, now) for final in finals])
        for key, why in appended.refused.items():
            log.error("final %s was refused by the database: %s", key, why)
        for key in appended.conflicting:
            log.error("final %s: its number belongs to another utterance", key)
        for session_id in appended.gone:
            log.warning("finals of a deleted session were dropped", extra={"sessionId": session_id})
        return StoreOutcome(frozenset(appended.fenced), frozenset(appended.gone))

    @available
    async def counts(self, claimed: Claimed) -> Mapping[str, int]:
        return await self._finals.count_by_speaker(claimed.session_id, claimed.lease.transcription_id)

    @available
    async def store_strays(self, finals: Sequence[FinalToStore]) -> int:
        """One statement, and for each session one more or a few where words were heard twice."""
        now = self._clock.now()
        kept = await self._segments.keep_strays(
            Stray(
                _segment(final.session_id, final.participant_id, final.caption, now),
                final.lease.transcription_id,
                final.data,
            )
            for final in finals
        )
        return kept - sum([await self._settle(one) for one in {final.session_id for final in finals}])

    async def _settle(self, session_id: str) -> int:
        """Take out of the session's strays what is numbered already. Returns: of how many nothing is left."""
        now, dropped = self._clock.now(), []
        for stray, said, kept in unheard_of(await self._segments.strays(session_id)):
            if kept is None:
                dropped.append(stray.utterance_id)
            elif kept is not said:
                segment = _segment(session_id, None, kept, now)
                await self._segments.trim_stray(segment, shown_as(kept, stray.data))
        return await self._segments.drop_strays(session_id, dropped) if dropped else 0

    @available
    async def last(self, session_id: str, limit: int) -> Sequence[Caption]:
        return [said for data in await self._finals.last(session_id, limit) if (said := caption_of(data)) is not None]

    @available
    async def number_strays(self, session_id: str) -> Sequence[NumberedFinal]:
        """A statement, and one transaction, which holds the session's row so that no transcription of it begins
        meanwhile."""
        await self._settle(session_id)
        numbered = await self._transcriptions.number_strays(session_id, self._clock.now())
        return [NumberedFinal(seq, utterance_id, data) for seq, utterance_id, data in numbered]

    @available
    async def store_partials(self, session_id: str, captions: Sequence[tuple[Caption, str | None]]) -> None:
        """A row that is final already stays as it is."""
        now = self._clock.now()
        await self._segments.upsert(
            _segment(session_id, participant_id, said, now) for said, participant_id in captions
        )

    @available
    async def since(self, session_id: str, after: int, limit: int) -> Sequence[StoredFinal]:
        return [StoredFinal(row.seq, row.data) for row in await self._finals.since(session_id, after, limit)]

    @available
    async def newest(self, session_id: str) -> int:
        return await self._finals.newest(session_id)

    @available
    async def at(self, session_id: str, moment_ms: int) -> int | None:
        return await self._finals.at(session_id, moment_ms)


def _row(final: FinalToStore, now: datetime) -> FinalRow:
    said = final.caption
    return FinalRow(
        transcription_id=final.lease.transcription_id,
        fence=final.lease.fence,
        session_id=final.session_id,
        epoch=final.epoch,
        seq=final.seq,
        participant_id=final.participant_id,
        utterance_id=said.utterance_id,
        text=said.text,
        language=said.language,
        started_at=said.started_at,
        ended_at=said.ended_at,
        data=final.data,
        created_at=now,
    )


def _segment(session_id: str, participant_id: str | None, said: Caption, now: datetime) -> NewSegment:
    return NewSegment(
        session_id,
        participant_id,
        said.utterance_id,
        said.text,
        said.language,
        said.is_final,
        said.started_at,
        said.ended_at,
        now,
    )
