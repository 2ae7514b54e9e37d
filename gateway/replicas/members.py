"""The members as the last beat of one of them has found them: who beats, and how long each has been silent. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.replicas.replica import Replica


@dataclass(frozen=True, slots=True)
class Members:
    """`me`: the id of the one who has looked. `at`: when the answer came, by its own clock, seconds."""

    me: str
    all: Sequence[Replica] = ()
    at: float = -math.inf

    @property
    def mine(self) -> Replica | None:
        """Its own row."""
        return next((one for one in self.all if one.id == self.me), None)

    @property
    def others(self) -> Sequence[Replica]:
        """The rows of the others."""
        return [one for one in self.all if one.id != self.me]

    def silent_s(self, replica: str, now: float) -> float:
        """Since the last beat of another one that is known, seconds; infinite for one that is not among them."""
        return self._silent_s([one for one in self.others if one.id == replica], now, math.inf)

    def longest_silence_s(self, now: float) -> float:
        """Of the others; 0 where there are none."""
        return self._silent_s(self.others, now, 0.0)

    def _silent_s(self, others: Sequence[Replica], now: float, nobody: float) -> float:
        """Both beats are by the database's clock, so those of the machines may differ."""
        mine = self.mine
        if mine is None or not others:
            return nobody
        return (mine.seen_at - min(one.seen_at for one in others)).total_seconds() + now - self.at
