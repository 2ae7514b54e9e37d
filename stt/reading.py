"""JSON of others: what a reader of msgspec or of the standard library raises for input that cannot be read. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

MALFORMED: Final = (ValueError, RecursionError)
"""Of a decoder: its own errors and those of UTF-8 are ValueErrors; RecursionError for nesting too deep to follow."""


def read_json(data: bytes | str) -> Any:
    """As `json.loads`, which takes what other programs write and the standard forbids, such as NaN.

    Raises: ValueError, also for nesting too deep to follow and for text that UTF-8 cannot say.
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate would break the code that passes it on
    return found
