"""Which of the words under way will probably stay: the prefix of an utterance that has held still for a while.

A recogniser rewrites its newest words while it hears more. A word is stable once it and every word before it have
stood unchanged for long enough: the less time, the more partials have said them. Case and punctuation may still change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import Final

from icu4py.breakers import WordBreaker

# Of any length: a constant tuple of so many floats is never set for mypyc 2.4.
HOLD_S: Final[tuple[float, ...]] = (0.8, 0.4, 0.3)
"""How long a word has to stand that one partial has said, two, three and more. Measured: docs/stream.md."""
_OFTEN: Final = len(HOLD_S)
UNDER_WAY: Final = 256
"""Utterances that are remembered; the oldest is forgotten."""
# From here on there are scripts without spaces between words, beginning with Thai. ICU knows their words.
_UNSPACED: Final = "\u0e00"


def utf16(text: str) -> int:
    """Its length as JavaScript counts it."""
    return len(text) if text.isascii() else len(text) + sum(letter > "\uffff" for letter in text)


def words(text: str) -> list[tuple[str, int]]:
    """The words of a text, each with the index at which it ends."""
    is_spaced = text.isascii() or max(text) < _UNSPACED
    found, at = [], 0
    for word in text.split() if is_spaced else WordBreaker(text, "und"):
        at = text.index(word, at) + len(word)
        if not word.isspace():
            found.append((word, at))
    return found


@dataclass(slots=True)
class _UnderWay:
    """`words` with their ends; for each `since` when it has stood there with all before it, `seen` in how many
    partials (at most _OFTEN), and `due`, when it is stable: never less than for the word before, since `since` is not,
    nor `seen` more.
    """

    words: list[tuple[str, int]] = field(default_factory=list)
    since: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    due: list[float] = field(default_factory=list)

    def hear(self, text: str, now: float) -> None:
        heard = words(text)
        same = 0
        for (word, _), (former, _) in zip(heard, self.words, strict=False):
            if word != former and _plain(word) != _plain(former):
                break
            same += 1
        new = len(heard) - same
        self.since = self.since[:same] + [now] * new
        self.seen = [count + 1 if count < _OFTEN else count for count in self.seen[:same]] + [1] * new
        self.words = heard
        self.due = [at + HOLD_S[count - 1] for at, count in zip(self.since, self.seen, strict=True)]

    def stable(self, now: float) -> int:
        """Index in the text."""
        held = bisect_right(self.due, now)
        return self.words[held - 1][1] if held else 0

    def next(self, now: float) -> float:
        """When the next word will be stable; infinite when all are."""
        held = bisect_right(self.due, now)
        return self.due[held] if held < len(self.due) else inf


class StablePrefixes:
    """Of all utterances under way. Times in seconds on one clock."""

    def __init__(self) -> None:
        self._under_way: OrderedDict[str, _UnderWay] = OrderedDict()

    def hear(self, utterance_id: str, text: str, now: float) -> int:
        """The next partial of an utterance. Returns: how much of its text is stable, an index."""
        one = self._under_way.get(utterance_id)
        if one is None:
            one = self._under_way[utterance_id] = _UnderWay()
            if len(self._under_way) > UNDER_WAY:
                self._under_way.popitem(last=False)
        one.hear(text, now)
        return one.stable(now)

    def stable(self, utterance_id: str, now: float) -> int:
        """How much of its newest text is stable, an index; 0 for one that is not known."""
        one = self._under_way.get(utterance_id)
        return one.stable(now) if one is not None else 0

    def next(self, utterance_id: str, now: float) -> float:
        """When the next word of an utterance will be stable; infinite when all are, or it is not known."""
        one = self._under_way.get(utterance_id)
        return one.next(now) if one is not None else inf

    def soonest(self, now: float) -> float:
        """When the next word of any will be stable; infinite when all are."""
        return min((one.next(now) for one in self._under_way.values()), default=inf)

    def forget(self, utterance_id: str) -> None:
        """It has a final, or was withdrawn. May be repeated."""
        self._under_way.pop(utterance_id, None)


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum()) or word
