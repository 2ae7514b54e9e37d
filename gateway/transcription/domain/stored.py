"""Plain values that were stored, perhaps by another version, as structs: what cannot be read is left out. Pure.

What one row holds must neither end the process that reads it nor hide its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, structs

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")


def readable(value: object, kind: type[T], otherwise: T) -> T:
    """`value` as a `kind`; of a list or a mapping, those of its items that can be read. `otherwise`: nothing can."""
    found = _readable(value, kind)
    return otherwise if found is UNSET else found


def readable_struct(stored: Mapping[str, Any], kind: type[S]) -> S:
    """Each field that can be read, others as by default; null is as if it were not there. It needs no field."""
    told = {name: value for name, value in stored.items() if value is not None}
    if _fits(told, kind):
        return msgspec.convert(told, kind)
    found = {
        field.name: value
        for field in structs.fields(kind)
        if field.encode_name in told and (value := _readable(told[field.encode_name], field.type)) is not UNSET
    }
    return kind(**found)


def _readable(value: Any, kind: Any) -> Any:
    if not _fits(value, kind):
        if isinstance(value, list | tuple):
            value = [one for one in value if _fits([one], kind)]
        elif isinstance(value, Mapping):
            value = {key: one for key, one in value.items() if _fits({key: one}, kind)}
    return msgspec.convert(value, kind) if _fits(value, kind) else UNSET


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True
