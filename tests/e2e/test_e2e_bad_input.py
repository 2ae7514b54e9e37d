"""What bad input gets: one clear error that says what to do, nothing lost, nothing left running."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from support.gateway import TOKEN, Process, Running, ffmpeg, gateway_process, publish, write_wav
from support.ports import free_port
from support.tools import needs

from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    pcm, _ = speak("alpha bravo charlie delta", lead_s=0.3, tail_s=0.5)
    return write_wav(tmp_path / "spoken.wav", pcm)


async def test_an_unknown_session_is_named(gateway: Running) -> None:
    for method, path, body in (
        ("POST", "/api/transcription/start", {"sessionSlug": "nowhere1", "source": "rtmp"}),
        ("POST", "/api/transcription/stop", {"sessionSlug": "nowhere1"}),
        ("GET", "/api/transcription/nowhere1", None),
        ("GET", "/api/sessions/nowhere1/transcript", None),
    ):
        status, problem = await gateway.call(method, path, body)
        assert status == 404 and "nowhere1" in problem["detail"], problem


async def test_twenty_starts_at_once_are_one_transcription(gateway: Running) -> None:
    """One 201, nineteen 200, all with the same id and key."""
    slug = await gateway.new_session()
    body = {"sessionSlug": slug, "source": "rtmp"}
    answers = await asyncio.gather(*(gateway.call("POST", "/api/transcription/start", body) for _ in range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [201]
    assert len({answer["transcriptionId"] for _, answer in answers}) == 1
    assert len({answer["ingest"]["streamKey"] for _, answer in answers}) == 1


async def test_stopping_twice_gives_the_same_answer(gateway: Running, spoken: Path) -> None:
    slug = await gateway.new_session()
    status, problem = await gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert status == 404 and "never" in problem["title"].lower()
    started = await gateway.start(slug)
    publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
    await publisher.wait()
    first, second = await asyncio.gather(gateway.stop(slug), gateway.stop(slug))
    assert first == second == await gateway.stop(slug)
    assert first["finalsComplete"] and first["usage"]["totals"]["finalTranscripts"] == 1


async def test_an_ended_session_is_not_started(gateway: Running, database_url: str) -> None:
    import asyncpg

    slug = await gateway.new_session()
    connection = await asyncpg.connect(database_url)
    await connection.execute("""UPDATE "VideoSession" SET status = 'ENDED'""")
    await connection.close()
    status, problem = await gateway.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
    assert status == 409 and problem["hint"]


async def test_a_malformed_body_is_told_what_is_wrong(gateway: Running) -> None:
    pigeon = b'{"sessionSlug": "x", "source": "carrier pigeon"}'
    for body in (b"{", b"", b"[]", b'{"sessionSlug": 7}', pigeon, b"\xff\xfe"):
        status, problem = await gateway.call("POST", "/api/transcription/start", body)
        assert status == 400 and problem["status"] == 400 and problem["detail"], body


async def test_a_wrong_token_gets_nowhere(gateway: Running) -> None:
    for token in (None, "", "wrong", TOKEN + "x", "a.b.c", "ü"):
        for method, path in (("POST", "/api/transcription/start"), ("GET", "/api/transcription"), ("GET", "/metrics")):
            status, problem = await gateway.call(method, path, b"{}" if method == "POST" else None, token=token)
            assert status == 401 and problem["title"], token
            assert token is None or not token or token not in problem["detail"], token


async def test_a_wrong_stream_key_is_refused_and_harms_nobody(gateway: Running, spoken: Path) -> None:
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    good = await publish(spoken, started["ingest"]["rtmpUrl"])
    bad = await publish(spoken, f"rtmp://127.0.0.1:{gateway.rtmp_port}/live/not-a-key")
    assert await bad.wait() != 0
    assert await good.wait() == 0, good.output
    stopped = await gateway.stop(slug)
    assert stopped["usage"]["totals"]["finalTranscripts"] == 1
    _, metrics = await gateway.call("GET", "/metrics")
    assert "gateway_rtmp_refused_keys_total 1.0" in metrics
    assert "not-a-key" not in gateway.process.output


async def test_video_without_audio_is_said(gateway: Running) -> None:
    needs("ffmpeg")
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    encoder = await ffmpeg(
        started["ingest"]["rtmpUrl"],
        *("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10", "-t", "20", "-c:v", "libx264"),
    )
    await gateway.until(
        slug, lambda seen: any("no audio" in why and "-c:a aac" in why for why in seen["health"]["reasons"])
    )
    stopped = await gateway.stop(slug)
    assert stopped["usage"]["totals"]["durationSeconds"] == 0 and stopped["usage"]["totals"]["errorsCount"] == 1
    await encoder.end()


async def test_a_codec_we_cannot_decode_is_named(gateway: Running, spoken: Path) -> None:
    needs("ffmpeg")
    slug = await gateway.new_session()
    started = await gateway.start(slug)
    async with gateway.watch(slug) as watcher:
        encoder = await ffmpeg(
            started["ingest"]["rtmpUrl"], "-re", "-i", str(spoken), "-c:a", "nellymoser", "-ar", "22050"
        )
        await watcher.until(lambda w: bool(w.of("error")))
        await encoder.end()
    (error,) = watcher.of("error")
    assert "nellymoser" in error["data"]["message"] and "AAC" in error["data"]["message"]
    stopped = await gateway.stop(slug)
    assert stopped["usage"]["totals"]["errorsCount"] == 1


async def test_a_refused_provider_key_is_said_before_anything_starts(
    provider: LocalServer, database_url: str, tmp_path: Path
) -> None:
    """401 from the provider: `start` answers 503 with what to set, and no transcription exists."""
    async with gateway_process(
        tmp_path / "data", DATABASE_URL=database_url, GLADIA_API_URL=provider.url, GLADIA_API_KEY="wrong-key"
    ) as gateway:
        slug = await gateway.new_session()
        status, problem = await gateway.call(
            "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"}
        )
        assert status == 503 and "GLADIA_API_KEY" in problem["hint"]
        assert (await gateway.call("GET", f"/api/transcription/{slug}"))[0] == 404
        assert "wrong-key" not in gateway.process.output


async def test_a_key_refused_in_mid_run_stops_the_transcription_with_the_reason(
    database_url: str, tmp_path: Path, spoken: Path
) -> None:
    faults = {"post": {"refusals": [{"status": 401, "count": 1}]}}
    async with (
        LocalServer(LocalOptions(engine="scripted", faults=faults)) as provider,
        gateway_process(
            tmp_path / "data", DATABASE_URL=database_url, GLADIA_API_URL=provider.url, GLADIA_API_KEY="k"
        ) as gateway,
    ):
        slug = await gateway.new_session()
        started = await gateway.start(slug)
        publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
        seen = await gateway.until(slug, lambda seen: seen["state"] == "stopped")
        assert "GLADIA_API_KEY" in seen["reason"]
        await publisher.wait()
        assert not provider.sessions


async def test_a_full_provider_is_waited_for_and_no_word_is_lost(
    database_url: str, tmp_path: Path, spoken: Path
) -> None:
    """429: the state is `waiting`, the audio is held, and when a place is free everything is transcribed."""
    faults = {"post": {"refusals": [{"status": 429, "count": 3}]}}
    async with (
        LocalServer(LocalOptions(engine="scripted", faults=faults)) as provider,
        gateway_process(
            tmp_path / "data", DATABASE_URL=database_url, GLADIA_API_URL=provider.url, GLADIA_API_KEY="k"
        ) as gateway,
    ):
        slug = await gateway.new_session()
        started = await gateway.start(slug)
        async with gateway.watch(slug) as watcher:
            publisher = await publish(spoken, started["ingest"]["rtmpUrl"])
            await watcher.until(lambda w: any(m["data"]["state"] == "waiting" for m in w.of("session.state")))
            await watcher.until(lambda w: bool(w.finals))
            await publisher.wait()
            await gateway.stop(slug)
        assert watcher.words == ["alpha", "bravo", "charlie", "delta"]


async def test_an_absent_database_ends_the_start_within_ten_seconds(tmp_path: Path) -> None:
    """Exit code 2, one line that says what to do, and not the password."""
    process = await Process.start(
        *(sys.executable, "-m", "gateway", "serve"),
        env={
            "DATABASE_URL": f"postgresql://somebody:sesame@127.0.0.1:{free_port()}/app",
            "GATEWAY_API_TOKENS": TOKEN,
            "GLADIA_API_KEY": "k",
            "GATEWAY_DATA_DIR": str(tmp_path),
        },
    )
    assert await process.wait() == 2
    assert "DATABASE_URL" in process.output and "sesame" not in process.output
    assert "Traceback" not in process.output


async def test_wrong_settings_are_all_named_at_once(tmp_path: Path) -> None:
    process = await Process.start(
        *(sys.executable, "-m", "gateway", "serve"),
        env={"GATEWAY_HTTP_PORT": "eighty", "GATEWAY_COST_PER_MINUTE": "-1", "GATEWAY_API_TOKENS": ""},
    )
    assert await process.wait() == 2
    for name in ("GATEWAY_HTTP_PORT", "GATEWAY_COST_PER_MINUTE", "GATEWAY_API_TOKENS"):
        assert name in process.output
