"""Names and words come from strangers: what may be printed of them."""

from __future__ import annotations

import re
from typing import Final

# Control characters, line and paragraph separators, and what turns the direction of the text around it.
_DANGEROUS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_DANGEROUS_IN_JSON: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """On one line, with each character that a terminal would obey as its code: `\\x1b`."""
    return _DANGEROUS.sub(lambda found: ascii(found[0])[1:-1], text)


def plain_json(text: str) -> str:
    """The same JSON, in which such characters are escaped; JSON itself escapes those below 32."""
    return _DANGEROUS_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
