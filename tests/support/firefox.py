"""A real headless Firefox, driven over WebDriver BiDi, which it speaks without another program."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from support.tools import needs

FIREFOX: Final = "firefox-esr"
QUIET: Final = """
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"""
"""It asks nobody for anything but the pages."""


class Tab:
    """Its one window. `complaints`: errors and warnings of the pages, also what a policy refuses."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._context = ""

    async def begin(self) -> None:
        await self._call("session.new", capabilities={})
        await self._call("session.subscribe", events=["log.entryAdded"])
        self._context = (await self._call("browsingContext.getTree"))["contexts"][0]["context"]

    async def open(self, url: str) -> None:
        """Go there, and wait until the document is read."""
        await self._call("browsingContext.navigate", context=self._context, url=url, wait="interactive")

    async def run(self, script: str) -> Any:
        """Evaluate an expression, promises awaited. Returns: what its JSON says."""
        told = f"Promise.resolve({script}).then((value) => JSON.stringify(value ?? null))"
        target = {"context": self._context}
        answer = await self._call("script.evaluate", expression=told, target=target, awaitPromise=True)
        assert answer["type"] == "success", f"{script}: {answer}"
        return json.loads(answer["result"]["value"])

    async def until(self, script: str) -> None:
        """Wait until the expression is true; an element counts as true."""
        try:
            async with asyncio.timeout(60):
                while not await self.run(f"Boolean({script})"):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = await self.run("document.body.innerText")
            raise AssertionError(f"never true: {script}\nthe page says:\n{text}\n{self.complaints}") from None

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(60):
            while True:
                message = await self._socket.receive_json()
                if message.get("method") == "log.entryAdded" and message["params"]["level"] in ("error", "warn"):
                    self.complaints.append(str(message["params"]["text"]))
                if message.get("id") == number:
                    assert message["type"] == "success", f"{method}: {message}"
                    result: dict[str, Any] = message["result"]
                    return result


def _write_profile(folder: Path) -> None:
    folder.mkdir()
    (folder / "user.js").write_text(QUIET)


@asynccontextmanager
async def running_firefox(folder: Path) -> AsyncIterator[Tab]:
    """Start Firefox with `folder` as its profile; ended with all that it started."""
    needs(FIREFOX)
    _write_profile(folder)
    process = await asyncio.create_subprocess_exec(
        FIREFOX, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert process.stderr is not None
    reading = None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"BiDi listening on (ws://\S+)", await process.stderr.readline())):
                assert not process.stderr.at_eof(), "Firefox did not open its port"
        reading = asyncio.create_task(process.stderr.read(), name="what Firefox says")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{found[1].decode()}/session", max_msg_size=0) as socket,
        ):
            tab = Tab(socket)
            await tab.begin()
            yield tab
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if reading:
            await reading
