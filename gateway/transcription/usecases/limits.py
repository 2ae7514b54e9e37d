"""Keeps transcriptions within what a session, a user and a space may use, over all replicas.

What others have used is read from the database, where every replica's meters are checkpointed; what this transcription
uses is known to the second. While the database does not answer, what was read last counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.outage import RecordsUnavailable
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
from gateway.transcription.domain.meters import Meters
from gateway.transcription.domain.usage import exceeds

log = logging.getLogger(__name__)

READ_EVERY_S: Final = 5.0
_LOOK_S: Final = 1.0
# The cap is looked at once a second; two seconds of audio ahead is where the money must still be enough.
_CAP_AHEAD_S: Final = 2
# A run looks at its own meters every second.
_OWN_AHEAD_S: Final = 2.0
# With less than this left a start is refused: the transcription would stop before the first sentence is over.
_WORTH_A_START_S: Final = 15.0
# Others are seen as of their last checkpoint (5 s), which is read every 5 s, and go on while this one stops.
_OTHERS_AHEAD_S: Final = 12.0
# A participant who was not metered within this time has stopped, or is silent.
_LIVE_S: Final = 15.0


TOLD_EVERY_S: Final = 3600.0
"""How often at most it is told that a session's starts are refused for the same reason."""
_TOLD: Final = 1024  # of them are remembered here


class UsageLedger(Protocol):
    """What was used, and what spaces may use. Every method may raise RecordsUnavailable and may be repeated."""

    async def standings(self, asked: Sequence[tuple[str, str]], live_s: float) -> Mapping[str, Standing]:
        """Of each session that exists, in one query: what others than one transcription have used, as of their last
        checkpoints.

        `asked`: session and transcription, each session once. `live_s`: who was metered within so many seconds counts
        as going on.
        """

    async def overrides(self, space_id: str) -> Overrides:
        """The space's own limits; all None when it has none."""

    async def override(self, space_id: str, overrides: Overrides) -> None:
        """Replace them. Of two at once the later one stands."""

    async def spent_today(self, space_id: str) -> int:
        """Seconds of audio of the whole space since midnight UTC."""

    async def refused(self, session_id: str, reason: str, quiet_s: float) -> None:
        """A limit has refused a start: tell it, unless the same was told of this session within so many seconds."""


@dataclass(frozen=True, slots=True)
class SpaceView:
    """A space's own limits, the limits in force there, and what it has used today, in seconds of audio."""

    overrides: Overrides
    effective: Limits
    spent_today_s: int


class Allowance:
    """What one running transcription may still use."""

    def __init__(self, everywhere: Limits, session_id: str, transcription_id: str) -> None:
        self.session_id = session_id
        self.transcription_id = transcription_id
        self.standing: Standing | None = None
        """What others have used, once it was read."""
        self._everywhere = everywhere

    def reached(self, own_s: float, tracks: int) -> Reached | None:
        """Which limit is about to be exceeded. `own_s`: seconds of audio that this transcription has sent; `tracks`:
        how many send."""
        return reached(self._everywhere, self.standing or Standing(), own_s, tracks * _OWN_AHEAD_S, _OTHERS_AHEAD_S)

    def forbids_start(self) -> Reached | None:
        """Which limit leaves too little for a new transcription."""
        return reached(self._everywhere, self.standing or Standing(), 0, _WORTH_A_START_S, _OTHERS_AHEAD_S)


def cap_reached(cap_usd: float) -> str:
    """The reason of an end, or of a start that is refused."""
    return f"cost cap of {cap_usd:.2f} USD reached"


class Budget:
    """When one transcription has to end by itself: cost cap, limits of session, user and space, maximum length."""

    def __init__(self, allowance: Allowance, cap_usd: float | None, spent_usd: float, maximum_s: float) -> None:
        """`cap_usd`: of the session; None: no cap. `spent_usd`: by its other transcriptions. `maximum_s`: 0 = none."""
        self._allowance = allowance
        self._cap_usd = cap_usd
        self._spent_usd = spent_usd
        self._maximum_s = maximum_s

    def exhausted(self, meters: Meters, tracks: int, age_s: float) -> str | None:
        """Why the transcription has to end now; None while it may go on.

        `meters`: read just now. `tracks`: how many send audio. `age_s`: seconds since it was started.
        """
        if self._cap_usd is not None and exceeds(self._spent_usd + meters.cost_after(_CAP_AHEAD_S), self._cap_usd):
            return cap_reached(self._cap_usd)
        if found := self._allowance.reached(meters.seconds_sent, tracks):
            return found.reason
        if self._maximum_s and age_s >= self._maximum_s:
            return f"maximum length of {self._maximum_s:g} s reached"
        return None


class LimitKeeper:
    """The limits of this gateway and of its spaces. `everywhere`: those of a space without its own."""

    def __init__(self, everywhere: Limits, ledger: UsageLedger, clock: Clock) -> None:
        self._everywhere = everywhere
        self._ledger = ledger
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    def allowance(self, session_id: str, transcription_id: str) -> Allowance:
        """Of one transcription; nothing has been read for it yet."""
        return Allowance(self._everywhere, session_id, transcription_id)

    async def read_for_ever(self, running: Callable[[], Sequence[Allowance]]) -> None:
        """Keep allowances up to date, those of new transcriptions within a second. Until cancelled."""
        due = self._clock.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            everybody = self._clock.monotonic() >= due
            wanted = [one for one in running() if everybody or one.standing is None]
            try:
                await self._read(wanted)
            except RecordsUnavailable as error:
                log.debug("database: %s", error)  # the runs warn of it; what was read last counts
                continue
            if everybody:
                due = self._clock.monotonic() + READ_EVERY_S

    async def _read(self, allowances: Sequence[Allowance]) -> None:
        """One statement for all. Raises: RecordsUnavailable."""
        if not allowances:
            return
        asked = {one.session_id: one.transcription_id for one in allowances}
        found = await self._ledger.standings(list(asked.items()), _LIVE_S)
        for one in allowances:
            one.standing = found.get(one.session_id, one.standing)

    async def admit(self, session_id: str) -> None:
        """Whether a transcription may begin. Raises: TranscriptionOff, LimitReached, RecordsUnavailable."""
        allowance = self.allowance(session_id, "")
        await self._read([allowance])
        found = allowance.forbids_start()
        if found is None:
            return
        if found.off:
            raise TranscriptionOff(found.reason)
        await self.refused(session_id, found.reason)
        raise LimitReached(found.reason, until_tomorrow_s(self._clock.now()) if found.daily else None)

    async def refused(self, session_id: str, reason: str) -> None:
        """A start is refused by a limit, for this reason: whoever asked for it is told once, however often it is
        tried. Not when the database does not answer now."""
        now, one = self._clock.monotonic(), (session_id, reason)
        if self._told.get(one, -inf) > now - TOLD_EVERY_S:
            return
        try:
            await self._ledger.refused(session_id, reason, TOLD_EVERY_S)
        except RecordsUnavailable as error:
            log.warning("not told that a limit is reached: %s", error)
            return
        self._told[one] = now
        self._told.move_to_end(one)
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)

    async def space(self, space_id: str) -> SpaceView:
        """Limits and use of one space. Raises: RecordsUnavailable."""
        overrides = await self._ledger.overrides(space_id)
        spent = await self._ledger.spent_today(space_id)
        return SpaceView(overrides, effective(self._everywhere, overrides), spent)

    async def set_space(self, space_id: str, overrides: Overrides) -> SpaceView:
        """Running transcriptions notice within seconds. Raises: RecordsUnavailable."""
        await self._ledger.override(space_id, overrides)
        return await self.space(space_id)
