"""docs/nextjs.md: its snippets compile under TypeScript's strict rules, and together they are an app that works."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.builds import npm_packages
from support.gateway import TOKEN
from support.scripted_gateway import scripted_gateway
from support.tools import missing, needs

pytestmark = pytest.mark.timeout(600)

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "nextjs.md"
ORIGIN = "http://app.test"
ROOM_SECRET = "room-secret-of-at-least-thirty-two-bytes"
# As `create-next-app` makes it, but that it puts the result into a folder.
TSCONFIG = {
    "compilerOptions": {
        "target": "ES2022",
        "lib": ["dom", "dom.iterable", "esnext"],
        "strict": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "esModuleInterop": True,
        "isolatedModules": True,
        "skipLibCheck": True,
        "jsx": "react-jsx",
        "types": ["node"],
        "rootDir": ".",
        "outDir": "built",
    },
    "include": ["**/*.ts", "**/*.tsx"],
}


def snippets() -> dict[str, str]:
    """By file name."""
    found = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)


@pytest.fixture(scope="session")
def packages() -> Path:
    """What the app would have installed. No package may run a script of its own."""
    needs("node")
    needs("npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, version.lstrip("v").split(".")))[:2] < (20, 19):
        missing(f"node is {version}, Prisma needs 20.19")
    return npm_packages(HERE)


def run(command: list[str], folder: Path, **env: str) -> None:
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, env={**os.environ, **env}, timeout=500
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def app(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snippets as an app, compiled."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "node_modules").symlink_to(packages)
    for name, text in snippets().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    for name in ("drive.mjs", "resolve.mjs"):
        shutil.copy(HERE / name, folder)
    prisma(folder, "generate")  # which validates first
    run(["node", "node_modules/typescript/bin/tsc", "--project", "."], folder)
    return folder


def prisma(folder: Path, command: str) -> None:
    """Prisma's command line wants a program for migrations, which it would download, before it does anything at all.

    `generate` does not use it: it runs on what the packages hold.
    """
    unused = shutil.which("true") or "/bin/true"
    run(
        ["node", "node_modules/prisma/build/index.js", command],
        folder,
        PRISMA_SCHEMA_ENGINE_BINARY=unused,
        PRISMA_HIDE_UPDATE_MESSAGE="1",
        CHECKPOINT_DISABLE="1",
        DATABASE_URL="postgresql://nobody@localhost/none",
    )


def test_the_page_shows_every_part() -> None:
    assert set(snippets()) == {
        "lib/gateway.ts",
        "lib/sessions.ts",
        "hooks/useLiveTranscript.ts",
        "components/Captions.tsx",
        "prisma/schema.prisma",
        "prisma.config.ts",
    }
    for name, text in snippets().items():
        if not name.endswith(".prisma"):
            assert text.count("\n") <= 26, f"{name} is no longer short"


class App:
    """The driver's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self, event: str) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        assert line, f"the app ended before {event!r}"
        found = json.loads(line)
        assert found["event"] == event, found
        return found["detail"]

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")


async def test_the_app_of_the_page_works_with_a_real_gateway(app: Path, database_url: str, tmp_path: Path) -> None:
    claims = {"iss": "livekit-key", "sub": "bob", "exp": time.time() + 600, "video": {"room": "talk1234"}}
    claims["video"]["roomJoin"] = True  # type: ignore[index]
    settings = {
        "livekit_api_key": "livekit-key",
        "livekit_api_secret": ROOM_SECRET,
        "allowed_origins": (ORIGIN,),
    }
    async with scripted_gateway(database_url, tmp_path, **settings) as world:
        process = await asyncio.create_subprocess_exec(
            "node",
            "--no-warnings",
            "drive.mjs",
            cwd=app,
            env={
                "PATH": os.environ["PATH"],
                "SLUG": "talk1234",
                "ROOM_TOKEN": jwt.encode(claims, ROOM_SECRET, algorithm="HS256"),
                "PAGE_ORIGIN": ORIGIN,
                "DATABASE_URL": world.gateway.database_url,
                "WS_SERVER_URL": world.url,
                "WS_SERVER_TOKEN": TOKEN,
                "NEXT_PUBLIC_WS_SERVER_URL": world.url,
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        try:
            driven = App(process)
            started = await driven.told("started")
            assert started["created"] == [True, False]
            said = await world.say(started["ingest"]["rtmpUrl"], 3)
            driven.go_on()

            spoken = await driven.told("spoken")
            assert (spoken["stopped"]["state"], spoken["stopped"]["finalsComplete"]) == ("stopped", True)
            assert [line["who"] for line in spoken["captions"]] == ["Anna"] * 3
            assert [line["text"].strip().lower() for line in spoken["captions"]] == said
            assert spoken["underway"] > 0

            results = await driven.told("results")
            assert (results["status"], results["analysis"]["status"]) == ("ENDED", "DONE")
            assert [one["text"].lower() for one in results["transcripts"]] == said
            assert results["transcripts"][0]["participant"]["name"] == "Anna"
            assert results["transcriptionUsage"][0]["finalTranscripts"] == 3
            assert results["analysis"]["summary"].startswith("[extractive summary")

            refused = await driven.told("refused")
            assert refused.startswith("gateway: 409 session 'talk1234' is ENDED (")
            await driven.told("end")
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
