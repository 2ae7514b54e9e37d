"""A real headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from support.tools import missing

TOKEN = "console-test-token"
# The same engine; the shell has no windows, tabs and pages of a browser around it, which saves a third of a test's CPU.
CHROMIUMS = ("chromium-headless-shell", "chromium")
FLAGS = (
    "--headless",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Fewer processes: of the 0.6 s of CPU that a fresh tab took, half was for a spare one and the address bar's pages.
    "--disable-features=SpareRendererForSitePerProcess,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
)


def needs_chromium(*programs: str) -> str:
    """The first of these programs (one of CHROMIUMS) that is here. Skips loudly; in CI its lack is a failure."""
    wanted = programs or CHROMIUMS
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        missing(f"{' or '.join(wanted)} is not installed, so pages are not tested")
    return found


@contextmanager
def running_chromium(folder: Path, *flags: str) -> Iterator[str]:
    """Start Chromium with `folder` as its profile. Yields the URL of its DevTools socket."""
    command = [needs_chromium(), *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield _devtools_url(process, folder / "DevToolsActivePort")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _devtools_url(process: subprocess.Popen[bytes], file: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise RuntimeError("Chromium did not open its DevTools port")


# An analysis is written after the end; who asks before that is told 404 and asks again (docs/analysis.md).
NOT_YET = re.compile(r"/api/sessions/[^/]+/analysis$")


NO_PAGE = re.compile("default execution context|context was destroyed|target navigated")


class NoPage(AssertionError):
    """Between two pages, or before the first one of a tab: there is nothing that could answer."""


class Page:
    """One tab in a browser context of its own. `complaints`: console errors, exceptions, CSP violations."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self.sockets: list[str] = []  # URLs of the WebSockets that the page has opened
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.session: str | None = None
        self.context = ""
        self.trace: list[dict[str, Any]] = []  # see main_thread.py
        self.trace_ended = asyncio.Event()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        async with asyncio.timeout(60):
            return await answer

    async def open(self, url: str) -> None:
        """Go there, and wait until the page's scripts have run."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def reload(self) -> None:
        """The same page anew; what stood in the former one is not looked at any more."""
        await self.run("window.isFormer = true")
        await self.call("Page.reload")
        await self.until("!window.isFormer && document.readyState === 'complete'")

    async def go(self, steps: int) -> None:
        """Back or forward. What the page then says is to be waited for; the call is answered before it goes."""
        await self.run(f"void setTimeout(() => history.go({steps}))")

    async def run(self, script: str) -> Any:
        """Evaluate an expression, promises awaited. Returns its JSON value."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, script: str, within_s: float = 60, why: str = "") -> None:
        """Wait until the expression is true; an element counts as true."""
        await self.shows(f"Boolean({script})", True, within_s, why)

    async def shows(self, script: str, value: Any, within_s: float = 60, why: str = "") -> None:
        """Wait until the expression is `value`: a page draws when it comes to it."""
        found = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    with suppress(NoPage):
                        if (found := await self.run(script)) == value:
                            return
                    await asyncio.sleep(0.03)
        except TimeoutError:
            text = await self.run("document.body.innerText")
            raise AssertionError(
                f"{script} is not {value!r} but {found!r}: {why}\nthe page says:\n{text}\n{self.complaints}"
            ) from None

    async def save_downloads(self, folder: Path) -> None:
        where = {"browserContextId": self.context, "downloadPath": str(folder)}
        await self.call("Browser.setDownloadBehavior", behavior="allow", **where)

    async def screenshot(self) -> bytes:
        """What stands in the window, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    async def listen(self) -> None:
        async for message in self._socket:
            data = message.json()
            if "id" in data:
                answer = self._waiting.pop(data["id"])
                if answer.done():
                    continue
                if "error" in data:
                    why = data["error"]["message"]
                    answer.set_exception((NoPage if NO_PAGE.search(why) else AssertionError)(why))
                else:
                    answer.set_result(data["result"])
            else:
                self._note(data["method"], data.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                entry = params["entry"]
                if not ("404" in entry["text"] and NOT_YET.search(entry.get("url", ""))):
                    self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
            case "Audits.issueAdded" if params["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(str(params["issue"]))
            case "Network.webSocketCreated":
                self.sockets.append(params["url"])
            case "Tracing.dataCollected":
                self.trace += params["value"]
            case "Tracing.tracingComplete":
                self.trace_ended.set()


async def resize(page: Page, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
    """Another window, in CSS pixels, or another zoom of it."""
    values = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
    await page.call("Emulation.setDeviceMetricsOverride", **values)


@asynccontextmanager
async def open_page(
    devtools: str, *, scheme: str = "light", width: int = 1200, height: int = 760, beside: Page | None = None
) -> AsyncIterator[Page]:
    """A fresh tab that shares nothing with others, but with the one it is opened `beside`; closed at the end."""
    async with aiohttp.ClientSession() as http, http.ws_connect(devtools, max_msg_size=0) as socket:
        page = Page(socket)
        listening = asyncio.create_task(page.listen(), name="devtools")
        try:
            page.context = (
                beside.context if beside else (await page.call("Target.createBrowserContext"))["browserContextId"]
            )
            target = await page.call("Target.createTarget", url="about:blank", browserContextId=page.context)
            attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Audits", "Network"):
                await page.call(f"{domain}.enable")
            await resize(page, width, height, mobile=width < 500)
            await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            yield page
            page.session = None
            if beside:
                await page.call("Target.closeTarget", targetId=target["targetId"])
            else:
                await page.call("Target.disposeBrowserContext", browserContextId=page.context)
        finally:
            listening.cancel()


class OpenPage(Protocol):
    """`open_page` of the browser that runs."""

    def __call__(
        self, *, scheme: str = "light", width: int = 1200, height: int = 760, beside: Page | None = None
    ) -> AbstractAsyncContextManager[Page]: ...
