"""The whole gateway: who may see an analysis, and what stops, deaths and restarts do to one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.analysis.conftest import spoken_session
from integration.gateway_api.in_process import TOKEN, InProcess, room_token, running, user_token
from support.chat_server import KEY, MODEL, chat_server, refuses, says
from support.gateway import Running, gateway_process

from gateway.analysis.summary import HEADINGS
from storage.postgres.pool import Database, open_pool
from storage.postgres.url import parse_database_url
from stt.local.server import LocalOptions, LocalServer

SAID = ("We need to check the backups by Friday.", "The migration of the invoices might not be ready.")
SPACE = "default"
PATH = "/api/sessions/abc/analysis"


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    async with open_pool(parse_database_url(url), size=2) as opened:
        yield opened


async def ended(opened: Database, slug: str = "abc", status: str = "PENDING") -> str:
    """As the app does it: the session is over, its analysis waits."""
    session_id = await spoken_session(opened, slug, *SAID)
    await opened.pool.execute(
        'INSERT INTO "SessionAnalysis" (id, "sessionId", status, "updatedAt") VALUES ($1, $2, $3, now())',
        f"analysis-{slug}",
        session_id,
        status,
    )
    return session_id


@asynccontextmanager
async def gateway(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[InProcess]:
    async with (
        LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider,
        running(database_url, provider, folder, **settings) as found,
    ):
        yield found


async def until(gateway: InProcess | Running, status: str, slug: str = "abc") -> dict[str, Any]:
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(60):
            while seen.get("status") != status:
                await asyncio.sleep(0.05)
                seen = await gateway.ok("GET", f"/api/sessions/{slug}/analysis")
    except TimeoutError:
        raise AssertionError(f"it never was {status}; last seen: {seen}") from None
    return seen


async def test_without_a_model_the_analysis_is_extractive_and_says_so(database_url: str, tmp_path: Path) -> None:
    async with database(database_url) as opened:
        await ended(opened)
    async with gateway(database_url, tmp_path) as here:
        found = await until(here, "DONE")
        assert (found["method"], found["attempts"], "reason" in found) == ("extractive", 1, False)
        assert found["summary"].startswith(HEADINGS["en"])
        assert found["tasks"] == [
            {"title": SAID[0], "dueDate": "by Friday", "quote": SAID[0], "atMs": 0},
        ]
        assert found["risks"] == [{"title": SAID[1], "severity": "low", "quote": SAID[1], "atMs": 1000}]
        assert await here.metric("gateway_analysis_attempts_total") == 1


def who() -> dict[str, str | None]:
    return {
        "service": TOKEN,
        "creator": user_token(SPACE),  # user-1
        "member": user_token(SPACE, subject="user-2"),
        "stranger": user_token("elsewhere", subject="user-3"),
        "creator who left": user_token("elsewhere"),
        "guest who joined": user_token("elsewhere", subject="anna"),
        "holder of the room's token": room_token("abc"),
        "holder of another room's": room_token("xyz"),
        "nobody": None,
        "forger": user_token(SPACE, secret="another-secret-of-at-least-32-bytes"),
    }


MAY = {  # who → GET, POST …/retry of a DONE analysis (409: allowed, but there is nothing to retry)
    "service": (200, 409),
    "creator": (200, 409),
    "member": (200, 403),
    "stranger": (403, 403),
    "creator who left": (200, 409),
    "guest who joined": (200, 403),
    "holder of the room's token": (200, 403),
    "holder of another room's": (403, 403),
    "nobody": (401, 401),
    "forger": (401, 401),
}


async def test_who_may_see_and_who_may_retry(database_url: str, tmp_path: Path) -> None:
    async with database(database_url) as opened:
        await ended(opened)
        await spoken_session(opened, "live", *SAID, end=False)
    async with gateway(database_url, tmp_path, inactive_minutes=0) as here:
        await until(here, "DONE")
        seen = {
            name: (
                (await here.call("GET", PATH, token=token)).status,
                (await here.call("POST", f"{PATH}/retry", token=token)).status,
            )
            for name, token in who().items()
        }
        assert seen == MAY
        for slug, refusal in (("live", 409), ("none", 404)):
            answer = await here.call("GET", f"/api/sessions/{slug}/analysis")
            assert (answer.status, answer.kind) == (404, "application/problem+json")
            answer = await here.call("POST", f"/api/sessions/{slug}/analysis/retry")
            assert (answer.status, answer.kind) == (refusal, "application/problem+json")


async def test_a_failed_analysis_says_why_and_is_started_again(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    echo = refuses(422, f"invalid input: {SAID[0]}")
    async with chat_server(echo, says({"summary": "Backups.", "tasks": [], "risks": []})) as model:
        async with database(database_url) as opened:
            await ended(opened)
        options = {"analysis_url": model.url, "analysis_key": KEY, "analysis_model": MODEL}
        async with gateway(database_url, tmp_path, **options) as here:
            failed = await until(here, "FAILED")
            assert "answered 422" in failed["reason"]
            answer = await here.call("POST", f"{PATH}/retry", token=who()["creator"])
            assert answer.status == 202 and answer.json["status"] != "FAILED"  # a worker may have it already
            found = await until(here, "DONE")
            assert (found["summary"], found["method"]) == ("Backups.", "model")
    assert "analysis failed" in caplog.text
    assert "backups" not in caplog.text.lower()
    assert KEY not in caplog.text


async def test_ending_a_session_over_the_api_brings_its_analysis(database_url: str, tmp_path: Path) -> None:
    async with database(database_url) as opened:
        await spoken_session(opened, "abc", *SAID, end=False)
    async with gateway(database_url, tmp_path, inactive_minutes=0) as here:
        await here.ok("POST", "/api/sessions/abc/end")
        assert (await until(here, "DONE"))["method"] == "extractive"


async def state(opened: Database) -> tuple[str, int]:
    row = await opened.pool.fetchrow(
        'SELECT a.status::text AS status, j.attempts FROM "SessionAnalysis" a JOIN gateway.analysis_job j '
        "ON j.analysis_id = a.id"
    )
    return row["status"], row["attempts"]


async def test_a_stop_and_a_death_in_the_middle_lose_no_analysis(database_url: str, tmp_path: Path) -> None:
    """Three processes after each other: one is stopped, one is killed, one finishes."""
    async with database(database_url) as opened, chat_server("hang") as model:
        await ended(opened)
        env = {
            "DATABASE_URL": database_url,
            "GATEWAY_ANALYSIS_URL": model.url,
            "GATEWAY_ANALYSIS_KEY": KEY,
            "GATEWAY_ANALYSIS_MODEL": MODEL,
        }
        async with gateway_process(tmp_path / "a", **env) as first:
            await asyncio.wait_for(model.hanging.wait(), 30)
            assert await state(opened) == ("RUNNING", 1)
        assert await state(opened) == ("PENDING", 0)
        assert "left for the next worker" in first.process.output

        model.hanging.clear()
        with pytest.raises(AssertionError, match="exit code -9"):
            async with gateway_process(tmp_path / "b", **env) as second:
                await asyncio.wait_for(model.hanging.wait(), 30)
                os.kill(second.process.process.pid, signal.SIGKILL)
                await second.process.wait()
        assert await state(opened) == ("RUNNING", 1)

        await opened.pool.execute("UPDATE gateway.analysis_job SET lease_until = now() - interval '1 second'")
        model.script[:] = [says({"summary": "Backups.", "tasks": [], "risks": []})]
        async with gateway_process(tmp_path / "c", **env) as third:
            found = await until(third, "DONE")
            assert (found["summary"], found["attempts"]) == ("Backups.", 2)
        assert "backups" not in third.process.output.lower()
