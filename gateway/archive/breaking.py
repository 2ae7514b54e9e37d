"""Where a line of text may end, and how many columns it takes.

ICU breaks lines by UAX #14, and by its dictionaries in Thai, Lao, Khmer and Burmese, which have no spaces between
words; wcwidth counts columns by East Asian width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final
from unicodedata import category, east_asian_width

from icu4py.breakers import CharacterBreaker, LineBreaker

_LOCALE: Final = "und"
# All white space but the three spaces at which no line may end.
_SPACES: Final = re.compile("[^\\S\u00a0\u2007\u202f]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Part:
    """Text that stays on one line. `spaced`: a space goes before it, unless it begins a line."""

    text: str
    spaced: bool
    columns: int


def columns(text: str) -> int:
    """A Chinese letter or an emoji is two, a mark on a letter none.

    Where the letters by themselves are wider they count: a player whose font lacks an emoji of several shows its parts.
    """
    shown = _CONTROL.sub("", text)
    if shown.isascii():
        return len(shown)
    from wcwidth import wcswidth  # its tables are 0.8 MB

    return max(wcswidth(shown), sum(map(_letter, shown)))


@lru_cache(4096)
def _letter(letter: str) -> int:
    if category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1


def parts(text: str, widest: int, spaced: bool = False) -> Iterator[Part]:
    """The text between places where a line may end, in order; `spaced`: of the first one.

    One that is wider than `widest` is divided between graphemes, which are never divided themselves.
    """
    for segment in _segments(_SPACES.sub(" ", text).strip(" ")):
        whole = segment.rstrip(" ")
        if columns(whole) <= widest:
            yield Part(whole, spaced, columns(whole))
        else:
            for number, piece in enumerate(_divided(whole, widest)):
                yield Part(piece, spaced and number == 0, columns(piece))
        spaced = whole != segment


def _segments(text: str) -> Iterator[str]:
    """UAX #14 allows a break between a space and a mark that stands on it: that is within a grapheme."""
    graphemes = {0, *accumulate(map(len, CharacterBreaker(text, _LOCALE)))}
    start = 0
    for end in accumulate(map(len, LineBreaker(text, _LOCALE))):
        if end in graphemes:
            yield text[start:end]
            start = end


def _divided(text: str, widest: int) -> Iterator[str]:
    piece, room = "", widest
    for grapheme in CharacterBreaker(text, _LOCALE):
        width = columns(grapheme)
        if piece and width > room:
            yield piece
            piece, room = "", widest
        piece += grapheme
        room -= width
    if piece:
        yield piece
