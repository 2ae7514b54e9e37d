"""Values on their way into and out of PostgreSQL.

Outside this room a time is an aware UTC datetime. The app's columns are TIMESTAMP(3) without zone, UTC by
convention, and PostgreSQL would round where JavaScript cuts; so times are cut to milliseconds on the way in.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_HUMP: Final = re.compile("(?<!^)(?=[A-Z])")


def naive(moment: datetime) -> datetime:
    """For a TIMESTAMP(3) column. Raises: ValueError for a datetime without zone, which could mean anything."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without time zone cannot be stored; use datetime.now(UTC)")
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def naive_or_none(moment: datetime | None) -> datetime | None:
    """As `naive`."""
    return None if moment is None else naive(moment)


def aware(moment: datetime) -> datetime:
    """What `naive` stored, as it is meant."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def clean(text: str) -> str:
    """Text as PostgreSQL can hold it: without NUL, with U+FFFD in place of each lone surrogate."""
    if _UNSTORABLE.search(text) is None:
        return text
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def clean_or_none(text: str | None) -> str | None:
    """As `clean`."""
    return None if text is None else clean(text)


def clean_json(data: bytes) -> bytes:
    """The same for a JSON document: jsonb refuses `\\u0000` and half of a surrogate pair.

    Raises: ValueError when `data` is not JSON.
    """
    if b"\\u" not in data:
        return data
    return msgspec.json.encode(_clean_tree(json.loads(data)))


def json_bytes(document: Any) -> bytes:
    """Anything JSON can hold, as a document that jsonb takes."""
    try:
        return clean_json(msgspec.json.encode(document))
    except UnicodeEncodeError:  # half of a surrogate pair
        return msgspec.json.encode(_clean_tree(msgspec.to_builtins(document)))


def _clean_tree(node: Any) -> Any:
    if isinstance(node, str):
        return clean(node)
    if isinstance(node, list):
        return [_clean_tree(item) for item in node]
    if isinstance(node, dict):
        return {clean(key): _clean_tree(value) for key, value in node.items()}
    return node


def whole(number: int) -> int:
    """For an INTEGER or BIGINT column: asyncpg would store 61.5 as 61 and True as 1 without a word."""
    if type(number) is not int:
        raise ValueError(f"expected a whole number, got {number!r}")
    return number


def finite(number: float) -> float:
    """For a DOUBLE PRECISION column: NaN and infinity would become null in the app's JSON."""
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {number!r}")
    return float(number)


def read(kind: type[T], record: Mapping[str, Any]) -> T:
    """One row as its dataclass: `"lastActivityAt"` becomes `last_activity_at`, times become aware."""
    return kind(**{_snake(k): aware(v) if isinstance(v, datetime) else v for k, v in record.items()})


@lru_cache(maxsize=1024)
def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()
