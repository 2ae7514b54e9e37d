"""A speech server for gateways that are attacked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from integration.gateway_api.in_process import speech_server

from stt.local.server import LocalServer


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with speech_server() as server:
        yield server
