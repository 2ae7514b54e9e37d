"""Numbers, times and texts at the ends of what can be said, in every field and query of every route: never a 500."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from integration.gateway_api.in_process import ROOM_SECRET, TOKEN, USER_SECRET, InProcess, running
from security.test_security_identities import ROOMS
from security.test_security_tokens import SECRETS, signed

from gateway.live.credentials import CredentialRefused, check
from stt.local.server import LocalServer

NUMBERS = (
    "0",
    "-1",
    "1",
    "1e308",
    "1e309",
    "-1e309",
    "1e-400",
    "2147483648",
    "9223372036854775808",
    "9" * 30,
    "9" * 5_000,
)
MOMENTS = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-14:00",
    "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31",
    "0001-01-01", "2026-01-05T10:00:60Z", "2026-01-05T10:00:00+99:99", "2026-W01-1",
)  # fmt: skip
TEXTS = ("%00", "a%00b", "%ED%A0%80", "%FF", "%F0%9F", "'%22%3B--", "../../etc/passwd")
LAST = 253_402_300_799  # of the year 9999


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    limits = {"create_per_minute": 0, "join_per_minute": 0, "list_per_minute": 0}
    async with running(database_url, provider, tmp_path, **limits, **ROOMS) as found:
        yield found


def _object(fields: dict[str, str]) -> bytes:
    """Of values that are JSON, or nearly, already."""
    return b"{" + ",".join(f'"{name}":{value}' for name, value in fields.items()).encode() + b"}"


def requests(document: dict[str, Any], slug: str) -> Iterator[tuple[str, str, bytes | None]]:
    """Method, path and body: each field of each body, and each parameter of each query, in turn at each end."""
    values = [*NUMBERS, *(json.dumps(moment) for moment in MOMENTS), "true", "null", "[]", "[1e309]", '{"a":1}']
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            there = path.replace("{slug}", slug).replace("{id}", "team")
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    for value in (*(value.replace("+", "%2B") for value in (*NUMBERS, *MOMENTS)), *TEXTS):
                        yield method, f"{there}?{parameter['name']}={value}", None
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None or "$ref" not in content["schema"]:
                continue
            schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
            good = {"sessionSlug": slug, "utteranceId": "u", "text": "x", "isFinal": True, "source": "rtmp",
                    "startedAt": "2026-01-05T10:00:00Z"}  # fmt: skip
            known = {name: json.dumps(value) for name, value in good.items() if name in schema["properties"]}
            for name in schema["properties"]:
                for value in values:
                    fields = {**known, name: value}
                    yield method, there, _object(fields)


async def test_no_field_and_no_query_of_any_route_is_a_fault_of_ours(
    gateway: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    slug = await gateway.session()
    document = (await gateway.call("GET", "/openapi.json")).json
    asked = [one for one in requests(document, slug) if not one[1].startswith("/api/realtime")]
    assert len(asked) > 1_000
    turns = asyncio.Semaphore(8)

    async def ask(method: str, path: str, body: bytes | None) -> tuple[int, str]:
        async with turns:
            answer = await gateway.call(method.upper(), path, body, token=TOKEN)
            return answer.status, f"{method} {path[:200]} {(body or b'')[:200]!r}: {answer.body[:200]!r}"

    wrong = [told for status, told in await asyncio.gather(*(ask(*one) for one in asked)) if status in (500, 502, 504)]
    assert not wrong, "\n".join(wrong[:20])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("query", ["since=k3f9:" + "9" * 400, "since=:0", "since=k:-1", "since=k:1e9", "limit=x"])
async def test_a_stream_with_a_strange_query_is_refused_or_served(gateway: InProcess, query: str) -> None:
    slug = await gateway.session()
    answer = await gateway.call("GET", f"/api/realtime/transcribe?session={slug}&{query}", token=TOKEN)
    assert answer.status in (400, 426)


@given(st.sampled_from(["exp", "nbf", "iat"]), st.integers() | st.floats() | st.integers(-(2**70), 2**70))
@example("exp", LAST)
@example("exp", LAST + 1)
@example("exp", -62_135_596_801)
def test_every_number_in_a_claim_of_time_is_taken_or_refused(claim: str, value: float) -> None:
    told = {"exp": time.time() + 60, "sub": "u", claim: value}
    try:
        access = check(signed(json.dumps(told)), SECRETS)
    except CredentialRefused:
        return
    assert access.expires_at is not None and time.time() - 6 <= access.expires_at <= LAST


@pytest.mark.parametrize(("exp", "good"), [(LAST, True), (LAST + 0.5, False), (LAST + 1, False), (1, False)])
async def test_a_watcher_with_the_longest_lived_token_is_let_in(gateway: InProcess, exp: float, good: bool) -> None:
    slug = await gateway.session()
    space = (await gateway.call("GET", f"/api/sessions/{slug}")).json["spaceId"]
    token = jwt.encode({"sub": "u", "spaces": [space], "exp": exp}, USER_SECRET, algorithm="HS256")
    url = f"{gateway.url}/api/realtime/transcribe?session={slug}&token={token}"
    headers = {"Accept": "text/event-stream"}
    async with gateway.http.get(url, headers=headers) as answer:
        assert answer.status == (200 if good else 401)


@pytest.mark.parametrize("moment", [0, -1, 2**31, 2**53, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("field", ["joinedAt", "joinedAtMs", "createdAt"])
async def test_a_webhooks_times_are_any_number(gateway: InProcess, field: str, moment: int) -> None:
    slug = await gateway.session()
    person: dict[str, Any] = {"sid": f"PA_\x00{moment}", "identity": "gus"}
    event: dict[str, Any] = {"event": "participant_joined", "room": {"name": slug}, "participant": person, "id": "1"}
    (event if field == "createdAt" else person)[field] = str(moment)
    for kind in ("participant_joined", "participant_left"):
        body = json.dumps({**event, "event": kind, "id": kind}).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        token = jwt.encode({"iss": "livekit-key", "exp": time.time() + 60, "sha256": digest}, ROOM_SECRET)
        url = f"{gateway.url}/api/livekit/webhook"
        async with gateway.http.post(url, data=body, headers={"Authorization": token}) as answer:
            assert answer.status == 200, await answer.text()
