"""Servers, accounts and links, all let go at the end of a test, with a check that nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from stt_gladia_clock import JumpingLoop
from stt_gladia_line import Line

from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.options import LinkOptions
from stt.local.server import LocalOptions, LocalServer

Dial: TypeAlias = Callable[..., Awaitable[Line]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Time jumps here, so that patience costs nothing and a busy machine makes nothing late."""
    return {"jumping": JumpingLoop}


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """After the test no task of ours runs any more; an unclosed socket would be a warning, and so an error."""
    yield
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("stt-")]
    assert not left
    gc.collect()


@pytest.fixture
async def dial(nothing_left: None) -> AsyncIterator[Dial]:
    """Start a server with these faults, and a link to it; `server` are its further options."""
    async with AsyncExitStack() as stack:

        async def start(
            plan: dict[str, Any] | None = None,
            options: LinkOptions | None = None,
            *,
            key: str = "key",
            request_timeout_s: float = 2.0,
            **server: Any,
        ) -> Line:
            local = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", faults=plan, **server)))
            where = ProviderOptions(key, local.url, request_timeout_s, options or LinkOptions())
            provider = await stack.enter_async_context(Provider(where))
            line = Line(local, provider)
            stack.push_async_callback(line.close)
            return line

        yield start
