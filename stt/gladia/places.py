"""Places: the right to have a session open at the provider, where an account allows only so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Place:
    """A place, or the wait for one. It has as many holders as it was shared with, and goes back with the last."""

    def __init__(self, went_back: Callable[[Place], None]) -> None:
        self._went_back = went_back
        self._granted = asyncio.Event()
        self._holders = 1

    @property
    def is_granted(self) -> bool:
        return self._granted.is_set()

    def grant(self) -> None:
        self._granted.set()

    async def wait(self) -> None:
        """Return when it is granted."""
        await self._granted.wait()

    def share(self) -> Place:
        self._holders += 1
        return self

    def give_back(self) -> None:
        """Also ends the wait for one that was not granted."""
        self._holders -= 1
        if self._holders == 0:
            self._went_back(self)


class Places(Protocol):
    def ask(self, senior: Place | None) -> Place:
        """`senior`: the last place of the same track. If it goes back only now, this one does not queue up again."""


class NoLimit:
    """Whoever asks has a place."""

    def ask(self, senior: Place | None) -> Place:
        place = Place(lambda _: None)
        place.grant()
        return place
