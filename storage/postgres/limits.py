"""What a space may use beyond the settings, and what was used today (`gateway.usage_day`, `gateway.space_limits`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from storage.postgres.values import clean, finite, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database

# Limits need today and yesterday; one more day is left for an operator to look at.
_KEPT: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class SpaceLimits:
    """None: as the settings say. Minutes; 0 = no limit."""

    transcription: bool | None = None
    session_minutes: float | None = None
    user_minutes_per_day: float | None = None
    space_minutes_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class StandingRow:
    """Of all others than one transcription; `own_before` is that one's, from earlier days. Seconds."""

    session_id: str
    space_id: str
    limits: SpaceLimits
    session_seconds: int
    own_before: int
    user_seconds: int
    user_live: int
    space_seconds: int
    space_live: int


class Limits:
    """Each method is one statement, or one transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def of_space(self, space_id: str) -> SpaceLimits:
        """What overrides the settings there; all None where nothing does."""
        record = await self._db.row("limits_of_space", clean(space_id))
        return SpaceLimits() if record is None else read(SpaceLimits, record)

    async def save(self, space_id: str, limits: SpaceLimits, now: datetime) -> None:
        """Replaces all overrides of the space. Raises: ValueError for NaN or infinity."""
        minutes = (limits.session_minutes, limits.user_minutes_per_day, limits.space_minutes_per_day)
        numbers = [None if number is None else finite(number) for number in minutes]
        await self._db.run("limits_save", clean(space_id), limits.transcription, *numbers, now)

    async def spent_by_space(self, space_id: str, day: date) -> int:
        """Seconds."""
        return int(await self._db.value("limits_spent_by_space", clean(space_id), day))

    async def standings(self, asked: Sequence[tuple[str, str]], now: datetime, live_s: float) -> Sequence[StandingRow]:
        """Of the sessions that exist. `asked`: session and transcription. `live_s`: who was metered within so many
        seconds is still at it.
        """
        day = now.astimezone(UTC).date()
        sessions, transcriptions = [one for one, _ in asked], [one for _, one in asked]
        args = (sessions, transcriptions, day, now - timedelta(seconds=live_s))
        return [_standing(dict(record)) for record in await self._db.rows("limits_standing", *args)]

    async def refused(self, session_id: str, reason: str, now: datetime, quiet: timedelta) -> None:
        """A start was refused: webhooks are told, unless they were told the same of this session within `quiet`."""
        async with self._db.transaction() as link:
            await link.rows("limits_hold", session_id)
            await link.rows("limits_refused", session_id, clean(reason), now, now - quiet)

    async def prune(self, now: datetime) -> int:
        """Returns: how many rows of former days were removed."""
        return await self._db.run("limits_prune", (now.astimezone(UTC) - _KEPT).date())


def _standing(values: dict[str, Any]) -> StandingRow:
    limits = SpaceLimits(
        values.pop("transcription"),
        values.pop("session_minutes"),
        values.pop("user_minutes_per_day"),
        values.pop("space_minutes_per_day"),
    )
    return StandingRow(limits=limits, **values)
