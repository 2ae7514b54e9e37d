"""What the tests of the JavaScript client run it in: Node, and a headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
from support.browser import needs_chromium
from support.builds import CannotBuild, npm_packages
from support.scripted_gateway import World, scripted_gateway


def _program(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        _missing(f"{name} is not installed, so {why}")
    return found


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        raise RuntimeError(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def node() -> str:
    found = _program("node", "the JavaScript client is not tested")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        _missing(f"node is {version.strip()}, the JavaScript client needs 20")
    return found


@pytest.fixture(scope="session")
def packages() -> Path:
    """`node_modules` of the client: what its tests and checks need."""
    try:
        return npm_packages(Path(__file__).parents[3] / "clients" / "js")
    except CannotBuild as error:
        _missing(str(error))


@pytest.fixture(scope="session")
def chromium() -> str:
    return needs_chromium()


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with scripted_gateway(database_url, tmp_path) as world:
        yield world
