"""The document through the whole gateway: made by its background work, read over HTTP, gone with its session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import pytest
from integration.gateway_api.in_process import Answer, InProcess, room_token, running, speech_server, user_token
from support import document_schema
from support.waiting import until

from gateway.app.system_clock import SystemClock
from gateway.archive.documents import BlobOptions, PostgresDocuments, open_blobs
from gateway.archive.finalise import Finaliser
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url
from stt.local.server import LocalServer


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path) as found:
        yield found


async def finalise(gateway: InProcess, slug: str) -> bool:
    """As the end of a session does it, on another replica with the same store."""
    async with (
        open_pool(parse_database_url(gateway.database_url), size=2) as database,
        open_blobs(BlobOptions(gateway.settings.blob_store)) as blobs,
    ):
        link = f"{gateway.url}/api/sessions/{{}}/document".format
        finaliser = Finaliser(PostgresDocuments(database), blobs, SystemClock(), link)
        session = await gateway_session(gateway, slug)
        return await finaliser.finalise(session)


async def gateway_session(gateway: InProcess, slug: str) -> str:
    async with gateway.records() as shelf:
        found = await shelf.sessions.by_slug(slug)
        assert found is not None
        return found.id


async def read(gateway: InProcess, slug: str, token: str | None = None) -> Answer:
    path = f"/api/sessions/{slug}/document"
    return await (gateway.call("GET", path, token=token) if token else gateway.call("GET", path))


async def test_the_document_is_read_by_whoever_may_read_the_transcript(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.records() as shelf:
        await shelf.told(slug, ["Good morning.", "Good-bye."])
    before = await read(gateway, slug)
    assert (before.status, before.kind) == (404, "application/problem+json")
    assert await finalise(gateway, slug)
    answer = await read(gateway, slug)
    assert (answer.status, answer.kind) == (200, "application/json")
    jsonschema.validate(answer.json, document_schema.schema())
    assert [one["text"] for one in answer.json["segments"]] == ["Good morning.", "Good-bye."]
    async with gateway.records() as shelf:
        session = await shelf.sessions.by_slug(slug)
    assert session is not None and session.raw_transcript_blob_url is not None
    assert session.raw_transcript_size_bytes == len(answer.body)
    assert session.raw_transcript_blob_url.endswith(f"/api/sessions/{slug}/document")
    assert (await read(gateway, slug, room_token(slug))).status == 200
    assert (await read(gateway, slug, user_token("default"))).status == 200
    assert (await read(gateway, slug, user_token("elsewhere"))).status == 403
    assert (await read(gateway, slug, "nonsense")).status == 401
    assert (await read(gateway, "nothing")).status == 404


async def test_what_another_replica_left_undone_is_done_here(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """A gateway finds at its start that a document has to go."""
    async with running(database_url, provider, tmp_path) as gateway:
        slug = await gateway.session()
        async with gateway.records() as shelf:
            await shelf.told(slug, ["Good morning."])
        assert await finalise(gateway, slug)
        async with gateway.records() as shelf:
            session = await shelf.sessions.by_slug(slug)
            assert session is not None
            await shelf.sessions.delete(session.id, SystemClock().now())
    folder = tmp_path / "documents" / "transcripts"
    assert len(list(folder.iterdir())) == 1
    async with running(database_url, provider, tmp_path):
        await until(lambda: not list(folder.iterdir()))
