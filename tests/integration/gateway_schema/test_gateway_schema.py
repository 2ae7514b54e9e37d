"""Many requests made from our own OpenAPI document, good and bad: no 5xx, no answer that it does not name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support.gateway import TOKEN, Process, gateway_process

from stt.local.server import LocalOptions, LocalServer

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXIST = "sessions that exist"
VALUES = ("--phases", "examples,coverage")
"""Each value of each field, good and bad."""
PARTS = {
    EXIST: (2000, (*VALUES, "--exclude-method", "DELETE", "--exclude-path-regex", "/end$")),
    "what ends or deletes": (20, (*VALUES, "--include-path-regex", "/end$", "--include-method", "DELETE")),
    "everything": (200, ("--phases", "fuzzing", "--max-examples", "8")),
}
"""The least number of requests, so that none means not that all is well; what schemathesis is told."""


@pytest.mark.parametrize("part", PARTS)
async def test_the_api_keeps_to_its_document(database_url: str, tmp_path: Path, part: str) -> None:
    """LiveKit is configured and away, as it may be: a start then waits for it."""
    least, asked = PARTS[part]
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        env = {
            "DATABASE_URL": database_url,
            "GLADIA_API_URL": provider.url,
            "GLADIA_API_KEY": "k",
            "GATEWAY_DRAIN_S": "0.5",
            "GATEWAY_LIVEKIT_AUTO_START": "false",
            "LIVEKIT_URL": "ws://127.0.0.1:9",
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "a-secret-of-at-least-thirty-two-bytes",
            "GATEWAY_LOG_LEVEL": "warning",
        }
        async with gateway_process(tmp_path / "data", **env) as gateway:
            slug = await gateway.new_session()
            await gateway.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna"})
            config = tmp_path / "schemathesis.toml"
            config.write_text(f'[parameters]\n"path.slug" = "{slug}"\n' if part == EXIST else "")
            process = await Process.start(
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
                *(f"{gateway.url}/openapi.json", "--url", gateway.url, "--checks", CHECKS, *asked),
                *("--workers", "2", "--seed", "1"),
                *("--header", f"Authorization: Bearer {TOKEN}", "--request-timeout", "15", "--no-color"),
                *("--suppress-health-check", "all", "--warnings", "off"),
                env={"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path), "NO_PROXY": "*"},
                cwd=tmp_path,  # where it keeps what it has found
            )
            code = await process.wait(100)
            assert code == 0, process.output
            made = re.search(r"(\d+) generated, (\d+) passed", process.output)
            assert made is not None and made[1] == made[2] and int(made[1]) >= least, process.output
