"""Records as bytes of a segment file, and back. Pure.

A frame is a mark, a CRC-32, the length, the time of writing (Unix milliseconds) and the record itself. The checksum
covers the frame's position too, so that no left-over of another file or position passes for a record. Positions count
bytes since the spool's first record ever and only grow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MARK: Final = b"\xf5\x5a\x0dS"
MAX_RECORD: Final = 8 * 1024 * 1024
_HEAD: Final = struct.Struct("<4sIIQ")
_SUMMED: Final = struct.Struct("<QIQ")
OVERHEAD: Final = _HEAD.size


@dataclass(frozen=True, slots=True)
class Offset:
    """Where a record lies: its first position and the one after its last. `at_ms`: Unix time of writing."""

    position: int
    end: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Record:
    offset: Offset
    data: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """`damaged` are the stretches (from, to) that hold no record. One at the very end is a torn write."""

    records: list[Record]
    damaged: list[tuple[int, int]]


def check(records: Iterable[bytes]) -> None:
    """Raises: ValueError for a record that is empty or longer than MAX_RECORD."""
    for data in records:
        if not 0 < len(data) <= MAX_RECORD:
            raise ValueError(f"a record has 1 to {MAX_RECORD} bytes, not {len(data)}")


def frame(position: int, at_ms: int, data: bytes) -> bytes:
    """One record as it is written at `position`. `at_ms`: Unix milliseconds."""
    return _HEAD.pack(MARK, _checksum(position, at_ms, data), len(data), at_ms) + data


def parse(segment: bytes, start: int) -> Parsed:
    """Every whole record of a segment whose first byte is at position `start`, whatever has happened to the rest."""
    parsed = Parsed([], [])
    at = 0
    while at < len(segment):
        record = _record(segment, at, start)
        if record is not None:
            parsed.records.append(record)
            at = record.offset.end - start
            continue
        after = _next_record(segment, at + 1, start)
        parsed.damaged.append((start + at, start + after))
        at = after
    return parsed


def _record(segment: bytes, at: int, start: int) -> Record | None:
    if len(segment) - at <= OVERHEAD:
        return None
    mark, checksum, length, at_ms = _HEAD.unpack_from(segment, at)
    data = segment[at + OVERHEAD : at + OVERHEAD + length] if mark == MARK and 0 < length <= MAX_RECORD else b""
    if not data or len(data) != length or checksum != _checksum(start + at, at_ms, data):
        return None
    return Record(Offset(start + at, start + at + OVERHEAD + length, at_ms), data)


def _next_record(segment: bytes, at: int, start: int) -> int:
    """Where the next whole record begins, else the end."""
    while (at := segment.find(MARK, at)) >= 0:
        if _record(segment, at, start) is not None:
            return at
        at += 1
    return len(segment)


def _checksum(position: int, at_ms: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_SUMMED.pack(position, len(data), at_ms)))
