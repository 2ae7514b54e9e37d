"""What was heard, sent and saved: the receipt of a transcription, from counted samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Listened:
    """Samples of one track or participant.

    `heard` came from the source, digital silence included. `speech`: what the voice detector calls so. `silent`: what
    the gate takes for no part of speech. `withheld`: what was not sent to the provider: all of `silent` when the gate
    is on, else what the source itself left out.
    """

    heard: int = 0
    speech: int = 0
    silent: int = 0
    withheld: int = 0

    def __add__(self, other: Listened) -> Listened:
        return Listened(
            self.heard + other.heard,
            self.speech + other.speech,
            self.silent + other.silent,
            self.withheld + other.withheld,
        )


class Metered(Protocol):
    """One participant's usage, as far as a receipt needs it. Seconds."""

    @property
    def gate(self) -> str: ...
    @property
    def heard_s(self) -> float: ...
    @property
    def speech_s(self) -> float: ...
    @property
    def silent_s(self) -> float: ...
    @property
    def withheld_s(self) -> float: ...
    @property
    def duration_seconds(self) -> int: ...
    @property
    def cost_per_minute(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """Seconds of all participants; money in USD, at the price of a minute, without rounding up to minutes begun.

    `gate`: its mode, off, shadow or on. `saveable`: what it saves when it is on.
    """

    gate: str
    heard_s: float
    speech_s: float
    sent_s: float
    saved_s: float
    saved_usd: float
    saveable_s: float
    saveable_usd: float


def receipt(used: Iterable[Metered]) -> Receipt:
    """Saved is never more than what was not sent: audio sent twice after a cut eats up savings."""
    rows = list(used)
    prices = [row.cost_per_minute / 60 for row in rows]
    saved = [min(row.withheld_s, max(row.heard_s - row.duration_seconds, 0.0)) for row in rows]
    saveable = [had if row.gate == "on" else row.silent_s for row, had in zip(rows, saved, strict=True)]
    return Receipt(
        gate=rows[-1].gate if rows else "off",
        heard_s=_sum(row.heard_s for row in rows),
        speech_s=_sum(row.speech_s for row in rows),
        sent_s=_sum(row.duration_seconds for row in rows),
        saved_s=_sum(saved),
        saved_usd=_money(saved, prices),
        saveable_s=_sum(saveable),
        saveable_usd=_money(saveable, prices),
    )


def _sum(seconds: Iterable[float]) -> float:
    return round(sum(seconds), 1)


def _money(seconds: Iterable[float], prices: Iterable[float]) -> float:
    return round(sum(one * price for one, price in zip(seconds, prices, strict=True)), 6)
