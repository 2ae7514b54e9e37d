"""Who was turned away from a transcription lately, and why: kept for the minutes in which people look for it. Pure."""

from __future__ import annotations

from typing import Final

KEPT_S: Final = 300.0
MOST: Final = 3


class RecentTrouble:
    """Sentences that say what to do: the newest MOST, each for KEPT_S since it happened last. Times are monotonic."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[str, float]] = {}  # by what it is about; newest last

    def note(self, sentence: str, now: float, about: str | None = None) -> None:
        """It has happened (again). Of what is `about` the same only the newest is kept: one caller hides no others."""
        about = sentence if about is None else about
        self._noted.pop(about, None)
        self._noted[about] = (sentence, now)
        for oldest in list(self._noted)[:-MOST]:
            del self._noted[oldest]

    def knows(self, about: str, now: float) -> bool:
        """Whether something about it is told still."""
        return about in self._noted and now - self._noted[about][1] < KEPT_S

    def told(self, now: float) -> str | None:
        """All that is not older than KEPT_S, newest first; None when there is nothing."""
        self._noted = {about: noted for about, noted in self._noted.items() if now - noted[1] < KEPT_S}
        return "; ".join(sentence for sentence, _ in reversed(self._noted.values())) or None
