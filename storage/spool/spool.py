"""A durable queue of records on disk: appended in order, read in order, and forgotten when they are dealt with.

    async with open_spool(Path("var/spool"), limit_bytes=256 * 2**20) as spool:
        await spool.append([b"one", b"two"])          # on the disk when this returns
        for position, record in await spool.peek(100):
            ...
        await spool.forget(position)                  # that one and all before it

All file work is done by one worker thread; appends that wait while it writes share the next write. A record is handed
out again after a crash when it was dealt with but not yet forgotten, so dealing with it twice must change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from storage.spool.errors import SpoolError
from storage.spool.frames import Offset, check
from storage.spool.segments import Recovered, Segments

log = logging.getLogger(__name__)
T = TypeVar("T")

_SMALLEST_SEGMENT: Final = 64 * 1024
_LARGEST_SEGMENT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Append:
    records: Sequence[bytes]
    done: asyncio.Future[list[Offset]]


class Spool:
    """Use `open_spool`."""

    def __init__(
        self, segments: Segments, recovered: Recovered, worker: ThreadPoolExecutor, now: Callable[[], float]
    ) -> None:
        self._segments = segments
        self._worker = worker
        self._now = now
        self._offsets = deque(recovered.offsets)
        self._waiting: list[_Append] = []
        self._wake = asyncio.Event()
        self.torn_bytes = recovered.torn_bytes
        self.damaged_bytes = recovered.damaged_bytes

    def __len__(self) -> int:
        """Records not forgotten."""
        return len(self._offsets)

    @property
    def size(self) -> int:
        """Bytes on the disk. A segment is freed when its last record is forgotten."""
        return self._segments.size

    @property
    def oldest_age(self) -> float:
        """Seconds since the oldest record was appended, by whichever process; 0 when there is none."""
        return max(0.0, self._now() - self._offsets[0].at_ms / 1000) if self._offsets else 0.0

    async def append(self, records: Sequence[bytes]) -> list[Offset]:
        """Keep all of them or none; on the disk when this returns.

        Raises: SpoolFull, SpoolFailed; ValueError for a record that is empty or over 8 MiB.
        When cancelled, the records may be kept.
        """
        check(records)
        if not records:
            return []
        done: asyncio.Future[list[Offset]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Append(records, done))
        self._wake.set()
        return await done

    async def peek(self, count: int) -> list[tuple[int, bytes]]:
        """The oldest records, at most so many, with their positions."""
        offsets = list(islice(self._offsets, count))
        found = await self.read(offsets)
        if len(found) < len(offsets):
            changed = [offset for offset in offsets if offset.position not in found]
            self.damaged_bytes += sum(offset.end - offset.position for offset in changed)
            log.error("%d records of the spool cannot be read any more and are skipped", len(changed))
            self._offsets = deque(offset for offset in self._offsets if offset not in changed)
        return list(found.items())

    async def read(self, offsets: Sequence[Offset]) -> dict[int, bytes]:
        """Records by position; those that are forgotten or damaged are missing in the answer."""
        found = await self._in_thread(lambda: [(offset.position, self._segments.read(offset)) for offset in offsets])
        return {position: data for position, data in found if data is not None}

    async def forget(self, position: int) -> None:
        """The record at `position` and all before it are dealt with.

        Raises: SpoolFailed when that cannot be written down: after a crash they would come again.
        """
        end = None
        while self._offsets and self._offsets[0].position <= position:
            end = self._offsets.popleft().end
        if end is not None:
            await self._in_thread(partial(self._segments.forget, end))

    async def _run(self) -> None:
        """Write what is appended, until cancelled."""
        appends: list[_Append] = []
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                appends, self._waiting = self._waiting, []
                if not await self._write(appends, last_try=len(appends) == 1):
                    for append in appends:  # one that finds no room does not take the others with it
                        await self._write([append], last_try=True)
        finally:
            for append in appends + self._waiting:
                append.done.cancel()

    async def _write(self, appends: list[_Append], *, last_try: bool) -> bool:
        records = [record for append in appends for record in append.records]
        try:
            offsets = await self._in_thread(lambda: self._segments.append(records, round(self._now() * 1000)))
        except SpoolError as error:
            if last_try:
                self._answer(appends[0], error)
            return last_try
        self._offsets.extend(offsets)
        rest = iter(offsets)
        for append in appends:
            self._answer(append, list(islice(rest, len(append.records))))
        return True

    def _answer(self, append: _Append, answer: list[Offset] | SpoolError) -> None:
        if append.done.done():  # cancelled
            return
        if isinstance(answer, SpoolError):
            append.done.set_exception(answer)
        else:
            append.done.set_result(answer)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


@asynccontextmanager
async def open_spool(
    folder: Path,
    limit_bytes: int,
    *,
    segment_bytes: int | None = None,
    lock_wait_s: float = 5.0,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Spool]:
    """The spool in `folder`, which is made if missing, with at most `limit_bytes` on the disk; one process at a time.

    `now`: Unix seconds.
    Raises: SpoolInUse, SpoolFull, SpoolFailed.
    """
    size = segment_bytes or min(max(limit_bytes // 16, _SMALLEST_SEGMENT), _LARGEST_SEGMENT)
    segments = Segments(folder, limit_bytes, size)
    loop = asyncio.get_running_loop()
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
    try:
        recovered = await loop.run_in_executor(worker, lambda: segments.open(lock_wait_s))
        if recovered.torn_bytes:
            log.warning("the spool ended in a write that was cut off: %d bytes removed", recovered.torn_bytes)
        if recovered.damaged_bytes:
            log.error("the disk has changed %d bytes of the spool; records are lost", recovered.damaged_bytes)
        spool = Spool(segments, recovered, worker, now)
        writing = asyncio.create_task(spool._run(), name="spool")
        try:
            yield spool
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    finally:
        # In the thread that may still be writing, so after it.
        await loop.run_in_executor(worker, segments.close)
        worker.shutdown()
