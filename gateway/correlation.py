"""Which request, session and transcription a piece of work belongs to: in its log lines, and in what it asks of others.

The ids follow the work into every task that it starts, those of the libraries too, which know nothing of them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.structured import bound_contextvars, get_contextvars

HEADER: Final = "X-Request-Id"
_FIT: Final = re.compile(r"[A-Za-z0-9._:/+=@~;,-]{1,100}")


def request_id(told: str | None = None) -> str:
    """Of the work at hand: what its caller has told, where that is fit for a header and a log line; else the bound one;
    else a new one."""
    if told is not None and _FIT.fullmatch(told):
        return told
    known = None if told is not None else get_contextvars().get("request")
    return known or secrets.token_hex(8)


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Inside the block, log lines have these ids, and a request's: that of `ids`, the bound one, or a new one."""
    with bound_contextvars(**{"request": request_id(), **ids}):
        yield


def headers() -> dict[str, str]:
    """What a request to somebody else says of the work it is made for."""
    return {HEADER: request_id()}
