"""Secrets from files, changed while the gateway runs: the new ones hold, the old ones do not, nothing restarts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from support.gateway import gateway_process
from support.waiting import until

from gateway.app import secrets as secrets_module
from gateway.app.secrets import HeldSecrets
from gateway.settings import Settings, WrongSettings

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
        await until(lambda: (held.provider_key(), held.livekit_keys()) == ("k2", ("n2", "s1")))
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


async def test_a_gateway_takes_new_tokens_on_sighup_and_refuses_the_old(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    env = files(tmp_path, GATEWAY_JWT_SECRET=old)

    def user(secret: str) -> str:
        return jwt.encode({"sub": "u", "spaces": ["s"], "exp": time.time() + 60}, secret)

    async with gateway_process(tmp_path / "data", GATEWAY_STT_ENGINE="pocketsphinx", **env) as gateway:

        async def status(secret: str) -> int:
            return (await gateway.call("GET", "/api/sessions?spaceId=s", token=user(secret)))[0]

        assert (await status(old), await status(new)) == (200, 401)
        (tmp_path / "GATEWAY_JWT_SECRET").write_text(new)
        os.kill(gateway.process.process.pid, signal.SIGHUP)

        async def new_is_taken() -> bool:
            return await status(new) == 200

        await until(new_is_taken)
        assert await status(old) == 401
        assert old not in gateway.process.output and new not in gateway.process.output
