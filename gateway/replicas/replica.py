"""One gateway process among others, as all of them see it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Load:
    """What a process carries now. `capacity`: tracks that it can carry; 0: it says nothing, and takes nothing."""

    sessions: int = 0
    tracks: int = 0
    watchers: int = 0
    capacity: int = 0

    @property
    def share(self) -> float:
        """How full it is: 0 empty, 1 full, more when it carries too much."""
        return self.tracks / self.capacity if self.capacity > 0 else float("inf")

    @property
    def is_full(self) -> bool:
        """There is no room for another track."""
        return self.tracks >= self.capacity


@dataclass(frozen=True, slots=True)
class Replica:
    """`id`: under which it owns transcriptions. `run`: another one after every start, and whenever it was lost.

    `url`: where other replicas reach this very process; None: they do not. `started_at` and `seen_at` (its last beat)
    are by the database's clock.
    """

    id: str
    run: str
    version: str
    url: str | None
    started_at: datetime
    seen_at: datetime
    is_draining: bool
    load: Load

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may go there."""
        return not self.is_draining and not self.load.is_full
