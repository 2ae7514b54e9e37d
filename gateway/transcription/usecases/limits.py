"""Keeps transcriptions within what a session, a user and a space may use, over all replicas.

What others have used is read from the database, where every replica's meters are checkpointed; what this transcription
uses is known to the second. While the database does not answer, what was read last counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.transcription.domain.errors import LimitReached, TranscriptionOff
from gateway.transcription.domain.limits import (
    Limits,
    Overrides,
    Reached,
    Standing,
    effective,
    reached,
    until_tomorrow_s,
)

READ_EVERY_S: Final = 5.0
# A run looks at its own meters every second.
_OWN_AHEAD_S: Final = 2.0
# Less than this left is not worth a start: it would be stopped before anybody has finished a sentence.
_WORTH_A_START_S: Final = 15.0
# Others are seen as of their last checkpoint (5 s), read by us every 5 s, and go on while we stop.
_OTHERS_AHEAD_S: Final = 12.0
# Who has not been metered for so long has stopped, or is silent.
_LIVE_S: Final = 15.0


class Ledger(Protocol):
    """Every method may raise RecordsUnavailable."""

    async def standing(self, session_id: str, transcription_id: str, live_s: float) -> Standing | None:
        """What all others have used; None when there is no such session."""

    async def overrides(self, space_id: str) -> Overrides: ...
    async def override(self, space_id: str, overrides: Overrides) -> None: ...
    async def spent_today(self, space_id: str) -> int:
        """Seconds, of the whole space."""


@dataclass(frozen=True, slots=True)
class SpaceView:
    overrides: Overrides
    effective: Limits
    spent_today_s: int


class Allowance:
    """What one running transcription may still use."""

    def __init__(self, everywhere: Limits, ledger: Ledger, session_id: str, transcription_id: str) -> None:
        self._everywhere = everywhere
        self._ledger = ledger
        self._session_id = session_id
        self._transcription_id = transcription_id
        self._standing = Standing()

    async def refresh(self) -> None:
        """Raises: RecordsUnavailable."""
        found = await self._ledger.standing(self._session_id, self._transcription_id, _LIVE_S)
        if found is not None:
            self._standing = found

    def reached(self, own_s: float, tracks: int) -> Reached | None:
        """`own_s`: seconds of audio that this transcription has sent; `tracks`: how many send."""
        return reached(self._everywhere, self._standing, own_s, tracks * _OWN_AHEAD_S, _OTHERS_AHEAD_S)

    def forbids_start(self) -> Reached | None:
        return reached(self._everywhere, self._standing, 0, _WORTH_A_START_S, _OTHERS_AHEAD_S)


class LimitKeeper:
    def __init__(self, everywhere: Limits, ledger: Ledger, clock: Clock) -> None:
        self._everywhere = everywhere
        self._ledger = ledger
        self._clock = clock

    def allowance(self, session_id: str, transcription_id: str) -> Allowance:
        return Allowance(self._everywhere, self._ledger, session_id, transcription_id)

    async def admit(self, session_id: str) -> None:
        """Whether a transcription may begin. Raises: TranscriptionOff, LimitReached, RecordsUnavailable."""
        allowance = self.allowance(session_id, "")
        await allowance.refresh()
        found = allowance.forbids_start()
        if found is None:
            return
        if found.off:
            raise TranscriptionOff(found.reason)
        raise LimitReached(found.reason, until_tomorrow_s(self._clock.now()) if found.daily else None)

    async def space(self, space_id: str) -> SpaceView:
        """Raises: RecordsUnavailable."""
        overrides = await self._ledger.overrides(space_id)
        spent = await self._ledger.spent_today(space_id)
        return SpaceView(overrides, effective(self._everywhere, overrides), spent)

    async def set_space(self, space_id: str, overrides: Overrides) -> SpaceView:
        """Running transcriptions notice within seconds. Raises: RecordsUnavailable."""
        await self._ledger.override(space_id, overrides)
        return await self.space(space_id)
