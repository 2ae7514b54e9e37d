"""The spool as a `Journal`: finals and meter readings as records on disk."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.usecases.journal import Entry, FinalToStore, JournalTrouble, TranslationToStore, UsageToStore
from storage.spool.errors import SpoolError
from storage.spool.frames import Offset
from storage.spool.spool import Spool, open_spool


# A tag that this build does not know was written by a newer one.
class _Final(msgspec.Struct, tag="final/1", array_like=True):
    final: FinalToStore


class _Usage(msgspec.Struct, tag="usage/1", array_like=True):
    usage: UsageToStore


class _Translation(msgspec.Struct, tag="translation/1", array_like=True):
    translation: TranslationToStore


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Final | _Usage | _Translation).decode


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except SpoolError as error:
        raise JournalTrouble(str(error)) from error


class SpoolJournal:
    """Use `open_journal`. Finals that this process appended can be read by number; the others are only `oldest`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._numbers: defaultdict[str, dict[int, Offset]] = defaultdict(dict)  # session → number → where
        self._order: deque[tuple[int, str, int]] = deque()  # position, session, number

    def __len__(self) -> int:
        return len(self._spool)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._spool.size

    @property
    def oldest_age(self) -> float:
        """Seconds."""
        return self._spool.oldest_age

    async def append(self, entries: Sequence[Entry]) -> None:
        with _trouble():
            places = await self._spool.append([_record(entry) for entry in entries])
        for entry, place in zip(entries, places, strict=True):
            if isinstance(entry, FinalToStore):
                self._numbers[entry.session_id][entry.seq] = place
                self._order.append((place.position, entry.session_id, entry.seq))

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        with _trouble():
            records = await self._spool.peek(count)
        return [_entry(data) for _, data in records], records[-1][0] if records else -1

    async def forget(self, mark: int) -> None:
        while self._order and self._order[0][0] <= mark:
            position, session_id, seq = self._order.popleft()
            numbers = self._numbers[session_id]
            if numbers[seq].position == position:  # else it was appended once more
                del numbers[seq]
            if not numbers:
                del self._numbers[session_id]
        with _trouble():
            await self._spool.forget(mark)

    async def finals(self, session_id: str, after: int, limit: int) -> Sequence[UnstoredFinal]:
        if session_id not in self._numbers:
            return []
        numbers = self._numbers[session_id]
        places = {seq: numbers[seq] for seq in islice((seq for seq in sorted(numbers) if seq > after), limit)}
        with _trouble():
            records = await self._spool.read(list(places.values()))
        found = []
        for seq, place in places.items():
            # What is missing was forgotten while we read: the database has it.
            entry = _entry(records[place.position]) if place.position in records else None
            if isinstance(entry, FinalToStore):
                found.append(UnstoredFinal(seq, entry.data, entry.epoch))
        return found


@asynccontextmanager
async def open_journal(folder: Path, limit_bytes: int) -> AsyncIterator[SpoolJournal]:
    """Raises: JournalTrouble."""
    spool = open_spool(folder, limit_bytes)
    with _trouble():
        opened = await spool.__aenter__()
    try:
        yield SpoolJournal(opened)
    finally:
        await spool.__aexit__(None, None, None)


def _record(entry: Entry) -> bytes:
    if isinstance(entry, FinalToStore):
        # Its words are in `data` already.
        return _encode(_Final(replace(entry, caption=msgspec.structs.replace(entry.caption, words=()))))
    if isinstance(entry, TranslationToStore):
        return _encode(_Translation(entry))
    # What the usage rows need of the claim, and none of its secrets.
    return _encode(_Usage(replace(entry, claimed=replace(entry.claimed, options={}, stream_key=None))))


def _entry(record: bytes) -> Entry:
    try:
        spooled = _decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalTrouble(
            f"the spool holds something that this version cannot read ({error}); "
            "start the version that wrote it once more, until the spool is empty"
        ) from error
    if isinstance(spooled, _Final):
        return spooled.final
    return spooled.usage if isinstance(spooled, _Usage) else spooled.translation
