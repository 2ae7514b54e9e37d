"""What is told again without times, known by its words and their order. Pure.

A provider may tell no times. After a cut it hears the audio without a final again, and at the end it repeats
everything; how it divides that into utterances differs each time. So what comes is laid along what was told before: a
run of the same words is told again, what stands before, between and behind such runs is news. A word that was said
twice and is told twice comes twice, since each pass goes through what was told in one direction.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

_MEMORY: Final = 1 << 14  # words
_PATIENCE: Final = 3
_FAR: Final = 200
"""Words looked through for a place where to go on."""
_MOST_LOOKS: Final = 1 << 18
"""Pairs of words that are compared for one final, a tenth of a second: no person says one that takes more, and what is
not compared is news."""


class Told:
    """Words of a track's finals in the order of their telling, by key (see `seam`). They are numbered from 0."""

    def __init__(self) -> None:
        self._keys = array("q")
        self._by = array("q")  # track sample before which each was spoken, ascending
        self._dropped = 0

    @property
    def count(self) -> int:
        """How many were told so far."""
        return self._dropped + len(self._keys)

    def add(self, keys: Sequence[int], by: int) -> None:
        """These words were told, all of which were spoken before track sample `by`."""
        by = max(by, self._by[-1] if self._by else 0)
        self._keys.extend(keys)
        self._by.extend([by] * len(keys))
        if len(self._keys) > _MEMORY:
            surplus = len(self._keys) - _MEMORY // 2
            del self._keys[:surplus]
            del self._by[:surplus]
            self._dropped += surplus

    def since(self, sample: int) -> int:
        """Number of the first word that may have been spoken at this sample of the track or later."""
        return self._dropped + bisect_right(self._by, sample)

    def key(self, number: int) -> int | None:
        """Of this word; None when it is forgotten or not told yet."""
        index = number - self._dropped
        return self._keys[index] if 0 <= index < len(self._keys) else None


class Pass:
    """Audio is heard again whose words were told from number `since` on.

    `restarts`: how often that may begin anew. `open`: what was heard of an utterance without a final, if its session
    goes on. The provider may go on with it, so that it comes once more, before what is heard again and in it.
    `patience`: after so many words of news what was told is not heard again any more.
    """

    def __init__(
        self,
        told: Told,
        since: int,
        *,
        restarts: int = 0,
        open: Sequence[int] | None = None,
        patience: int = _PATIENCE,
    ) -> None:
        self._told = told
        self._since = self._at = since
        self._is_placed = False
        self._restarts = restarts
        self._open = open
        self._patience = patience + len(open or ())
        self._looks = _MOST_LOOKS
        self._is_over = not open and self._is_through  # everything that comes is news

    def cut(self, since: int, open: Sequence[int] | None) -> Pass:
        """The pass that begins at the next cut: what this one had not come to is still to be expected."""
        restarts = 0 if self._is_over else self._restarts + 1
        if open is not None:
            open = open or self._open or ()
        return Pass(self._told, since, restarts=restarts, open=open)

    @property
    def _is_through(self) -> bool:
        return not self._restarts and self._at >= self._told.count

    def news(self, keys: Sequence[int], by: int) -> list[bool]:
        """Which of these words, the next that come, are news. They are told from now on. `by`: as for `Told.add`."""
        is_news = [True] * len(keys)
        at, self._looks = 0, _MOST_LOOKS
        if self._open is not None:
            open = self._open or _doubled(keys)
            while at < min(len(keys), len(open)) and keys[at] == open[at]:
                at += 1
            self._open = open[at:] if 0 < at == len(keys) < len(open) else None
            self._told.add(keys[:at], by)
            self._is_over = self._is_through
        while at < len(keys) and not self._is_over and (found := self._again(keys, at)) is not None:
            first, number, length = found
            self._told.add(keys[at:first], by)
            is_news[first : first + length] = [False] * length
            self._at, self._is_placed = number + length, True
            at = first + length
            self._is_over = self._is_through
        self._told.add(keys[at:], by)
        if not self._is_placed or self._at >= self._told.count - (len(keys) - at):
            self._patience -= sum(is_news)
            self._is_over = self._is_over or self._patience < 0
        return is_news

    def _again(self, keys: Sequence[int], at: int) -> tuple[int, int, int] | None:
        """The next run that was told before: its place in `keys`, number of its first word, length."""
        if self._is_placed and (length := self._run(keys, at, self._at)):
            return at, self._at, length
        found = self._longest(keys, at, self._at)
        if self._restarts and self._at > self._since and (found is None or found[0] > at):
            anew = self._longest(keys, at, self._since)
            if anew is not None and (found is None or anew[0] < found[0]):
                self._restarts -= 1
                return anew
        return found

    def _longest(self, keys: Sequence[int], at: int, since: int) -> tuple[int, int, int] | None:
        """One word alone is a run only where the telling before must begin or end."""
        told, count = self._told, self._told.count
        until = min(count, since + _FAR)
        best: tuple[int, int, int] | None = None
        longest = 0
        for first in range(at, len(keys)):
            if len(keys) - first <= longest or self._looks <= 0:
                break
            self._looks -= max(until - since, 0)
            for number in range(since, min(until, count - longest)):
                if told.key(number) != keys[first]:
                    continue
                if first > at and number > since and told.key(number - 1) == keys[first - 1]:
                    continue  # the end of a run that is longer
                length = self._run(keys, first, number)
                is_edge = number == since or (first == at and number + length == count)
                if length > longest and (length > 1 or is_edge):
                    best, longest = (first, number, length), length
            if best is not None and self._restarts:  # which of them it is, the first word tells
                break
        return best

    def _run(self, keys: Sequence[int], first: int, number: int) -> int:
        length = 0
        while first + length < len(keys) and self._told.key(number + length) == keys[first + length]:
            length += 1
        self._looks -= length
        return length


def _doubled(keys: Sequence[int]) -> Sequence[int]:
    """The longest beginning that comes twice. One word that does may have been said twice."""
    sizes = range(len(keys) // 2, 1, -1)
    return keys[: next((size for size in sizes if keys[:size] == keys[size : 2 * size]), 0)]
