"""How a command ends: its exit code, or an error of one line. Light: `gateway --help` loads it, too."""

from __future__ import annotations

import json
from typing import Final

DONE: Final = 0
FAILED: Final = 1


class ApiRefused(Exception):
    """The gateway answered with a problem, or not at all. The text says what to do."""


def absent(why: str) -> ApiRefused:
    """No answer at all."""
    return ApiRefused(f"{why}; is `gateway serve` running? --url or GATEWAY_URL says where")


def problem(text: str, status: int) -> str:
    """What an answer of 400 and more says (RFC 9457), in one line."""
    try:
        told = json.loads(text)
        hint = f"; {told['hint']}" if told.get("hint") else ""
        return f"{told['title']} (HTTP {status}): {told['detail']}{hint}"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}: {text[:300]}"
