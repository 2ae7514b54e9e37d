"""A local speech server per test, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from stt_local_client import Client, Meet, Serve

from stt.local.server import LocalOptions, LocalServer


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers with the scripted engine, or with other options; all are closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> LocalServer:
            options.setdefault("engine", "scripted")
            options.setdefault("private_callbacks", True)
            return await stack.enter_async_context(LocalServer(LocalOptions(**options)))

        yield start


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


@pytest.fixture
async def meet(serve: Serve, http: aiohttp.ClientSession) -> Meet:
    """Start a server and return a client of it; `faults` for every session, or other server options."""

    async def start(faults: dict[str, Any] | None = None, **options: Any) -> Client:
        if faults is not None:
            options["faults"] = {"every": faults}
        return Client(await serve(**options), http)

    return start
