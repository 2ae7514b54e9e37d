"""Audio that was given up unheard: what people are told of it, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.transcription.domain.recent_trouble import RecentTrouble

POISON: Final = "poison"
"""Kind of audio at which each connection to the provider ended."""

# `overdue` goes on for as long as the provider is away: a number in it would be news every second.
_TOLD: Final[Mapping[str, str]] = {
    POISON: "{seconds:.1f} s of {identity}'s audio were left out, because each connection to the speech provider ended "
    "at them: words may be missing",
    "overdue": "the speech provider did not take {identity}'s audio in time and the oldest is lost: words are missing",
}
_ELSE: Final = "{seconds:.1f} s of {identity}'s audio were not confirmed by the speech provider: words may be missing"


class LostAudio:
    """Of one transcription. Seconds are of audio; times are monotonic."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}  # by kind and identity
        self._recent = RecentTrouble()

    def note(self, identity: str, kind: str, seconds: float, now: float) -> str | None:
        """So much of a speaker's audio was given up. Returns: what to tell at once; None when it goes on as told."""
        about = f"{kind} {identity}"
        is_going_on = kind != POISON and self._recent.knows(about, now)
        self._seconds[about] = self._seconds.get(about, 0.0) + seconds
        sentence = _TOLD.get(kind, _ELSE).format(seconds=self._seconds[about], identity=identity)
        self._recent.note(sentence, now, about)
        return None if is_going_on else sentence

    def told(self, now: float) -> str | None:
        """What was given up in the last minutes; None when that is nothing."""
        return self._recent.told(now)
