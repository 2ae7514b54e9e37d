"""The files of a spool: segments that are written to the end and removed when done, and the mark of what is done.

Everything here blocks; one thread at a time. A segment is named after the position of its first byte. After a start,
and after a write that failed, writing goes on in a new one: what is on the disk is never written over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage.spool.errors import SpoolError, SpoolFull, SpoolInUse, from_os
from storage.spool.frames import OVERHEAD, Offset, frame, parse

_SUFFIX: Final = ".segment"
_DONE: Final = struct.Struct("<QI")


@dataclass(slots=True)
class _Segment:
    path: Path
    start: int
    size: int
    descriptor: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(slots=True)
class Recovered:
    """What a folder held when it was opened: where the records lie that are not done, and the bytes that are none."""

    offsets: list[Offset] = field(default_factory=list)
    torn_bytes: int = 0
    """At the very end: a write that was cut off, so that no append has returned for it. Removed."""
    damaged_bytes: int = 0
    """Elsewhere: the disk has changed what was kept."""


class Segments:
    """Raises, from every method: SpoolError."""

    def __init__(self, folder: Path, limit_bytes: int, segment_bytes: int) -> None:
        self.folder = folder
        self._limit = limit_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._writing: _Segment | None = None
        self._tail = 0  # where the next record goes
        self._lock = self._done = -1

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(segment.size for segment in self._segments)

    def open(self, lock_wait_s: float, sleep: Callable[[float], None] = time.sleep) -> Recovered:
        """Lock the folder, waiting `lock_wait_s` at most, and read it. Raises: SpoolInUse, SpoolFull, SpoolFailed."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _open(self.folder / "lock")
            self._take_lock(lock_wait_s, sleep)
            self._done = _open(self.folder / "done")
            return self._recover()
        except OSError as error:
            self.close()
            raise from_os(error, self.folder) from error
        except SpoolError:
            self.close()
            raise

    def append(self, records: Sequence[bytes], at_ms: int) -> list[Offset]:
        """All of them, on the disk when this returns, or none."""
        offsets, position = [], self._tail
        for data in records:
            offsets.append(Offset(position, position + OVERHEAD + len(data), at_ms))
            position = offsets[-1].end
        block = b"".join(frame(offset.position, at_ms, data) for offset, data in zip(offsets, records, strict=True))
        if self.size + len(block) > self._limit:
            raise SpoolFull(f"the spool in {self.folder} has reached its limit of {self._limit:,} bytes")
        position, self._tail = self._tail, position  # also when the write fails: no position is ever used twice
        try:
            segment = self._segment_for(position)
            _write(segment.descriptor, block, segment.size)
            os.fdatasync(segment.descriptor)
        except OSError as error:
            self._give_up()
            raise from_os(error, self.folder) from error
        segment.size += len(block)
        return offsets

    def read(self, offset: Offset) -> bytes | None:
        """The record that lies there; None when it is done, or when the disk has changed it."""
        for segment in self._segments:
            if segment.start <= offset.position < segment.end:
                with contextlib.suppress(OSError):
                    kept = os.pread(segment.descriptor, offset.end - offset.position, offset.position - segment.start)
                    records = parse(kept, offset.position).records
                    if records and records[0].offset == offset:
                        return records[0].data
                return None
        return None

    def forget(self, end: int) -> None:
        """Everything before position `end` is done. Not synced: a power cut makes some work be done again."""
        try:
            os.pwrite(self._done, _DONE.pack(end, zlib.crc32(end.to_bytes(8))), 0)
            while self._segments and (self._segments[0].end <= end):
                self._remove(self._segments[0])
        except OSError as error:
            raise from_os(error, self.folder) from error

    def close(self) -> None:
        """Give the lock back; nothing is removed. May be repeated."""
        for segment in self._segments:
            os.close(segment.descriptor)
        self._segments.clear()
        self._writing = None
        for descriptor in (self._done, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._done = -1

    # --- inside -------------------------------------------------------------------------------------------

    def _take_lock(self, wait_s: float, sleep: Callable[[float], None]) -> None:
        """A predecessor that is just dying gets a moment."""
        for _ in range(max(1, round(wait_s / 0.05))):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            sleep(0.05)
        raise SpoolInUse(f"another process uses {self.folder}; stop it, or give this one another GATEWAY_DATA_DIR")

    def _recover(self) -> Recovered:
        recovered, done = Recovered(), self._read_done()
        self._tail = done
        paths = sorted(self.folder.glob("*" + _SUFFIX))
        for path in paths:
            descriptor = _open(path)
            segment = _Segment(path, int(path.stem), os.fstat(descriptor).st_size, descriptor)
            self._segments.append(segment)
            self._tail = max(self._tail, segment.end)
            parsed = parse(os.pread(descriptor, segment.size, 0), segment.start)
            for first, last in parsed.damaged:
                if last < segment.end:
                    recovered.damaged_bytes += last - first
                    continue
                segment.size = first - segment.start
                if path == paths[-1]:
                    recovered.torn_bytes += last - first
                    os.ftruncate(descriptor, segment.size)
                    os.fsync(descriptor)
                else:
                    recovered.damaged_bytes += last - first
            left = [record.offset for record in parsed.records if record.offset.position >= done]
            recovered.offsets += left
            if not left:
                self._remove(segment)
        return recovered

    def _read_done(self) -> int:
        """0 when it cannot be read: everything is done again, which changes nothing."""
        kept = os.pread(self._done, _DONE.size, 0)
        if len(kept) < _DONE.size:
            _write(self._done, bytes(_DONE.size), 0)  # room for it, before the disk is full
            return 0
        position, checksum = _DONE.unpack(kept)
        return int(position) if checksum == zlib.crc32(position.to_bytes(8)) else 0

    def _segment_for(self, position: int) -> _Segment:
        if self._writing is not None and self._writing.size < self._segment_bytes:
            return self._writing
        path = self.folder / f"{position:020d}{_SUFFIX}"
        self._writing = _Segment(path, position, 0, _open(path))
        self._segments.append(self._writing)
        _sync_folder(self.folder)
        return self._writing

    def _give_up(self) -> None:
        """Take back what a failed write may have left. If even that fails, the checksums tell it from a record."""
        segment, self._writing = self._writing, None
        if segment is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(segment.descriptor, segment.size)
            if segment.size == 0:
                self._remove(segment)

    def _remove(self, segment: _Segment) -> None:
        segment.path.unlink()
        os.close(segment.descriptor)
        self._segments.remove(segment)
        if segment is self._writing:
            self._writing = None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _write(descriptor: int, block: bytes, at: int) -> None:
    """The kernel may take less than it is given, when the disk runs full for one."""
    rest = memoryview(block)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        if written == 0:
            raise OSError(errno.EIO, "the disk takes nothing")
        rest, at = rest[written:], at + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
