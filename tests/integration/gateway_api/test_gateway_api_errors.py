"""Every refusal is one clear answer: RFC 9457, with what to do, and never with a credential."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from integration.gateway_api.in_process import TOKEN, Answer, InProcess, room_token, user_token

from gateway.api import routes
from gateway.outage import RecordsUnavailable


def check_problem(answer: Answer, status: int) -> dict[str, Any]:
    """RFC 9457, and nothing else."""
    assert answer.status == status, answer
    assert answer.kind == "application/problem+json"
    problem = answer.json
    assert set(problem) <= {"type", "title", "status", "detail", "hint"}
    assert set(problem) >= {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert all(isinstance(problem[name], str) and problem[name] for name in set(problem) - {"status"})
    assert "Traceback" not in problem["detail"]
    return dict(problem)


GUARDED = [
    ("POST", "/api/transcription/start"),
    ("POST", "/api/transcription/stop"),
    ("GET", "/api/transcription"),
    ("GET", "/api/transcription/abc"),
    ("GET", "/api/transcription/abc/usage"),
    ("GET", "/api/transcription/abc/timeline"),
    ("POST", "/api/sessions"),
    ("GET", "/api/sessions/abc/transcript"),
    ("GET", "/metrics"),
]


async def test_without_a_good_token_nothing_is_answered(gateway: InProcess) -> None:
    """Absent, wrong, nearly right, another scheme, no text at all: 401 with WWW-Authenticate on every route."""
    slug = await gateway.session()
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ]
    for method, path in GUARDED:
        for headers in wrong:
            answer = await gateway.call(method, path.replace("abc", slug), b"{}", token=None, headers=headers)
            problem = check_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in problem["detail"]


async def test_a_token_of_raw_bytes_is_refused_like_any_other(gateway: InProcess) -> None:
    """Bytes that are no UTF-8 are a wrong token, not an error of ours."""
    host, port = gateway.host.split(":")
    for path in (
        b"/api/transcription",
        b"/api/sessions/abc/transcript",
        b"/api/sessions/abc/transcript?token=%FF.%FE.%FF",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe.\xff.\xff\r\n")
        writer.write(b"Connection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 401 "), answer
        writer.close()
        await writer.wait_closed()


async def test_a_users_token_does_not_steer(gateway: InProcess) -> None:
    """Good for watching, not for the control API."""
    slug = await gateway.session()
    for token in (user_token("default"), room_token(slug)):
        for method, path in GUARDED:
            if not path.startswith("/api/sessions"):
                check_problem(await gateway.call(method, path.replace("abc", slug), b"{}", token=token), 401)


async def test_every_service_token_of_the_list_is_good(gateway: InProcess) -> None:
    for token in (TOKEN, "another-service-token"):
        assert (await gateway.call("GET", "/api/transcription", token=token)).status == 200
    scheme = {"Authorization": f"bEaReR {TOKEN}"}
    assert (await gateway.call("GET", "/api/transcription", token=None, headers=scheme)).status == 200


MALFORMED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"abc"',
    b"\xff\xfe",
    b'{"sessionSlug": "\xff"}',
    b'{"sessionSlug": 5}',
    b'{"sessionSlug": ""}',
    b'{"sessionSlug": null}',
    b"{}",
    b'{"sessionSlug": "%s"}' % (b"x" * 129),
    b'{"sessionSlug": "abc"} {"sessionSlug": "abc"}',
    b"[" * 5000,
    b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
]
WRONG_START = [
    {"source": "obs"},
    {"source": None},
    {"language": "x"},
    {"language": ["en"]},
    {"languages": "en"},
    {"languages": [""]},
    {"codeSwitching": "yes"},
    {"customVocabulary": [""]},
    {"customVocabulary": [5]},
    {"customVocabulary": [{"value": "x", "intensity": 1.5}]},
    {"customVocabulary": [{"intensity": 1}]},
    {"vocabularyIntensity": -1},
    {"customSpelling": ["x"]},
    {"translation": {"model": "best"}},
    {"endpointing": 0},
    {"maximumDurationWithoutEndpointing": 61},
    {"speechThreshold": 2},
    {"audioEnhancer": "yes"},
    {"namedEntities": 1},
    {"region": "mars"},
    {"translateTo": {"de": True}},
    {"costCapUsd": 0},
    {"costCapUsd": -1},
    {"costCapUsd": "1"},
    {"participantIdentity": ""},
    {"participantIdentity": "x" * 257},
]


async def test_a_malformed_body_is_refused(gateway: InProcess) -> None:
    """With what is wrong where; the connection stays usable."""
    for path in ("/api/transcription/start", "/api/transcription/stop"):
        for body in MALFORMED:
            check_problem(await gateway.call("POST", path, body), 400)
    for body in (b"{", b"[]", b'{"title": 5}', b'{"spaceId": ""}', b'{"title": "%s"}' % (b"x" * 501)):
        check_problem(await gateway.call("POST", "/api/sessions", body), 400)
    for more in WRONG_START:
        problem = check_problem(
            await gateway.call("POST", "/api/transcription/start", {"sessionSlug": "abc", **more}), 400
        )
        assert next(iter(more)) in problem["detail"]


async def test_a_body_may_be_strange_without_being_an_error_of_ours(gateway: InProcess) -> None:
    """Zero bytes, lone surrogates, other scripts: refused or kept, never a 500."""
    for title, status in (("\x00", 400), ("a\x00b", 400), ("日本語 🎙", 201), ("'; DROP TABLE x; --", 201), ("", 201)):
        assert (await gateway.call("POST", "/api/sessions", {"title": title})).status == status
    assert (await gateway.call("POST", "/api/sessions", b'{"title": "\\ud800"}')).status < 500
    for slug in ("\x00", "a\x00b", "日本語", "' OR 1=1 --", "../../etc/passwd"):
        for path in ("start", "stop"):
            answer = await gateway.call("POST", f"/api/transcription/{path}", {"sessionSlug": slug})
            check_problem(answer, 400 if "\x00" in slug else 404)
    for path in ("%00", "%ff", "a%2Fb", "%F0%9F%8E%99", "x" * 500):
        check_problem(await gateway.call("GET", f"/api/transcription/{path}"), 404)
        check_problem(await gateway.call("GET", f"/api/sessions/{path}/transcript"), 404)


async def test_fields_of_a_newer_client_are_ignored_and_named(gateway: InProcess) -> None:
    """So that the app can be updated before the gateway, and a misspelt option does not stay unseen."""
    slug = await gateway.session()
    started = await gateway.start(slug, language="en", somethingNew={"a": 1}, codeSwitchin=True)
    assert started["created"]
    assert [warning.split()[0] for warning in started["warnings"]] == ["somethingNew", "codeSwitchin"]
    assert started["warnings"][1].endswith("did you mean codeSwitching?")
    assert "warnings" not in await gateway.start(slug, language="en")
    body = b'{"sessionSlug":"%s","source":"rtmp","x":1e999}' % slug.encode()
    assert (await gateway.call("POST", "/api/transcription/start", body)).status == 200


async def test_a_body_that_is_too_long_is_refused(gateway: InProcess) -> None:
    """Announced or in chunks, before it fills the memory."""
    long = b'{"sessionSlug": "abc", "customVocabulary": ["' + b"x" * 70_000 + b'"]}'
    check_problem(await gateway.call("POST", "/api/transcription/start", long), 413)

    async def chunks() -> Any:
        for at in range(0, len(long), 10_000):
            yield long[at : at + 10_000]

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with gateway.http.post(f"{gateway.url}/api/transcription/start", data=chunks(), headers=headers) as answer:
        check_problem(Answer(answer.status, answer.headers, await answer.read()), 413)


async def test_unknown_places_and_methods_are_problems_too(gateway: InProcess) -> None:
    for path in ("/nowhere", "/api", "/api/transcription/abc/usage/more", "/api/realtime", "//", "/..%2f"):
        check_problem(await gateway.call("GET", path), 404)
    for method, path, allowed in (
        ("DELETE", "/api/transcription", {"GET"}),
        ("PUT", "/api/transcription/start", {"GET", "POST"}),
        ("POST", "/healthz", {"GET"}),
        ("PATCH", "/api/sessions", {"GET", "POST"}),
    ):
        answer = await gateway.call(method, path)
        check_problem(answer, 405)
        assert set(answer.headers["Allow"].split(",")) >= allowed


async def test_a_stream_without_an_upgrade_says_how(gateway: InProcess) -> None:
    answer = await gateway.call("GET", "/api/realtime/transcribe?session=abc")
    check_problem(answer, 426)
    assert answer.headers["Upgrade"] == "websocket"


async def test_no_credential_reaches_the_log(gateway: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Neither from a header, nor a query, nor a subprotocol, good or bad, whatever the level."""
    caplog.set_level(logging.DEBUG)
    slug = await gateway.session()
    secrets = [TOKEN, "query-secret", "protocol-secret", user_token("default"), room_token(slug)]
    await gateway.start(slug)
    for token in secrets:
        await gateway.call("GET", "/api/transcription", token=token)
        await gateway.call("GET", f"/api/sessions/{slug}/transcript?token={token}", token=None)
        for protocols in ((), ("transcript.v1", f"bearer.{token}"), (f"bearer.{token}",)):
            try:
                query = None if protocols else token
                async with gateway.watch(slug, token=query, protocols=protocols) as stream:
                    await stream.next()
            except Exception:
                continue
    await gateway.call("POST", "/api/transcription/start", b'{"sessionSlug": "protocol-secret')
    assert any(record.name == "gateway.access" for record in caplog.records)
    shown = caplog.text + "".join(str(vars(record)) for record in caplog.records if record.name.startswith("gateway"))
    for secret in secrets:
        assert secret not in shown


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_reader_who_leaves_before_the_end_is_no_fault(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    """Ending the compressed stream of an answer fails twice: for whom it was for, and for whoever answers that."""
    write_json = routes._write_json

    async def left_alone(response: web.StreamResponse, *more: Any) -> None:
        await write_json(response, *more)
        assert response._req is not None and response._req.transport is not None
        response._req.transport.abort()
        await asyncio.sleep(0)

    monkeypatch.setattr(routes, "_write_json", left_alone)
    assert not (await _transcript(gateway, encoding)).endswith(LAST_CHUNK)
    assert (await gateway.call("GET", "/readyz", token=None)).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_an_answer_that_has_begun_breaks_off_where_the_database_goes_away(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    """Whoever reads it must not take it for whole, nor a second answer for its content."""

    async def fails(response: web.StreamResponse, *more: Any) -> None:
        await response.write(b'{"finals":[')
        raise RecordsUnavailable("gone")

    monkeypatch.setattr(routes, "_write_json", fails)
    read = await _transcript(gateway, encoding)
    assert read.startswith(b"HTTP/1.1 200") and read.count(b"HTTP/1.1") == 1 and not read.endswith(LAST_CHUNK)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned == ["database: gone"]


LAST_CHUNK = b"0\r\n\r\n"


async def _transcript(gateway: InProcess, encoding: str) -> bytes:
    """As it comes over the wire, to the end of the connection."""
    host, _, port = gateway.url.rpartition("/")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /api/sessions/{await gateway.session()}/transcript HTTP/1.1\r\nHost: x\r\n"
        f"Accept-Encoding: {encoding}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    read = b""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            read += data
    writer.close()
    return read


async def test_a_path_cannot_forge_a_log_line(gateway: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await gateway.call("GET", "/x%0A2026-01-05T10:00:00Z%20error%20forged")
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.access"]
    assert lines == ["GET /x%0A2026-01-05T10:00:00Z%20error%20forged"]


async def test_many_bad_requests_at_once_leave_it_well(gateway: InProcess) -> None:
    async def bad(number: int) -> int:
        return (await gateway.call("POST", "/api/transcription/start", b"{" * (number + 1))).status

    assert set(await asyncio.gather(*map(bad, range(50)))) == {400}
    assert (await gateway.call("GET", "/readyz", token=None)).status == 200
