"""Slots: the right to have a session open at the provider, shared by all replicas of the account in the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from storage import ids
from storage.postgres import errors
from storage.postgres.places import Asked, ProviderPlaces
from stt.gladia.places import Place

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""How soon a waiting track sees that a slot of another replica came free."""
LAST_WORD_S: Final = 2.0
INHERITED_S: Final = 15.0
"""How long the slots of a transcription that was taken over are kept for its tracks, which have to come back first."""


class _ProviderSlot(Place):
    """A slot, or a track's wait for one. `id`: of its row. `senior`: the row whose turn it inherits, if that stands.

    `serves`: the transcription.
    """

    def __init__(self, went_back: Callable[[Place], None], senior: str | None, serves: str | None) -> None:
        super().__init__(went_back)
        self.id = ids.cuid()
        self.senior = senior
        self.serves = serves


class SharedSlots:
    """At most `limit` over all replicas, first come first served. One task talks to the database, for all tracks.

    While the database is away, what is held stays held, and a slot that comes back goes to the next track of this
    process, as long as its lease certainly stands; no other track gets one. A replica that was away for longer than
    the lease keeps its sessions and may so, for a while, be one of too many: then the provider's own answer (429) makes
    new ones wait.
    """

    def __init__(
        self, table: ProviderPlaces, limit: int, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.held = 0
        """Slots in use in the whole account, as last seen."""
        self.waiting = 0
        self._table = table
        self._limit = limit
        self._lease_s = lease_s
        self._clock = clock
        self._slots: dict[Place, _ProviderSlot] = {}  # oldest first
        self._returned: list[str] = []
        self._inherited: dict[str, list[str]] = {}  # by transcription
        self._changed = asyncio.Event()
        self._good_until = 0.0
        self._is_cut_off = False

    def ask(self, senior: Place | None, labels: Mapping[str, str]) -> Place:
        """Queue for a slot; it grants itself. `senior`: the track's former slot, whose place in the queue it takes.

        The first tracks of a transcription that was taken over have the slots of its former owner's.
        """
        serves = labels.get("transcription")
        before = senior.id if isinstance(senior, _ProviderSlot) else None
        if before is None and (left := self._inherited.get(serves or "")):
            before = left.pop()
            self._returned.append(before)
        slot = _ProviderSlot(self._went_back, before, serves)
        self._slots[slot] = slot
        self._changed.set()
        return slot

    def inherit(self, places: Mapping[str, Sequence[str]]) -> None:
        """Rows that came with transcriptions that were taken over, by these; what is not asked for soon goes back."""
        for transcription_id, rows in places.items():
            self._inherited[transcription_id] = [*rows]
            asyncio.get_running_loop().call_later(INHERITED_S, self._decline, transcription_id)

    def _decline(self, transcription_id: str) -> None:
        self._returned += self._inherited.pop(transcription_id, [])
        self._changed.set()

    def _went_back(self, place: Place) -> None:
        back = self._slots.pop(place)
        heir = next((other for other in self._slots.values() if not other.is_granted), None)
        if self._is_cut_off and back.is_granted and heir is not None and self._clock() < self._good_until:
            self._returned.append(heir.id)
            heir.id = back.id  # its row in the database is granted, and still ours
            heir.grant()
        else:
            self._returned.append(back.id)
        self._changed.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Grant slots until the end of the block; then all are given back."""
        async with asyncio.TaskGroup() as tasks:
            granting = tasks.create_task(self._run(), name="places")
            try:
                yield
            finally:
                granting.cancel()
        self._returned += [place.id for place in self._slots.values()]
        self._slots.clear()
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self.turn()
        except Exception as error:  # the leases run out anyway
            log.info("places at the provider could not be given back: %s", error)

    async def _run(self) -> None:
        while True:
            is_urgent = self._is_cut_off or any(not place.is_granted for place in self._slots)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S if is_urgent else self._lease_s / 3):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.turn()
            except Exception as error:
                if not errors.retryable(error):
                    raise
                if not self._is_cut_off:
                    log.warning("places at the provider cannot be asked for now: %s", error)
                self._is_cut_off = True
                await asyncio.sleep(POLL_S)

    async def turn(self) -> None:
        """One exchange with the database."""
        returned = list(self._returned)
        asked = [Asked(one.id, one.senior, one.is_granted, one.serves) for one in self._slots.values()]
        began = self._clock()
        turn = await self._table.turn(self._limit, asked, returned, self._lease_s)
        self._is_cut_off = False
        self._good_until = began + self._lease_s
        del self._returned[: len(returned)]
        self.held, self.waiting = turn.held, turn.waiting
        for place in list(self._slots.values()):
            if place.id in turn.granted:
                place.grant()
