"""The sessions page and the page behind a join link, in a real browser on a real gateway."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.browser import TOKEN, OpenPage, Page
from support.chat_server import GOOD, KEY, MODEL, chat_server, refuses, says
from support.console import UNFILTERED, api, click, press, publishing, saved
from support.waiting import until

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings

USER_SECRET = "user-secret-of-at-least-thirty-two-bytes"
NASTY = '<img src=x onerror="window.broken=1">'
WORDS = ["alpha bravo charlie", "delta echo foxtrot"]
SAID = "[...document.querySelectorAll('#finals .text')].map((text) => text.textContent)"


def user(name: str) -> str:
    claims = {"sub": name, "spaces": ["team"], "activeSpaceId": "team", "exp": time.time() + 600}
    return jwt.encode(claims, USER_SECRET, algorithm="HS256")


def text(selector: str) -> str:
    return f"(document.querySelector('{selector}')?.textContent ?? '')"


async def create(page: Page, title: str) -> str:
    """With the form of the page. Returns: the slug."""
    await page.until("!document.querySelector('#console').hidden")
    await page.run("document.querySelector('#new').open = true")
    await page.run(f"document.querySelector('#title').value = {json.dumps(title)}")
    await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
    await page.until(f"{text('#name')} === {json.dumps(title)} && !document.querySelector('#session').hidden")
    return str(await page.run(text("#slug")))


async def join(gateway: Gateway, slug: str, identity: str, **more: Any) -> None:
    await api(gateway, "POST", f"/api/sessions/{slug}/participants/join", {"identity": identity, **more})


async def talked(gateway: Gateway, folder: Path) -> str:
    """A session in which Anna has said WORDS over RTMP. Returns: the slug."""
    slug = str((await api(gateway, "POST", "/api/sessions", {"title": "Weekly"}))["slug"])
    await join(gateway, slug, "anna", name="Anna", role="HOST")
    body = {"sessionSlug": slug, "source": "rtmp", "participantIdentity": "anna", "participantName": "Anna"}
    url = (await api(gateway, "POST", "/api/transcription/start", body))["ingest"]["rtmpUrl"]
    async with publishing(folder, " ".join(WORDS), url, pauses=(0, 0, 0.8)):
        pass

    async def all_said() -> bool:
        return len((await api(gateway, "GET", f"/api/sessions/{slug}/transcript"))["finals"]) == len(WORDS)

    await until(all_said)
    return slug


async def test_a_session_is_created_and_its_people_come_and_go(gateway: Gateway, browse: OpenPage) -> None:
    """Created with the form; the list and the page follow it through LIVE; markup in a name or title is text."""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}")
        await page.until("!document.querySelector('#none').hidden")
        assert TOKEN not in await page.run("location.href")
        slug = await create(page, NASTY)
        await page.until(f"{text('#list .state')} === 'created'")
        await page.shows(text("#list bdi"), NASTY)
        await page.until("document.querySelector('#end').hidden", why="what has not begun cannot be ended")
        await page.until("!(document.querySelector('#nobody').hidden)")

        await join(gateway, slug, "anna", name="Anna", role="HOST")
        await join(gateway, slug, "gus", name=NASTY)
        await page.until(f"{text('#people-title')} === 'People · 2 present'")
        await page.until(f"{text('#list .facts')}.startsWith('2\\u00a0people')")
        for state in ("#list .state", "#state"):
            await page.shows(text(state), "live")
        names = "[...document.querySelectorAll('#people b')].map((name) => name.textContent)"
        await page.shows(names, ["Anna", NASTY])
        await page.shows(text("#people .badge"), "host")
        await page.until("/^0:\\d\\d$/.test(document.querySelector('#duration').textContent)")
        await api(gateway, "POST", f"/api/sessions/{slug}/participants/leave", {"identity": "anna"})
        await page.until(f"{text('#people-title')} === 'People · 1 present'")
        await page.shows(names, [NASTY, "Anna"], why="who has left is shown after those who are there")
        await page.until("document.querySelector('#live').href.endsWith('/#session=" + slug + "')")
        await page.shows("window.broken", None)
        assert page.complaints == []


async def test_a_session_ends_and_is_deleted_only_after_a_yes(
    gateway: Gateway, browse: OpenPage, tmp_path: Path
) -> None:
    """Until then Esc and Cancel change nothing. Between them: transcript, analysis, files in every format."""
    async with browse() as page:
        slug = await talked(gateway, tmp_path)
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}&session={slug}")
        await page.until(f"{SAID}.length === 2")
        await page.shows(SAID, WORDS)
        await page.shows(text("#finals .who"), "Anna")

        await click(page, "#end")
        await page.until("document.querySelector('#confirm').open")
        await page.shows("document.activeElement.textContent", "Cancel")
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", windowsVirtualKeyCode=27)
        await page.until("!document.querySelector('#confirm').open && !document.querySelector('#end').disabled")
        assert (await api(gateway, "GET", f"/api/sessions/{slug}"))["status"] == "LIVE"
        await click(page, "#end")
        await page.until("document.querySelector('#confirm').open")
        await click(page, "#confirm-yes")
        await page.until(f"{text('#state')} === 'ended'")
        await page.until("document.querySelector('#end').hidden && document.querySelector('#link-row').hidden")
        await page.shows(text("#people-title"), "People", why="nobody is present any more")

        await page.until(f"{text('#analysis-state')} === 'done'")
        await page.until(f"{text('#method')}.includes('No language model')")
        await page.until(f"{text('#summary')}.includes('alpha bravo charlie')")

        folder = tmp_path / "saved"
        folder.mkdir()
        await page.save_downloads(folder)
        for format in ("vtt", "srt", "txt", "json"):
            await click(page, f"[data-format={format}]")
            assert WORDS[0] in await saved(folder, f"{slug}.{format}"), format
        await page.until("!document.querySelector('#document').hidden")
        await click(page, "#document")
        document = json.loads(await saved(folder, f"{slug}.document.json"))
        assert [one["text"] for one in document["segments"]] == WORDS

        await click(page, "#delete")
        await page.until("document.querySelector('#confirm').open")
        await click(page, "#confirm button")
        await page.until("!document.querySelector('#confirm').open && !document.querySelector('#delete').disabled")
        assert (await api(gateway, "GET", f"/api/sessions/{slug}"))["status"] == "ENDED"
        await click(page, "#delete")
        await click(page, "#confirm-yes")
        await page.until(f"{text('#nothing')}.includes('deleted') && document.querySelector('#session').hidden")
        await page.until("!document.querySelector('#none').hidden")
        assert (await api(gateway, "GET", "/api/sessions"))["sessions"] == []
        assert [one for one in page.complaints if "404" not in one] == []


async def test_an_analysis_waits_fails_with_its_reason_and_is_tried_again(
    settings: Settings, browse: OpenPage, tmp_path: Path
) -> None:
    findings = {**GOOD, "tasks": [{**GOOD["tasks"][0], "title": NASTY}]}
    async with chat_server(refuses(403, "The model is not for you."), says(findings)) as server:
        chat: dict[str, Any] = {"analysis_url": server.url, "analysis_key": KEY, "analysis_model": MODEL}
        async with open_gateway(replace(settings, analysis_workers=0, **chat)) as gateway:
            slug = await talked(gateway, tmp_path)
            await api(gateway, "POST", f"/api/sessions/{slug}/end")
            async with browse() as page:
                await page.open(f"{gateway.http_url}/sessions#token={TOKEN}&session={slug}")
                await page.until(f"{text('#analysis-state')} === 'waits for its turn'")
                await page.until("document.querySelector('#retry').hidden")
        async with open_gateway(replace(settings, **chat)) as gateway, browse() as page:
            await page.open(f"{gateway.http_url}/sessions#token={TOKEN}&session={slug}")
            await page.until("!document.querySelector('#retry').hidden")
            await page.shows(text("#analysis-state"), "failed")
            await page.until(f"{text('#reason')}.includes('not for you')")
            await click(page, "#retry")
            await page.until(f"{text('#analysis-state')} === 'done'")
            await page.until("document.querySelector('#reason').hidden")
            await page.shows(text("#summary"), "They agreed to ship on Friday.")
            await page.shows(text("#tasks b"), NASTY)
            await page.shows(text("#tasks .hint"), "Anna · by Jan 9, 2026")
            await page.shows(text("#tasks q"), WORDS[0])
            await page.shows(text("#risks .finding.high b"), "The migration is slow")
            await page.until(f"{text('#method')}.includes('language model')")
            await page.shows("window.broken", None)
            assert page.complaints == []


@pytest.fixture
def with_rooms(settings: Settings) -> Settings:
    """A LiveKit server is named, so that guests get tokens; joins begin a transcription of browsers' microphones."""
    return replace(
        settings, livekit_url="ws://127.0.0.1:9", livekit_auto_start=False, join_starts="websocket",
        jwt_secret=USER_SECRET,
    )  # fmt: skip


async def test_a_guest_follows_the_join_link_and_speaks(with_rooms: Settings, recorded: OpenPage) -> None:
    """A user creates a session that wants a join token and copies the link; whoever has it joins, is seen, is heard."""
    async with open_gateway(with_rooms) as gateway, recorded() as host, recorded() as guest:
        await host.open(f"{gateway.http_url}/sessions#token={user('anna')}")
        await host.until("!document.querySelector('#console').hidden")
        await host.run("document.querySelector('#closed').checked = true")
        slug = await create(host, "Standup")
        await host.until(f"{text('#link-hint')}.includes('told this once')")
        old = await host.run("document.querySelector('#link').value")
        await api(gateway, "POST", f"/api/sessions/{slug}/join-token")  # by somebody else: this one lets nobody in
        await host.until("document.querySelector('#link-row').hidden")
        await click(host, "#renew")
        await click(host, "#confirm-yes")
        await host.until("!document.querySelector('#link-row').hidden")
        await host.until(f"document.querySelector('#link').value !== {json.dumps(old)}")
        await click(host, "#copy")
        await host.until(f"{text('#copy')} === 'Copied'")
        link = await host.run("document.querySelector('#link').value")
        assert link.startswith(f"{gateway.http_url}/join#session={slug}&joinToken=")

        for dead in (f"{gateway.http_url}/join#session={slug}", old):
            await guest.open(dead)
            await guest.run(UNFILTERED)
            await enter(guest, "Gus")
            await guest.until("!document.querySelector('#refused').hidden")
            assert not await guest.run("document.querySelector('#gate').hidden"), "in without the join token"
            await guest.open("about:blank#")
        await guest.open(link)
        await guest.run(UNFILTERED)
        await enter(guest, "Gus")
        await guest.until("document.querySelector('#line').dataset.phase === 'live'")
        await host.until(f"{text('#people-title')} === 'People · 1 present'")
        await host.shows(text("#people b"), "Gus")

        await click(guest, "#speak")
        await guest.until("document.querySelector('#voice').dataset.state === 'live'")
        await guest.until(f"{SAID}.includes('alpha bravo charlie')")
        await guest.shows(text("#finals .who"), "Gus")
        await host.until(f"{SAID}.includes('alpha bravo charlie')")
        await click(guest, "#leave")
        await guest.until("!document.querySelector('#gate').hidden")
        await host.until(f"{text('#people-title')} === 'People · 0 present'")
        assert [one for one in guest.complaints if "403" not in one] == []
        assert host.complaints == []


async def enter(page: Page, name: str) -> None:
    await page.run(f"document.querySelector('#who').value = {json.dumps(name)}")
    await page.run("document.querySelector('#enter').requestSubmit(document.querySelector('#enter button'))")


async def test_the_join_page_says_what_it_cannot_do(settings: Settings, with_rooms: Settings, browse: OpenPage) -> None:
    """No session in the link; a session that listens to an encoder. Without a LiveKit server guests are in, too."""
    async with open_gateway(settings) as gateway, browse() as page:
        await page.open(f"{gateway.http_url}/join")
        await page.until(f"{text('#refused')}.includes('names no session')")
        slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
        await page.open("about:blank#")
        await page.open(f"{gateway.http_url}/join#session={slug}")
        await enter(page, "Gus")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
    async with open_gateway(replace(with_rooms, join_starts="rtmp")) as other, browse() as page:
        slug = (await api(other, "POST", "/api/sessions", {}))["slug"]
        await page.open(f"{other.http_url}/join#session={slug}")
        await enter(page, "Gus")
        await page.until("['starting', 'waiting'].includes(document.querySelector('#state').dataset.state)")
        await click(page, "#speak")
        await page.until("!document.querySelector('#failed').hidden")
        await page.until(f"{text('#failed')}.includes('listens to an encoder')")
        await page.open("about:blank#")  # closing the page is leaving

        async def nobody_is_there() -> bool:
            return not (await api(other, "GET", f"/api/sessions/{slug}/participants"))["participants"]

        await until(nobody_is_there)


async def test_a_refused_token_is_asked_for_again_and_a_refused_space_is_said(
    with_rooms: Settings, browse: OpenPage
) -> None:
    async with open_gateway(with_rooms) as gateway, browse() as page:
        slug = (await api(gateway, "POST", "/api/sessions", {"title": "Weekly"}))["slug"]
        await page.open(f"{gateway.http_url}/sessions#token=wrong&session={slug}")
        await page.until("!document.querySelector('#refused').hidden")
        await page.shows(text("#refused"), "This token is refused: the token is not one of this gateway's.")
        await page.run(f"document.querySelector('#token').value = '{TOKEN}'")
        await page.run("document.querySelector('#enter').requestSubmit()")
        await page.until(f"{text('#name')} === 'Weekly'")
        await page.run("document.querySelector('#space').value = 'nowhere'")
        await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
        await page.until("!document.querySelector('#create-refused').hidden")
        await page.open(f"{gateway.http_url}/sessions#token={user('anna')}&session={slug}")
        await page.until("!document.querySelector('#offer').hidden")
        await page.run("document.querySelector('#offer [value=take]').click()")
        await page.until("!document.querySelector('#none').hidden")
        await page.until("document.querySelector('#session').hidden")  # it is in another space


async def test_a_link_does_not_replace_the_token_of_a_tab_without_asking(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        slug = (await api(gateway, "POST", "/api/sessions", {"title": "Weekly"}))["slug"]
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}")
        await page.until("document.querySelectorAll('#list a').length === 1")
        for path in ("/sessions", "/"):
            await page.open(f"{gateway.http_url}{path}#token=somebody-elses&session={slug}")
            await page.until("!document.querySelector('#offer').hidden")
            await page.until("document.querySelector('#console').hidden && document.querySelector('#enter').hidden")
            await page.shows("sessionStorage.getItem('gateway.token')", TOKEN)
            assert "somebody" not in await page.run("location.href")
            await page.run("document.querySelector('#offer [value=keep]').click()")
            await page.until("!document.querySelector('#console').hidden")
            await page.shows("sessionStorage.getItem('gateway.token')", TOKEN)
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}&session={slug}")  # the same: nothing to ask
        await page.until(f"{text('#name')} === 'Weekly'")
        shut = "!document.querySelector('#offer').hidden && pane.hidden && document.querySelector('#enter').hidden"
        await page.open(f"{gateway.http_url}/s/{slug}#token=somebody-elses&t=0:15")  # the page for reading asks as well
        await page.until(shut)
        await page.shows("[sessionStorage.getItem('gateway.token'), location.hash]", [TOKEN, "#t=0:15"])
        await page.run("document.querySelector('#offer [value=keep]').click()")
        await page.until("!pane.hidden && title.textContent === 'Weekly' && home.getAttribute('href') === 'sessions'")
        await page.shows("sessionStorage.getItem('gateway.token')", TOKEN)
        await page.run("location.hash = 'token=somebody-elses'")
        await page.until(shut)
        await page.run("document.querySelector('#offer [value=take]').click()")
        await page.until("pane.hidden && refused.textContent.startsWith('Your link has expired')")


async def test_the_keyboard_goes_through_the_list(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        for title in ("one", "two", "three"):
            await api(gateway, "POST", "/api/sessions", {"title": title})
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}")
        await page.until("document.querySelectorAll('#list a').length === 3")
        await page.run("document.activeElement.blur()")
        for key, title in (("j", "three"), ("j", "two"), ("k", "three"), ("k", "one")):
            await press(page, key)
            await page.until(f"{text('#name')} === '{title}'")
