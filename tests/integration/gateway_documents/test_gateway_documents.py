"""Finalisation on a real database: made once, replaced, retried, and never left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import document_schema

from gateway.archive.documents import PostgresDocuments, StoredBlobs
from gateway.archive.finalise import BlobsUnavailable, Finaliser
from gateway.errors import SessionNotFound
from gateway.live.protocol import encode_caption
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.records import Records, SessionRecord
from storage.blob.folder import FolderBlobs
from storage.postgres.pool import Database, open_pool
from storage.postgres.segments import NewSegment, Segments
from storage.postgres.sessions import SessionRow, Sessions
from storage.postgres.url import parse_database_url

BEGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MINUTES = timedelta(minutes=1)


class HandClock:
    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()


class Door:
    """A folder that can be made to fail, and in which one write can be held up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shut = False
        self.held: asyncio.Event | None = None
        self.writing = asyncio.Event()
        self._blobs = StoredBlobs(FolderBlobs(folder))

    @property
    def place(self) -> str:
        return self._blobs.place

    async def put(self, key: str, data: bytes, content_type: str) -> str | None:
        self._pass()
        self.writing.set()
        if self.held is not None:
            await self.held.wait()
        return await self._blobs.put(key, data, content_type)

    async def get(self, key: str) -> bytes | None:
        self._pass()
        return await self._blobs.get(key)

    async def delete(self, key: str) -> None:
        self._pass()
        await self._blobs.delete(key)

    def _pass(self) -> None:
        if self.shut:
            raise BlobsUnavailable("the door is shut; open it")

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@dataclass
class World:
    db: Database
    records: Records
    clock: HandClock
    door: Door
    finaliser: Finaliser
    session: SessionRecord
    said: int = field(default=0)

    async def say(self, *texts: str) -> None:
        claimed, _ = await self.records.leases.claim(self.session, "rtmp", {}, None, "me", 600)
        assert claimed is not None
        anna = Speaker("anna", "Anna")
        participant = await self.records.sessions.join(self.session.id, anna)
        finals = []
        for seq, text in enumerate(texts, start=claimed.numbering.last_seq + 1):
            at = BEGIN + timedelta(seconds=seq)
            words = tuple(Word(word, 1000 * seq, 1000 * seq + 500) for word in text.split())
            said = Caption(f"p:{seq}", text, "en", True, anna, at, at, 1000 * seq, 1000 * seq + 500, 0.9, words)
            epoch = claimed.numbering.epoch
            data = encode_caption(said)
            finals.append(FinalToStore(claimed.lease, self.session.id, epoch, seq, said, participant, data))
        await self.records.finals.store(finals)
        await self.records.leases.finish(claimed.lease, "stopped by request", True)

    async def row(self) -> SessionRow:
        found = await Sessions(self.db).by_id(self.session.id)
        assert found is not None
        return found

    def document(self) -> dict[str, Any]:
        [file] = self.door.files()
        document: dict[str, Any] = json.loads(file.read_bytes())
        jsonschema.validate(document, document_schema.schema())
        return document

    async def rows_left(self) -> int:
        found: int = await self.db.pool.fetchval("SELECT count(*) FROM gateway.document")
        return found


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_pool(parse_database_url(database_url)) as db:
        clock = HandClock()
        records = postgres_records(db, clock)
        door = Door(tmp_path / "documents")
        finaliser = Finaliser(PostgresDocuments(db), door, clock, lambda slug: f"https://gateway/{slug}")
        session = await records.sessions.create("abc12345", "Stand-up", None)
        yield World(db, records, clock, door, finaliser, session)


async def test_a_session_becomes_a_document(world: World) -> None:
    await world.say("Good morning.", "How are you?")
    assert await world.finaliser.finalise(world.session.id)
    document = world.document()
    assert [one["text"] for one in document["segments"]] == ["Good morning.", "How are you?"]
    assert [one["seq"] for one in document["segments"]] == [1, 2]
    assert (document["sessionSlug"], document["lastSeq"], document["finalsComplete"]) == ("abc12345", 2, True)
    row = await world.row()
    assert row.raw_transcript_blob_url == "https://gateway/abc12345"
    assert row.raw_transcript_ready_at == BEGIN
    assert row.raw_transcript_size_bytes == world.door.files()[0].stat().st_size
    assert await world.finaliser.document(world.session.id) == world.door.files()[0].read_bytes()


async def test_many_pages_are_one_document_in_spoken_order(world: World) -> None:
    texts = [f"number {n}" for n in range(1_203)]
    await world.say(*texts)
    at = BEGIN + timedelta(milliseconds=2_500)
    await Segments(world.db).upsert([NewSegment(world.session.id, None, "typed", "typed", None, True, at, None, at)])
    await world.finaliser.finalise(world.session.id)
    said = [one["text"] for one in world.document()["segments"]]
    assert said == [*texts[:2], "typed", *texts[2:]]


async def test_finalising_again_replaces_the_document(world: World) -> None:
    await world.say("one")
    await world.finaliser.finalise(world.session.id)
    world.clock.at += MINUTES
    await world.say("two")
    await world.finaliser.finalise(world.session.id)
    assert [one["text"] for one in world.document()["segments"]] == ["one", "two"]
    assert (await world.row()).raw_transcript_ready_at == BEGIN + MINUTES


async def test_a_store_that_is_away_gets_the_document_when_it_is_back(world: World) -> None:
    await world.say("one")
    world.door.shut = True
    assert not await world.finaliser.finalise(world.session.id)
    assert (await world.row()).raw_transcript_blob_url is None
    world.door.shut = False
    assert await world.finaliser.work() == 0  # it is not asked all the time
    world.clock.at += MINUTES
    assert await world.finaliser.work() == 1
    assert world.document()["segments"][0]["text"] == "one"
    assert (await world.row()).raw_transcript_blob_url is not None
    world.clock.at += timedelta(days=1)
    assert await world.finaliser.work() == 0  # nothing is left to do


async def test_a_gateway_that_dies_while_it_writes_leaves_the_work_to_another(world: World) -> None:
    await world.say("one")
    world.door.held = asyncio.Event()
    dying = asyncio.create_task(world.finaliser.finalise(world.session.id))
    await world.door.writing.wait()
    dying.cancel()
    await asyncio.wait([dying])
    world.door.held = None
    another = Finaliser(PostgresDocuments(world.db), world.door, world.clock, lambda slug: "https://another")
    assert await another.work() == 0  # the first may still be at it
    world.clock.at += 5 * MINUTES
    assert await another.work() == 1
    assert world.document()["segments"][0]["text"] == "one"
    assert len(world.door.files()) == 1


async def test_many_replicas_make_it_once(world: World) -> None:
    await world.say("one")
    world.door.shut = True
    await world.finaliser.finalise(world.session.id)
    world.door.shut = False
    world.clock.at += MINUTES
    replicas = [Finaliser(PostgresDocuments(world.db), world.door, world.clock, str) for _ in range(5)]
    assert sum(await asyncio.gather(*[replica.work() for replica in replicas])) == 1


async def test_a_deleted_session_takes_its_document_along(world: World) -> None:
    await world.say("one")
    await world.finaliser.finalise(world.session.id)
    assert await Sessions(world.db).delete(world.session.id, world.clock.now())
    await world.finaliser.work()
    assert world.door.files() == []
    assert await world.rows_left() == 0


async def test_a_blob_that_cannot_be_removed_now_is_removed_later(world: World) -> None:
    await world.say("one")
    await world.finaliser.finalise(world.session.id)
    world.door.shut = True
    await world.finaliser.remove(world.session.id)
    assert (await world.row()).raw_transcript_blob_url is None
    assert await world.finaliser.document(world.session.id) is None
    assert len(world.door.files()) == 1
    world.door.shut = False
    world.clock.at += MINUTES
    await world.finaliser.work()
    assert world.door.files() == []
    assert await world.rows_left() == 0


async def test_a_session_deleted_while_its_document_is_written_leaves_none(world: World) -> None:
    await world.say("one")
    world.door.held = asyncio.Event()
    writing = asyncio.create_task(world.finaliser.finalise(world.session.id))
    await world.door.writing.wait()
    await Sessions(world.db).delete(world.session.id, world.clock.now())
    another = Finaliser(PostgresDocuments(world.db), world.door, world.clock, str)
    await another.work()  # removes what is not there yet, and remembers that a replica may still write it
    assert await world.rows_left() == 1
    world.door.held.set()
    await writing
    assert world.door.files() == []
    world.clock.at += 10 * MINUTES
    await another.work()
    assert world.door.files() == []
    assert await world.rows_left() == 0


async def test_a_document_in_a_former_store_is_not_taken_for_removed(world: World, tmp_path: Path) -> None:
    await world.say("one")
    await world.finaliser.finalise(world.session.id)
    moved = Finaliser(PostgresDocuments(world.db), Door(tmp_path / "elsewhere"), world.clock, str)
    await moved.finalise(world.session.id)
    await moved.remove(world.session.id)
    assert len(world.door.files()) == await world.rows_left() == 1  # remembered for a replica with that store
    await world.finaliser.work()
    assert world.door.files() == []
    assert await world.rows_left() == 0


async def test_nobody_finalises_a_session_that_is_not_there(world: World) -> None:
    with pytest.raises(SessionNotFound):
        await world.finaliser.finalise("nothing")
