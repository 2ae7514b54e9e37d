"""What the tests of the JavaScript client run it in: Node, and a headless Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.scripted_gateway import World, scripted_gateway


def _program(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed, so {why}"
        if os.environ.get("CI") == "true":
            raise RuntimeError(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def node() -> str:
    return _program("node", "the JavaScript client is not tested")


@pytest.fixture(scope="session")
def chromium() -> str:
    return _program("chromium", "the JavaScript client is not tested in a browser")


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with scripted_gateway(database_url, tmp_path) as world:
        yield world
