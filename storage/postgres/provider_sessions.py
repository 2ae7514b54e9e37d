"""Every session opened with the speech provider (`gateway.provider_session`): none may stay open or unbilled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from storage.postgres.values import clean, clean_or_none, finite, read

if TYPE_CHECKING:
    from storage.postgres.pool import Database


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
    seconds_resent: float
    """Of the former: sent before, and again after a cut."""
    billing_seconds: float | None
    """What the provider says it charges for; None until it said."""
    outcome: str | None


@dataclass(frozen=True, slots=True)
class LooseEnd(ProviderSessionRow):
    """A session that is to be ended or audited. `url` carries its credential."""

    url: str | None = field(default=None, repr=False)
    is_own: bool = False
    """This very process has opened it."""
    audits: int = 0
    """How often the provider has been asked for its account of it."""


class ProviderSessions:
    """`account` and `process`: for whom this replica works, and which run of it this is."""

    def __init__(self, database: Database, account: str = "", process: str = "") -> None:
        self._db = database
        self._account = clean(account)
        self._process = clean(process)

    async def opened(
        self,
        provider_session_id: str,
        transcription_id: str,
        session_id: str,
        identity: str,
        opened_at: datetime,
        url: str | None = None,
    ) -> None:
        """Repeating it changes nothing."""
        whose = (clean(provider_session_id), transcription_id, session_id, clean(identity), opened_at)
        await self._db.run("provider_session_opened", *whose, self._account, self._process, clean_or_none(url))

    async def found(
        self, provider_session_id: str, transcription_id: str, session_id: str, identity: str, opened_at: datetime
    ) -> None:
        """Note a session that runs at the provider and of which there is no row: no process will end it."""
        whose = (clean(provider_session_id), clean(transcription_id), session_id, clean(identity), opened_at)
        await self._db.run("provider_session_opened", *whose, self._account, None, None)

    async def closed(
        self,
        provider_session_id: str,
        closed_at: datetime,
        seconds_sent: float,
        outcome: str,
        seconds_resent: float = 0.0,
    ) -> bool:
        """The first end counts, and makes it due for an audit. Returns: whether the session is known."""
        args = (provider_session_id, closed_at, finite(seconds_sent), finite(seconds_resent), clean_or_none(outcome))
        return await self._db.run("provider_session_closed", *args) == 1

    async def left_open(self, owner: str, limit: int, mine: Collection[str] = ()) -> list[LooseEnd]:
        """Open ones that no living process will end: their transcription is `owner`'s now, or has stopped.

        Of those that this process has opened: all but `mine`.
        """
        args = (self._account, self._process, clean(owner), list(mine), limit)
        return [read(LooseEnd, r) for r in await self._db.rows("provider_session_left", *args)]

    async def to_audit(self, now: datetime, again_at: datetime, limit: int) -> list[LooseEnd]:
        """Closed ones that are due. They are this caller's until `again_at`."""
        records = await self._db.rows("provider_session_to_audit", self._account, now, again_at, limit)
        return [read(LooseEnd, r) for r in records]

    async def audited(self, provider_session_id: str, billing_seconds: float | None) -> bool:
        """Nothing more can be learnt about it; its credential is forgotten."""
        billed = None if billing_seconds is None else finite(billing_seconds)
        async with self._db.transaction() as link:
            transcription_id = await link.value("transcription_of_bill", provider_session_id)
            is_known: bool = await link.run("provider_session_audited", provider_session_id, billed) == 1
            if transcription_id is not None:
                await link.run("transcription_reconcile", transcription_id)
        return is_known

    async def audit_again(self, provider_session_id: str, at: datetime) -> None:
        """The provider had no bill yet; due again at `at`."""
        await self._db.run("provider_session_audit_again", provider_session_id, at)

    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> list[tuple[str, int]]:
        """What is to be deleted at the provider: (id, attempts with this one). This caller's until `again_at`."""
        records = await self._db.rows("provider_session_to_erase", self._account, now, again_at, limit)
        return [(record["id"], record["erasures"]) for record in records]

    async def erase_again(self, provider_session_id: str, at: datetime) -> None:
        """The deletion failed; due again at `at`."""
        await self._db.run("provider_session_erase_again", provider_session_id, at)

    async def erased(self, provider_session_id: str, at: datetime | None) -> None:
        """It is gone there since then; None: it is tried no more."""
        await self._db.run("provider_session_erased", provider_session_id, at)

    async def known(self, provider_session_ids: Sequence[str]) -> set[str]:
        """Those of them that have a row."""
        return {r["id"] for r in await self._db.rows("provider_session_known", list(provider_session_ids))}

    async def by_transcription(self, transcription_id: str) -> list[ProviderSessionRow]:
        """In the order of opening, without their credentials."""
        records = await self._db.rows("provider_session_by_transcription", transcription_id)
        return [read(ProviderSessionRow, r) for r in records]
