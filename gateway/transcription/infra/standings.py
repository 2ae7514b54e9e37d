"""Sessions of other replicas in PostgreSQL, behind `Standings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.availability import available
from gateway.transcription.domain.transcription import Lease, Numbering, TranscriptionState
from gateway.transcription.usecases.follow import FollowedFinal, Standing
from storage.postgres.finals import Finals
from storage.postgres.pool import Database
from storage.postgres.transcriptions import Transcriptions


class PostgresStandings:
    """One statement a method."""

    def __init__(self, database: Database) -> None:
        self._transcriptions = Transcriptions(database)
        self._finals = Finals(database)

    @available
    async def look(self, session_ids: Sequence[str]) -> Mapping[str, Standing]:
        return {
            row.session_id: Standing(
                Lease(row.transcription_id, row.fence),
                row.owner,
                TranscriptionState(row.state).shown,
                Numbering(row.epoch, row.origin, row.last_seq, row.former),
            )
            for row in await self._transcriptions.standings(session_ids)
        }

    @available
    async def finals(self, after: Mapping[str, int], limit: int) -> Sequence[FollowedFinal]:
        rows = await self._finals.since_each(after, limit)
        return [FollowedFinal(row.session_id, row.epoch, row.seq, row.utterance_id, row.data) for row in rows]
