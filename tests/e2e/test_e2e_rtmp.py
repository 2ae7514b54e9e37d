"""The main job: speech over RTMP in; live transcript, rows and usage out."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest
from support.gateway import Running, ffmpeg, gateway_process, publish, words_in_order, write_wav
from support.tools import needs

from stt.local.scripted import speak
from stt.local.server import LocalServer

SAID = "alpha bravo charlie delta echo foxtrot golf hotel"


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    pcm, _ = speak(SAID, lead_s=0.3, tail_s=0.6, pauses=(0, 0, 0, 0.6))
    return write_wav(tmp_path / "spoken.wav", pcm)


async def _rows(database_url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def test_every_word_published_reaches_watchers_and_rows_once(
    gateway: Running, database_url: str, spoken: Path, provider: LocalServer
) -> None:
    """seq is 1, 2, 3 …; each final stands in TranscriptSegment; the meter equals what the provider received."""
    slug = await gateway.new_session()
    started = await gateway.start(slug, participantName="Anna")
    assert started["created"] and started["state"] == "starting"
    assert started["ingest"]["rtmpUrl"].endswith(f"/live/{started['ingest']['streamKey']}")
    async with gateway.watch(slug) as watcher:
        publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
        assert await publisher.wait() == 0, publisher.output
        stopped = await gateway.stop(slug)
        await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
    assert stopped["state"] == "stopped" and stopped["finalsComplete"] is True
    assert watcher.messages[0]["type"] == "hello"
    assert watcher.words == SAID.split()
    assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
    assert {final["data"]["participantIdentity"] for final in watcher.finals} == {"rtmp"}
    assert {final["data"]["participantName"] for final in watcher.finals} == {"Anna"}
    assert watcher.of("transcript.partial")
    rows = await _rows(database_url, 'SELECT * FROM "TranscriptSegment" ORDER BY "startedAt"')
    assert [row["utteranceId"] for row in rows] == [final["data"]["utteranceId"] for final in watcher.finals]
    assert " ".join(row["text"] for row in rows) == SAID
    assert all(row["isFinal"] and row["participantId"] for row in rows)
    (usage,) = await _rows(database_url, 'SELECT * FROM "TranscriptionUsage"')
    (session,) = provider.sessions.values()
    assert usage["durationSeconds"] == round(session.audio_bytes / 32_000)
    assert usage["durationMinutes"] == 1 and usage["totalCost"] == pytest.approx(0.01)
    assert usage["finalTranscripts"] == len(watcher.finals) and usage["endedAt"] is not None
    assert usage["transcriptsReceived"] == usage["finalTranscripts"] + usage["partialTranscripts"]
    (video,) = await _rows(database_url, 'SELECT status, "startedAt" FROM "VideoSession"')
    assert video["status"] == "LIVE" and video["startedAt"] is not None


async def test_synthesised_speech_is_recognised_offline(tmp_path: Path, database_url: str) -> None:
    """The product without a key: real speech, real recogniser, real RTMP; the words are in the rows."""
    needs("flite")
    said = "good morning everyone and welcome to the meeting"
    sound = tmp_path / "flite.wav"
    await asyncio.to_thread(
        subprocess.run, ["flite", "-voice", "rms", "-t", said, "-o", str(sound)], check=True, timeout=30
    )
    async with gateway_process(tmp_path / "data", DATABASE_URL=database_url) as gateway:
        slug = await gateway.new_session()
        started = await gateway.start(slug)
        async with gateway.watch(slug) as watcher:
            publisher = await publish(sound, started["ingest"]["rtmpUrl"])
            assert await publisher.wait() == 0, publisher.output
            await gateway.stop(slug)
            await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
        rows = await _rows(database_url, 'SELECT text FROM "TranscriptSegment" ORDER BY "startedAt"')
    assert words_in_order(said.split(), " ".join(row["text"] for row in rows).split()) >= 0.8
    assert [final["seq"] for final in watcher.finals] == list(range(1, len(rows) + 1))


async def test_an_encoder_that_reconnects_continues_the_same_transcription(
    gateway: Running, spoken: Path, database_url: str
) -> None:
    """Two publishes on one key: one transcription, one numbering, one usage row."""
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    async with gateway.watch(slug) as watcher:
        for _ in range(2):
            publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
            assert await publisher.wait() == 0, publisher.output
        await gateway.stop(slug)
        await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
    assert watcher.words == SAID.split() * 2
    assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
    starts = [final["data"]["startMs"] for final in watcher.finals]
    assert starts == sorted(starts)
    assert len(await _rows(database_url, 'SELECT 1 FROM "TranscriptionUsage"')) == 1


async def test_a_watcher_who_comes_back_gets_what_it_missed_and_nothing_else(gateway: Running, spoken: Path) -> None:
    """`since=EPOCH:SEQ` of the same epoch resumes; an unknown one starts from the beginning."""
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
    assert await publisher.wait() == 0, publisher.output
    await gateway.stop(slug)
    async with gateway.watch(slug) as watcher:
        await watcher.until(lambda w: len(w.finals) >= 2)
    first = watcher.finals[0]
    async with gateway.watch(slug, since=f"{first['epoch']}:1") as resumed:
        await resumed.until(lambda w: len(w.finals) >= len(watcher.finals) - 1)
    assert resumed.messages[0]["data"]["resumed"] is True
    assert [final["seq"] for final in resumed.finals] == [final["seq"] for final in watcher.finals][1:]
    async with gateway.watch(slug, since="other:1") as fresh:
        await fresh.until(lambda w: len(w.finals) >= len(watcher.finals))
    assert fresh.messages[0]["data"]["resumed"] is False
    assert [final["data"] for final in fresh.finals] == [final["data"] for final in watcher.finals]


async def test_a_killed_gateway_goes_on_where_it_was(
    provider: LocalServer, database_url: str, tmp_path: Path, spoken: Path
) -> None:
    """kill -9, restart on the same data: the stream key works at once, the numbering and the usage row go on."""
    env = {"DATABASE_URL": database_url, "GLADIA_API_URL": provider.url, "GLADIA_API_KEY": "right-key"}
    with pytest.raises(AssertionError, match="exit code -9"):
        async with gateway_process(tmp_path / "data", **env) as gateway:
            slug = await gateway.new_session()
            started = await gateway.start(slug)
            publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
            await publisher.wait()
            before = await gateway.until(slug, lambda seen: seen["lastSeq"] >= 2)
            await gateway.process.end(9)
    async with gateway_process(tmp_path / "data", **env) as gateway:
        seen = await gateway.until(slug, lambda seen: seen["lastSeq"] == before["lastSeq"])
        assert seen["state"] == "starting"
        key = started["ingest"]["streamKey"]
        again = await publish(spoken, f"rtmp://127.0.0.1:{gateway.rtmp_port}/live/{key}")
        assert await again.wait() == 0, again.output
        await gateway.stop(slug)
        async with gateway.watch(slug) as watcher:
            await watcher.until(lambda w: len(w.words) >= 2 * len(SAID.split()))
    assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
    assert watcher.words == SAID.split() * 2
    assert len(await _rows(database_url, 'SELECT 1 FROM "TranscriptionUsage"')) == 1


async def test_ffmpeg_with_video_is_transcribed(gateway: Running, spoken: Path) -> None:
    """The command of the README: any encoder, video skipped."""
    needs("ffmpeg")
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    async with gateway.watch(slug) as watcher:
        encoder = await ffmpeg(
            started["ingest"]["rtmpUrl"],
            *("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10", "-i", str(spoken), "-shortest"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-b:a", "96k"),
        )
        assert await encoder.wait() == 0, encoder.output
        await gateway.stop(slug)
        await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
    assert watcher.words == SAID.split()
