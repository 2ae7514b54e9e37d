"""The REST side: keys, envelopes, records, lists, files."""

from __future__ import annotations

import asyncio
import io
import logging
import wave
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from stt_local_client import KEY, Meet, Serve

from stt.errors import SttError
from stt.local.faults import BadPlan
from stt.local.recogniser import EngineUnavailable
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer


async def call(
    http: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str] = KEY, **more: Any
) -> tuple[int, Any]:
    async with http.request(method, url, headers=headers, **more) as answer:
        text = await answer.text()
        return answer.status, await answer.json() if text.startswith(("{", "[")) else text


async def test_a_session_is_created_with_id_time_and_socket_url(meet: Meet) -> None:
    client = await meet()
    made = await client.create()
    assert set(made) == {"id", "created_at", "url"}
    assert made["url"].startswith(f"ws{client.server.url[4:]}/v2/live?token=")
    assert made["created_at"].endswith("Z")
    assert client.server.sessions[made["id"]].status == "queued"


@pytest.mark.parametrize(
    ("headers", "message"),
    [({}, "no gladia key provided"), ({"x-gladia-key": "wrong"}, "gladia user not found")],
)
async def test_every_route_needs_the_right_key(
    serve: Serve, http: aiohttp.ClientSession, headers: dict[str, str], message: str
) -> None:
    server = await serve(api_key="right")
    for method, path in [
        ("POST", "/v2/live"),
        ("GET", "/v2/live"),
        ("GET", "/v2/live/x"),
        ("DELETE", "/v2/live/x"),
        ("PATCH", "/v2/live/x"),
        ("GET", "/v2/live/x/file"),
    ]:
        status, body = await call(http, method, server.url + path, headers)
        assert (status, body["statusCode"], body["message"], body["path"]) == (401, 401, message, path)
        assert body["request_id"].startswith("G-") and body["timestamp"].endswith("Z")
    assert (await call(http, "POST", server.url + "/v2/live", {"x-gladia-key": "right"}, json={}))[0] == 201


async def test_a_bad_request_lists_every_problem(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve()
    status, body = await call(http, "POST", f"{server.url}/v2/live", json={"channels": 9, "model": "x"})
    assert (status, len(body["validation_errors"])) == (400, 2)
    status, body = await call(http, "POST", f"{server.url}/v2/live", data=b"{")
    assert (status, "not JSON" in body["validation_errors"][0]) == (400, True)
    assert not server.sessions


async def test_region_belongs_in_the_query(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve()
    assert (await call(http, "POST", f"{server.url}/v2/live?region=eu-west", json={}))[0] == 201
    assert (await call(http, "POST", f"{server.url}/v2/live?region=mars", json={}))[0] == 400
    assert (await call(http, "POST", f"{server.url}/v2/live", json={"region": "eu-west"}))[0] == 400


async def test_unknown_fields_are_ignored_and_logged(meet: Meet, caplog: pytest.LogCaptureFixture) -> None:
    client = await meet()
    with caplog.at_level(logging.INFO, logger="stt.local.server"):
        await client.create(pii_redaction=True)
    assert "pii_redaction" in caplog.text


async def test_unknown_routes_and_jobs_have_the_provider_s_words(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve()
    assert (await call(http, "GET", f"{server.url}/v2/nothing"))[1]["message"] == "Cannot GET /v2/nothing"
    assert (await call(http, "PUT", f"{server.url}/v2/live"))[1]["message"] == "Cannot PUT /v2/live"
    assert (await call(http, "GET", f"{server.url}/v2/live/nobody"))[0] == 404
    assert (await call(http, "GET", f"{server.url}/_faults"))[0] == 404


async def test_health_names_the_engine_without_a_key(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve()
    assert await call(http, "GET", f"{server.url}/healthz", {}) == (
        200,
        {"status": "ok", "engine": "scripted", "languages": None, "openSessions": 0},
    )


async def test_a_browser_may_ask_where_that_is_allowed(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(allowed_origins=("*",))
    async with http.options(f"{server.url}/v2/live") as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "x-gladia-key" in answer.headers["Access-Control-Allow-Headers"]


async def test_sessions_over_the_limit_are_refused_until_one_ends(meet: Meet) -> None:
    client = await meet(max_sessions=1)
    first = await client.create()
    assert (await call(client.http, "POST", f"{client.server.url}/v2/live", json={}))[0] == 429
    async with client.http.ws_connect(first["url"]) as socket:
        await socket.send_json({"type": "stop_recording"})
        await client.server.sessions[first["id"]].ended()
    await client.create()


async def test_the_record_of_a_finished_session_is_complete(meet: Meet) -> None:
    client = await meet()
    pcm, _ = speak("alpha bravo", lead_s=0.1, tail_s=0.2)
    talk = await client.talk(pcm, custom_metadata={"room": "a"}, channels=1)
    record = await client.get(f"/v2/live/{talk.id}")
    assert record["status"] == "done"
    assert (record["kind"], record["version"], record["error_code"]) == ("live", 2, None)
    assert record["request_id"] == f"G-{talk.id[:8]}"
    assert record["custom_metadata"] == {"room": "a"}
    assert "custom_metadata" not in record["request_params"]
    assert record["completed_at"] >= record["created_at"]
    assert record["result"]["metadata"]["billing_time"] == round(len(pcm) / 32_000, 3)
    assert record["result"]["transcription"]["full_transcript"] == "alpha bravo"
    assert talk.of("post_final_transcript")[0]["data"]["transcription"] == record["result"]["transcription"]
    assert any('"is_final":true' in text for text in record["result"]["messages"])
    assert record["file"]["audio_duration"] == round(len(pcm) / 32_000, 3)


async def test_the_recorded_audio_is_a_wav_file(meet: Meet) -> None:
    client = await meet()
    pcm, _ = speak("alpha", tail_s=0.2)
    talk = await client.talk(pcm)
    async with client.http.get(f"{client.server.url}/v2/live/{talk.id}/file", headers=KEY) as answer:
        assert answer.content_type == "application/octet-stream"
        with wave.open(io.BytesIO(await answer.read())) as read:
            assert (read.getframerate(), read.readframes(read.getnframes())) == (16_000, pcm)


async def test_recording_can_be_switched_off(meet: Meet) -> None:
    client = await meet(record_limit_bytes=0)
    talk = await client.talk(speak("alpha", tail_s=0.2)[0])
    assert (await client.get(f"/v2/live/{talk.id}"))["file"] is None
    assert (await call(client.http, "GET", f"{client.server.url}/v2/live/{talk.id}/file"))[0] == 404


async def test_the_list_is_paged_newest_first_and_filtered(meet: Meet) -> None:
    client = await meet()
    made = [await client.create(custom_metadata={"room": "ab"[i % 2], "n": i}) for i in range(5)]
    ids = [item["id"] for item in made]
    page = await client.get("/v2/live?limit=2")
    assert [item["id"] for item in page["items"]] == [ids[4], ids[3]]
    query = page["next"].partition("?")[2]
    page = await client.get(f"/v2/live?{query}")
    assert [item["id"] for item in page["items"]] == [ids[2], ids[1]]
    page = await client.get(f"/v2/live?{page['next'].partition('?')[2]}")
    assert ([item["id"] for item in page["items"]], page["next"]) == ([ids[0]], None)
    for filter_ in ('custom_metadata={"room":"a"}', "custom_metadata[room]=a"):
        found = await client.get(f"/v2/live?{filter_}")
        assert [item["id"] for item in found["items"]] == [ids[4], ids[2], ids[0]]
    assert [i["id"] for i in (await client.get("/v2/live?custom_metadata[n]=3"))["items"]] == [ids[3]]
    assert (await client.get("/v2/live?status=done"))["items"] == []
    assert len((await client.get("/v2/live?status=queued&status=done"))["items"]) == 5
    assert (await client.get("/v2/live?before_date=2020-01-01"))["items"] == []
    assert len((await client.get("/v2/live?after_date=2020-01-01T00:00:00Z"))["items"]) == 5


async def test_only_an_ended_session_can_be_deleted(meet: Meet) -> None:
    client = await meet()
    talk = await client.talk(b"")
    running = await client.create()
    url = f"{client.server.url}/v2/live"
    assert (await call(client.http, "DELETE", f"{url}/{running['id']}"))[0] == 403
    assert (await call(client.http, "DELETE", f"{url}/{talk.id}"))[0] == 202
    assert (await call(client.http, "GET", f"{url}/{talk.id}"))[0] == 404


async def test_debug_metadata_can_be_added_up_to_100_kb(meet: Meet) -> None:
    client = await meet()
    made = await client.create()
    url = f"{client.server.url}/v2/live/{made['id']}"
    assert (await call(client.http, "PATCH", url, json={"a": 1}))[0] == 204
    assert (await client.get(f"/v2/live/{made['id']}"))["post_session_metadata"] == {"a": 1}
    assert (await call(client.http, "PATCH", url, data=b'"' + bytes(100_001)))[0] == 413
    assert (await call(client.http, "PATCH", url, data=b"[]"))[0] == 400


async def test_the_oldest_finished_sessions_are_forgotten(meet: Meet) -> None:
    client = await meet(keep_done=2)
    talks = [await client.talk(b"") for _ in range(4)]
    await client.create()
    assert [id_ in client.server.sessions for id_ in (t.id for t in talks)] == [False, False, True, True]


async def test_callbacks_bring_the_messages_that_were_asked_for(meet: Meet, http: aiohttp.ClientSession) -> None:
    client = await meet()
    received: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        event = await request.json()
        received.append(event)
        if event["event"] == "live.end_session":
            over.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        talk = await client.talk(
            speak("alpha", tail_s=0.2)[0], callback=True, callback_config={"url": url, "receive_speech_events": True}
        )
        async with asyncio.timeout(60):
            await over.wait()
    finally:
        await runner.cleanup()
    assert [event["event"] for event in received] == [
        "live.start_session",
        "live.start_recording",
        "live.speech_start",
        "live.speech_end",
        "live.transcript",
        "live.end_recording",
        "live.post_transcript",
        "live.post_final_transcript",
        "live.end_session",
    ]
    assert {event["id"] for event in received} == {talk.id}
    assert received[4]["payload"] == talk.of("transcript")[-1]


async def test_an_unreachable_callback_costs_the_session_nothing(meet: Meet) -> None:
    client = await meet()
    talk = await client.talk(
        speak("alpha", tail_s=0.2)[0], callback=True, callback_config={"url": "http://127.0.0.1:1/"}
    )
    assert talk.words == ["alpha"]


def test_wrong_options_are_refused_before_anything_starts() -> None:
    with pytest.raises(BadPlan):
        LocalServer(LocalOptions(engine="scripted", faults={"nonsense": 1}))
    with pytest.raises(EngineUnavailable, match="choose pocketsphinx or scripted"):
        LocalServer(LocalOptions(engine="magic"))
    assert issubclass(EngineUnavailable, SttError)


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind(serve: Serve) -> None:
    first = await serve()
    with pytest.raises(OSError, match="in use"):
        await serve(port=int(first.url.rpartition(":")[2]))
