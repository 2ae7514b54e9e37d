"""Who may search cannot keep the others from it: not every turn is one user's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from integration.gateway_api.in_process import room_token, running, user_token
from support.waiting import until

from gateway.archive import search
from gateway.archive.query import Leaf
from gateway.archive.search import AT_ONCE, Understood
from gateway.archive.searches import PostgresIndex
from stt.local.server import LocalServer


async def test_slow_searches_of_one_user_hold_up_nobody_else(
    database_url: str, provider: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those of a room's guests, who choose their names. Each waits for the one before, and is answered."""
    slow, release, read = [0], asyncio.Event(), PostgresIndex.read

    async def slowly(index: PostgresIndex, leaves: Sequence[Leaf]) -> Understood:
        if any(leaf.text == "slow" for leaf in leaves):
            slow[0] += 1
            await release.wait()
        return await read(index, leaves)

    monkeypatch.setattr(search, "DEADLINE_S", 60.0)
    monkeypatch.setattr(PostgresIndex, "read", slowly)
    async with running(database_url, provider, tmp_path) as gateway:
        slug = await gateway.session()
        for token in (user_token("team", subject="mallory"), room_token(slug)):
            release.clear()
            slow[0] = 0
            asked = [
                asyncio.create_task(gateway.call("GET", "/api/search?q=slow", token=token)) for _ in range(3 * AT_ONCE)
            ]
            await until(lambda: slow[0], "the first of them")
            for other in (user_token("team", subject="anna"), user_token("team", subject="ben")):
                assert (await gateway.call("GET", "/api/search?q=word", token=other)).status == 200
            assert slow[0] == 1
            release.set()
            assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
