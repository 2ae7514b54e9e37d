"""Which part of a transcript is asked for: after or before a number, or around a number or a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.api.openapi import Parameter
from gateway.errors import WrongRequest
from gateway.transcription.domain.finals import Window, after, around, before
from gateway.transcription.usecases.finals import FinalReader

PAGE: Final = 100
LARGEST: Final = 1_000
ALL: Final = 2**53
_PLACES: Final = ("since", "before", "around", "at")

PARAMETERS: Final = (
    Parameter("since", "query", "only finals after this seq (or EPOCH:SEQ)"),
    Parameter("before", "query", "the last ones before this seq"),
    Parameter("around", "query", "a window with this seq in its middle"),
    Parameter("at", "query", "the same with the final that is being said at this moment: milliseconds, as startMs"),
    Parameter("limit", "query", f"how many at most; {PAGE} unless it is said, with since all",
              {"type": "integer", "minimum": 1, "maximum": LARGEST}),
)  # fmt: skip


async def window(query: Mapping[str, str], finals: FinalReader, session_id: str, newest: int) -> Window:
    """What `query` asks for of a session whose finals reach up to `newest`.

    Raises: WrongRequest, RecordsUnavailable.
    """
    chosen = [name for name in _PLACES if name in query]
    if len(chosen) > 1:
        raise WrongRequest(f"{' and '.join(chosen)} exclude each other")
    limit = _number(query, "limit", 10) if "limit" in query else None
    if limit is not None and not 1 <= limit <= LARGEST:
        raise WrongRequest(f"limit must be a whole number from 1 to {LARGEST}")
    match chosen:
        case ["before"]:
            return before(_number(query, "before"), limit or PAGE, newest)
        case ["around"]:
            return around(_number(query, "around"), limit or PAGE, newest)
        case ["at"]:
            found = await finals.at(session_id, _number(query, "at"))
            return around(newest if found is None else found, limit or PAGE, newest)
    return after(_seq(query.get("since", "0")), limit or ALL)


def _number(query: Mapping[str, str], name: str, digits: int = 15) -> int:
    text = query[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= digits):
        raise WrongRequest(f"{name} must be a whole number")
    return int(text)


def _seq(text: str) -> int:
    seq = text.rpartition(":")[2]
    if not (seq.isascii() and seq.isdecimal() and len(seq) <= 15):
        raise WrongRequest("since must be a seq, or EPOCH:SEQ")
    return int(seq)
