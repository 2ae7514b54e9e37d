"""Every word of a track is told once, however often its audio was sent and however differently it is told again. Pure.

After a cut the audio without a final is sent again, and at the end the provider repeats everything it heard. What one
connection or one result says is a *telling*: it tells each word once. So a word with the same letters at about the same
place is, between two tellings, the same word, one for one; what was said twice and is told twice stays twice. A word
that was heard differently is recognised by its place: its middle lies in a settled word that has no other counterpart.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import compress
from typing import Final
from unicodedata import normalize

import msgspec
from msgspec.structs import replace

from stt.transcript import Utterance, Word

MOVED_S: Final = 0.32
"""Two tellings may place the same word this far apart."""
MOST_MOVED_S: Final = 2 * MOVED_S
"""… where one of them tells it without a length."""
FURTHEST_S: Final = MOST_MOVED_S + MOVED_S
"""A word that begins so far behind all that is settled is news, also where it stands twice within one utterance."""
_STILL_S: Final = 0.1  # so near even a word on its own is the same
_MEMORY: Final = 1 << 17
"""Settled words remembered: twice what is said in the longest session without a breath. 33 bytes each."""
_MOST_ALIGNED: Final = 4096  # words times places; beyond, equal words take the first free place
_MOST_LOOKED_AT: Final = 512  # of settled words for one word: more are not said within a breath


class _Token(msgspec.Struct, frozen=True, gc=False):
    """A word as it is compared. `loose`: it lies somewhere between `start` and `end`, seconds of the track."""

    start: float
    end: float
    key: int
    loose: bool = False


class Seam:
    """Remembers which words were settled, and where. Tellings are numbered by the caller, from 1."""

    def __init__(self) -> None:
        self._starts = array("d")  # ascending
        self._ends = array("d")
        self._keys = array("q")
        self._tellings = array("q")  # the newest telling of each
        self._loose = array("b")
        self._longest = 0.0  # stretch of a loose word

    def fresh(self, utterance: Utterance, telling: int, *, counts: bool = True, whole: bool = True) -> Utterance | None:
        """`utterance` without the words that other tellings have settled; None when nothing is left.

        `counts`: the words found again are told by `telling` now (not so for a partial). `whole`: the telling repeats
        all that was heard, so that a word on its own may have moved.
        """
        tokens = _tokens(utterance)
        found = self._counterparts(tokens, telling, in_order=whole)
        if not whole:
            self._drop_doubtful(tokens, found)
        taken = set(found)
        is_fresh = [
            at < 0 and not self._lies_in_another(token, telling, taken)
            for token, at in zip(tokens, found, strict=True)
        ]  # fmt: skip
        _once(tokens, is_fresh)
        if counts:
            for at in taken:
                if at >= 0:
                    self._tellings[at] = telling
        return chosen(utterance, is_fresh)

    def settle(self, utterance: Utterance, telling: int) -> list[int]:
        """The words of this final are settled; those of one without words lie somewhere in its stretch.

        Returns: their keys.
        """
        tokens = _tokens(utterance)
        for token in tokens:
            index = bisect_right(self._starts, token.start)
            self._starts.insert(index, token.start)
            self._ends.insert(index, token.end)
            self._keys.insert(index, token.key)
            self._tellings.insert(index, telling)
            self._loose.insert(index, token.loose)
            if token.loose:
                self._longest = max(self._longest, token.end - token.start)
        if len(self._starts) > _MEMORY:
            for kept in (self._starts, self._ends, self._keys, self._tellings, self._loose):
                del kept[:-_MEMORY]
        return [token.key for token in tokens]

    def _counterparts(self, tokens: list[_Token], telling: int, *, in_order: bool) -> list[int]:
        """For each word the settled one with the same letters near by, one for one; -1 for none.

        `in_order`: every settled word is told again, so that the first ones go first, however they moved.
        """
        found = [-1] * len(tokens)
        by_key: dict[int, list[int]] = {}
        for n, token in enumerate(tokens):
            by_key.setdefault(token.key, []).append(n)
        for numbers in by_key.values():
            equal = [tokens[n] for n in numbers]
            if in_order or len(equal) ** 2 > _MOST_ALIGNED:
                places = list(self._first_free(equal, telling))
            else:
                places = _aligned(
                    [{at: abs(self._starts[at] - one.start) for at in self._near(one, telling)} for one in equal]
                )
            for n, at in zip(numbers, places, strict=True):
                found[n] = at
        return found

    def _first_free(self, equal: list[_Token], telling: int) -> Iterator[int]:
        """For each of equal words the first place behind that of the one before."""
        after = -1
        for token in equal:
            at = next(self._near(token, telling, after), -1)
            after = max(after, at)
            yield at

    def _near(self, token: _Token, telling: int, after: int = -1) -> Iterator[int]:
        """The settled words behind that of index `after` that `token` may be told again, in order."""
        first = bisect_left(self._starts, token.start - MOST_MOVED_S - self._longest)
        last = bisect_right(self._starts, (token.end if token.loose else token.start) + MOST_MOVED_S)
        for at in range(max(first, after + 1), min(last, first + _MOST_LOOKED_AT)):
            if self._keys[at] == token.key and self._tellings[at] != telling and self._is_near(at, token):
                yield at

    def _is_near(self, at: int, token: _Token) -> bool:
        start, end = self._starts[at], self._ends[at]
        if self._loose[at]:
            return token.start <= end + MOVED_S and token.end >= start - MOVED_S
        if token.loose:  # a word without length may have gone on to where this one begins
            before = MOVED_S if end > start else MOST_MOVED_S
            return token.start - before <= start <= token.end + MOVED_S
        # A word without length may bear the time of its end.
        has_length = end > start and token.end > token.start
        return abs(token.start - start) <= (MOVED_S if has_length else MOST_MOVED_S)

    def _drop_doubtful(self, tokens: list[_Token], found: list[int]) -> None:
        """Behind a seam a word on its own, apart from the settled one, is said again; with its neighbours it moved."""
        alone = [
            n
            for n, (token, at) in enumerate(zip(tokens, found, strict=True))
            if at >= 0
            and not self._is_same(at, token)
            and max([*found[max(n - 1, 0) : n], *found[n + 1 : n + 2]], default=-1) < 0
        ]
        for n in alone:
            found[n] = -1

    def _is_same(self, at: int, token: _Token) -> bool:
        start, end = self._starts[at], self._ends[at]
        if self._loose[at] or token.loose or abs(token.start - start) <= _STILL_S:
            return True
        if end <= start or token.end <= token.start:
            return abs(token.start - start) <= MOVED_S
        return token.start < end and start < token.end

    def _lies_in_another(self, token: _Token, telling: int, taken: set[int]) -> bool:
        """Whether its place is that of a settled word without a counterpart: it was heard differently before."""
        if token.loose:
            first, last = bisect_left(self._starts, token.start - _STILL_S), bisect_right(self._starts, token.end)
            last = min(last, first + _MOST_LOOKED_AT)
        else:
            middle = (token.start + token.end) / 2
            last = bisect_right(self._starts, middle)
            first = max(last - 4, 0)
        for at in range(first, last):
            if at in taken or self._tellings[at] == telling or not (token.loose or middle < self._ends[at]):
                continue
            if token.loose or self._loose[at]:
                taken.add(at)  # one for one
            return True
        return False


def _once(tokens: list[_Token], is_fresh: list[bool]) -> None:
    """A provider that had kept what was sent again hears it twice, within one utterance too: the second is no news."""
    told: dict[int, float] = {}
    latest, near = 0.0, _STILL_S
    for n, token in enumerate(tokens):
        if token.loose:
            return
        if token.start < latest - _STILL_S:
            near = MOVED_S
        latest = max(latest, token.start)
        before = told.get(token.key)
        if before is not None and token.end > token.start and token.start <= before + near and is_fresh[n]:
            is_fresh[n] = False
        told.setdefault(token.key, token.start)
        if is_fresh[n]:
            told[token.key] = token.start


def _key(text: str) -> int:
    """The same for words that differ in case, spaces and punctuation only."""
    folded = normalize("NFKC", text).casefold()
    return hash("".join(filter(str.isalnum, folded)) or folded.strip())


def _pieces(text: str) -> tuple[list[str], str]:
    """The words of a text, and what stands between them; a script without spaces is taken letter by letter."""
    pieces = text.split()
    return (list(text), "") if len(pieces) == 1 and not text.isascii() else (pieces, " ")


def _tokens(utterance: Utterance) -> list[_Token]:
    if utterance.words:
        return [_Token(word.start, max(word.end, word.start), _key(word.text)) for word in utterance.words]
    start, end = utterance.start, max(utterance.end, utterance.start)
    return [_Token(start, end, _key(piece), loose=True) for piece in _pieces(utterance.text)[0]]


def keys(utterance: Utterance) -> list[int]:
    """Its words as they are compared."""
    return [token.key for token in _tokens(utterance)]


def chosen(utterance: Utterance, is_chosen: list[bool]) -> Utterance | None:
    """The utterance with only these of the words that `keys` has found in it; None when there are none."""
    if all(is_chosen):
        return utterance
    if utterance.words:
        return keeping(utterance, list(compress(utterance.words, is_chosen)))
    pieces, between = _pieces(utterance.text)
    text = between.join(compress(pieces, is_chosen))
    return replace(utterance, text=text) if text else None


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


def _aligned(near: list[dict[int, float]]) -> list[int]:
    """A choice for each of equal words, in order: as many as can be, and of those ways the nearest; else -1."""
    if len(near) == 1:
        return [min(near[0], key=near[0].__getitem__, default=-1)]
    places = sorted(set().union(*near))
    if len(near) * len(places) > _MOST_ALIGNED:
        return _in_order(near)
    # best[i][j]: matches of the first i words with the first j places, and how far they lie; fewer and nearer is less.
    best = [[(0, 0.0)] * (len(places) + 1)]
    for row in near:
        above, line = best[-1], [(0, 0.0)]
        for j, at in enumerate(places):
            options = [line[j], above[j + 1]]
            if at in row:
                matches, distance = above[j]
                options.append((matches - 1, distance + row[at]))
            line.append(min(options))
        best.append(line)
    found, j = [-1] * len(near), len(places)
    for i in range(len(near), 0, -1):
        while j and best[i][j] == best[i][j - 1]:
            j -= 1
        if j and best[i][j] != best[i - 1][j]:
            j -= 1
            found[i - 1] = places[j]
    return found


def _in_order(near: list[dict[int, float]]) -> list[int]:
    found, after = [], -1
    for row in near:
        at = next((at for at in row if at > after), -1)
        after = max(after, at)
        found.append(at)
    return found
