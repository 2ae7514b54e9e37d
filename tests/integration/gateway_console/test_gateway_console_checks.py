"""The pages as axe and Lighthouse see them."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any, Final

import pytest
from support.axe import CHECKERS, barriers, checkers, settled
from support.browser import TOKEN, OpenPage, Page, resize
from support.console import api, click
from support.meetings import held, meeting
from support.tools import said

from gateway.app.root import Gateway
from gateway.console.pages import PAGES

THEMES: Final = ("dark", "contrast")
PEOPLE: Final = ("/", "/s/{slug}", "/join")
"""Pages for everybody; the others have the colours of the first."""
# What stands on each page once it has heard of the gateway.
CONTENT: Final = {
    "/": "#list a",
    "/s/{slug}": ".line",
    "/sessions": "#list a",
    "/webhooks": "#list a",
    "/join": "#enter",
    "/usage": "#chart *",
    "/docs": "#postApiSessions",
    "/operator": "#sessions tbody tr",
    "/audit": "#rows",
}
# Of the many operations in the document one is enough, opened.
SOME: Final = """document.querySelectorAll('.operation').forEach((one) => {
  if (one.id === 'postApiSessions') one.open = true;
  else one.remove();
})"""


async def told(gateway: Gateway, title: str, lines: int, *, runs: bool = False, ended: bool = False) -> str:
    """A session with so many lines. Returns: its slug."""
    slug = str((await api(gateway, "POST", "/api/sessions", {"title": title}))["slug"])
    if lines:
        await held(gateway.database_url, slug, meeting(lines), translations=["Dies ist die erste Zeile."])
    if runs:
        await api(gateway, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
    if ended:
        await api(gateway, "POST", f"/api/sessions/{slug}/end")
    return slug


async def test_axe_finds_nothing_on_any_page_in_any_state(gateway: Gateway, browse: OpenPage) -> None:
    """With what people see there in the middle of a day, in light, dark and contrast; and empty, over, opened, cut off,
    and at the gate."""
    slug = await told(gateway, "Release review", 30, runs=True)
    empty = await told(gateway, "Nobody has spoken", 0, runs=True)
    over = await told(gateway, "Budget", 30, ended=True)
    await api(gateway, "POST", "/api/webhooks", {"url": "https://example.org/hook", "description": "The app"})
    assert CONTENT.keys() == PAGES.keys()
    found: dict[str, list[str]] = {}

    async def look(page: Page, name: str, where: str, content: str, themes: tuple[str, ...] = ()) -> None:
        await page.open(gateway.http_url + where)
        await page.until(settled(content))
        await page.run(SOME)
        found[name] = await barriers(page, themes=themes)

    async with browse(width=390, height=844) as page:
        for path in ("/", f"/s/{slug}", "/join#session=nowhere"):
            await look(page, f"a stranger at {path}", path, "#gate form")
        await resize(page, 1200, 760)
        for path, content in CONTENT.items():
            where = f"{path.format(slug=slug)}#token={TOKEN}"
            await look(page, path, where, content, THEMES if path in PEOPLE else ())
        await resize(page, 390, 844, mobile=True)
        await look(page, "nothing there", "/s/nowhere", "#refused")
        await look(page, "empty", f"/s/{empty}", "#now.empty")
        await look(page, "over", f"/s/{over}", ".files")
        await look(page, "a moment", f"/s/{slug}#t=0:30", ".is-chosen")
        await click(page, "#details-open")
        await page.until("document.querySelector('#facts dd')")
        found["details"] = await barriers(page)
        await page.run("details.close(), search.value = 'line', search.dispatchEvent(new Event('input'))")
        await page.run("document.querySelector('#more').showPopover()")
        found["tools"] = await barriers(page)
        await look(page, "a session among all", f"/sessions#session={over}", "#session")
        await look(page, "a session live", f"/#session={empty}", "#session")
        await page.call("Network.setBlockedURLs", urls=["*/api/*"])
        await look(page, "no answer", "/operator", "#trouble")
    assert not [one for one in found.items() if one[1]]


async def test_lighthouse_finds_a_quick_page(
    gateway: Gateway, devtools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a phone over a slow line. Asserted is what does not depend on how quick this machine is, the score is told."""
    slug = await told(gateway, "Release review", 400, ended=True)
    report = await lighthouse(f"{gateway.http_url}/s/{slug}#token={TOKEN}", devtools)
    audits = report["audits"]
    failed = {
        name: audit.get("details") for name, audit in audits.items() if _counts(name, report) and audit["score"] != 1
    }
    assert failed == {}
    assert audits["cumulative-layout-shift"]["numericValue"] < 0.01
    assert audits["render-blocking-resources"]["details"]["items"] == []
    asked = audits["network-requests"]["details"]["items"]
    page = [one for one in asked if "/api/" not in one["url"] and one["resourceType"] != "Other"]
    assert [one["resourceType"] for one in page] == ["Document", "Script", "Image"]
    assert sum(one["transferSize"] for one in page) < 40_000
    with capsys.disabled():
        shown = {name: audits[name]["displayValue"] for name in ("first-contentful-paint", "largest-contentful-paint")}
        print(f"\nLighthouse: {report['categories']['performance']['score']}, {shown}")


def _counts(name: str, report: dict[str, Any]) -> bool:
    """Whether it is a part of the score for accessibility."""
    parts = {one["id"]: one["weight"] for one in report["categories"]["accessibility"]["auditRefs"]}
    return bool(parts.get(name)) and report["audits"][name]["score"] is not None


async def lighthouse(url: str, devtools: str) -> dict[str, Any]:
    """Its report on a page, in the browser that runs."""
    script = checkers() / "lighthouse" / "cli" / "index.js"
    port = devtools.split("/")[2].partition(":")[2]
    options = (f"--config-path={CHECKERS / 'lighthouse.json'}", f"--port={port}", "--output=json", "--quiet")
    process = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node", str(script), url, *options, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await said(process, 120)
    report: dict[str, Any] = json.loads(out)
    assert "runtimeError" not in report, report["runtimeError"]
    return report
