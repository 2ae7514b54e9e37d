"""What the provider charges for, beside what we counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# A difference counts from half a percent on, and from what rounding cannot explain.
TOLERANCE: Final = 0.005
ROUNDING_S: Final = 0.1
ORPHANED: Final = "orphaned"  # outcome of a session whose process died; how much of it was sent is not known


@dataclass(frozen=True, slots=True)
class Bill:
    """One provider session in our books. Times in seconds; `seconds_resent` is part of `seconds_sent`."""

    id: str
    identity: str
    opened_at: datetime
    closed_at: datetime | None
    seconds_sent: float
    seconds_resent: float
    billing_seconds: float | None
    outcome: str | None

    @property
    def is_comparable(self) -> bool:
        """Both sides have counted the session."""
        return self.billing_seconds is not None and self.outcome != ORPHANED

    @property
    def difference(self) -> float | None:
        """Billed minus sent; None while it cannot be told."""
        return (
            self.billing_seconds - self.seconds_sent
            if self.is_comparable and self.billing_seconds is not None
            else None
        )


def differs(sent: float, billed: float) -> bool:
    """Whether the two are further apart than rounding explains."""
    return abs(billed - sent) > max(ROUNDING_S, TOLERANCE * max(sent, billed))


def cause(sent: float, resent: float, billed: float) -> str:
    """In words, what the difference comes from, as far as it can be known."""
    apart = abs(billed - sent)
    if billed < sent and apart <= resent + ROUNDING_S:
        return f"{resent:.1f} s were sent again after cuts, and the provider counted what it had lost once"
    if resent:
        return f"{resent:.1f} s were sent again after cuts; that does not explain it"
    return "nothing was sent again; the provider counted otherwise"


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums over a transcription's sessions, of those that both sides have counted, in seconds.

    `open`: sessions that still run. `unbilled`: those that are over and have no bill yet.
    """

    sent: float
    resent: float
    billed: float
    open: int
    unbilled: int

    @property
    def percent(self) -> float | None:
        """By how much more was billed than sent; None while nothing is compared."""
        return round(100 * (self.billed - self.sent) / self.sent, 3) if self.sent else None


def balance(bills: Sequence[Bill]) -> Balance:
    """`bills`: every provider session of the transcription."""
    compared = [bill for bill in bills if bill.is_comparable]
    return Balance(
        sent=sum(bill.seconds_sent for bill in compared),
        resent=sum(bill.seconds_resent for bill in compared),
        billed=sum(bill.billing_seconds or 0.0 for bill in compared),
        open=sum(bill.closed_at is None for bill in bills),
        unbilled=sum(bill.closed_at is not None and bill.billing_seconds is None for bill in bills),
    )
