"""Real publishers: ffmpeg, FFmpeg's libraries through PyAV, GStreamer with its own RTMP and with librtmp."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tools import missing, needs, said
from support.waiting import until

from ingest.errors import UnsupportedCodec
from ingest.rtmp.server import RtmpServer

Serve = Callable[..., Awaitable[tuple[RtmpServer, "Desk"]]]  # noqa: F821 - Desk lives in conftest

PYAV = Path(__file__).with_name("ingest_rtmp_pyav.py")
VIDEO = "-f lavfi -i testsrc=size=320x240:rate=25"
H264 = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p"


async def run(*words: str, limit_s: float = 60) -> tuple[int, str]:
    """Exit code and standard error of a program; it never outlives the test."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await said(process, limit_s)
    assert process.returncode is not None
    return process.returncode, errors.decode(errors="replace")


def quick(desk: Any) -> None:
    """For a file that is sent as fast as it can: to such a desk even a busy machine does so faster than it is heard."""
    desk.monotonic = lambda: time.monotonic() / 10


async def ffmpeg(server: RtmpServer, arguments: str, name: str = "key") -> tuple[int, str]:
    words = [needs("ffmpeg"), "-hide_banner", "-v", "warning", *arguments.split()]
    return await run(*words, "-f", "flv", f"rtmp://127.0.0.1:{server.port}/live/{name}")


def sine(hz: int, seconds: float, rate: int = 48_000) -> str:
    return f"-f lavfi -i sine=frequency={hz}:sample_rate={rate}:duration={seconds}"


async def test_ffmpeg_with_aac_and_video(serve: Serve) -> None:
    """As most people stream: the tone is heard, the picture skipped, the encoder presents itself."""
    server, desk = await serve()
    quick(desk)
    code, errors = await ffmpeg(server, f"{VIDEO} {sine(440, 3)} -t 3 {H264} -c:a aac -ac 2", "key?token=t")
    assert code == 0, errors
    heard = await desk.ended()
    assert desk.asked == [("live", "key", "token=t")]
    assert heard.seconds == pytest.approx(3.0, abs=0.06)
    assert heard.pitch() == pytest.approx(440, abs=1)
    assert heard.publisher.has_video
    assert str(heard.publisher.metadata["encoder"]).startswith("Lavf")
    assert heard.publisher.ended_because == "unpublished"
    stats = heard.track.stats
    assert stats.gaps == stats.decode_errors == stats.reanchors == 0
    assert server.counters.protocol_errors == {}


@pytest.mark.parametrize(
    ("codec", "rate"),
    [
        ("aac", 44_100), ("aac", 7_350), ("libmp3lame", 44_100), ("libmp3lame", 22_050),
        ("pcm_alaw", 8_000), ("pcm_mulaw", 8_000), ("pcm_s16le", 44_100),
    ],
)  # fmt: skip
async def test_ffmpeg_with_other_sound(serve: Serve, codec: str, rate: int) -> None:
    """Whatever old FLV can carry and we can decode."""
    server, desk = await serve()
    quick(desk)
    code, errors = await ffmpeg(server, f"{sine(600, 2, rate)} -c:a {codec} -ac 1")
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.seconds == pytest.approx(2.0, abs=0.1 + 1024 / rate)
    assert heard.pitch() == pytest.approx(600, abs=1)
    assert heard.track.stats.decode_errors == 0


async def test_sound_stands_where_it_was_made(serve: Serve) -> None:
    """A tone that begins after one second begins after one second on our clock."""
    server, desk = await serve()
    quick(desk)
    source = "-f lavfi -i aevalsrc=if(between(t\\,1\\,2)\\,0.3*sin(2*PI*600*t)\\,0):s=48000:d=3"
    code, errors = await ffmpeg(server, f"{source} -c:a aac")
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.level(0.1, 0.95) < 100
    assert heard.level(1.06, 1.95) > 3000
    assert heard.level(2.08, 2.9) < 100


async def test_ffmpeg_in_real_time_is_anchored_when_it_began(serve: Serve) -> None:
    """The wall clock of the first sample, and chunks that come while the publish goes on."""
    server, desk = await serve()
    publishing = asyncio.create_task(ffmpeg(server, f"-re {sine(500, 2)} -c:a aac"))
    heard = await desk.next()
    async with asyncio.timeout(60):
        await heard.first_chunk.wait()
    assert heard.publisher.ended_because is None, "the first chunk came only when all was over"
    assert heard.track.anchor is not None
    assert (await publishing)[0] == 0
    await desk.ended(heard)
    assert heard.seconds == pytest.approx(2.0, abs=0.06)


async def test_ffmpeg_copies_a_film_with_all_its_tracks(serve: Serve, tmp_path: Path) -> None:
    """`-map 0 -c copy` of a camera's .mov: its timecode track becomes data messages, which nobody needs."""
    server, desk = await serve()
    quick(desk)
    film = str(tmp_path / "film.mov")
    made = f"{VIDEO} {sine(440, 3)} -t 3 {H264} -c:a aac -timecode 01:00:00:00 {film}"
    assert (await run(needs("ffmpeg"), "-v", "error", *made.split()))[0] == 0
    code, errors = await ffmpeg(server, f"-i {film} -map 0 -c copy")
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.seconds == pytest.approx(3.0, abs=0.1)
    assert heard.publisher.ended_because == "unpublished"
    assert server.counters.protocol_errors == {}


async def test_ffmpeg_whose_one_side_is_turned_over_is_heard(serve: Serve) -> None:
    """A balanced microphone on a stereo input."""
    server, desk = await serve()
    quick(desk)
    code, errors = await ffmpeg(server, f"{sine(440, 2)} -af pan=stereo|c0=c0|c1=-1*c0 -c:a aac -b:a 128k")
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.level(0.1, 1.9) > 1500
    assert heard.pitch() == pytest.approx(440, abs=1)


def pcm_tone(hz: int, seconds: float) -> bytes:
    at = np.arange(round(seconds * 16_000)) / 16_000
    return (8_000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


PAUSING = {
    "ffmpeg": "-v error -f s16le -ar 16000 -ac 1 -probesize 32 -analyzeduration 0 -i pipe:0 -c:a aac -flush_packets 1 "
    "-f flv {}",
    "gst-launch-1.0": "-q fdsrc blocksize=1600 ! rawaudioparse sample-rate=16000 num-channels=1 format=pcm "
    "pcm-format=s16le ! audioconvert ! avenc_aac ! aacparse ! flvmux streamable=true ! rtmp2sink location={}",
}


@pytest.mark.parametrize("name", PAUSING)
async def test_an_encoder_whose_source_pauses_says_where_it_stopped_and_goes_on_at_its_time(
    serve: Serve, name: str
) -> None:
    """A microphone that delivers nothing for three seconds; the encoder's timestamps know nothing of it."""
    if name != "ffmpeg":
        await need_elements("rtmp2sink", "avenc_aac", "rawaudioparse", "flvmux")
    server, desk = await serve()
    words = PAUSING[name].format(f"rtmp://127.0.0.1:{server.port}/live/key")
    encoder = await asyncio.create_subprocess_exec(needs(name), *words.split(), stdin=asyncio.subprocess.PIPE)
    assert encoder.stdin is not None

    async def play(pcm: bytes) -> None:
        """In real time."""
        assert encoder.stdin is not None
        began = time.monotonic()
        for at in range(0, len(pcm), 1_600):
            encoder.stdin.write(pcm[at : at + 1_600])
            await encoder.stdin.drain()
            await asyncio.sleep(max(0.0, began + at / 32_000 - time.monotonic()))

    try:
        await play(pcm_tone(440, 2))
        heard = await desk.next()
        await until(lambda: any(chunk.pcm == b"" for chunk in heard.chunks))
        paused_at = heard.seconds
        await asyncio.sleep(2.0)
        await play(pcm_tone(880, 3))
        encoder.stdin.close()
        assert await encoder.wait() == 0
    finally:
        if encoder.returncode is None:
            encoder.kill()
            await encoder.wait()
    await desk.ended(heard)
    assert heard.track.stats.gaps == 1
    behind = next(chunk for chunk in heard.chunks if chunk.offset > paused_at * 16_000 + 1_600)
    assert heard.track.stats.gap_samples / 16_000 >= 3.0
    assert heard.pitch(behind.offset / 16_000 + 0.1) == pytest.approx(880, abs=2)


async def test_ffmpeg_that_was_held_up_and_catches_up_is_heard_without_a_gap(serve: Serve) -> None:
    """The whole encoder stands still for two seconds, as behind an uplink that stalls: all of its audio is there."""
    server, desk = await serve()
    words = f"-v error -re {sine(440, 6)} -c:a aac -f flv rtmp://127.0.0.1:{server.port}/live/key"
    encoder = await asyncio.create_subprocess_exec(needs("ffmpeg"), *words.split(), stdin=asyncio.subprocess.DEVNULL)
    try:
        heard = await desk.next()
        async with asyncio.timeout(60):
            await heard.first_chunk.wait()
            await asyncio.sleep(1.0)
            encoder.send_signal(signal.SIGSTOP)
            await until(lambda: any(chunk.pcm == b"" for chunk in heard.chunks))
            await asyncio.sleep(0.5)
            encoder.send_signal(signal.SIGCONT)
            assert await encoder.wait() == 0
    finally:
        if encoder.returncode is None:
            encoder.kill()
            await encoder.wait()
    await desk.ended(heard)
    assert heard.track.stats.gaps == 0
    assert heard.seconds == pytest.approx(6.0, abs=0.1)
    assert heard.pitch() == pytest.approx(440, abs=1)


async def test_ffmpeg_with_a_wrong_key_fails_and_says_why(serve: Serve) -> None:
    """The person at the encoder reads our words."""
    server, desk = await serve()
    code, errors = await ffmpeg(server, f"{sine(440, 3)} -c:a aac", "wrong")
    assert code != 0
    assert "unknown stream key" in errors
    assert desk.heard == []
    assert server.counters.refused_key == 1


async def test_ffmpeg_without_sound(serve: Serve) -> None:
    """No chunks; the picture is noticed."""
    server, desk = await serve()
    quick(desk)
    code, errors = await ffmpeg(server, f"{VIDEO} -t 1 {H264}")
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.chunks == []
    assert heard.publisher.has_video


async def test_ffmpeg_with_a_codec_we_cannot_decode(serve: Serve) -> None:
    """Named in an error that says what to configure."""
    server, desk = await serve()
    code, errors = await ffmpeg(server, f"{sine(440, 1, 44_100)} -c:a nellymoser -ac 1")
    assert code == 0, errors
    heard = await desk.ended()
    assert isinstance(heard.error, UnsupportedCodec)
    assert heard.error.codec == "nellymoser"


async def test_eight_ffmpegs_at_once(serve: Serve) -> None:
    """Each is heard with its own tone."""
    server, desk = await serve(keys=tuple(f"key{n}" for n in range(8)))
    quick(desk)
    results = await asyncio.gather(*(ffmpeg(server, f"{sine(300 + 100 * n, 2)} -c:a aac", f"key{n}") for n in range(8)))
    assert [code for code, _ in results] == [0] * 8
    for heard in [await desk.ended() for _ in range(8)]:
        n = int(heard.publisher.key.removeprefix("key"))
        assert heard.pitch() == pytest.approx(300 + 100 * n, abs=1)
        assert heard.seconds == pytest.approx(2.0, abs=0.06)


async def pyav(server: RtmpServer, *arguments: str) -> None:
    url = f"rtmp://127.0.0.1:{server.port}/live/key"
    code, errors = await run(sys.executable, str(PYAV), url, *arguments)
    assert code == 0, errors


@pytest.mark.parametrize(("codec", "rate"), [("aac", "48000"), ("libopus", "48000"), ("libmp3lame", "44100")])
async def test_a_newer_ffmpeg_library(serve: Serve, codec: str, rate: str) -> None:
    """FFmpeg 8 inside PyAV; it sends Opus by Enhanced RTMP."""
    server, desk = await serve()
    quick(desk)
    await pyav(server, codec, rate, "700", "3")
    heard = await desk.ended()
    assert heard.pitch() == pytest.approx(700, abs=1)
    assert heard.seconds == pytest.approx(3.0, abs=0.1)
    assert heard.track.stats.decode_errors == heard.track.stats.gaps == 0


@pytest.mark.parametrize("codec", ["flac", "ac3"])
async def test_enhanced_codecs_we_cannot_decode_are_named(serve: Serve, codec: str) -> None:
    """Our handler stops listening, so the encoder is hung up on."""
    server, desk = await serve()
    url = f"rtmp://127.0.0.1:{server.port}/live/key"
    await run(sys.executable, str(PYAV), url, codec, "48000", "700", "3")
    heard = await desk.ended()
    assert isinstance(heard.error, UnsupportedCodec)
    assert heard.error.codec == codec


async def test_a_hole_in_the_sound_is_silence_of_its_length(serve: Serve) -> None:
    """Packets between 5 s and 6.5 s never sent, of a file that comes as fast as it can: what follows keeps its time."""
    server, desk = await serve()
    quick(desk)
    await pyav(server, "aac", "48000", "700", "8", "5.0", "6.5")
    heard = await desk.ended()
    assert heard.seconds == pytest.approx(8.0, abs=0.1)
    assert heard.level(0.1, 4.95) > 3000
    assert heard.level(5.1, 6.4) < 50
    assert heard.level(6.6, 7.9) > 3000
    assert heard.track.stats.gaps == 1
    assert heard.track.stats.gap_samples / 16_000 == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize("sink", ["rtmp2sink", "rtmpsink"], ids=["gstreamer", "librtmp"])
@pytest.mark.parametrize("encoder", ["avenc_aac ! aacparse", "lamemp3enc ! mpegaudioparse"], ids=["aac", "mp3"])
async def test_gstreamer(serve: Serve, sink: str, encoder: str) -> None:
    """Its own RTMP, and librtmp, which OBS also descends from; sound and picture."""
    await need_elements(sink, *[word for word in encoder.split() if word != "!"], "x264enc", "flvmux")
    server, desk = await serve()
    sound = f"audiotestsrc freq=600 num-buffers=130 ! audioconvert ! audio/x-raw,rate=44100 ! {encoder} ! m."
    picture = "videotestsrc num-buffers=75 ! x264enc speed-preset=ultrafast tune=zerolatency ! h264parse ! m."
    url = f"rtmp://127.0.0.1:{server.port}/live/key"
    pipeline = f"flvmux name=m streamable=true ! {sink} location={url} {sound} {picture}"
    code, errors = await run(needs("gst-launch-1.0"), "-q", *pipeline.split())
    assert code == 0, errors
    heard = await desk.ended()
    assert heard.seconds == pytest.approx(130 * 1024 / 44_100, abs=0.12)
    assert heard.pitch() == pytest.approx(600, abs=1)
    assert heard.publisher.has_video
    assert "GStreamer" in str(heard.publisher.metadata["encoder"])
    assert server.counters.protocol_errors == {}


async def test_gstreamer_with_a_wrong_key_fails(serve: Serve) -> None:
    """Instead of sending into the void."""
    await need_elements("rtmp2sink", "avenc_aac", "flvmux")
    server, desk = await serve()
    sound = "audiotestsrc num-buffers=100 ! audioconvert ! avenc_aac ! aacparse ! flvmux streamable=true"
    url = f"rtmp://127.0.0.1:{server.port}/live/wrong"
    code, errors = await run(needs("gst-launch-1.0"), "-q", *f"{sound} ! rtmp2sink location={url}".split())
    assert code != 0
    assert "unknown stream key" in errors or "denied" in errors.lower(), errors
    assert desk.heard == []


async def need_elements(*names: str) -> None:
    """GStreamer comes in many parts."""
    inspect = needs("gst-inspect-1.0")
    for name in names:
        if (await run(inspect, "--exists", name))[0]:
            missing(f"the GStreamer element {name} is not installed")
