"""The provider's own JavaScript SDK, unmodified, works against the local server and notices no difference."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stt_local_client import Serve
from support.builds import CannotBuild, npm_packages
from support.tools import missing, said

from stt.local.scripted import speak
from stt.local.server import LocalServer

HERE = Path(__file__).with_name("node_sdk")
SAID = ["alpha", "bravo", "charlie", "delta"]
PCM, _ = speak(SAID, pauses=[0.2] * 3, tail_s=0.2)
CONFIG: dict[str, Any] = {
    "encoding": "wav/pcm",
    "sample_rate": 16000,
    "bit_depth": 16,
    "channels": 1,
    "messages_config": {
        "receive_partial_transcripts": True,
        "receive_lifecycle_events": True,
        "receive_acknowledgments": True,
    },
}


@pytest.fixture(scope="session")
def talk() -> list[str]:
    """How to start talk.mjs, with the SDK installed as the lock file has it."""
    found = shutil.which("node")
    if found is None:
        missing("node is not installed, so the JavaScript SDK is not tried")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        missing(f"node is {version.strip()}, the JavaScript SDK needs 20")
    try:
        npm_packages(HERE)
    except CannotBuild as error:
        missing(str(error))
    return [found, str(HERE / "talk.mjs")]


async def run(talk: list[str], server: LocalServer, folder: Path, **more: Any) -> dict[str, Any]:
    sound = folder / "speech.pcm"
    sound.write_bytes(PCM)
    asked = {"url": server.url, "key": "any", "pcm": str(sound), "config": CONFIG, **more}
    process = await asyncio.create_subprocess_exec(
        *talk, json.dumps(asked), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await said(process, 60)
    assert process.returncode == 0, errors.decode()
    seen: dict[str, Any] = json.loads(out)
    return seen


async def test_it_runs_a_session_and_reads_its_record(serve: Serve, talk: list[str], tmp_path: Path) -> None:
    server = await serve()
    seen = await run(talk, server, tmp_path, region="eu-west", then=["get", "list", "file", "delete"])
    assert seen["errors"] == []
    assert (seen["code"], seen["connected"], seen["words"]) == (1000, 1, SAID)
    assert seen["types"][:2] == ["start_session", "start_recording"]
    assert seen["types"][-4:] == ["end_recording", "post_transcript", "post_final_transcript", "end_session"]
    assert (seen["record"]["status"], seen["record"]["kind"]) == ("done", "live")
    assert seen["record"]["result"]["transcription"]["full_transcript"] == " ".join(SAID)
    assert seen["record"]["result"]["metadata"]["billing_time"] == round(len(PCM) / 32_000, 3)
    assert seen["listed"] == [seen["id"]]
    assert seen["file"] == hashlib.sha256(PCM).hexdigest()
    assert seen["deleted"] and not server.sessions


@pytest.mark.parametrize("code", [None, 1011, 4500])
async def test_it_resumes_without_loss(serve: Serve, talk: list[str], tmp_path: Path, code: int | None) -> None:
    cuts = [{"at_byte": 10_001, "code": code}, {"at_byte": 30_000, "code": code, "ack": "after"}]
    server = await serve(faults={"every": {"cuts": cuts}})
    seen = await run(talk, server, tmp_path)
    assert (seen["code"], seen["connected"], seen["words"]) == (1000, 3, SAID)
    assert next(iter(server.sessions.values())).audio_bytes == len(PCM)


async def test_a_code_that_must_not_be_retried_ends_its_session(serve: Serve, talk: list[str], tmp_path: Path) -> None:
    server = await serve(faults={"every": {"cuts": [{"at_byte": 3200, "code": 4401}]}})
    seen = await run(talk, server, tmp_path)
    assert (seen["code"], seen["connected"]) == (4401, 1)


async def test_messages_out_of_place_do_not_disturb_it(serve: Serve, talk: list[str], tmp_path: Path) -> None:
    server = await serve(faults={"every": {"inject": [{"kind": "unknown"}, {"kind": "error", "at_byte": 6400}]}})
    seen = await run(talk, server, tmp_path)
    assert (seen["errors"], seen["words"]) == ([], SAID)
    assert {"weather_report", "error"} <= set(seen["types"])


async def test_a_refused_key_reaches_its_user_with_the_providers_words(
    serve: Serve, talk: list[str], tmp_path: Path
) -> None:
    server = await serve(api_key="right")
    seen = await run(talk, server, tmp_path, key="wrong")
    assert seen["code"] == 1006
    assert any("gladia user not found" in error for error in seen["errors"])
