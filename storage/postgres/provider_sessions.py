"""Every session opened with the speech provider (`gateway.provider_session`): none may stay open or unbilled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.postgres.pool import Link
from storage.postgres.values import clean, clean_or_none, finite, read


@dataclass(frozen=True, slots=True)
class ProviderSessionRow:
    id: str
    """As the provider names it."""
    transcription_id: str
    session_id: str
    identity: str
    opened_at: datetime
    closed_at: datetime | None
    seconds_sent: float
    billing_seconds: float | None
    """What the provider says it charges for; None until it said."""
    outcome: str | None


class ProviderSessions:
    def __init__(self, link: Link) -> None:
        self._db = link

    async def opened(
        self, provider_session_id: str, transcription_id: str, session_id: str, identity: str, opened_at: datetime
    ) -> None:
        """Repeating it changes nothing."""
        args = (clean(provider_session_id), transcription_id, session_id, clean(identity), opened_at)
        await self._db.run("provider_session_opened", *args)

    async def closed(self, provider_session_id: str, closed_at: datetime, seconds_sent: float, outcome: str) -> bool:
        """The first end counts. Returns: whether the session is known."""
        args = (provider_session_id, closed_at, finite(seconds_sent), clean_or_none(outcome))
        return await self._db.run("provider_session_closed", *args) == 1

    async def billed(self, provider_session_id: str, billing_seconds: float) -> bool:
        return await self._db.run("provider_session_billed", provider_session_id, finite(billing_seconds)) == 1

    async def open_of(self, transcription_id: str) -> list[ProviderSessionRow]:
        """Those not known to be closed: an adopter has to stop or resume them."""
        records = await self._db.rows("provider_session_open", transcription_id)
        return [read(ProviderSessionRow, r) for r in records]

    async def by_transcription(self, transcription_id: str) -> list[ProviderSessionRow]:
        records = await self._db.rows("provider_session_by_transcription", transcription_id)
        return [read(ProviderSessionRow, r) for r in records]
