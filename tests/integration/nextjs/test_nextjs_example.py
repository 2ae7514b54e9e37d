"""examples/nextjs: built with the commands of its README, and driven in Chromium against a real gateway."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from support.browser import needs_chromium, open_page, running_chromium
from support.builds import CannotBuild, next_app
from support.gateway import TOKEN
from support.ports import free_port
from support.scripted_gateway import scripted_gateway
from support.tools import missing, needs

pytestmark = pytest.mark.timeout(600)

EXAMPLE = Path(__file__).parents[3] / "examples" / "nextjs"
JWT_SECRET = "a-secret-of-the-test-that-is-long-enough"
KEY = b"a secret of thirty-two bytes ..."
STATUS = "document.querySelector('[role=status]')?.textContent"


@pytest.fixture(scope="session")
def built() -> Path:
    needs("node")
    needs("npm")
    needs_chromium()
    try:
        return next_app()
    except CannotBuild as error:
        missing(str(error))


@asynccontextmanager
async def app(folder: Path, port: int, **env: str) -> AsyncIterator[str]:
    """`npm start`, without npm between it and its end."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "node_modules/next/dist/bin/next",
        "start",
        *("--hostname", "127.0.0.1", "--port", str(port)),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NEXT_TELEMETRY_DISABLED": "1", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"Ready" not in await process.stdout.readline():
                assert process.returncode is None
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def signed(body: str, key: bytes = KEY) -> dict[str, str]:
    """Headers by the Standard Webhooks specification."""
    at = str(int(time.time()))
    mac = hmac.digest(key, f"msg_1.{at}.{body}".encode(), hashlib.sha256)
    signature = base64.b64encode(mac).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}


def test_live_captions_are_a_short_file() -> None:
    for name in ("live.tsx", "page.tsx"):
        assert (EXAMPLE / "app" / "rooms" / "[slug]" / name).read_text().count("\n") <= 20


async def test_from_a_new_session_to_captions_and_a_webhook(built: Path, database_url: str, tmp_path: Path) -> None:
    port = free_port()
    settings = {"jwt_secret": JWT_SECRET, "allowed_origins": (f"http://127.0.0.1:{port}",)}
    async with scripted_gateway(database_url, tmp_path, **settings) as world:
        env = {
            "GATEWAY_URL": world.url,
            "GATEWAY_PUBLIC_URL": world.url,
            "GATEWAY_TOKEN": TOKEN,
            "GATEWAY_JWT_SECRET": JWT_SECRET,
            "GATEWAY_WEBHOOK_SECRET": f"whsec_{base64.b64encode(KEY).decode()}",
            "DATABASE_URL": world.gateway.database_url,
        }
        with running_chromium(tmp_path / "chromium") as devtools:
            async with app(built, port, **env) as url, open_page(devtools) as page, asyncio.timeout(120):
                await page.open(url)
                await page.run("document.querySelector('[name=title]').value = 'Stand-up'")
                await page.run("document.querySelector('form button').click()")
                await page.until(f"{STATUS} === 'open, idle, 0 finals'")
                await page.shows("document.querySelector('h1').textContent", "Stand-up")
                await page.run("document.querySelector('form button').click()")
                await page.until("document.querySelector('code')")
                slug = (await page.run("location.pathname")).rpartition("/")[2]
                said = await world.say(await page.run("document.querySelector('code').textContent"), 3)
                await page.until(f"{STATUS} === 'open, running, 3 finals'")
                box = await page.run("document.querySelector('.captions-box').innerText")
                assert re.sub(r"\s", "", said[-1]) in re.sub(r"\s", "", box).lower()
                await page.shows("document.querySelectorAll('.captions-line').length", 2)
                (tmp_path / "captions.png").write_bytes(await page.screenshot())
                await page.run("document.querySelectorAll('form button')[1].click()")
                await page.until(f"{STATUS} === 'open, stopped, 3 finals'")
                assert page.complaints == []

                connection = await asyncpg.connect(world.gateway.database_url)
                found = 'SELECT id FROM "VideoSession" WHERE slug = $1'
                session = await connection.fetchval(found, slug)
                event = {"type": "session.ended", "timestamp": "2026-01-05T10:00:03.120Z"}
                body = json.dumps(event | {"data": {"sessionSlug": slug, "sessionId": session}})
                async with aiohttp.ClientSession() as http:
                    for key, status in ((KEY, 204), (KEY, 204), (b"somebody else's secret of 32 byt", 400)):
                        async with http.post(f"{url}/api/webhooks", data=body, headers=signed(body, key)) as answer:
                            assert answer.status == status, await answer.text()
                assert (
                    await connection.fetchval('SELECT count(*) FROM "SessionAnalysis" WHERE "sessionId" = $1', session)
                    == 1
                )
                await connection.close()
