"""The languages that the provider knows: codes of ISO 639, as its Live v2 API lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_CODES: Final = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu "
    "hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro "
    "ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh"
)
SPOKEN: Final = frozenset(_CODES.split())
TARGETS: Final = SPOKEN | {"wo"}
"""Into which it translates."""


def unknown(codes: Iterable[str], known: frozenset[str]) -> str | None:
    """What is wrong with the first code that is not known, and what may be meant; None when all are."""
    for code in codes:
        if code not in known:
            base = code.replace("_", "-").partition("-")[0].lower()
            meant = [base] if base in known else get_close_matches(code.lower()[:16], sorted(known), 1)
            like = f"did you mean {meant[0]!r}? " if meant else ""
            return f"the provider knows no language {code[:32]!r}; {like}docs/start-options.md has the codes"
    return None
