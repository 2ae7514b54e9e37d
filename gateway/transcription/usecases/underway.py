"""The words under way of one run: shown as they come, and once more when more of them hold still."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.clock import Clock
from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.stable import UNDER_WAY, StablePrefixes
from gateway.transcription.usecases.track import LiveTrack

_ROUNDING_S: Final = 0.001
"""A timer may fire a moment early."""

Show = Callable[[LiveTrack, Caption, int], bool]
"""Is given a partial and how much of its text is stable, an index. Returns: whether anything may be shown now."""


@dataclass(slots=True)
class _Shown:
    """`sent`: what the source of the audio was given of it."""

    live: LiveTrack
    said: Caption
    stable: int
    sent: str


class UnderWay:
    """`show` must not wait. `run` repeats a partial when words of it have become stable and no newer one has come.

    A run has one timer for all of them: a partial costs no task and wakes none.
    """

    def __init__(self, clock: Clock, show: Show) -> None:
        self._clock = clock
        self._show = show
        self._prefixes = StablePrefixes()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._running: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # of the timer, by our clock

    def hear(self, live: LiveTrack, said: Caption) -> None:
        """A partial with words."""
        now = self._clock.monotonic()
        stable = self._prefixes.hear(said.utterance_id, said.text, now)
        former = self._shown.get(said.utterance_id)
        one = _Shown(live, said, stable, former.sent if former is not None else "")
        self._shown[said.utterance_id] = one
        if len(self._shown) > UNDER_WAY:
            self._shown.popitem(last=False)
        self._present(one)
        self._look_at(self._prefixes.next(said.utterance_id, now), now)

    def of(self, live: LiveTrack) -> list[str]:
        """Ids of a track's utterances."""
        return [utterance_id for utterance_id, one in self._shown.items() if one.live is live]

    def forget(self, utterance_id: str) -> None:
        """It has a final, or was withdrawn. May be repeated."""
        self._shown.pop(utterance_id, None)
        self._prefixes.forget(utterance_id)

    async def run(self) -> None:
        """Until cancelled."""
        self._running = asyncio.get_running_loop().create_future()
        self._look()
        try:
            await self._running
        finally:
            self._running = None
            if self._timer is not None:
                self._timer.cancel()

    def _look_at(self, due: float, now: float) -> None:
        """The timer is set for the first word that will be stable; one that comes too early looks again."""
        if due >= self._due or self._running is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._running.get_loop().call_later(due - now + _ROUNDING_S, self._look)

    def _look(self) -> None:
        self._timer, self._due = None, math.inf
        try:
            for one in list(self._shown.values()):
                self._show_again(one)
            now = self._clock.monotonic()
            self._look_at(self._prefixes.soonest(now), now)
        except Exception as error:
            if self._running is not None and not self._running.done():
                self._running.set_exception(error)

    def _show_again(self, one: _Shown) -> None:
        stable = self._prefixes.stable(one.said.utterance_id, self._clock.monotonic())
        if stable != one.stable:
            one.stable = stable
            self._present(one)

    def _present(self, one: _Shown) -> None:
        """Where the audio comes from words are shown once they are stable, and stay until others replace them."""
        if not self._show(one.live, one.said, one.stable):
            return
        stable = one.said.text[: one.stable]
        if not one.sent.startswith(stable):
            one.live.track.caption(one.said.utterance_id, stable, is_final=False)
            one.sent = stable
