"""Every stretch of a track is heard once, however often it was sent.

After a lost session the audio that had no final yet goes to a new one, and a resumed session may count audio twice.
Words that come back are recognised by their place on the track's clock: a word whose middle lies inside a word
already settled is that word again.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import replace

from stt.transcript import Utterance, Word

_MEMORY = 4096
"""Settled stretches kept; seams concern the last minute or two, this is about twenty."""


class Seam:
    """Takes utterances in any order and returns what of them is new."""

    def __init__(self) -> None:
        self._heard: list[tuple[float, float]] = []
        self.repeated = 0  # words dropped because they had been heard before

    def partial(self, utterance: Utterance) -> Utterance | None:
        """The part of a partial that no final has settled yet; None when nothing is left."""
        return self._without_repeats(utterance)[0]

    def final(self, utterance: Utterance) -> Utterance | None:
        """Settle an utterance. Returns it without the words heard before; None when all of them were."""
        fresh, repeated = self._without_repeats(utterance)
        self.repeated += repeated
        if fresh is not None:
            for start, end in [(word.start, word.end) for word in fresh.words] or [(fresh.start, fresh.end)]:
                insort(self._heard, (start, end))
            del self._heard[:-_MEMORY]
        return fresh

    def _without_repeats(self, utterance: Utterance) -> tuple[Utterance | None, int]:
        if not utterance.words:
            if self._was_heard(utterance.start, utterance.end):
                return None, 1
            return (utterance if utterance.text else None), 0
        kept: list[Word] = []
        for word in utterance.words:
            twice_inside = any(_middle_within(word, other) for other in kept[-8:])
            if not twice_inside and not self._was_heard(word.start, word.end):
                kept.append(word)
        repeated = len(utterance.words) - len(kept)
        if not repeated:
            return (utterance if utterance.text else None), 0
        if not kept:
            return None, repeated
        # Providers put the space into the word, or none at all (as for Chinese); then the whole tells which.
        between = "" if "".join(word.text for word in utterance.words).strip() == utterance.text else " "
        text = between.join(word.text if not between else word.text.strip() for word in kept).strip()
        return replace(
            utterance, text=text, words=tuple(kept), start=kept[0].start, end=max(word.end for word in kept)
        ), repeated

    def _was_heard(self, start: float, end: float) -> bool:
        middle = (start + end) / 2
        index = bisect_right(self._heard, (middle, float("inf")))
        return any(begin <= middle < stop for begin, stop in self._heard[max(index - 4, 0) : index])


def _middle_within(word: Word, other: Word) -> bool:
    return other.start <= (word.start + word.end) / 2 < other.end
