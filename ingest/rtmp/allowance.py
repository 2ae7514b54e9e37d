"""How much processor time one connection may take. Pure."""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.2
"""Of the time that passes. 10 Mbit/s of video in chunks of 128 bytes, the dearest that encoders send, take 0.013."""
MOST_S: Final = 0.5
"""At once: an encoder that catches up, or a file."""


class Allowance:
    """What one peer asks for is bounded by what it costs, so that no kind of message needs a limit of its own.

    Who has spent it is not cut off but read later, so that TCP slows it down.
    """

    __slots__ = ("_at", "_left_s")

    def __init__(self, now: float) -> None:
        """`now`: seconds of any clock, here and below."""
        self._at = now
        self._left_s = MOST_S

    def spend(self, seconds: float, now: float) -> float:
        """`seconds` of processor time were spent at `now`. Returns: for how long to read no more; 0 as a rule."""
        self._left_s = min(MOST_S, self._left_s + (now - self._at) * SHARE) - seconds
        self._at = now
        return -self._left_s / SHARE if self._left_s < 0 else 0.0
