"""A redirect takes no secret anywhere: neither the provider's key nor a service token."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.sessions.domain.errors import ControlRefused
from gateway.sessions.infra.remote_control import RemoteOptions, open_remote_control
from stt.errors import ProviderUnavailable
from stt.gladia.account import Account, ProviderOptions

SECRET = "what-nobody-else-may-see"


@pytest.fixture
async def seen() -> list[str]:
    """Paths that were asked for where the redirects lead."""
    return []


@pytest.fixture
async def url(seen: list[str]) -> AsyncIterator[str]:
    """Of a server that sends everybody to the same host, which keeps headers as they are."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/away/"):
            seen.append(request.path)
            return web.json_response({})
        return web.Response(status=307, headers={"Location": f"/away{request.path}"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_providers_key_stays_with_the_provider(url: str, seen: list[str]) -> None:
    async with Account(ProviderOptions(SECRET, url)) as provider:
        with pytest.raises(ProviderUnavailable, match="HTTP 307"):
            await provider.running()
    assert not seen


async def test_the_other_gateways_token_stays_there(url: str, seen: list[str]) -> None:
    async with open_remote_control(RemoteOptions(url, lambda: SECRET)) as control:
        with pytest.raises(ControlRefused, match="307"):
            await control.start("slug", "rtmp")
    assert not seen
