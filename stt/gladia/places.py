"""Places: the right to have a session open at the provider, where an account limits how many are open at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol


class Place:
    """A place, or the wait for one. It counts its holders and goes back when the last one gives it back."""

    def __init__(self, went_back: Callable[[Place], None]) -> None:
        self._went_back = went_back
        self._granted = asyncio.Event()
        self._holders = 1

    @property
    def is_granted(self) -> bool:
        """Whether a session may be opened on it."""
        return self._granted.is_set()

    def grant(self) -> None:
        """For the owner of the places: `wait` returns."""
        self._granted.set()

    async def wait(self) -> None:
        """Return when it is granted."""
        await self._granted.wait()

    def share(self) -> Place:
        """The same place with one more holder, which has to give it back too."""
        self._holders += 1
        return self

    def give_back(self) -> None:
        """Also ends the wait for one that was not granted."""
        self._holders -= 1
        if self._holders == 0:
            self._went_back(self)


class Places(Protocol):
    """Hands places out, in the order in which they were asked for."""

    def ask(self, senior: Place | None, labels: Mapping[str, str]) -> Place:
        """A place, granted now or later; it has one holder. `labels`: of the session that is to be opened on it.

        `senior`: the last place of the same track. If it goes back only now, this one does not queue up again.
        """


class NoLimit:
    """Places of an account without a limit: every one is granted at once."""

    def ask(self, senior: Place | None, labels: Mapping[str, str]) -> Place:
        """A place that is granted already."""
        place = Place(lambda _: None)
        place.grant()
        return place
