"""Fields of a body that nothing reads: most are misspelt, so the caller is told."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Final

import msgspec

MOST: Final = 20
_SHOWN_CHARACTERS: Final = 80


def warnings(told: object, read: object) -> list[str]:
    """`told`: the body as plain JSON values; `read`: what was made of it. Returns: at most MOST, one a field."""
    return list(islice(_unread(told, read, ""), MOST))


def _unread(told: object, read: object, place: str) -> Iterator[str]:
    if isinstance(read, list | tuple) and isinstance(told, list):
        for number, (one, made) in enumerate(zip(told, read, strict=True)):
            yield from _unread(one, made, f"{place}[{number}]")
    elif isinstance(read, msgspec.Struct) and isinstance(told, dict):
        known = {field.encode_name: field.name for field in msgspec.structs.fields(read)}
        for name, value in told.items():
            whole = f"{place}.{name}" if place else name
            if name in known:
                yield from _unread(value, getattr(read, known[name]), whole)
            else:
                shown = whole[:_SHOWN_CHARACTERS]
                meant = get_close_matches(name[:_SHOWN_CHARACTERS], known, 1)
                yield f"{shown} is no field of this request and has no effect" + "".join(
                    f"; did you mean {like}?" for like in meant
                )
