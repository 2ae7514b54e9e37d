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
    """`show` must not wait. `run` repeats a partial when words of it have become stable and no newer one has come."""

    def __init__(self, clock: Clock, show: Show) -> None:
        self._clock = clock
        self._show = show
        self._prefixes = StablePrefixes()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._waits_until = math.inf
        self._is_earlier = asyncio.Event()

    def hear(self, live: LiveTrack, said: Caption) -> None:
        """A partial with words."""
        stable = self._prefixes.hear(said.utterance_id, said.text, self._clock.monotonic())
        former = self._shown.get(said.utterance_id)
        one = _Shown(live, said, stable, former.sent if former is not None else "")
        self._shown[said.utterance_id] = one
        if len(self._shown) > UNDER_WAY:
            self._shown.popitem(last=False)
        self._present(one)
        due = self._prefixes.next(said.utterance_id, self._clock.monotonic())
        if due is not None and due < self._waits_until:
            self._is_earlier.set()

    def forget(self, utterance_id: str) -> None:
        """It has a final, or was withdrawn. May be repeated."""
        self._shown.pop(utterance_id, None)
        self._prefixes.forget(utterance_id)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = self._clock.monotonic()
            due = self._prefixes.due(now)
            utterance_id = min(due, key=due.__getitem__, default=None)
            self._waits_until = due[utterance_id] if utterance_id is not None else math.inf
            self._is_earlier.clear()
            try:
                async with asyncio.timeout(self._waits_until - now + _ROUNDING_S if due else None):
                    await self._is_earlier.wait()
            except TimeoutError:
                if utterance_id is not None and (one := self._shown.get(utterance_id)) is not None:
                    self._show_again(one)

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
