"""The transcript of a session becomes one JSON document in a blob store, and goes from there when it has to.

What is to be done is written down before it is tried (`gateway.document`), so that a store that is away, or a crash at
any moment, costs time and nothing else: `run` does what is due, on whichever replica looks first.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from gateway import tracing
from gateway.archive.document import CLOSING, Head, StoredFinal, key, opening, segment
from gateway.clock import Clock
from gateway.errors import SessionNotFound
from gateway.outage import RecordsUnavailable
from gateway.tracing import TraceOf, no_trace

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/json"
LOOK_EVERY_S: Final = 15.0
# Longer than any write takes; afterwards a document that was begun counts as abandoned, and another replica writes it.
_BUSY: Final = timedelta(minutes=3)
_AGAIN_S: Final = (15, 60, 300, 900, 3600)
_BATCH: Final = 20


class BlobsUnavailable(Exception):
    """The blob store did not do it. The text says what to do and holds nothing of a document."""


class Blobs(Protocol):
    """A store of documents by key. Each call may be repeated, and the last one counts."""

    @property
    def place(self) -> str:
        """Which store this is, without secrets; rows remember it, since a document is only where it was put."""

    async def put(self, key: str, data: bytes, content_type: str) -> str | None:
        """Whole or not at all; replaces. Returns: the URL, if the store has one. Raises: BlobsUnavailable."""

    async def get(self, key: str) -> bytes | None:
        """The whole document; None when there is none of that key. Raises: BlobsUnavailable."""

    async def delete(self, key: str) -> None:
        """Gone on return; one that is not there changes nothing. Raises: BlobsUnavailable."""


@dataclass(frozen=True, slots=True)
class Due:
    """A document to write or, with `removing`, to delete: by this caller alone before `until`."""

    session_id: str
    key: str
    until: datetime
    removing: bool
    tries: int
    """Attempts so far, of which the last may be this one: how long to wait for the next."""


class Documents(Protocol):
    """The database's side: one row a session and place says what is to be done about its document.

    Each change is one statement or transaction. Every method may be repeated, and may raise RecordsUnavailable.
    """

    async def head(self, session_id: str) -> Head | None:
        """The session, its participants and its numbering as they stand now; None when it was deleted."""

    def segments(self, session_id: str) -> AsyncIterator[Sequence[StoredFinal]]:
        """All finals in spoken order, in pages; each page sees what is stored by then."""

    async def want(self, session_id: str, place: str, key: str, now: datetime, until: datetime) -> str | None:
        """Note that a document is wanted and that this caller writes it before `until`.

        Returns: the key to write under, `key` or that of an earlier call; None when the session is being erased.
        """

    async def take(self, place: str, now: datetime, until: datetime, limit: int) -> list[Due]:
        """What is due; no other caller gets it before `until`."""

    async def ready(self, due: Due, place: str, began: datetime, url: str, size_bytes: int, now: datetime) -> bool:
        """The document written is that of everything stored before `began`; what was wanted since is still due.

        Returns: False when the session is gone or being erased; then the blob has to go.
        """

    async def later(self, session_id: str, place: str, when: datetime) -> None:
        """The attempt failed; it is due again at `when`."""

    async def remove(self, session_id: str, now: datetime) -> None:
        """From now on every document of the session is to be deleted, and the app's columns are empty."""

    async def removed(self, session_id: str, place: str, now: datetime) -> bool:
        """The blob is gone, and with True the row too. False while a write begun before may still be going on."""

    async def key(self, session_id: str, place: str) -> str | None:
        """Under which key a finished document lies there; None when there is none."""


@dataclass(slots=True)
class FinaliseCounts:
    """Of this process, for the metrics. `failed`: attempts, which are repeated."""

    made: int = 0
    removed: int = 0
    failed: int = 0


class Finaliser:
    """`link`: slug → URL under which the gateway itself hands the document out, for stores that have none.

    `trace_of`: see there.
    """

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        clock: Clock,
        link: Callable[[str], str],
        trace_of: TraceOf = no_trace,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._clock = clock
        self._link = link
        self._trace_of = trace_of
        self.counts = FinaliseCounts()

    async def finalise(self, session_id: str) -> bool:
        """Make the session's document, or make it anew. To be called when all finals are in the database.

        Returns: whether it is there now; else it will be made as soon as the store answers.
        Raises: SessionNotFound, RecordsUnavailable.
        """
        now = self._clock.now()
        head = await self._documents.head(session_id)
        if head is None:
            raise SessionNotFound(session_id)
        place = self._blobs.place
        chosen = key(head.slug, secrets.token_hex(16))
        agreed = await self._documents.want(session_id, place, chosen, now, now + _BUSY)
        if agreed is None:
            raise SessionNotFound(session_id)
        return await self._try(Due(session_id, agreed, now + _BUSY, removing=False, tries=0))

    async def remove(self, session_id: str) -> None:
        """The document goes, and the session's columns are empty again. What cannot go now goes later.

        Raises: RecordsUnavailable.
        """
        await self._documents.remove(session_id, self._clock.now())
        await self.work()

    async def document(self, session_id: str) -> bytes | None:
        """The document as it is kept. Raises: RecordsUnavailable, BlobsUnavailable."""
        found = await self._documents.key(session_id, self._blobs.place)
        return None if found is None else await self._blobs.get(found)

    async def work(self) -> int:
        """Do everything that is due. Returns: how many were done. Raises: RecordsUnavailable."""
        done = 0
        while True:
            now = self._clock.now()
            due = await self._documents.take(self._blobs.place, now, now + _BUSY, _BATCH)
            for one in due:
                done += await self._try(one)
            if len(due) < _BATCH:
                return done

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Do what is due every `every_s` seconds, until cancelled."""
        while True:
            try:
                await self.work()
            except RecordsUnavailable as error:
                log.warning("database: %s", error)
            await asyncio.sleep(every_s)

    async def _try(self, due: Due) -> bool:
        try:
            if due.removing:
                await self._remove(due)
            else:
                await self._make(due)
        except BlobsUnavailable as error:
            self.counts.failed += 1
            pause = _AGAIN_S[min(due.tries, len(_AGAIN_S) - 1)]
            log.error("the transcript document waits: %s", error, extra={"sessionId": due.session_id, "againS": pause})
            again = self._clock.now() + timedelta(seconds=pause)
            await self._documents.later(due.session_id, self._blobs.place, again)
            return False
        return True

    async def _make(self, due: Due) -> None:
        began = self._clock.now()
        head = await self._documents.head(due.session_id)
        if head is None:
            await self._erase_blob(due)
            return
        links = [await self._trace_of(due.session_id)]
        with tracing.span("document write", {"session": head.slug}, links=links):
            await self._write(due, head, began)

    async def _write(self, due: Due, head: Head, began: datetime) -> None:
        parts = [opening(head, began)]
        comma = b""
        async for page in self._documents.segments(due.session_id):
            for kept in page:
                parts += (comma, segment(kept, head.origin or head.started_at or head.created_at))
                comma = b","
        document = b"".join([*parts, CLOSING])
        url = await self._blobs.put(due.key, document, CONTENT_TYPE) or self._link(head.slug)
        place, size = self._blobs.place, len(document)
        if not await self._documents.ready(due, place, began, url, size, self._clock.now()):
            await self._erase_blob(due)
            return
        self.counts.made += 1
        log.info("the transcript document is ready", extra={"session": head.slug, "bytes": size})

    async def _erase_blob(self, due: Due) -> None:
        """The session was deleted while its document was written."""
        await self._documents.remove(due.session_id, self._clock.now())
        await self._remove(due)

    async def _remove(self, due: Due) -> None:
        await self._blobs.delete(due.key)
        if await self._documents.removed(due.session_id, self._blobs.place, self._clock.now()):
            self.counts.removed += 1
        else:  # a replica that began before the removal may still be writing; then it is deleted once more
            await self._documents.later(due.session_id, self._blobs.place, self._clock.now() + _BUSY)
