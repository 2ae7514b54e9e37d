"""What was used and may be used, in PostgreSQL, behind `UsageLedger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta

from gateway.availability import available
from gateway.clock import Clock
from gateway.transcription.domain.limits import Overrides, Standing
from storage.postgres.limits import Limits, SpaceLimits, StandingRow
from storage.postgres.pool import Database


class PostgresUsageLedger:
    """Days are those of UTC, by the given clock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._limits = Limits(database)
        self._clock = clock

    @available
    async def standings(self, asked: Sequence[tuple[str, str]], live_s: float) -> Mapping[str, Standing]:
        rows = await self._limits.standings(asked, self._clock.now(), live_s)
        return {row.session_id: _standing(row) for row in rows}

    @available
    async def overrides(self, space_id: str) -> Overrides:
        return _overrides(await self._limits.of_space(space_id))

    @available
    async def override(self, space_id: str, overrides: Overrides) -> None:
        limits = SpaceLimits(
            overrides.transcription,
            overrides.session_minutes,
            overrides.user_minutes_per_day,
            overrides.space_minutes_per_day,
        )
        now = self._clock.now()
        await self._limits.save(space_id, limits, now)
        await self._limits.prune(now)

    @available
    async def spent_today(self, space_id: str) -> int:
        return await self._limits.spent_by_space(space_id, self._clock.now().astimezone(UTC).date())

    @available
    async def refused(self, session_id: str, reason: str, quiet_s: float) -> None:
        await self._limits.refused(session_id, reason, self._clock.now(), timedelta(seconds=quiet_s))


def _standing(row: StandingRow) -> Standing:
    return Standing(
        _overrides(row.limits),
        row.session_seconds,
        row.own_before,
        row.user_seconds,
        row.user_live,
        row.space_seconds,
        row.space_live,
    )


def _overrides(limits: SpaceLimits) -> Overrides:
    return Overrides(
        limits.transcription, limits.session_minutes, limits.user_minutes_per_day, limits.space_minutes_per_day
    )
