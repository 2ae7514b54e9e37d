"""What can be read of JSON with odd values in it. Pure: no I/O, no clock.

The usual message is read by `messages` in one go. What its types refuse comes here: bytes that are not UTF-8, half a
surrogate pair, raw control characters, NaN, bottomless nesting and values of another type than documented cost
themselves, not what stands beside them.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from types import UnionType
from typing import Any, Final, get_args, get_origin

import msgspec

MAX_DEPTH: Final = 64
"""What is nested deeper is taken as null."""

# As stored text: PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair.
_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")
# Blank, or without any ink: controls, format characters, fillers, variation selectors.
_INVISIBLE: Final = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_TYPE: Final = re.compile(
    r'"type"\s*:\s*"(audio_chunk|stop_recording|transcript|speech_start|speech_end|translation'
    r'|named_entity_recognition|sentiment_analysis|post_final_transcript|end_session|error)"'
)
_PARTIAL: Final = re.compile(r'"is_final"\s*:\s*false')
_LOOKED_AT: Final = 100_000  # characters of a message that cannot be read


def clean(text: str) -> str:
    """Without NUL, and with U+FFFD for half a surrogate pair: what is shown is what can be stored."""
    return _UNUSABLE.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def is_blank(text: str) -> bool:
    """Whether there is nothing to see."""
    return _INVISIBLE.fullmatch(text) is not None


def decode(raw: str | bytes) -> Any:
    """The JSON value, its strings clean and its numbers finite or None. Raises: ValueError, RecursionError."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return _finite(json.loads(_shallow(text.lstrip("\ufeff")), strict=False, parse_int=_number))


def told_by(text: str | bytes) -> tuple[str, bool]:
    """The type of a message that cannot be read, and whether a final may have been in it."""
    start = text[:_LOOKED_AT] if isinstance(text, str) else text[:_LOOKED_AT].decode("utf-8", "replace")
    found = _TYPE.search(start)
    kind = found[1] if found else "other"
    if kind == "transcript":
        return kind, '"utterance"' in start and not _PARTIAL.search(start)
    return kind, kind == "post_final_transcript"


def read(value: Any, wanted: Any) -> Any:
    """`value` as a type of msgspec's; an odd field of a struct is taken as left out.

    An element of a list that cannot be read is None where the list may hold that, else it is left out.

    Raises: msgspec.ValidationError for an odd value, or a struct that lacks a field without a default.
    """
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        refused = error
    for one in get_args(wanted) if isinstance(wanted, UnionType) else (wanted,):
        if isinstance(value, dict) and isinstance(one, type) and issubclass(one, msgspec.Struct):
            return _struct(value, one)
        if isinstance(value, list) and get_origin(one) is tuple:
            return _elements(value, get_args(one)[0])
    raise refused


def _struct(value: dict[str, Any], wanted: type[msgspec.Struct]) -> Any:
    found = {}
    for field in msgspec.structs.fields(wanted):
        if field.encode_name in value:
            try:
                found[field.name] = read(value[field.encode_name], field.type)
            except msgspec.ValidationError:
                if field.required:
                    raise
        elif field.required:
            raise msgspec.ValidationError(f"Object missing required field `{field.encode_name}`")
    return wanted(**found)


def _elements(values: list[Any], wanted: Any) -> tuple[Any, ...]:
    keeps_place = type(None) in get_args(wanted)
    found = []
    for value in values:
        try:
            found.append(read(value, wanted))
        except msgspec.ValidationError:
            if keeps_place:
                found.append(None)
    return tuple(found)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _finite(value: Any) -> Any:
    """At most MAX_DEPTH deep."""
    match value:
        case str():
            return clean(value)
        case float():
            return value if isfinite(value) else None
        case list():
            return [_finite(one) for one in value]
        case dict():
            return {clean(key): _finite(one) for key, one in value.items()}
    return value


def _shallow(text: str) -> str:
    """The same JSON with null for what is nested too deep."""
    depth, begin = 0, 0
    kept, cut_at = [], 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
                if depth == MAX_DEPTH:
                    begin = token.start()
            case "]" | "}":
                if depth == MAX_DEPTH:
                    kept += [text[cut_at:begin], "null"]
                    cut_at = token.end()
                depth -= 1
    return "".join([*kept, text[cut_at:]]) if kept else text
