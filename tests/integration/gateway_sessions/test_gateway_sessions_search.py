"""`GET /api/search` through the door: who finds what, page by page, and what bad queries get."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from integration.gateway_api.in_process import TOKEN, USER_SECRET, Answer, InProcess, room_token, running

from stt.local.server import LocalServer


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path, search_per_minute=30) as found:
        yield found


def user(name: str, *spaces: str) -> str:
    claims = {"sub": name, "spaces": list(spaces), "activeSpaceId": spaces[0] if spaces else None}
    return jwt.encode({**claims, "exp": time.time() + 600}, USER_SECRET, algorithm="HS256")


async def said(gateway: InProcess, owner: str, space: str, *texts: str) -> str:
    made = await gateway.call(
        "POST", "/api/sessions", {"title": f"Of {space}", "spaceId": space}, token=user(owner, space)
    )
    slug: str = made.json["slug"]
    async with gateway.records() as shelf:
        await shelf.told(slug, texts)
    return slug


async def look(gateway: InProcess, token: str | None = TOKEN, **query: object) -> Answer:
    return await gateway.call("GET", f"/api/search?{urlencode(query)}", token=token)


async def hits(gateway: InProcess, token: str | None = TOKEN, **query: object) -> list[Any]:
    answer = await look(gateway, token, **query)
    assert answer.status == 200, answer
    assert answer.json["complete"]
    found: list[Any] = answer.json["hits"]
    return found


async def test_a_hit_says_where_when_who_and_what(gateway: InProcess) -> None:
    slug = await said(gateway, "owner", "team", "Good morning.", "The budgets 😀 of two meetings, <b>two</b> budgets.")
    [hit] = await hits(gateway, q="budget")
    text = "The budgets 😀 of two meetings, <b>two</b> budgets."
    assert hit == {
        "sessionSlug": slug,
        "title": "Of team",
        "seq": 2,
        "participantIdentity": "anna",
        "participantName": "Anna",
        "language": "en",
        "startedAt": "2026-01-05T10:00:04.000Z",
        "startMs": 4000,
        "endMs": 5500,
        "text": text,
        "marks": [{"start": 4, "end": 11}, {"start": 43, "end": 50}],
    }
    units = text.encode("utf-16-le")
    assert {units[2 * one["start"] : 2 * one["end"]].decode("utf-16-le") for one in hit["marks"]} == {"budgets"}


async def test_everybody_finds_what_they_may_see(gateway: InProcess) -> None:
    """And a session that is deleted is found by nobody."""
    team = await said(gateway, "owner", "team", "A zebra.")
    other = await said(gateway, "else", "other", "Another zebra.")
    join = f"/api/sessions/{other}/participants/join"
    assert (await gateway.call("POST", join, {"identity": "jo", "userId": "jo"})).status == 200
    guest = (await gateway.call("GET", f"/api/sessions/{team}/token?identity=gus&for=audio", token=None)).json["token"]
    for token, expected in (
        (TOKEN, {team, other}),
        (user("mia", "team"), {team}),
        (user("mia", "team", "other"), {team, other}),
        (user("owner"), {team}),
        (user("jo"), {other}),
        (user("eve", "elsewhere"), set()),
        (room_token(other), {other}),
        (guest, {team}),
    ):
        assert {hit["sessionSlug"] for hit in await hits(gateway, token, q="zebra")} == expected
    assert len(await hits(gateway, q="zebra", spaceId="team")) == 1
    assert len(await hits(gateway, user("jo", "team"), q="zebra", spaceId="team")) == 1
    assert len(await hits(gateway, q="zebra", session=other)) == 1
    assert await hits(gateway, q="zebra", session=other, spaceId="team") == []
    for token, query, status in (
        (None, {}, 401),
        ("nonsense", {}, 401),
        (room_token("nowhere1"), {}, 404),
        (room_token(team), {"session": other}, 403),
        (user("mia", "team"), {"session": other}, 403),
        (TOKEN, {"session": "nowhere1"}, 404),
    ):
        assert (await look(gateway, token, q="zebra", **query)).status == status, query
    assert (await gateway.call("DELETE", f"/api/sessions/{team}")).status == 200
    assert {hit["sessionSlug"] for hit in await hits(gateway, q="zebra")} == {other}


async def test_all_pages_have_everything_once_the_newest_first(gateway: InProcess) -> None:
    slugs = [await said(gateway, "owner", "team", *(f"Number {n} of meetings." for n in range(7))) for _ in range(2)]
    found, cursor = [], None
    for _ in range(5):
        page = (await look(gateway, q="meeting", limit=3, **({"cursor": cursor} if cursor else {}))).json
        found += [(hit["startedAt"], hit["sessionSlug"], hit["seq"]) for hit in page["hits"]]
        cursor = page["nextCursor"]
    assert cursor is None and len(set(found)) == len(found) == 14
    assert [at for at, _, _ in found] == sorted((at for at, _, _ in found), reverse=True)
    assert {slug for _, slug, _ in found} == set(slugs)
    within = {"from": "2026-01-05T10:00:04Z", "to": "2026-01-05T10:00:06Z"}
    assert {hit["seq"] for hit in await hits(gateway, q="meeting", **within)} == {2}


async def test_bad_queries_get_a_clear_answer(gateway: InProcess) -> None:
    slug = await said(gateway, "owner", "team", "We meet.")
    for query in (
        {},
        {"q": ""},
        {"q": "x" * 10_000},
        {"q": "a\x00b"},
        {"q": "-meet"},
        {"q": "!&|():*"},
        {"q": "m*"},
        {"q": "meet", "limit": 0},
        {"q": "meet", "limit": 101},
        {"q": "meet", "cursor": "x"},
        {"q": "meet", "session": ""},
        {"q": "meet", "spaceId": "x" * 257},
        {"q": "meet", "from": "soon"},
        {"q": "meet", "from": "2026-01-02", "to": "2026-01-01"},
    ):
        answer = await look(gateway, **query)
        assert (answer.status, answer.kind) == (400, "application/problem+json"), query
        assert len(answer.json["detail"]) < 200
    assert await hits(gateway, q="the") == []  # a stop word of the only language there is
    assert await hits(gateway, q="meet & ) | ! ' \\ :* <->", session=slug) != []


async def test_a_user_searches_so_often_and_is_noted_once(gateway: InProcess) -> None:
    token = user("mia", "team")
    statuses = [(await look(gateway, token, q="zebra")).status for _ in range(40)]
    assert statuses[:30] == [200] * 30 and 429 in statuses
    assert {(await look(gateway, q="zebra")).status for _ in range(5)} == {200}
    entries = (await gateway.ok("GET", "/api/audit"))["entries"]
    assert sorted(one["kind"] for one in entries if one["what"] == "search") == ["service", "user"]
