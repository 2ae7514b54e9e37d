"""This process among the replicas, as transcriptions need it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

UNCERTAIN_S: Final = 0.05
"""Between two looks whether what runs here is certainly still ours."""


class Membership(Protocol):
    """Whether what runs here may speak and write, and what is to be taken over from others."""

    on_lost: list[Callable[[], None]]
    """Called when everything that this process owns is lost. May not wait or raise."""

    @property
    def run_id(self) -> str:
        """Changes whenever everything was lost: what was taken under another one is not ours."""

    @property
    def room(self) -> int:
        """Tracks that can be taken besides those that are here."""

    @property
    def lapses_in_s(self) -> float:
        """Until the lease of another replica may have ended; negative while that one is overdue. Infinite: of none."""

    def may_act(self) -> bool:
        """Whether nobody else can have taken over what runs here. Cheap; to be asked before anything goes out."""

    def is_heir(self, key: str) -> bool:
        """Whether this process is to take over what is called so; another one is to when it says no."""

    async def find_lapsed(self) -> None:
        """Find out whose leases have run out. May raise RecordsUnavailable."""

    async def forget(self) -> None:
        """Drop what is left of replicas that are long gone. May raise RecordsUnavailable."""


class Alone:
    """A process that needs to ask nobody."""

    run_id = ""
    room = 1_000_000
    lapses_in_s = math.inf

    def __init__(self) -> None:
        self.on_lost: list[Callable[[], None]] = []

    def may_act(self) -> bool:
        """Always."""
        return True

    def is_heir(self, key: str) -> bool:
        """Always."""
        return True

    async def find_lapsed(self) -> None:
        """There is nobody."""

    async def forget(self) -> None:
        """There is nobody."""
