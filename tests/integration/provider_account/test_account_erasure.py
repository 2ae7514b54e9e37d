"""Deleting a session also deletes what the provider has of it, behind its bill and through an outage and a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from integration.gateway_api.in_process import TOKEN, Door, InProcess, running, speech_server
from support.waiting import until

from gateway.transcription.infra.account import GladiaAccount
from gateway.transcription.usecases.sweep import AccountUnavailable
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.messages import LiveConfig
from stt.local.scripted import speak


async def row(database_url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(database_url)
    try:
        [found] = await connection.fetch("SELECT * FROM gateway.provider_session")
        return found
    finally:
        await connection.close()


async def spoken(gateway: InProcess) -> str:
    """A session in which two words were said over a WebSocket, stopped."""
    slug = await gateway.session()
    await gateway.start(slug, source="websocket")
    pcm, _ = speak("alpha bravo", lead_s=0.2, tail_s=1.0)
    url = f"{gateway.url}/api/realtime/audio?session={slug}&identity=anna&token={TOKEN}"
    async with gateway.http.ws_connect(url) as socket:
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        for at in range(0, len(pcm), 3_200):
            await socket.send_bytes(pcm[at : at + 3_200])
        await socket.send_json({"type": "stop"})
        async for _ in socket:
            pass
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    return slug


async def erasures(gateway: InProcess, outcome: str) -> float:
    name = f'gateway_provider_erasures_total{{outcome="{outcome}"}} '
    for line in (await gateway.call("GET", "/metrics")).body.decode().splitlines():
        if line.startswith(name):
            return float(line.removeprefix(name))
    raise AssertionError(f"no metric {name}")


async def test_what_the_provider_has_goes_with_the_session_and_the_bill_stays(
    database_url: str, tmp_path: Path
) -> None:
    async with speech_server() as provider, running(database_url, provider, tmp_path) as gateway:
        slug = await spoken(gateway)
        assert len(provider.sessions) == 1
        assert (await gateway.call("DELETE", f"/api/sessions/{slug}")).status == 200
        await until(lambda: not provider.sessions, "it is deleted at the provider")
        await until(lambda: erasures(gateway, "erased"))
    found = await row(database_url)
    assert found["billing_seconds"] > 0.5 and found["erased_at"] is not None and found["erase_at"] is None


async def test_an_outage_of_the_provider_and_a_restart_forget_nothing(database_url: str, tmp_path: Path) -> None:
    async with speech_server() as provider, Door(provider.url) as door:
        async with running(database_url, provider, tmp_path, gladia_api_url=door.url) as gateway:
            slug = await spoken(gateway)

            async def is_billed() -> bool:
                return (await row(database_url))["billing_seconds"] is not None

            await until(is_billed)
            door.shut()
            assert (await gateway.call("DELETE", f"/api/sessions/{slug}")).status == 200
            await until(lambda: erasures(gateway, "failed"))
        assert len(provider.sessions) == 1
        door.open()
        async with running(database_url, provider, tmp_path, gladia_api_url=door.url):
            await until(lambda: not provider.sessions, "the next process deletes it")


async def test_it_stays_where_its_owner_wants_it_to(database_url: str, tmp_path: Path) -> None:
    """Switched on later, what was deleted meanwhile goes too."""
    async with speech_server() as provider:
        async with running(database_url, provider, tmp_path, provider_delete=False) as gateway:
            slug = await spoken(gateway)

            async def is_billed() -> bool:
                return (await row(database_url))["billing_seconds"] is not None

            await until(is_billed)
            assert (await gateway.call("DELETE", f"/api/sessions/{slug}")).status == 200
            await asyncio.sleep(0.5)
            assert (await row(database_url))["erasures"] == 0
        async with running(database_url, provider, tmp_path):
            await until(lambda: not provider.sessions, "it is deleted now")


async def test_a_refusal_is_trouble_and_what_is_gone_is_gone() -> None:
    """403 while it runs, 202 when it is over, 404 ever after; a wrong key deletes nothing."""
    async with speech_server() as server, Provider(ProviderOptions("k", server.url)) as provider:
        created = await provider.create(LiveConfig())
        account = GladiaAccount(provider)
        with pytest.raises(AccountUnavailable, match="403"):
            await account.erase(created.id)
        assert await provider.end(created.url)
        await until(lambda: not server.sessions[created.id].open, "it is over")
        async with Provider(ProviderOptions("wrong", server.url)) as stranger:
            with pytest.raises(AccountUnavailable, match="401"):
                await GladiaAccount(stranger).erase(created.id)
        await account.erase(created.id)
        assert not server.sessions
        await account.erase(created.id)
