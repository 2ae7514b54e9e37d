"""One contract, three stores: a folder, a bucket of a real S3 server, Vercel Blob's protocol (public and private)."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import boto3
import pytest
from moto.server import ThreadedMotoServer
from vercel_stand_in import TOKEN, StandIn, vercel_stand_in  # this folder's

from storage.blob.folder import FolderBlobs
from storage.blob.s3 import S3Blobs, S3Options
from storage.blob.store import BlobError, Blobs
from storage.blob.vercel import VercelOptions, open_vercel

KEY = "transcripts/abc12345-0f9.json"
JSON = "application/json"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        endpoint = f"http://{host}:{port}"
        boto3.client(
            "s3", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s"
        ).create_bucket(Bucket="talk", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield endpoint
    finally:
        server.stop()


def bucket(endpoint: str, name: str = "talk", prefix: str = "kept/here") -> S3Blobs:
    return S3Blobs(S3Options(name, prefix, endpoint, "eu-west-1", "k", "s"))


@pytest.fixture(params=["folder", "s3", "vercel-private", "vercel-public"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    kind, _, access = request.param.partition("-")
    if kind == "folder":
        yield FolderBlobs(tmp_path / "documents")
    elif kind == "s3":
        yield bucket(request.getfixturevalue("s3_endpoint"))
    else:
        async with (
            vercel_stand_in(access) as stand_in,
            open_vercel(VercelOptions(TOKEN, access, f"{stand_in.url}/api/blob")) as vercel,
        ):
            yield vercel


async def test_a_document_comes_back_as_it_was_put(blobs: Blobs) -> None:
    document = "Grüße, 世界 \x00".encode() * 50_000  # 1 MB
    await blobs.put(KEY, document, JSON)
    assert await blobs.get(KEY) == document


async def test_a_document_is_replaced_under_the_same_url(blobs: Blobs) -> None:
    first = await blobs.put(KEY, b"one, and longer than two", JSON)
    assert await blobs.put(KEY, b"two", JSON) == first
    assert await blobs.get(KEY) == b"two"


async def test_a_reader_finds_the_old_or_the_new_document_and_nothing_between(blobs: Blobs) -> None:
    versions = {bytes([digit]) * 200_000 for digit in b"abc"}
    await blobs.put(KEY, b"a" * 200_000, JSON)

    async def read() -> None:
        for _ in range(20):
            assert await blobs.get(KEY) in versions

    await asyncio.gather(read(), *[blobs.put(KEY, version, JSON) for version in sorted(versions)])


async def test_what_is_deleted_is_gone_and_deleting_it_again_changes_nothing(blobs: Blobs) -> None:
    await blobs.put(KEY, b"one", JSON)
    await blobs.put("transcripts/other.json", b"other", JSON)
    await blobs.delete(KEY)
    await blobs.delete(KEY)
    assert await blobs.get(KEY) is None
    assert await blobs.get("transcripts/other.json") == b"other"


async def test_a_document_that_never_was_is_none(blobs: Blobs) -> None:
    assert await blobs.get("transcripts/nothing.json") is None


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "ä", "a" * 600])
async def test_a_bad_key_is_a_bug_and_touches_nothing(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await blobs.put(key, b"x", JSON)


async def test_the_place_tells_which_store_it_is_and_no_secret(blobs: Blobs) -> None:
    assert blobs.place
    assert TOKEN not in blobs.place


# --- each store's own -----------------------------------------------------------------------------------------


async def test_a_writer_that_was_killed_leaves_nothing_behind_the_delete(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(KEY, b"one", JSON)
    part = (tmp_path / KEY).with_name("abc12345-0f9.json.deadbeef.part")
    part.write_bytes(b"half of one")
    await blobs.delete(KEY)
    assert list(part.parent.iterdir()) == []


async def test_files_are_for_this_account_only(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "documents")
    await blobs.put(KEY, b"one", JSON)
    kept = tmp_path / "documents" / KEY
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.parent.stat().st_mode & 0o077 == 0


async def test_a_full_disk_leaves_the_old_document(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(KEY, b"one", JSON)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # what is longer fails, as on a disk that is full
    try:
        with pytest.raises(BlobError) as refused:
            await blobs.put(KEY, b"x" * 10_000, JSON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.retryable
    assert await blobs.get(KEY) == b"one"
    assert len(list((tmp_path / "transcripts").iterdir())) == 1


async def test_an_object_has_its_type_and_its_url(s3_endpoint: str) -> None:
    url = await bucket(s3_endpoint).put(KEY, b"{}", JSON)
    assert url == f"{s3_endpoint}/talk/kept/here/{KEY}"
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    found = client.get_object(Bucket="talk", Key=f"kept/here/{KEY}")
    assert (found["ContentType"], found["Body"].read()) == (JSON, b"{}")


async def test_a_bucket_that_is_not_there_is_said_so(s3_endpoint: str) -> None:
    with pytest.raises(BlobError, match="no bucket") as refused:
        await bucket(s3_endpoint, "nowhere").put(KEY, b"{}", JSON)
    assert not refused.value.retryable


async def test_an_s3_server_that_is_away_may_come_back() -> None:
    away = S3Blobs(S3Options("talk", "", "http://127.0.0.1:1", "eu-west-1", "k", "s"))
    with pytest.raises(BlobError) as refused:
        await away.put(KEY, b"{}", JSON)
    assert refused.value.retryable


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with vercel_stand_in() as running:
        yield running


def vercel(stand_in: StandIn, token: str = TOKEN) -> VercelOptions:
    return VercelOptions(token, "private", f"{stand_in.url}/api/blob", delays=(0.0, 0.0))


@pytest.mark.parametrize("fault", [(500, "internal_server_error"), (503, "service_unavailable"), (429, "rate_limited"),
                                   (0, "the line is cut")])  # fmt: skip
async def test_vercel_is_asked_again_after_trouble_that_passes(stand_in: StandIn, fault: tuple[int, str]) -> None:
    async with open_vercel(vercel(stand_in)) as blobs:
        stand_in.faults += [fault, fault]
        await blobs.put(KEY, b"one", JSON)
    assert stand_in.blobs[KEY].data == b"one"
    attempts = [headers["x-api-blob-request-attempt"] for _, headers in stand_in.requests]
    if fault[0]:  # the client library itself repeats a request whose line was cut at once
        assert attempts == ["0", "1", "2"]
    assert len({headers["x-api-blob-request-id"] for _, headers in stand_in.requests}) == 1


async def test_vercel_is_given_up_in_the_end(stand_in: StandIn) -> None:
    async with open_vercel(vercel(stand_in)) as blobs:
        stand_in.faults += [(503, "service_unavailable")] * 3
        with pytest.raises(BlobError) as refused:
            await blobs.put(KEY, b"one", JSON)
    assert refused.value.retryable


async def test_a_wrong_token_is_not_tried_twice_and_not_told(stand_in: StandIn) -> None:
    wrong = "vercel_blob_rw_StandInStore_wrong"
    async with open_vercel(vercel(stand_in, wrong)) as blobs:
        with pytest.raises(BlobError, match="BLOB_READ_WRITE_TOKEN") as refused:
            await blobs.put(KEY, b"one", JSON)
    assert not refused.value.retryable
    assert len(stand_in.requests) == 1
    assert wrong not in str(refused.value)


async def test_a_private_document_is_not_for_whoever_has_its_url(stand_in: StandIn) -> None:
    async with open_vercel(vercel(stand_in)) as blobs, aiohttp.ClientSession() as stranger:
        url = await blobs.put(KEY, b"one", JSON)
        assert url is not None
        async with stranger.get(url) as answer:
            assert answer.status == 403
