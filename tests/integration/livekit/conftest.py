"""A real livekit-server, the scripted speech server, and a gateway between them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.gateway import Running, gateway_process
from support.livekit import KEY, SECRET, LivekitServer, needed_server, no_proxy

from stt.local.scripted import ScriptedEngine
from stt.local.server import LocalOptions, LocalServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(900))  # the first one may have to build the server


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    return needed_server()


@pytest.fixture(scope="session")
def livekit(livekit_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivekitServer]:
    """One server for every test that does not hurt it; rooms have names of their own."""
    server = LivekitServer(livekit_program, tmp_path_factory.mktemp("livekit") / "server.log")
    with no_proxy():
        server.start()
        yield server
        server.stop()


@pytest.fixture
def frail_livekit(livekit_program: Path, tmp_path: Path) -> Iterator[LivekitServer]:
    """A server of one's own, not started yet: to stop, to start late, to give a webhook."""
    server = LivekitServer(livekit_program, tmp_path / "livekit.log")
    with no_proxy():
        yield server
        server.stop()


@pytest.fixture
def room_name() -> str:
    return f"room{secrets.token_hex(4)}"


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    async with LocalServer(LocalOptions(engine=ScriptedEngine(jittery=True), api_key="right-key")) as server:
        yield server
        assert not [session for session in server.sessions.values() if session.open], "a provider session was left open"


@pytest.fixture
def gateway_settings(provider: LocalServer, database_url: str) -> dict[str, str]:
    """Everything but which LiveKit server."""
    return {
        "DATABASE_URL": database_url,
        "GLADIA_API_URL": provider.url,
        "GLADIA_API_KEY": "right-key",
        "GATEWAY_DRAIN_S": "5",
        "GATEWAY_LIVEKIT_AUTO_START": "false",
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
    }


@pytest.fixture
async def gateway(livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    async with gateway_process(tmp_path / "data", LIVEKIT_URL=livekit.url, **gateway_settings) as running:
        yield running
