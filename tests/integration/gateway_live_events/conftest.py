"""A whole gateway for the tests that need speech, and a Chromium for those that need an EventSource."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.browser import needs_chromium
from support.scripted_gateway import World, scripted_gateway


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with scripted_gateway(database_url, tmp_path) as world:
        yield world


@pytest.fixture(scope="session")
def chromium() -> str:
    return needs_chromium()
