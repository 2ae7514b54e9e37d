"""What the provider can charge: audio that it has proved to have received. Pure: no I/O, no clock.

What was only written to a connection that then died counts when the provider's counter shows that it had arrived.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Metered:
    """Of one session: samples by the provider's own counter. `resent`: the part of `sent` that it had heard before.

    `messages`: those with audio that were written.
    """

    sent: int = 0
    resent: int = 0
    messages: int = 0

    def add(self, other: Metered) -> None:
        """Count what `other` has counted as well."""
        self.sent += other.sent
        self.resent += other.resent
        self.messages += other.messages


class Reach:
    """How far along a track the provider is proved to have it; shared by the track's sessions. `to`: track sample."""

    def __init__(self) -> None:
        self.to = 0

    def extend(self, stretches: Iterable[tuple[int, int]]) -> int:
        """The provider has these stretches of the track. Returns: samples in them that it had before."""
        again = 0
        for start, end in stretches:
            again += max(0, min(end, self.to) - start)
            self.to = max(self.to, end)
        return again
