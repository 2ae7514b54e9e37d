"""How long to wait before trying again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with equal jitter: half of each delay is fixed, half is drawn at random."""

    first_s: float = 0.25
    factor: float = 2.0
    ceiling_s: float = 10.0

    def delay(self, attempt: int, random: float) -> float:
        """Seconds before try number `attempt` (1 = the first repetition); `random` in [0, 1)."""
        full = min(self.ceiling_s, self.first_s * self.factor ** min(attempt - 1, 32))
        return full / 2 + full / 2 * random
