"""Webhooks of a whole gateway: what the app is told, and what bad receivers and requests get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from integration.gateway_api.in_process import InProcess, running, speech_server
from integration.gateway_webhooks.receiver import Receiver, receiving
from standardwebhooks.webhooks import Webhook

from gateway.app.system_clock import SystemClock
from gateway.transcription.infra.ledger import PostgresUsageLedger
from gateway.webhooks.addresses import Allowed
from gateway.webhooks.signature import new_secret
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url

SECRET, FORMER = new_secret(), new_secret()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path, receiver: Receiver) -> AsyncIterator[InProcess]:
    settings: dict[str, Any] = {
        "webhook_url": receiver.url,
        "webhook_secrets": (SECRET, FORMER),
        "webhook_allow": Allowed(http=True, private=True),
    }
    async with speech_server() as provider, running(database_url, provider, tmp_path, **settings) as found:
        yield found


async def hook(gateway: InProcess, **body: Any) -> Any:
    return await gateway.ok("POST", "/api/webhooks", body)


async def test_a_sessions_life_is_told_in_order_and_signed_and_fits_the_published_schemas(
    gateway: InProcess, receiver: Receiver
) -> None:
    slug = await gateway.session()
    await gateway.ok("POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna", "name": "Anna"})
    await gateway.start(slug, tags=["acme"])
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    await gateway.ok("POST", f"/api/sessions/{slug}/end")
    await receiver.until(lambda: {"transcript.ready", "analysis.done"} <= set(receiver.types))

    order = [one for one in receiver.types if one not in ("transcript.ready", "analysis.done")]
    assert order == [
        "session.created",
        "session.started",
        "participant.joined",
        "transcription.started",
        "transcription.stopped",
        "usage.closed",
        "session.ended",
        "participant.left",
    ]
    assert len({event_id for event_id, _, _ in receiver.seen}) == len(receiver.seen) == len(receiver.taken)
    document = await gateway.ok("GET", "/openapi.json")
    for event_id, told, headers in receiver.taken:
        for secret in (SECRET, FORMER):
            assert Webhook(secret).verify(receiver.raw[event_id], headers) == told
        asked = document["webhooks"][told["type"]]["post"]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(told, {**asked, "components": document["components"]})
        assert told["data"]["sessionSlug"] == slug
    joined = next(told for _, told, _ in receiver.taken if told["type"] == "participant.joined")
    assert (joined["data"]["participantIdentity"], joined["data"]["participantName"]) == ("anna", "Anna")
    started = next(told for _, told, _ in receiver.taken if told["type"] == "transcription.started")
    assert started["data"]["tags"] == ["acme"]
    text = (await gateway.call("GET", "/metrics")).body.decode()
    assert f'gateway_webhook_attempts_total{{outcome="delivered"}} {len(receiver.taken)}.0' in text


async def test_one_of_a_space_gets_what_it_asked_for_and_finals_only_when_asked(
    gateway: InProcess, receiver: Receiver
) -> None:
    slug = await gateway.session()
    space = (await gateway.ok("GET", "/api/sessions"))["sessions"][0]["spaceId"]
    async with receiving() as mine, receiving() as others:
        made = await hook(gateway, url=mine.url, events=["transcript.final", "transcription.stopped"], spaceId=space)
        await hook(gateway, url=others.url, spaceId="another")
        async with gateway.records() as shelf:
            await shelf.told(slug, ["one two", "three"])
        await mine.until(lambda: "transcription.stopped" in mine.types)
        assert mine.types == ["transcript.final", "transcript.final", "transcription.stopped"]
        assert [told["data"]["seq"] for _, told, _ in mine.taken[:2]] == [1, 2]
        assert "text" not in mine.taken[0][1]["data"]
        event_id, _, headers = mine.taken[0]
        Webhook(made["secret"]).verify(mine.raw[event_id], headers)
        await receiver.until(lambda: "usage.closed" in receiver.types)
        assert "transcript.final" not in receiver.types
        assert not others.seen


async def test_it_is_listed_changed_rotated_tested_replayed_and_deleted(gateway: InProcess) -> None:
    async with receiving() as mine:
        made = await hook(gateway, url=mine.url, description="the app")
        path = f"/api/webhooks/{made['id']}"
        assert made["secret"].startswith("whsec_") and "transcript.final" not in made["events"]
        shown = await gateway.ok("GET", path)
        assert "secret" not in shown and shown["description"] == "the app"
        assert [one["id"] for one in (await gateway.ok("GET", "/api/webhooks"))["webhooks"]] == ["setting", made["id"]]

        rotated = await gateway.ok("POST", path + "/secret")
        assert (await gateway.call("POST", path + "/test")).status == 202
        await mine.until(lambda: mine.types == ["webhook.test"])
        event_id, told, headers = mine.taken[0]
        assert told["data"] == {"webhookId": made["id"]}
        for secret in (made["secret"], rotated["secret"]):
            Webhook(secret).verify(mine.raw[event_id], headers)

        async def settled() -> Any:
            while (page := await gateway.ok("GET", path + "/deliveries"))["deliveries"][0]["status"] == "pending":
                pass
            return page["deliveries"][0]

        told_of = await settled()
        assert (told_of["eventId"], told_of["responseStatus"], told_of["attempts"]) == (event_id, 204, 1)
        assert told_of["body"] == told
        again = await gateway.ok("POST", f"{path}/deliveries/{told_of['id']}/replay")
        assert again["eventId"] == event_id and again["id"] != told_of["id"]
        await mine.until(lambda: len(mine.taken) == 2)
        assert {one for one, _, _ in mine.taken} == {event_id}

        changed = await gateway.call("PATCH", path, {"events": ["session.created"], "enabled": False})
        assert (changed.json["events"], changed.json["enabled"]) == (["session.created"], False)
        assert (await gateway.call("POST", path + "/test")).status == 400
        await gateway.session()
        await gateway.call("PATCH", path, {"enabled": True})
        await gateway.session()
        await mine.until(lambda: "session.created" in mine.types)
        assert mine.types.count("session.created") == 1, "told of what happened while it was off"
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        await settled()
        assert (await gateway.ok("POST", path + "/replay", {"from": since}))["replayed"] == 1
        await mine.until(lambda: mine.types.count("session.created") == 2)

        assert (await gateway.call("DELETE", path)).status == 204
        assert (await gateway.call("DELETE", path)).status == 204
        assert (await gateway.call("GET", path)).status == 404
        assert (await gateway.call("GET", path + "/deliveries")).status == 404
        page = await gateway.ok("GET", "/api/audit")
        noted = [one["what"] for one in page["entries"] if one["what"].startswith("webhook ")]
        assert {"webhook create", "webhook change", "webhook delete", "webhook test", "webhook secret"} <= set(noted)


async def test_what_cannot_be_one_is_refused_and_says_why(gateway: InProcess) -> None:
    refused: tuple[tuple[Any, str], ...] = (
        ({"url": "ftp://app.example.com"}, "https"),
        ({"url": "https://app.example.com", "events": ["session.exploded"]}, "session.exploded"),
        ({"url": "https://app.example.com", "events": []}, "length"),
        ({"url": "https://app.example.com", "event": ["session.ended"]}, "event"),
        ({"url": "x" * 3_000}, "length"),
        ({}, "url"),
    )
    for body, said in refused:
        answer = await gateway.call("POST", "/api/webhooks", body)
        assert answer.status == 400 and said in answer.json["detail"], body
    assert (await gateway.call("GET", "/api/webhooks", token=None)).status == 401
    for path, body, said in (
        ("replay", {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "later"),
        ("replay", {"from": "yesterday"}, "from"),
        ("replay", {"from": "2026-01-01T00:00:00Z", "events": ["webhook.test"]}, "webhook.test"),
    ):
        answer = await gateway.call("POST", f"/api/webhooks/setting/{path}", body)
        assert answer.status == 400 and said in answer.json["detail"], body
    for query in ("status=lost", "cursor=x", "cursor=" + "9" * 40):
        assert (await gateway.call("GET", f"/api/webhooks/setting/deliveries?{query}")).status == 400
    assert (await gateway.call("POST", "/api/webhooks/setting/deliveries/x/replay")).status == 404


async def test_the_one_of_the_setting_keeps_its_address(gateway: InProcess) -> None:
    for method, path, body in (
        ("DELETE", "", None),
        ("POST", "/secret", None),
        ("PATCH", "", {"url": "https://app.example.com"}),
    ):
        assert (await gateway.call(method, "/api/webhooks/setting" + path, body)).status == 409
    changed = await gateway.call("PATCH", "/api/webhooks/setting", {"events": ["session.ended"]})
    assert changed.json["events"] == ["session.ended"]


async def test_410_switches_it_off_and_redirects_are_not_followed(gateway: InProcess) -> None:
    async with receiving() as mine:
        made = await hook(gateway, url=mine.url, events=["session.created"])
        path = f"/api/webhooks/{made['id']}"
        mine.behaviours = ["endless"]  # an answer without an end is read for some bytes and counts
        await gateway.ok("POST", path + "/test")
        await mine.until(lambda: mine.types == ["webhook.test"])
        while (await gateway.ok("GET", path + "/deliveries"))["deliveries"][0]["status"] != "delivered":
            pass
        mine.seen.clear()
        mine.behaviours = ["redirect"]
        await gateway.ok("POST", path + "/test")
        await mine.until(lambda: len(mine.seen) == 1)
        mine.behaviours = ["gone"]
        await gateway.session()
        await mine.until(lambda: len(mine.seen) == 2)
        while (await gateway.ok("GET", path))["enabled"]:
            pass
        assert "410" in (await gateway.ok("GET", path))["disabledReason"]
        [failed] = (await gateway.ok("GET", path + "/deliveries?status=failed"))["deliveries"]
        assert failed["responseStatus"] == 410
        [waiting] = (await gateway.ok("GET", path + "/deliveries?status=pending"))["deliveries"]
        assert waiting["error"] == "it answered 307" and waiting["nextAttemptAt"]


async def test_a_name_that_leads_inside_is_not_connected_to(database_url: str, tmp_path: Path) -> None:
    async with (
        receiving() as mine,
        speech_server() as provider,
        running(database_url, provider, tmp_path, webhook_allow=Allowed(http=True)) as gateway,
    ):
        assert (await gateway.call("POST", "/api/webhooks", {"url": mine.url})).status == 400
        made = await hook(gateway, url=mine.url.replace("127.0.0.1", "localhost"))
        path = f"/api/webhooks/{made['id']}"
        await gateway.ok("POST", path + "/test")
        while not (one := (await gateway.ok("GET", path + "/deliveries"))["deliveries"][0])["error"]:
            pass
        assert "no public address" in one["error"] and not mine.seen


async def test_refused_starts_are_told_once_for_each_reason(gateway: InProcess, receiver: Receiver) -> None:
    """However often they are tried, also at once: a flood of tries is no flood of events."""
    slug = await gateway.session()

    async def refused(**options: Any) -> int:
        body = {"sessionSlug": slug, "source": "rtmp", **options}
        return (await gateway.call("POST", "/api/transcription/start", body)).status

    assert set(await asyncio.gather(*(refused(costCapUsd=0.001) for _ in range(8)))) == {402}
    space = (await gateway.ok("GET", f"/api/sessions/{slug}"))["spaceId"]
    await gateway.ok("PUT", f"/api/spaces/{space}/limits", {"sessionMinutes": 0.1})
    assert [await refused() for _ in range(3)] == [429] * 3
    await gateway.ok("PUT", f"/api/spaces/{space}/limits", {"transcription": False})
    assert await refused() in (403, 409), "switched off is no limit"
    await receiver.until(lambda: receiver.types.count("limit.reached") == 2)
    told = [told["data"] for _, told, _ in receiver.taken if told["type"] == "limit.reached"]
    assert {(one["transcriptionId"], one["sessionSlug"]) for one in told} == {(None, slug)}
    assert told[0]["reason"] == "cost cap of 0.00 USD reached"
    document = await gateway.ok("GET", "/openapi.json")
    asked = document["webhooks"]["limit.reached"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    [one, *_] = [told for _, told, _ in receiver.taken if told["type"] == "limit.reached"]
    jsonschema.validate(one, {**asked, "components": document["components"]})
    async with open_pool(parse_database_url(gateway.database_url), size=1) as database:
        other = PostgresUsageLedger(database, SystemClock())  # another replica
        await other.refused(told[0]["sessionId"], told[0]["reason"], 3600)
    deliveries = await gateway.ok("GET", "/api/webhooks/setting/deliveries")
    assert sum(one["type"] == "limit.reached" for one in deliveries["deliveries"]) == 2
