"""A whole run with trouble in it, logged as verbosely as can be: no word that was said is in the log, and no secret."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import aiohttp
from faults_world import Database, open_world
from support.gateway import TOKEN

from stt.local.scripted import VOCABULARY

SECRETS = {
    "GATEWAY_JWT_SECRET": "jwt-secret-of-at-least-thirty-two-bytes",
    "GLADIA_API_KEY": "gladia-key-of-the-test",
    "BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_store_tokenofthetest",
}
SHOWN = "a-credential-that-somebody-has-made-up"


async def test_neither_words_nor_secrets_are_logged(database: Database, tmp_path: Path) -> None:
    """Finals, an outage, a disk that refuses, a kill, a stop, a document whose store is away, refused credentials."""
    settings = {"GATEWAY_LOG_LEVEL": "debug", "VERCEL_BLOB_API_URL": "http://127.0.0.1:9/api/blob", **SECRETS}
    log = []
    async with open_world(database, tmp_path, sessions=1, **settings) as world:
        [viewer] = world.viewers
        await world.more_captions(3)
        with database.frozen(), world.disk_full():
            await world.more_captions(2)
        await world.all_seen_is_stored("after the outage")
        async with database.connection() as connection:
            claimed = await connection.fetchrow("SELECT session_id, stream_key FROM gateway.transcription")
            await connection.execute(
                "INSERT INTO gateway.document (session_id, place, key, wanted_at, busy_until, next_try) "
                "VALUES ($1, 'Vercel Blob store store', 'transcripts/x.json', now(), now(), now())",
                claimed["session_id"],
            )
        log += world.gateway.lines
        await world.kill_gateway()
        await world.start_gateway()
        await world.more_captions(1)
        for where in ("/api/realtime/transcribe?session=x&token=", "/api/sessions/x/transcript?token="):
            with contextlib.suppress(aiohttp.ClientError):
                async with world.http.get(world.url + where + SHOWN) as answer:
                    assert answer.status in (401, 403, 426)
        async with world.http.post(f"{world.url}/api/sessions", data=f'{{"title": "{SHOWN}'.encode()) as answer:
            assert answer.status == 401
        async with database.connection() as connection:  # a table of the app that no final fits into any more
            await connection.execute(
                'ALTER TABLE "TranscriptSegment" ADD CONSTRAINT short CHECK (length(text) < 1) NOT VALID'
            )
        await world.more_captions(1)
        await world.call("POST", "/api/transcription/stop", {"sessionSlug": viewer.slug})
        await world.gateway.end()
        log += world.gateway.lines
    assert len(log) > 20
    said = {text for _, text in viewer.seen.values()}
    assert said
    text = "\n".join(log).lower()
    # Facts that a line may well name are no leak: the words are those that were spoken here.
    leaked = {word for word in VOCABULARY if re.search(rf"\b{re.escape(word)}\b", text)}
    assert not leaked, [line for line in log if any(re.search(rf"\b{word}\b", line.lower()) for word in leaked)][:5]
    for secret in (*SECRETS.values(), TOKEN, SHOWN, claimed["stream_key"]):
        assert secret.lower() not in text, [line for line in log if secret.lower() in line.lower()][:5]
    refused = [line for line in log if "was refused by the database" in line]
    assert refused, "the rejected row was not told"
