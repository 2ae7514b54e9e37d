"""Every command in the documentation is run: here against a gateway, or by the test that stands beside it below."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from support.gateway import TOKEN, Running, gateway_process
from support.tools import needs

from gateway.settings import VARIABLES

ROOT: Final = Path(__file__).parents[2]
_BLOCK: Final = re.compile(r"^```(?:sh|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    text: str


def blocks() -> Iterator[Block]:
    for pages in ("*.md", "docs/*.md", "clients/*/README.md", "examples/*/README.md"):
        for path in sorted(ROOT.glob(pages)):
            for found in _BLOCK.finditer(path.read_text()):
                yield Block(str(path.relative_to(ROOT)), found[1])


# Page, words of the block, and the test that runs the same: what needs an app, a cluster, a media server or an account.
ELSEWHERE: Final = (
    ("README.md", "gateway check ", "tests/e2e/test_e2e_bad_input.py"),
    ("docs/tutorial.md", "make demo", "tests/e2e/test_e2e_demo.py"),
    ("docs/deploy.md", "deploy/compose/up.sh", "tests/integration/deploy/test_deploy_files.py"),
    ("docs/runbook.md", "ask tasks", "tests/integration/gateway_api/test_gateway_api_debug.py"),
    ("docs/runbook.md", "panels.py", "tests/integration/deploy/test_deploy_alerts.py"),
    ("docs/canary.md", "gateway canary --once", "tests/integration/gateway_app/test_gateway_app_canary.py"),
    ("docs/deploy.md", "sha256sum --check", "tests/integration/release/test_release.py"),
    ("docs/deploy.md", "helm install", "tests/integration/deploy/test_deploy_files.py"),
    ("docs/livekit.md", "LIVEKIT_URL=", "tests/e2e/test_e2e_livekit.py"),
    ("docs/local-stt.md", "gateway stt", "tests/integration/gateway_app/test_gateway_app_dies.py"),
    ("docs/upgrading.md", "pg_restore", "tests/integration/restore/test_restore.py"),
    ("docs/upgrading.md", "UPDATE gateway.document", "tests/integration/restore/test_restore.py"),
    ("examples/nextjs/README.md", "gateway serve", "tests/integration/nextjs/test_nextjs_page.py"),
    ("examples/nextjs/README.md", "npm run build", "tests/integration/nextjs/test_nextjs_page.py"),
    ("examples/nextjs/README.md", "ffmpeg", "tests/integration/nextjs/test_nextjs_page.py"),
)
# What is put where the page has an example, and what a command that waits for a person gets instead.
_ALIKE: Final = (
    (". .venv/bin/activate\n", ""),
    ("export GATEWAY_API_TOKENS=a-service-token-for-trying-it-out\n", ""),
    ("gateway serve\n", ""),  # the gateway that runs
    ("localhost:8080", "$AT"),
    ("'http://$AT", "'http://'$AT'"),
    ("abc12345", "'$SLUG'"),
    ("SPACE", "default"),
    ('-H "Authorization: Bearer $TOKEN"', '-H "Authorization: Bearer $GATEWAY_API_TOKENS"'),
    ("curl -N", "listen"),
    ("curl ", "curl --fail-with-body -sS -m 20 "),
    ("speech.mp4", "$SPEECH"),
    ("live/KEY\n", "live/$(key)\n"),
    ("localhost:1935", "$RTMP"),
    ('"rtmp"}\'\n', '"rtmp"}\' | tee started.json\n'),
    (
        'gateway start --create "Weekly meeting" ',
        'gateway start --create "Weekly meeting" | tee started.json\nSLUG=$(slug) ',
    ),
    ("gateway tail SLUG ", 'gateway tail "$SLUG" > tail.txt & '),
    ("gateway pause SLUG", 'gateway pause "$SLUG"'),
    ("gateway stop SLUG", 'gateway stop "$SLUG"'),
    ("gateway export SLUG", 'gateway export "$SLUG"'),
)
_TUTORIAL: Final = (
    *_ALIKE[:3],
    ("make demo ARGS=--once\n", ""),
    ('gateway tail "$SLUG"\n', 'gateway tail "$SLUG" | head -n 1 | tee first.txt\n'),
)
_HEAD: Final = """\
set -euo pipefail
python() { "$PYTHON" "$@"; }
gateway() { "$PYTHON" -m gateway "$@"; }
listen() { curl -sS -N -m 2 "$@" || [ $? = 28 ]; }  # a stream does not end by itself
slug() { python -c 'import json; print(json.load(open("started.json"))["sessionSlug"])'; }
key() { python -c 'import json; print(json.load(open("started.json"))["ingest"]["streamKey"])'; }
"""


def script(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    for old, new in changes:
        text = text.replace(old, new)
    return text


async def bash(text: str, folder: Path, gateway: Running, **env: str) -> str:
    """Returns: what it printed. Everything that it started is over afterwards."""
    address = gateway.url.removeprefix("http://")
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        _HEAD + text,
        cwd=folder,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "GATEWAY_URL": gateway.url,
            "GATEWAY_API_TOKENS": TOKEN,
            "AT": address,
            "RTMP": f"127.0.0.1:{gateway.rtmp_port}",
            **env,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(120):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
            await process.wait()
    assert process.returncode == 0, f"{text}\n---\n{told.decode()}"
    return told.decode()


@pytest.fixture
async def offline(tmp_path: Path) -> AsyncIterator[Running]:
    """As the tutorial starts it: a database of its own, the offline recogniser, in the folder it stands in."""
    async with gateway_process(tmp_path / "var", GATEWAY_DRAIN_S="5") as running:
        yield running


async def test_the_tutorial_ends_with_a_transcript(offline: Running, tmp_path: Path) -> None:
    needs("ffmpeg")
    (tmp_path / "gateway").symlink_to(ROOT / "gateway")
    text = "".join(block.text for block in blocks() if block.page == "docs/tutorial.md")
    told = await bash(script(text, _TUTORIAL), tmp_path, offline, GATEWAY_DATA_DIR=str(tmp_path / "var"))
    assert (tmp_path / "first.txt").read_text().strip(), told
    assert "WEBVTT" in told and '"finalsComplete": true' in told


async def test_the_other_pages_commands_do_what_they_say(offline: Running, tmp_path: Path) -> None:
    needs("ffmpeg")
    needs("curl")
    speech = tmp_path / "speech.mp4"
    sample = ROOT / "gateway" / "cli" / "sample.flac"
    await bash(
        'ffmpeg -v error -t 3 -i "$SAMPLE" -c:a aac "$SPEECH"',
        tmp_path,
        offline,
        SAMPLE=f"{sample}",
        SPEECH=f"{speech}",
    )
    told: dict[str, str] = {}
    for block in blocks():
        if block.page == "docs/tutorial.md" or is_elsewhere(block) or not is_run(block):
            continue
        slug = await offline.new_session()
        told[block.page] = await bash(script(block.text, _ALIKE), tmp_path, offline, SLUG=slug, SPEECH=str(speech))
    assert "event: hello" in told["docs/stream.md"]
    assert "WEBVTT" in told["README.md"]
    assert (tmp_path / "january.csv").read_text().count("\n") > 0


def is_elsewhere(block: Block) -> bool:
    return any(block.page == page and words in block.text for page, words, _ in ELSEWHERE)


def is_run(block: Block) -> bool:
    return bool(re.search(r"\b(curl|gateway (start|stop|export|usage|canary|pause))\b", block.text))


def test_no_command_is_left_out() -> None:
    """A block is run here, by a test that is named, or sets only what is a setting, or names what `make` can do."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    settings = {variable.name for variable in VARIABLES}
    for block in blocks():
        if block.page == "docs/tutorial.md" or is_elsewhere(block) or is_run(block):
            continue
        names = set(re.findall(r"^((?!NEXT_PUBLIC_)[A-Z][A-Z_]+)=", block.text, re.MULTILINE))  # those are the app's
        made = set(re.findall(r"^make ([a-z]+)", block.text, re.MULTILINE))
        assert names or made, f"{block.page}: nothing runs\n{block.text}"
        assert names <= settings | {f"{name}_FILE" for name in settings} and made <= targets, block


@pytest.mark.parametrize("test", sorted({test for _, _, test in ELSEWHERE}))
def test_what_is_run_elsewhere_is(test: str) -> None:
    assert (ROOT / test).is_file()
