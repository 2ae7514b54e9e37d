"""Transcript documents behind the use cases' ports: rows from Postgres, blobs from whichever store is set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

from gateway.archive.document import Attendee, Head, StoredFinal
from gateway.archive.finalise import Blobs, BlobsUnavailable, Due
from gateway.availability import available
from storage.blob.folder import FolderBlobs
from storage.blob.store import BlobError
from storage.blob.store import Blobs as Store
from storage.blob.vercel import API_URL, VercelOptions, open_vercel
from storage.postgres import documents

if TYPE_CHECKING:
    from storage.postgres.pool import Database

VERCEL: Final = "vercel:"


@dataclass(frozen=True, slots=True)
class BlobOptions:
    """`url`: `file:///folder`, `s3://bucket/prefix` or `vercel:`."""

    url: str
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_key_id: str | None = None
    s3_secret: str | None = field(default=None, repr=False)
    vercel_token: str | None = field(default=None, repr=False)
    vercel_access: Literal["private", "public"] = "private"
    vercel_api_url: str = API_URL


class StoredBlobs:
    """A store's BlobError as BlobsUnavailable, its text unchanged. Otherwise each call is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> str:
        return self._store.place

    async def put(self, key: str, data: bytes, content_type: str) -> str | None:
        try:
            return await self._store.put(key, data, content_type)
        except BlobError as error:
            raise BlobsUnavailable(str(error)) from error

    async def get(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key)
        except BlobError as error:
            raise BlobsUnavailable(str(error)) from error

    async def delete(self, key: str) -> None:
        try:
            await self._store.delete(key)
        except BlobError as error:
            raise BlobsUnavailable(str(error)) from error


@asynccontextmanager
async def open_blobs(options: BlobOptions) -> AsyncIterator[Blobs]:
    """Nothing is asked of the store yet. Raises: ValueError for a wrong URL or token."""
    parts = urlsplit(options.url)
    match parts.scheme:
        case "file":
            yield StoredBlobs(FolderBlobs(Path(unquote(parts.path))))
        case "s3":
            # Its library takes a tenth of a second to load, and others need not wait for it.
            from storage.blob.s3 import S3Blobs, S3Options

            prefix = unquote(parts.path).strip("/")
            keys = (options.s3_key_id, options.s3_secret)
            yield StoredBlobs(S3Blobs(S3Options(parts.netloc, prefix, options.s3_endpoint, options.s3_region, *keys)))
        case "vercel":
            token = options.vercel_token or ""
            async with open_vercel(VercelOptions(token, options.vercel_access, options.vercel_api_url)) as store:
                yield StoredBlobs(store)
        case _:
            raise ValueError(f"no blob store has a URL like {parts.scheme}:")


class PostgresDocuments:
    """The port Documents, on `gateway.document` and the app's rows."""

    def __init__(self, database: Database) -> None:
        self._rows = documents.Documents(database)

    @available
    async def head(self, session_id: str) -> Head | None:
        found = await self._rows.head(session_id)
        if found is None:
            return None
        session, run = found.session, found.last_run
        return Head(
            session_id=session.id,
            slug=session.slug,
            title=session.title,
            space_id=session.space_id,
            created_by=session.created_by_user_id,
            status=session.status,
            created_at=session.created_at,
            started_at=session.started_at,
            ended_at=session.ended_at,
            attendees=[
                Attendee(one.id, one.identity, one.name, one.role, one.user_id, one.joined_at, one.left_at)
                for one in found.participants
            ],
            epoch=run.epoch if run else None,
            origin=run.origin if run else None,
            last_seq=run.last_seq if run else 0,
            finals_complete=run.finals_complete if run else None,
        )

    async def segments(self, session_id: str) -> AsyncIterator[Sequence[StoredFinal]]:
        last: documents.SegmentRow | None = None
        while rows := await self._page(session_id, last):
            yield [_stored(row) for row in rows]
            last = rows[-1]

    @available
    async def _page(self, session_id: str, after: documents.SegmentRow | None) -> list[documents.SegmentRow]:
        return await self._rows.segments(session_id, after)

    @available
    async def want(self, session_id: str, place: str, key: str, now: datetime, until: datetime) -> str | None:
        return await self._rows.want(session_id, place, key, now, until)

    @available
    async def take(self, place: str, now: datetime, until: datetime, limit: int) -> list[Due]:
        rows = await self._rows.take(place, now, until, limit)
        return [Due(row.session_id, row.key, until, row.removing, row.tries) for row in rows]

    @available
    async def ready(self, due: Due, place: str, began: datetime, url: str, size_bytes: int, now: datetime) -> bool:
        return await self._rows.ready(due.session_id, place, began, url, size_bytes, now, due.until)

    @available
    async def later(self, session_id: str, place: str, when: datetime) -> None:
        await self._rows.later(session_id, place, when)

    @available
    async def remove(self, session_id: str, now: datetime) -> None:
        await self._rows.remove(session_id, now)

    @available
    async def removed(self, session_id: str, place: str, now: datetime) -> bool:
        return await self._rows.removed(session_id, place, now)

    @available
    async def key(self, session_id: str, place: str) -> str | None:
        return await self._rows.key(session_id, place)


def _stored(row: documents.SegmentRow) -> StoredFinal:
    return StoredFinal(
        row.utterance_id,
        row.participant_id,
        row.identity,
        row.name,
        row.text,
        row.language,
        row.started_at,
        row.ended_at,
        row.seq,
        row.data,
        row.translations,
    )
