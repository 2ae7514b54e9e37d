"""`gateway doctor` on neighbours that are well, and on some that are not."""

from __future__ import annotations

from pathlib import Path

import gateway.cli
from gateway.app.doctor import examine, judge_skew
from gateway.settings import Settings
from stt.local.server import LocalOptions, LocalServer

SAMPLE = Path(gateway.cli.__file__).with_name("sample.flac")
SPOKEN = "a spoken sentence"


async def found(folder: Path, **env: str) -> dict[str, tuple[bool, str]]:
    settings = Settings.from_env({"GATEWAY_API_TOKENS": "t" * 32, "GATEWAY_DATA_DIR": str(folder), **env})
    return {part: (fine, text) async for part, fine, text in examine(settings, SAMPLE)}


async def test_the_offline_recogniser_hears_the_sentence(tmp_path: Path) -> None:
    findings = await found(tmp_path / "not" / "there" / "yet")
    fine, text = findings[SPOKEN]
    assert fine and "welcome" in text
    assert findings["disk"][0]
    assert all(fine for fine, _ in findings.values())


async def test_a_provider_that_says_nothing_and_a_full_disk_are_told(tmp_path: Path) -> None:
    async with LocalServer(LocalOptions(api_key="k", engine="scripted")) as local:
        findings = await found(tmp_path, GLADIA_API_KEY="k", GLADIA_API_URL=local.url, GATEWAY_SPOOL_MB="1000000")
    assert not findings[SPOKEN][0] and "no text" in findings[SPOKEN][1]
    assert not findings["disk"][0] and "GATEWAY_SPOOL_MB" in findings["disk"][1]
    assert findings["clock against the provider"][0]


async def test_no_sentence_is_spoken_to_a_provider_that_cannot_be_reached(tmp_path: Path) -> None:
    env = {"GATEWAY_HTTP_PORT": "8081", "GATEWAY_METRICS_PORT": "9091"}
    findings = await found(tmp_path, GLADIA_API_KEY="k", GLADIA_API_URL="http://127.0.0.1:1", **env)
    assert not findings["speech provider"][0]
    assert not findings[SPOKEN][0] and findings[SPOKEN][1].startswith("not tried: the provider cannot be reached")
    assert next(iter(findings.items())) == ("this replica", (True, "HTTP at 0.0.0.0:8081, metrics at 0.0.0.0:9091"))


def test_a_clock_that_is_off_is_told_with_its_direction() -> None:
    assert judge_skew(0.4)[0]
    assert not judge_skew(-9)[0] and "9.0 s behind" in judge_skew(-9)[1]
    assert not judge_skew(9)[0] and "9.0 s ahead" in judge_skew(9)[1]
