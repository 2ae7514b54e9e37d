"""A gateway of its own for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.gateway_api.in_process import InProcess, running, speech_server

from stt.local.server import LocalServer


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path) as found:
        yield found
