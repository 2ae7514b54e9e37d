"""Who was turned away from a transcription lately, and why: kept for the minutes in which people look for it. Pure."""

from __future__ import annotations

from typing import Final

KEPT_S: Final = 300.0
MOST: Final = 3


class RecentTrouble:
    """Sentences that say what to do: the newest MOST, each for KEPT_S since it happened last. Times are monotonic."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}  # newest last

    def note(self, sentence: str, now: float, *, instead_of: str | None = None) -> None:
        """It has happened (again). `instead_of`: a sentence that this one brings up to date."""
        self._noted.pop(sentence, None)
        self._noted.pop(instead_of or sentence, None)
        self._noted[sentence] = now
        for oldest in list(self._noted)[:-MOST]:
            del self._noted[oldest]

    def knows(self, sentence: str, now: float) -> bool:
        """Whether it was noted, and is told still."""
        return sentence in self._noted and now - self._noted[sentence] < KEPT_S

    def told(self, now: float) -> str | None:
        """All that is not older than KEPT_S, newest first; None when there is nothing."""
        self._noted = {sentence: at for sentence, at in self._noted.items() if now - at < KEPT_S}
        return "; ".join(reversed(self._noted)) or None
