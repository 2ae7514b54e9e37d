"""A whole gateway for the tests that need speech, and a Chromium for those that need an EventSource."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.scripted_gateway import World, scripted_gateway


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with scripted_gateway(database_url, tmp_path) as world:
        yield world


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        message = "chromium is not installed, so the events are not tested in a browser"
        if os.environ.get("CI") == "true":
            raise RuntimeError(message)
        pytest.skip(message)
    return found
