"""A gateway of its own for every test that needs one, with the scripted speech server behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.gateway import Running, gateway_process
from support.livekit import LivekitServer, needed_server, no_proxy

from stt.local.server import LocalOptions, LocalServer


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    """A Gladia-compatible server that recognises tone words exactly."""
    async with LocalServer(LocalOptions(engine="scripted", api_key="right-key")) as server:
        yield server


@pytest.fixture
async def gateway(provider: LocalServer, database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with gateway_process(
        tmp_path / "data",
        DATABASE_URL=database_url,
        GLADIA_API_URL=provider.url,
        GLADIA_API_KEY="right-key",
        GATEWAY_DRAIN_S="5",
    ) as running:
        yield running
    assert not [session for session in provider.sessions.values() if session.open], "a provider session was left open"


@pytest.fixture
def livekit(tmp_path: Path) -> Iterator[LivekitServer]:
    """A real media server."""
    server = LivekitServer(needed_server(), tmp_path / "livekit.log")
    with no_proxy():
        server.start()
        yield server
        server.stop()
