"""Secrets from files, changed while the gateway runs: the new ones hold, the old ones do not, nothing restarts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import jwt
import pytest
from support.gateway import Running, gateway_process
from support.waiting import until

from gateway.app import secrets as secrets_module
from gateway.app.secrets import HeldSecrets
from gateway.settings import Settings, WrongSettings
from stt.local.server import LocalServer

OLD, NEW = "old-token-of-some-length", "new-token-of-some-length"


def files(folder: Path, **values: str) -> dict[str, str]:
    env = {}
    for name, value in values.items():
        path = folder / name
        path.write_text(value + "\n")
        env[f"{name}_FILE"] = str(path)
    return env


def test_every_secret_may_come_from_a_file(tmp_path: Path) -> None:
    env = files(tmp_path, GATEWAY_API_TOKENS=f"{OLD}, other", GLADIA_API_KEY="k", LIVEKIT_API_KEY="name")
    found = Settings.from_env(env)
    assert (found.api_tokens, found.gladia_api_key, found.livekit_api_key) == ((OLD, "other"), "k", "name")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: {"GLADIA_API_KEY_FILE": str(folder / "none")}, "No such file"),
        (lambda folder: files(folder, GLADIA_API_KEY=""), "empty"),
        (lambda folder: {**files(folder, GLADIA_API_KEY="hunter2"), "GLADIA_API_KEY": "hunter3"}, "both set"),
        (lambda folder: files(folder, DATABASE_URL="hunter2"), "must be a URL"),
        (lambda folder: files(folder, GATEWAY_JWT_SECRET="hunter2"), "at least 32 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem_without_the_secret(
    tmp_path: Path, make: Callable[[Path], dict[str, str]], said: str
) -> None:
    with pytest.raises(WrongSettings) as wrong:
        Settings.from_env({"GATEWAY_API_TOKENS": OLD, **make(tmp_path)})
    [problem] = wrong.value.problems
    assert said in problem and "hunter" not in problem


async def test_a_changed_file_changes_every_secret_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_module, "LOOK_S", 0.01)
    env = files(tmp_path, GATEWAY_API_TOKENS=OLD, GLADIA_API_KEY="k1", LIVEKIT_API_KEY="n1", LIVEKIT_API_SECRET="s1")
    held = HeldSecrets(Settings.from_env(env), env)
    watching = asyncio.create_task(held.watch())
    try:
        for name, value in {"GATEWAY_API_TOKENS": NEW, "GLADIA_API_KEY": "k2", "LIVEKIT_API_KEY": "n2"}.items():
            fresh = tmp_path / "fresh"
            fresh.write_text(value)
            fresh.rename(tmp_path / name)  # replaced, as mounted secrets are
        await until(lambda: (held.provider_key(), held.livekit_keys()) == ("k2", (("n2", "s1"),)))
        assert held.credentials().service_tokens == (NEW,) and held.gateway_token() == NEW
    finally:
        watching.cancel()


def test_what_cannot_be_used_leaves_the_former_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    env = files(tmp_path, GATEWAY_API_TOKENS=OLD)
    held = HeldSecrets(Settings.from_env(env), env)
    (tmp_path / "GATEWAY_API_TOKENS").write_text("")
    held.read_again()
    assert held.credentials().service_tokens == (OLD,) and held.rotations == 0
    assert "stay in force" in caplog.text and OLD not in caplog.text


@pytest.mark.parametrize(
    ("keys", "secrets", "said"), [("k1\nk2", "s1", "2 and 1 lines"), ("k1", "s1\ns2\ns3", "1 and 3 lines")]
)
def test_pairs_that_are_half_written_are_not_taken(tmp_path: Path, keys: str, secrets: str, said: str) -> None:
    env = files(tmp_path, GATEWAY_API_TOKENS=OLD, LIVEKIT_API_KEY="k0", LIVEKIT_API_SECRET="s0")
    held = HeldSecrets(Settings.from_env(env), env)
    files(tmp_path, LIVEKIT_API_KEY=keys, LIVEKIT_API_SECRET=secrets)
    held.read_again()
    assert held.livekit_keys() == (("k0", "s0"),)
    with pytest.raises(WrongSettings, match=said):
        Settings.from_env(env)


class Rotating:
    """A gateway whose secrets are files, and what each of them opens."""

    def __init__(self, gateway: Running, folder: Path, provider: LocalServer) -> None:
        self.gateway = gateway
        self._folder = folder
        self._provider = provider

    def write(self, **values: str) -> None:
        """Replaced, as mounted secrets are."""
        for name, value in values.items():
            fresh = self._folder / "fresh"
            fresh.write_text(value)
            fresh.rename(self._folder / name)

    def hang_up(self) -> None:
        os.kill(self.gateway.process.process.pid, signal.SIGHUP)

    async def service(self, token: str) -> int:
        return (await self.gateway.call("GET", "/api/transcription", token=token))[0]

    async def user(self, secret: str) -> int:
        token = jwt.encode({"sub": "u", "spaces": ["s"], "exp": time.time() + 60}, secret)
        return (await self.gateway.call("GET", "/api/sessions?spaceId=s", token=token))[0]

    async def room(self, slug: str, token: str) -> int:
        return (await self.gateway.call("GET", f"/api/sessions/{slug}/participants", token=token))[0]

    async def room_token(self, slug: str, service: str) -> str:
        _, told = await self.gateway.call("GET", f"/api/sessions/{slug}/token?identity=gus", token=service)
        token: str = told["token"]
        return token

    async def webhook(self, key: str, secret: str) -> int:
        body = b'{"event":"room_started","room":{"name":"x"},"id":"1"}'
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        signed = jwt.encode({"iss": key, "exp": time.time() + 60, "sha256": digest}, secret)
        url, headers = self.gateway.url + "/api/livekit/webhook", {"Authorization": signed}
        async with self.gateway.http.post(url, data=body, headers=headers) as answer:
            return answer.status

    async def start(self, slug: str, service: str, key: str) -> int:
        """At a provider that takes this key alone."""
        self._provider.options = replace(self._provider.options, api_key=key)
        body = {"sessionSlug": slug, "source": "websocket"}
        status = (await self.gateway.call("POST", "/api/transcription/start", body, token=service))[0]
        await self.gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug}, token=service)
        return status

    @asynccontextmanager
    async def streams(self, slug: str, *tokens: str) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse]]:
        """A watcher and a sender for each."""
        async with AsyncExitStack() as held:
            found = []
            for token in tokens:
                for path in ("transcribe", "audio"):
                    url = f"{self.gateway.url}/api/realtime/{path}?session={slug}&token={token}&identity=gus"
                    found.append(await held.enter_async_context(self.gateway.http.ws_connect(url)))
            yield found

    async def until(self, status: int, ask: Callable[[], Awaitable[int]]) -> None:
        async with asyncio.timeout(20):
            while await ask() != status:
                await asyncio.sleep(0.05)


async def test_every_secret_is_rotated_in_a_running_gateway_and_both_are_good_in_between(
    tmp_path: Path, database_url: str, provider: LocalServer
) -> None:
    one, two = ({name: 32 * letter for name, letter in zip("tjl", of, strict=True)} for of in ("abc", "def"))
    env = files(tmp_path, GATEWAY_API_TOKENS=one["t"], GATEWAY_JWT_SECRET=one["j"], LIVEKIT_API_KEY="key-1",
                LIVEKIT_API_SECRET=one["l"], GLADIA_API_KEY="k")  # fmt: skip
    env |= {"DATABASE_URL": database_url, "LIVEKIT_URL": "ws://127.0.0.1:9", "GLADIA_API_URL": provider.url}
    env |= {"GATEWAY_LIVEKIT_AUTO_START": "false", "GATEWAY_API_TOKENS": ""}
    async with gateway_process(tmp_path / "data", **env) as gateway, AsyncExitStack() as streams:
        here = Rotating(gateway, tmp_path, provider)
        _, made = await gateway.call("POST", "/api/sessions", {}, token=one["t"])
        slug = made["slug"]
        old_room = await here.room_token(slug, one["t"])
        assert await here.start(slug, one["t"], "k") == 201
        user = jwt.encode({"sub": "gus", "spaces": ["default"], "exp": time.time() + 600}, one["j"])
        event_stream = await gateway.http.get(
            f"{gateway.url}/api/realtime/transcribe?session={slug}&token={user}",
            headers={"Accept": "text/event-stream"},
        )
        held = await streams.enter_async_context(here.streams(slug, one["t"], user, old_room))

        # Both are good: the callers move over. SIGHUP.
        here.write(GATEWAY_API_TOKENS=f"{two['t']},{one['t']}", GATEWAY_JWT_SECRET=f"{two['j']}\n{one['j']}")
        here.write(LIVEKIT_API_KEY="key-2\nkey-1", LIVEKIT_API_SECRET=f"{two['l']}\n{one['l']}", GLADIA_API_KEY="k2")
        here.hang_up()
        await here.until(200, lambda: here.service(two["t"]))
        new_room = await here.room_token(slug, two["t"])
        assert jwt.decode(new_room, two["l"], algorithms=["HS256"])["iss"] == "key-2"
        assert [await here.service(one["t"]), await here.user(one["j"]), await here.user(two["j"])] == [200] * 3
        assert [await here.room(slug, old_room), await here.room(slug, new_room)] == [200] * 2
        assert [await here.webhook("key-1", one["l"]), await here.webhook("key-2", two["l"])] == [200] * 2
        assert await here.webhook("key-1", two["l"]) == 401
        assert await here.start(slug, two["t"], "k") >= 400  # of the provider's keys one is in force: the new one
        assert await here.start(slug, two["t"], "k2") == 201
        fresh = await streams.enter_async_context(here.streams(slug, two["t"], new_room))

        # The old ones are taken out, one file after the other. No signal: the files are looked at.
        here.write(LIVEKIT_API_SECRET=two["l"])
        here.write(LIVEKIT_API_KEY="key-2", GATEWAY_JWT_SECRET=two["j"], GATEWAY_API_TOKENS=two["t"])
        await here.until(401, lambda: here.service(one["t"]))
        assert [await here.user(one["j"]), await here.room(slug, old_room)] == [401] * 2
        assert await here.webhook("key-1", one["l"]) == 401
        assert [await here.user(two["j"]), await here.room(slug, new_room)] == [200] * 2
        assert await here.webhook("key-2", two["l"]) == 200
        for stream in held:  # what was let in with an old one does not live on
            while (told := await stream.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (told.type, told.data) == (aiohttp.WSMsgType.CLOSE, 4501)
        assert b"4501" in await asyncio.wait_for(event_stream.content.read(), 10)
        assert not any(stream.closed for stream in fresh)
        assert not any(secret in gateway.process.output for secret in (*one.values(), *two.values()))
