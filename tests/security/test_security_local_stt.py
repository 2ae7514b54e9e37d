"""`gateway stt` is for this machine, unless it is asked to be for others."""

from __future__ import annotations

import aiohttp
import pytest

from gateway.app.errands import open_speech_server
from gateway.cli.parser import parser
from stt.local.callbacks import callback_client, is_public
from stt.local.server import LocalOptions, LocalServer

KEY = {"x-gladia-key": "k"}


def test_it_binds_loopback() -> None:
    assert parser().parse_args(["stt"]).host == "127.0.0.1" == LocalOptions().host


async def test_its_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLADIA_API_KEY", " secret \n")
    args = parser().parse_args(["stt", "--port", "0", "--engine", "scripted"])
    async with open_speech_server(args, None) as url, aiohttp.ClientSession() as http:
        for key, status in ((None, 401), ("k", 401), ("secret", 200)):
            headers = {"x-gladia-key": key} if key else {}
            async with http.get(f"{url}/v2/live", headers=headers) as answer:
                assert answer.status == status


async def test_pages_may_not_call_it_unless_asked() -> None:
    async with aiohttp.ClientSession() as http:
        for allowed, origin, told in (
            ((), "https://evil.example", None),
            (("https://app.example",), "https://evil.example", None),
            (("https://app.example",), "https://app.example", "https://app.example"),
            (("*",), "https://evil.example", "*"),
        ):
            async with LocalServer(LocalOptions(engine="scripted", allowed_origins=allowed)) as server:
                for method in ("GET", "OPTIONS"):
                    headers = {**KEY, "Origin": origin}
                    async with http.request(method, f"{server.url}/v2/live", headers=headers) as answer:
                        assert answer.headers.get("Access-Control-Allow-Origin") == told


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "10.1.2.3", "169.254.169.254", "localhost", "x.localhost", "0.0.0.0"]
)
async def test_callbacks_to_this_network_are_refused(host: str) -> None:
    body = {"callback": True, "callback_config": {"url": f"http://{host}:1/"}}
    assert not is_public(f"http://{host}:1/")
    async with (
        LocalServer(LocalOptions(engine="scripted")) as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/v2/live", json=body, headers=KEY) as answer,
    ):
        assert answer.status == 400 and "callback_config" in await answer.text()


async def test_a_name_is_judged_by_the_address_it_has() -> None:
    async with LocalServer(LocalOptions(engine="scripted")) as server:
        url = server.url.replace("127.0.0.1", "localhost") + "/healthz"
        async with callback_client(private=True) as http, http.get(url) as answer:
            assert answer.status == 200
        async with callback_client(private=False) as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(url)


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"x":"\\ud800"}', b"\xff"])
async def test_json_that_cannot_be_read_is_a_400(body: bytes) -> None:
    async with (
        LocalServer(LocalOptions(engine="scripted")) as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/v2/live", data=body, headers=KEY) as answer,
    ):
        assert answer.status == 400
