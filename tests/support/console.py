"""What tests of the pages do beside the browser: the API as the app calls it, speech, files that were saved."""

from __future__ import annotations

import asyncio
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from support.browser import TOKEN, Page

from gateway.app.root import Gateway
from stt.local.scripted import RATE, speak

# What people say is no noise to a browser's echo and noise filters; the tones of these tests are.
UNFILTERED = """(() => {
  const { mediaDevices } = navigator;
  const ask = mediaDevices.getUserMedia.bind(mediaDevices);
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  mediaDevices.getUserMedia = () => ask({ audio });
})()"""


async def api(gateway: Gateway, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        http.request(method, f"{gateway.http_url}{path}", json=body) as response,
    ):
        assert response.status < 300, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def click(page: Page, selector: str) -> None:
    await page.run(f"document.querySelector('{selector}').click()")


@asynccontextmanager
async def publishing(
    folder: Path, words: str, url: str, *, to_the_end: bool = True, **pauses: Any
) -> AsyncIterator[None]:
    """Say `words` to the gateway while the block runs; leaving it waits for the end, or cuts them off."""
    file = folder / "speech.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(speak(words, lead_s=0.3, tail_s=0.7, **pauses)[0])
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli.publish", str(file), url)
    try:
        yield
        assert not to_the_end or await publisher.wait() == 0
    finally:
        if publisher.returncode is None:
            publisher.kill()
            await publisher.wait()


async def saved(folder: Path, name: str) -> str:
    """The content of a file that the browser saves."""
    async with asyncio.timeout(60):
        while not (content := "".join(await asyncio.to_thread(_read, folder, name))):
            await asyncio.sleep(0.03)
    return content


def _read(folder: Path, name: str) -> list[str]:
    return [file.read_text() for file in folder.glob(name)]


async def press(page: Page, key: str) -> None:
    """A key as a keyboard sends it."""
    text = {"text": key} if len(key) == 1 else {}
    await page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
    await page.call("Input.dispatchKeyEvent", type="keyUp", key=key)
