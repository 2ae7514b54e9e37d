"""The receipt of a transcription: what was heard, sent and saved, from its usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.transcription.domain.usage import Usage


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


def receipt(used: Iterable[Usage]) -> Receipt:
    """Of all participants. Saved is never more than what was not sent: audio sent again after a cut reduces it."""
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
