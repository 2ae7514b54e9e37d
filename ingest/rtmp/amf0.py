"""AMF0, the notation of RTMP commands and metadata: bytes to values and back.

Source: Adobe, "Action Message Format - AMF 0". Numbers are doubles, dates become their milliseconds, objects,
typed objects and associative arrays become dicts. Announced counts are never trusted with memory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from ingest.errors import ProtocolError

NUMBER: Final = 0x00
BOOLEAN: Final = 0x01
STRING: Final = 0x02
OBJECT: Final = 0x03
NULL: Final = 0x05
UNDEFINED: Final = 0x06
REFERENCE: Final = 0x07
ECMA_ARRAY: Final = 0x08
OBJECT_END: Final = 0x09
STRICT_ARRAY: Final = 0x0A
DATE: Final = 0x0B
LONG_STRING: Final = 0x0C
UNSUPPORTED: Final = 0x0D
XML: Final = 0x0F
TYPED_OBJECT: Final = 0x10

_DOUBLE: Final = struct.Struct(">d")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")


def decode(data: bytes, depth_limit: int = 8) -> list[object]:
    """Every value in `data`, in order.

    `depth_limit` counts objects and arrays inside one another.
    Raises: ProtocolError when the data ends early, nests too deep or uses a type AMF0 does not have.
    """
    reader = _Reader(data, depth_limit)
    values: list[object] = []
    while not reader.at_end:
        values.append(reader.value(0))
    return values


def decode_prefix(data: bytes, depth_limit: int = 8) -> list[object]:
    """The values in `data` up to the first that cannot be read, whatever it is."""
    reader = _Reader(data, depth_limit)
    values: list[object] = []
    with suppress(ProtocolError):
        while not reader.at_end:
            values.append(reader.value(0))
    return values


def encode(*values: object) -> bytes:
    """The AMF0 of None, bool, int, float, str, mappings with text keys, and sequences of these."""
    out = bytearray()
    for value in values:
        _write(out, value)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes, depth_limit: int) -> None:
        self._data, self._at, self._depth_limit = data, 0, depth_limit

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._data)

    def value(self, depth: int) -> object:
        kind = self._take(1)[0]
        if kind == NUMBER:
            return self._number()
        if kind == BOOLEAN:
            return self._take(1)[0] != 0
        if kind == STRING:
            return self._text(self._u16())
        if kind in (LONG_STRING, XML):
            return self._text(self._u32())
        if kind in (NULL, UNDEFINED, UNSUPPORTED):
            return None
        if kind == REFERENCE:  # to an earlier object; not used by publishers, and following it could build cycles
            self._take(2)
            return None
        if kind == DATE:
            milliseconds = self._number()
            self._take(2)  # time zone, "should not be used"
            return milliseconds
        if kind not in (OBJECT, ECMA_ARRAY, STRICT_ARRAY, TYPED_OBJECT):
            raise ProtocolError("malformed AMF", f"type 0x{kind:02x}")
        if depth >= self._depth_limit:
            raise ProtocolError("AMF nested too deep", f"more than {self._depth_limit} levels")
        if kind == STRICT_ARRAY:
            return self._array(depth + 1)
        if kind == ECMA_ARRAY:
            self._u32()  # a hint at the number of entries; the end marker decides
        elif kind == TYPED_OBJECT:
            self._text(self._u16())
        return self._entries(depth + 1)

    def _array(self, depth: int) -> list[object]:
        count = self._u32()
        if count > len(self._data) - self._at:  # a value is at least one byte long
            raise ProtocolError("malformed AMF", f"array of {count} values in {len(self._data)} bytes")
        return [self.value(depth) for _ in range(count)]

    def _entries(self, depth: int) -> dict[str, object]:
        entries: dict[str, object] = {}
        while not self.at_end:  # some encoders leave the end marker of the last object out
            name = self._text(self._u16())
            if not name and self._data[self._at : self._at + 1] == b"\x09":
                self._at += 1
                break
            entries[name] = self.value(depth)
        return entries

    def _number(self) -> float:
        value: float = _DOUBLE.unpack(self._take(8))[0]
        return value

    def _u16(self) -> int:
        value: int = _U16.unpack(self._take(2))[0]
        return value

    def _u32(self) -> int:
        value: int = _U32.unpack(self._take(4))[0]
        return value

    def _text(self, size: int) -> str:
        return self._take(size).decode(errors="replace")

    def _take(self, size: int) -> bytes:
        start = self._at
        self._at = start + size
        if self._at > len(self._data):
            raise ProtocolError("malformed AMF", f"{self._at - len(self._data)} bytes missing")
        return self._data[start : self._at]


def _write(out: bytearray, value: object) -> None:
    if value is None:
        out.append(NULL)
    elif isinstance(value, bool):
        out += bytes((BOOLEAN, value))
    elif isinstance(value, int | float):
        out.append(NUMBER)
        out += _DOUBLE.pack(value)
    elif isinstance(value, str):
        text = value.encode()
        short = len(text) <= 0xFFFF
        out.append(STRING if short else LONG_STRING)
        out += (_U16 if short else _U32).pack(len(text)) + text
    elif isinstance(value, Mapping):
        out.append(OBJECT)
        for name, entry in value.items():
            text = str(name).encode()
            out += _U16.pack(len(text)) + text
            _write(out, entry)
        out += b"\x00\x00\x09"
    elif isinstance(value, Sequence):
        out.append(STRICT_ARRAY)
        out += _U32.pack(len(value))
        for entry in value:
            _write(out, entry)
    else:
        raise TypeError(f"AMF0 has no place for {type(value).__name__}")
