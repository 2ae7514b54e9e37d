"""What a name and an identity of a person may be: one rule for every door. Pure.

Every script, with its joiners, marks and spaces. What a reader cannot see through is refused: controls, line breaks,
bidirectional overrides. A door cleans first, then checks (reserved prefixes, whose identity it is), then stores: what
was checked is what is stored.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from gateway.errors import WrongRequest

RESERVED: Final = "transcriber-"
"""The gateway joins LiveKit rooms under such identities; a participant of the same identity would disconnect it."""
LONGEST: Final = 256
"""Code points of a name or an identity, once it is clean."""
LONGEST_BYTES: Final = 4 * LONGEST
"""The same in UTF-8."""

# Zero-width space, word joiner, byte order mark: invisible, and left behind by copying.
_EDGES: Final = "\u200b\u2060\ufeff"
_OPENERS: Final = {"\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069", "\u2068": "\u2069"}
_CLOSERS: Final = frozenset(_OPENERS.values())
_OVERRIDES: Final = frozenset("\u202d\u202e")
_REPLACEMENT: Final = "\ufffd"


class NameRefused(WrongRequest):
    """Not a name or an identity; the text says why."""

    hint = (
        "letters of any script, marks, joiners, spaces and emoji; no controls, line breaks or bidirectional overrides"
    )


def name(given: str | None, what: str = "name", longest: int = LONGEST) -> str | None:
    """A name to be shown, in NFC and trimmed; None for none, or for one of spaces only. Raises: NameRefused."""
    shown = _normal(given or "")
    if not shown:
        return None
    for at, letter in enumerate(shown):
        if (why := _refused(letter)) is not None:
            raise NameRefused(f"{what} has {why} (U+{ord(letter):04X}) at character {at + 1}")
    if not _is_balanced(shown):
        raise NameRefused(f"{what} has a bidirectional mark that is not closed, or closes none")
    if not any(unicodedata.category(letter)[0] in "LNPS" for letter in shown):
        raise NameRefused(f"{what} shows nothing: it has neither a letter, a digit nor a sign")
    if len(shown) > longest:
        raise NameRefused(f"{what} has {len(shown)} characters; at most {longest} are taken")
    return shown


def identity(given: str | None, what: str = "identity") -> str | None:
    """The name of a participant in a session; by the same rule, and none of the gateway's own. Raises: NameRefused."""
    chosen = name(given, what)
    if chosen is not None and chosen.startswith(RESERVED):
        raise NameRefused(f"{what} begins with {RESERVED!r}, as only the gateway's own do")
    return chosen


def cleaned(given: str) -> str:
    """The same for names and identities that another server has admitted already: what would be refused becomes U+FFFD.

    So nothing is dropped that told two identities apart: an unclean one never becomes a clean one, but for outer spaces
    and the normal form. A door that trusts an identity asks that it `is_clean`. Possibly empty.
    """
    shown = _normal(given)
    shown = "".join(_REPLACEMENT if _refused(letter) is not None else letter for letter in shown)[:LONGEST]
    if not _is_balanced(shown):
        shown = "".join(_REPLACEMENT if letter in _OPENERS or letter in _CLOSERS else letter for letter in shown)
    if shown.startswith(RESERVED):
        shown = _REPLACEMENT + shown[1:]
    return shown.rstrip()


def is_clean(given: str) -> bool:
    """Whether that is stored as it is, so that no other text can be meant by it."""
    try:
        return identity(given) == given
    except NameRefused:
        return False


def _normal(given: str) -> str:
    """Composed and trimmed. The end keeps its joiners: a word of some scripts ends in one."""
    shown = unicodedata.normalize("NFC", given[: 8 * LONGEST])
    before = None
    while before != shown:
        before, shown = shown, shown.strip().strip(_EDGES)
    return shown


def _refused(letter: str) -> str | None:
    """Why this character is in no name; None when it may be."""
    if letter in _OVERRIDES:
        return "a bidirectional override"
    match unicodedata.category(letter):
        case "Cc":
            return "a control character"
        case "Zl" | "Zp":
            return "a line or paragraph separator"
        case "Cs":
            return "half of a surrogate pair"
    point = ord(letter)
    if point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF:
        return "a noncharacter"
    if 0x206A <= point <= 0x206F or 0xFFF9 <= point <= 0xFFFB:
        return "a deprecated format character"
    return None


def _is_balanced(shown: str) -> bool:
    """Whether every embedding and isolate is closed inside the text, in order."""
    awaited: list[str] = []
    for letter in shown:
        if letter in _OPENERS:
            awaited.append(_OPENERS[letter])
        elif letter in _CLOSERS and (not awaited or awaited.pop() != letter):
            return False
    return not awaited
