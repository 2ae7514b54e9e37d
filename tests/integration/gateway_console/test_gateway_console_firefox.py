"""The pages for readers and guests in Firefox; everything else about them is asked of Chromium, which is quicker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.browser import TOKEN
from support.console import api
from support.firefox import running_firefox
from support.meetings import held, meeting

from gateway.app.root import open_gateway
from gateway.settings import Settings

LAST = "[...document.querySelectorAll('.line')].at(-1)?.textContent.trim()"


async def test_people_read_and_join_in_firefox(settings: Settings, tmp_path: Path) -> None:
    """The words so far, one after the other comes, a guest enters by the link, and the end."""
    quiet = replace(settings, livekit_url="ws://127.0.0.1:9", livekit_auto_start=False, join_starts="websocket")
    async with open_gateway(quiet) as gateway, running_firefox(tmp_path / "firefox") as tab:
        created = await api(gateway, "POST", "/api/sessions", {"title": "Release review"})
        slug = created["slug"]
        await held(gateway.database_url, slug, meeting(300))
        await tab.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await tab.until(f"{LAST} === 'This is line number 300 of the meeting.'")
        await tab.until("document.title === 'Release review'")
        assert await tab.run("pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2 && location.hash === ''")
        await tab.run("search.value = 'number 7 of', search.dispatchEvent(new Event('input'))")
        await tab.until("found.textContent === '1 line'")
        await tab.run("document.querySelector('#find-next').click()")
        await tab.until("document.querySelector('.is-chosen')?.textContent.includes('number 7 of')")
        await tab.open(f"{gateway.http_url}/join#session={slug}")
        await tab.until("document.querySelector('#greeting').textContent.includes('Release review')")
        await tab.run("who.value = 'Gus', document.querySelector('#enter button').click()")
        await tab.until("document.querySelector('#line').dataset.phase === 'live'")
        await api(gateway, "POST", f"/api/sessions/{slug}/end")
        await tab.until(f"document.querySelector('#line a')?.href.endsWith('/s/{slug}')")
        await tab.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await tab.until("document.querySelector('.files') && pane.scrollTop === 0")
        assert tab.complaints == []
