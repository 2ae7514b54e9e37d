"""A gateway with a recogniser that hears exactly, and one Chromium for all tests of the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.browser import TOKEN, OpenPage, needs_chromium, open_page, running_chromium
from support.gateway import write_wav

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs_chromium()
    with running_chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url


@pytest.fixture
def browse(devtools: str) -> OpenPage:
    return partial(open_page, devtools)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[OpenPage]:
    """A browser whose microphone says the same again and again."""
    needs_chromium()
    sound = write_wav(tmp_path / "microphone.wav", speak("alpha bravo charlie", lead_s=0.6, tail_s=0.9)[0])
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={sound}",
    )
    with running_chromium(tmp_path / "chromium", *flags) as devtools:
        yield partial(open_page, devtools)


@pytest.fixture
async def settings(database_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings of a gateway whose provider is the local server with the scripted recogniser."""
    async with LocalServer(LocalOptions(engine="scripted")) as provider:
        values: dict[str, Any] = {
            "database_url": database_url,
            "data_dir": tmp_path,
            "api_tokens": (TOKEN,),
            "livekit_api_key": "devkey",
            "livekit_api_secret": "a-secret-of-the-test-that-is-long-enough",
            "gladia_api_key": "any",
            "gladia_api_url": provider.url,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "rtmp_host": "127.0.0.1",
            "rtmp_port": -1,
            "drain_s": 5.0,
        }
        yield Settings(**values)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that stands still is given up after 2 s, not after half a minute. Named before `gateway` in a test."""
    monkeypatch.setattr("gateway.app.database.STATEMENT_S", 2.0)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with open_gateway(settings) as opened:
        yield opened
