"""What the tests of the JavaScript client run it in: Node, and a headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.browser import needs_chromium
from support.builds import CannotBuild, npm_packages
from support.scripted_gateway import World, scripted_gateway
from support.tools import missing


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        missing("node is not installed, so the JavaScript client is not tested")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        missing(f"node is {version.strip()}, the JavaScript client needs 20")
    return found


@pytest.fixture(scope="session")
def packages() -> Path:
    """`node_modules` of the client: what its tests and checks need."""
    try:
        return npm_packages(Path(__file__).parents[3] / "clients" / "js")
    except CannotBuild as error:
        missing(str(error))


@pytest.fixture(scope="session")
def chromium() -> str:
    return needs_chromium()


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with scripted_gateway(database_url, tmp_path) as world:
        yield world
