"""Every stretch of a track is heard once, however often it was sent.

After a cut the audio without a final is sent again, and at the end the provider repeats everything it heard. Words that
come back are recognised by their place on the track's clock: a word whose middle lies inside a word already settled is
that word again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

from msgspec.structs import replace

from stt.transcript import Utterance, Word

_MEMORY = 1 << 17
"""Settled words remembered: twice what is said in the longest session without a breath. 16 bytes each."""


class Seam:
    """Remembers where words were settled."""

    def __init__(self) -> None:
        self._starts = array("d")  # ascending
        self._ends = array("d")

    def fresh(self, utterance: Utterance) -> Utterance | None:
        """`utterance` without the words settled before; None when nothing is left."""
        if not utterance.words:
            return None if self._was_heard(utterance.start, utterance.end) else utterance
        fresh: list[Word] = []
        for word in utterance.words:
            middle = (word.start + word.end) / 2
            # A provider that already had what was sent again hears it twice, within one utterance too.
            if not self._was_heard(word.start, word.end) and not any(one.start <= middle < one.end for one in fresh):
                fresh.append(word)
        return keeping(utterance, fresh)

    def settle(self, utterance: Utterance) -> None:
        """The words of this final are settled; one without words settles its whole stretch."""
        for start, end in [(word.start, word.end) for word in utterance.words] or [(utterance.start, utterance.end)]:
            index = bisect_right(self._starts, start)
            self._starts.insert(index, start)
            self._ends.insert(index, end)
        del self._starts[:-_MEMORY], self._ends[:-_MEMORY]

    def _was_heard(self, start: float, end: float) -> bool:
        middle = (start + end) / 2
        index = bisect_right(self._starts, middle)
        return any(middle < stop for stop in self._ends[max(index - 4, 0) : index])


def keeping(utterance: Utterance, words: list[Word]) -> Utterance | None:
    """The utterance with only these of its words; None when there are none."""
    if len(words) == len(utterance.words):
        return utterance
    if not words:
        return None
    # Providers put the space into the word, or none at all (as for Chinese); then the whole tells which.
    between = "" if "".join(word.text for word in utterance.words).strip() == utterance.text else " "
    text = between.join(word.text if not between else word.text.strip() for word in words).strip()
    return replace(utterance, text=text, words=tuple(words), start=words[0].start, end=max(word.end for word in words))
