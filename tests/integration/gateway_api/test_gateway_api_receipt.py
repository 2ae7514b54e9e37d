"""Silence in a published stream: it is heard, not sent, and stands on the receipt, while it runs and after the stop."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from support.gateway import write_wav
from support.scripted_gateway import World, scripted_gateway

from stt.local.scripted import speak


async def publish(world: World, url: str) -> None:
    """Two words, three seconds of silence, two words."""
    pcm, _ = speak("alpha bravo charlie delta", lead_s=0.5, tail_s=1.5, pauses=[0.0, 3.0, 0.0])
    sound = write_wav(world.folder / "speech.wav", pcm)
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli.publish", str(sound), url)
    assert await publisher.wait() == 0


@pytest.mark.parametrize("mode", ["on", "shadow"])
async def test_the_receipt_says_what_was_saved(database_url: str, tmp_path: Path, mode: str) -> None:
    async with scripted_gateway(database_url, tmp_path, vad_mode=mode, cost_per_minute=0.6) as world:
        slug = await world.new_session()
        await publish(world, await world.start(slug))
        running: dict[str, Any] = (await world.call("GET", f"/api/transcription/{slug}/usage"))["receipt"]
        await world.stop(slug)
        usage = await world.call("GET", f"/api/transcription/{slug}/usage")
        receipt = usage["receipt"]
        assert receipt["gate"] == running["gate"] == mode
        assert receipt["secondsHeard"] == running["secondsHeard"] == pytest.approx(6.0, abs=0.3)
        assert receipt["secondsSent"] == usage["totals"]["durationSeconds"]
        assert 0.8 <= receipt["secondsSpeech"] <= 2.5
        assert receipt["secondsSaveable"] >= 2.0
        assert receipt["costSaveable"] == pytest.approx(receipt["secondsSaveable"] * 0.01, abs=0.001)
        saved = receipt["secondsSaveable"] if mode == "on" else 0.0
        assert receipt["secondsSaved"] == saved
        assert receipt["secondsSent"] <= round(receipt["secondsHeard"] - saved) + 1
        transcript = await world.call("GET", f"/api/sessions/{slug}/transcript?format=json")
        assert " ".join(said["text"] for said in transcript["finals"]) == "alpha bravo charlie delta"
        assert await world.metric("gateway_audio_heard_seconds_total") == pytest.approx(6.0, abs=0.3)
        assert await world.metric("gateway_silence_seconds_total") >= 2.0
