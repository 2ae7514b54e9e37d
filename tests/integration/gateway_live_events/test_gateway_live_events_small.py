"""Server-sent events from the endpoint alone: admission, heartbeats, slow and vanished readers, endings, limits."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from small_endpoint import SERVICE, USER_SECRET, Small, small_endpoint
from sse_client import STREAM, listening
from support.waiting import until

from gateway.live import endpoint
from gateway.live.address import parse_networks
from gateway.live.endpoint import LiveOptions
from gateway.live.slots import Limits
from gateway.live.watcher import Bounds


def user_token(left_s: float = 3600, spaces: tuple[str, ...] = ("s1",)) -> str:
    claims = {"sub": "u1", "exp": int(time.time() + left_s), "spaces": list(spaces)}
    return jwt.encode(claims, USER_SECRET, algorithm="HS256")


async def asked(small: Small, **changes: Any) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of a request that is not let in."""
    headers = {"Accept": "text/event-stream"} | changes.pop("headers", {})
    query = {"session": "one"} | changes
    async with small.http.get(small.url + STREAM, params=query, headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.text()


@asynccontextmanager
async def raw_get(small: Small, *, version: str = "1.1") -> AsyncIterator[asyncio.StreamReader]:
    """A reader on a bare connection, who takes little until asked."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", int(small.url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    head = (
        f"GET {STREAM}?session=one&token={SERVICE} HTTP/{version}\r\nHost: gateway\r\nAccept: text/event-stream\r\n\r\n"
    )
    writer.write(head.encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


# --- admission --------------------------------------------------------------------------------------------


async def test_the_answer_is_a_stream_that_nobody_may_hold_back() -> None:
    async with small_endpoint() as small, listening(small.http, small.url, "one") as events:
        headers = events.answer.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        hello = await events.until("hello")
        assert events.retry_ms == 2000
        assert hello.data["data"] == {"state": "idle", "epoch": "-", "seq": 0, "resumed": False}


async def test_both_kinds_of_connection_are_at_one_path_and_count_together() -> None:
    async with small_endpoint() as small:
        socket_url = small.url + STREAM
        async with (
            listening(small.http, small.url, "one"),
            small.http.ws_connect(socket_url, params={"session": "one"}),
        ):
            await small.watching(2)
        await small.watching(0)
        assert small.hub.counts.connected == 2
        assert small.endpoint.counts.closed == {"by_watcher": 2}


@pytest.mark.parametrize("accept", ["text/event-stream", "text/event-stream, */*;q=0.5"])
async def test_the_accept_header_asks_for_events(accept: str) -> None:
    async with (
        small_endpoint() as small,
        small.http.get(small.url + STREAM, params={"session": "one"}, headers={"Accept": accept}) as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    ("changes", "status", "counted"),
    [
        ({"headers": {"Authorization": "Bearer wrong"}}, 401, "credential"),
        ({"headers": {"Authorization": f"Bearer {user_token(-60)}"}}, 401, "credential"),
        ({"headers": {"Authorization": f"Bearer {user_token(10**9, ('s2',))}"}}, 403, "forbidden"),
        ({"session": "nowhere"}, 404, "no_session"),
        ({"session": ""}, 404, "no_session"),
        ({"headers": {"Last-Event-ID": "42"}}, 400, "malformed"),
        ({"since": "k3f9:x"}, 400, "malformed"),
        ({"headers": {"Origin": "https://elsewhere.example"}}, 403, "origin"),
        ({"headers": {"Origin": "http://own.example", "Authorization": "Bearer wrong"}}, 401, "credential"),
        ({"headers": {"Origin": "http://own.example"}, "session": "nowhere"}, 404, "no_session"),
    ],
)
async def test_a_refusal_is_an_http_status_and_is_counted(changes: dict[str, Any], status: int, counted: str) -> None:
    async with small_endpoint() as small:
        answered, headers, body = await asked(small, **changes)
        assert (answered, headers["Content-Type"]) == (status, "application/problem+json"), body
        assert small.endpoint.counts.refused == {counted: 1}


async def test_without_upgrade_or_accept_it_says_what_there_is() -> None:
    async with small_endpoint() as small:
        status, headers, body = await asked(small, headers={"Accept": "text/html"})
        assert (status, headers["Upgrade"]) == (426, "websocket")
        assert "text/event-stream" in json.loads(body)["detail"]


async def test_a_page_shows_its_token_in_the_query_and_reads_across_origins() -> None:
    """An EventSource cannot send headers."""
    options = LiveOptions(allowed_origins=("https://app.example",))
    async with small_endpoint(options) as small, aiohttp.ClientSession() as http:
        query = {"session": "one", "token": user_token()}
        headers = {"Accept": "text/event-stream", "Origin": "https://app.example"}
        async with http.get(small.url + STREAM, params=query, headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        async with http.options(
            small.url + STREAM,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization, last-event-id",
            },
        ) as answer:
            assert answer.status == 204
            assert "Last-Event-ID" in answer.headers["Access-Control-Allow-Headers"]


# --- history ----------------------------------------------------------------------------------------------


async def test_it_goes_on_after_the_last_event_that_came() -> None:
    """The header is newer than the query, which an EventSource repeats each time."""
    async with small_endpoint() as small:
        small.begin()
        for seq in range(1, 6):
            small.final(seq)
        async with listening(small.http, small.url, "one", last_id="k3f9:3", since="k3f9:1") as events:
            hello = await events.until("hello")
            assert (hello.id, hello.data["data"]["resumed"]) == ("k3f9:3", True)
            await events.until("transcript.final")
            await events.until("transcript.final")
            small.final(6)
            assert (await events.until("transcript.final")).id == "k3f9:6"
            assert [final["seq"] for final in events.finals] == [4, 5, 6]


@pytest.mark.parametrize("last_id", ["old1:3", "k3f9:99", "-:0"])
async def test_an_unknown_place_brings_all(last_id: str) -> None:
    async with small_endpoint() as small:
        small.begin()
        small.final(1)
        async with listening(small.http, small.url, "one", last_id=last_id) as events:
            assert (await events.until("hello")).data["data"]["resumed"] is False
            assert (await events.until("transcript.final")).data["seq"] == 1


async def test_a_long_history_comes_from_the_records_in_order() -> None:
    async with small_endpoint() as small:
        small.records.kept = [b'{"text":"%d"}' % seq for seq in range(1, 1_201)]
        small.begin(last_seq=1_200)
        async with listening(small.http, small.url, "one") as events:
            while len(events.finals) < 1_200:
                await events.until("transcript.final")
        assert [final["seq"] for final in events.finals] == list(range(1, 1_201))


async def test_http_1_0_gets_the_events_bare_until_the_end() -> None:
    """What nginx speaks to a server unless it is told otherwise."""
    async with small_endpoint() as small, raw_get(small, version="1.0") as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200")
        assert b"transfer-encoding" not in head.lower()
        assert await reader.readuntil(b"\n\n") == b"retry: 2000\n\n"
        hello = await reader.readuntil(b"\n\n")
        assert hello.startswith(b"event: hello\nid: -:0\ndata: {")
        await small.endpoint.close()
        assert await reader.read() == b""


# --- heartbeats, and readers who do not read --------------------------------------------------------------


async def test_a_quiet_stream_beats() -> None:
    async with small_endpoint(LiveOptions(heartbeat_s=0.1)) as small, listening(small.http, small.url, "one") as events:
        await events.until("hello")
        with pytest.raises(TimeoutError):
            await events.next(within_s=2.5)
        assert events.comments >= 1


async def test_a_socket_that_asks_for_it_beats_too_and_others_do_not() -> None:
    async with small_endpoint(LiveOptions(heartbeat_s=0.1)) as small:
        url, query = small.url + STREAM, {"session": "one"}
        async with (
            small.http.ws_connect(url, params=query) as without,
            small.http.ws_connect(url, params=query | {"beat": "1"}) as asking,
        ):
            assert [(await asking.receive_json())["type"] for _ in range(2)] == ["hello", "beat"]
            assert (await without.receive_json())["type"] == "hello"
            with pytest.raises(TimeoutError):
                await without.receive(timeout=1.5)


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_a_reader_who_has_gone_is_noticed_though_nothing_is_sent(leave: str) -> None:
    async with small_endpoint() as small:
        if leave == "reset":
            async with raw_get(small) as reader:
                await reader.readuntil(b"hello")
        else:
            async with listening(small.http, small.url, "one") as events:
                await events.until("hello")
        await small.watching(0)
        assert small.endpoint.counts.closed == {"by_watcher": 1}


async def test_a_reader_who_does_not_read_is_let_go_and_holds_up_nobody() -> None:
    async with small_endpoint(bounds=Bounds(mailbox_bytes=50_000)) as small, raw_get(small) as sleeper:
        small.begin()
        await sleeper.readuntil(b"hello")
        async with listening(small.http, small.url, "one") as events:
            await events.until("hello")
            for seq in range(1, 301):
                small.final(seq, size=2_000)
                if seq % 10 == 0:
                    await asyncio.sleep(0.001)
            while len(events.finals) < 300:
                await events.until("transcript.final")
            await small.watching(1)
        taken = await sleeper.read()
        assert not taken.endswith(b"0\r\n\r\n")  # cut off: what it did not take is not kept for it
        assert small.hub.counts.closed_too_slow == 1
        assert small.endpoint.counts.closed["too_slow"] == 1


async def test_a_reader_who_stops_in_the_history_is_let_go_when_the_gateway_closes() -> None:
    """Its connection must not outlive the shutdown."""
    async with small_endpoint() as small:
        small.records.kept = [b'{"text":"' + b"x" * 4_000 + b'"}'] * 2_000
        small.begin(last_seq=2_000)
        async with raw_get(small) as reader:
            await reader.readuntil(b"hello")
            await small.endpoint.close()
            await small.watching(0)


# --- endings ----------------------------------------------------------------------------------------------


async def test_an_ended_session_is_sent_whole_then_said_to_be_over_and_then_there_is_nothing() -> None:
    """204 is what makes an EventSource stop coming back."""
    async with small_endpoint() as small:
        small.records.sessions["one"] = "ENDED"
        async with listening(small.http, small.url, "one") as events:
            await events.rest()
        assert events.kinds == ["hello", "end"]
        assert events.seen[-1].data["data"] == {"code": 4510, "reason": "the session has ended and everything was sent"}
        assert events.last_id == "-:0"
        status, _, body = await asked(small, headers={"Last-Event-ID": events.last_id})
        assert (status, body) == (204, "")
        assert small.endpoint.counts.closed == {"session_ended": 1}
        assert small.endpoint.counts.refused == {}


@pytest.mark.parametrize(("fate", "code"), [("ENDED", 4510), ("EXPIRED", 4510), (None, 4504)])
async def test_a_session_that_ends_while_it_is_watched_is_said_to_be_over(fate: str | None, code: int) -> None:
    """By the app, in its tables; on both kinds of connection."""
    async with small_endpoint(LiveOptions(ask_s=0.1)) as small:
        url, query = small.url + STREAM, {"session": "one"}
        async with listening(small.http, small.url, "one") as events, small.http.ws_connect(url, params=query) as page:
            await events.until("hello")
            assert (await page.receive_json())["type"] == "hello"
            small.records.is_away = True
            with pytest.raises(TimeoutError):
                await events.next(within_s=1.5)  # nobody knows, so nothing is said
            small.records.is_away = False
            if fate is None:
                del small.records.sessions["one"]
            else:
                small.records.sessions["one"] = fate
            assert (await events.until("end")).data["data"]["code"] == code
            assert (await page.receive()).type is aiohttp.WSMsgType.CLOSE
            assert page.close_code == code


async def test_a_session_is_not_over_for_watchers_before_its_transcription_is() -> None:
    """The last finals come after the app has ended the session."""
    async with small_endpoint(LiveOptions(ask_s=0.1)) as small:
        small.begin()
        async with listening(small.http, small.url, "one") as events:
            await events.until("hello")
            small.records.sessions["one"] = "ENDED"
            with pytest.raises(TimeoutError):
                await events.next(within_s=2.5)
            small.final(1)
            small.hub.set_state("one", "stopped", "stopped by request")
            await events.rest()
        assert events.kinds == ["hello", "transcript.final", "session.state", "end"]


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_session_that_moves_is_asked_for_at_once_and_until_the_database_answers(is_away: bool) -> None:
    """Until then nobody follows whoever goes on with it."""
    async with small_endpoint(LiveOptions(ask_s=600)) as small:
        small.begin()
        async with listening(small.http, small.url, "one") as events:
            await events.until("hello")
            small.records.is_away = is_away
            small.hub.move("one")
            await until(lambda: small.records.asked > 1)
            small.records.sessions["one"] = "ENDED"
            small.records.is_away = False
            if not is_away:
                small.begin()
                small.hub.move("one")  # and again, soon after
            await events.rest()
        assert events.kinds[-1] == "end"


async def test_a_draining_gateway_ends_the_stream_without_a_goodbye() -> None:
    """So that an EventSource comes back, to another replica or a later process."""
    async with small_endpoint() as small, listening(small.http, small.url, "one") as events:
        await events.until("hello")
        await small.endpoint.close()
        assert await events.next() is None
        assert (await asked(small))[0] == 503


async def test_a_credential_that_expires_ends_the_stream_for_good() -> None:
    async with small_endpoint() as small:
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {user_token(1)}"}
        async with small.http.get(small.url + STREAM, params={"session": "one"}, headers=headers) as answer:
            text = (await answer.text()).split("\n\n")[:-1]
        assert "event: end" in text[-1]
        assert '"code":4501' in text[-1]


async def test_a_database_that_is_away_ends_the_stream_for_now() -> None:
    async with small_endpoint() as small:
        small.records.is_half_away = True
        async with listening(small.http, small.url, "one") as events:
            assert await events.next() is None


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "session", "counted"),
    [
        (Limits(total=1), "two", "too_many"),
        (Limits(per_address=1), "two", "too_many_from_address"),
        (Limits(per_session=1), "one", "too_many_of_session"),
    ],
)
async def test_one_too_many_is_told_to_come_back_later(limits: Limits, session: str, counted: str) -> None:
    """429 for programs, 4029 for pages; and when one has left there is a place."""
    async with small_endpoint(LiveOptions(limits=limits)) as small:
        async with listening(small.http, small.url, "one") as events:
            await events.until("hello")
            status, headers, _ = await asked(small, session=session)
            assert (status, headers["Retry-After"]) == (429, "5")
            url, page = f"{small.url}{STREAM}", {"Origin": small.url}
            async with small.http.ws_connect(url, params={"session": session}, headers=page) as refused:
                assert (await refused.receive()).type is aiohttp.WSMsgType.CLOSE
                assert refused.close_code == 4029
            assert small.endpoint.counts.refused == {counted: 2}
        await small.watching(0)
        async with listening(small.http, small.url, session) as events:
            await events.until("hello")


async def test_behind_a_trusted_proxy_its_clients_are_counted_apart() -> None:
    options = LiveOptions(limits=Limits(per_address=1), trusted_proxies=parse_networks("127.0.0.1"))
    async with small_endpoint(options) as small:
        query = {"session": "one"}
        headers = {"Accept": "text/event-stream", "X-Forwarded-For": "198.51.100.7"}
        async with small.http.get(small.url + STREAM, params=query, headers=headers) as first:
            assert first.status == 200
            assert (await asked(small, headers=headers))[0] == 429
            other = headers | {"X-Forwarded-For": "198.51.100.7, 198.51.100.8"}
            async with small.http.get(small.url + STREAM, params=query, headers=other) as second:
                assert second.status == 200


async def test_a_crowd_that_is_sent_back_comes_back_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "CROWD_MS", 1)
    async with small_endpoint() as small, listening(small.http, small.url, "one") as events:
        await events.until("hello")
        await small.endpoint.close()
        await events.rest()
        assert events.retry_ms in (2001, 2002)
