"""Senders that this replica's door has refused, whose session may run on another one: told with the next news. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

MOST: Final = 50
"""That wait for the next news: anybody may knock at the door."""
SLUG_CHARACTERS: Final = 100

Refusal: TypeAlias = tuple[str, str | None, str]
"""The session's slug, the sender's identity (None: it has not proved one), and why."""


class Refusals:
    """Of each sender the last one, at most MOST."""

    def __init__(self) -> None:
        self.told = 0
        self.dropped = 0
        """There were too many."""
        self._waiting: dict[tuple[str, str | None], str] = {}

    def note(self, slug: str, who: str | None, why: str) -> None:
        """As `TurnedAway`, for sessions that do not run here."""
        if len(slug) > SLUG_CHARACTERS or ((slug, who) not in self._waiting and len(self._waiting) >= MOST):
            self.dropped += 1
        else:
            self._waiting[slug, who] = why

    def take(self) -> list[Refusal]:
        """Those that were noted since the last call."""
        taken = [(slug, who, why) for (slug, who), why in self._waiting.items()]
        self._waiting.clear()
        self.told += len(taken)
        return taken
