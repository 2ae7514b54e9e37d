"""Identifiers in the shapes the app uses: cuid version 1 for rows, eight letters and digits for slugs.

A cuid is `c` + 8 of time (milliseconds) + 4 of counter + 4 of process fingerprint + 8 random, all base 36: 25
characters, in the order they were made. It is not secret; never use one as a token.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from typing import Final

_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_SLUG: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BLOCK: Final = 36**4


def cuid() -> str:
    """A new one. Ids of one process sort by the order in which they were made."""
    return "c" + _base36(time.time_ns() // 1_000_000, 8) + _base36(next(_counter), 4) + _fingerprint + _noise(8)


def slug() -> str:
    """Eight characters of 62 (47 bits). Letters and digits only, so that no slug reads as a command line option."""
    return "".join(secrets.choice(_SLUG) for _ in range(8))


def epoch() -> str:
    """Name of one numbering of a session's finals: six characters, new whenever numbering starts at 1."""
    return _noise(6)


def derived(*parts: str) -> str:
    """A cuid-shaped id that the same parts always give: a replica that continues the work finds the same row."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return "c" + _base36(int.from_bytes(digest), 24)


def _noise(width: int) -> str:
    return _base36(secrets.randbelow(36**width), width)


def _base36(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    return "".join(reversed(digits))


# Two processes started together must differ, also after fork: hence random instead of pid and host name.
_fingerprint = _noise(4)
_counter = itertools.count(secrets.randbelow(_BLOCK))
