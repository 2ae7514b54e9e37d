"""Ways of people through the pages: a reader's links, a host with a guest, an operator in an outage, a developer."""

from __future__ import annotations

import json
from dataclasses import replace

import asyncpg
from support.axe import barriers
from support.browser import TOKEN, OpenPage, Page
from support.console import api, click, press
from support.meetings import held, meeting

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings

LIVE = "document.querySelector('#line').dataset.phase === 'live'"


def says(selector: str, words: str) -> str:
    return f"document.querySelector('{selector}')?.textContent.includes({json.dumps(words)})"


async def running(gateway: Gateway, title: str, source: str = "websocket") -> str:
    """A session in which Anna is and that is transcribed. Returns: its slug."""
    slug = str((await api(gateway, "POST", "/api/sessions", {"title": title}))["slug"])
    body = {"identity": "anna", "name": "Anna", "role": "HOST"}
    await api(gateway, "POST", f"/api/sessions/{slug}/participants/join", body)
    await api(gateway, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": source})
    return slug


async def test_choosing_changes_the_address_and_a_link_opens_in_another_tab(gateway: Gateway, browse: OpenPage) -> None:
    """Titles are what people read, Back goes back, and the token goes along without standing in an address."""
    slugs = {title: await running(gateway, title) for title in ("Budget", "Harvest")}
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}")
        await page.until(
            "[...document.querySelectorAll('#list bdi')].every(({textContent}) => /[BH]/.test(textContent))"
        )
        await page.until("document.querySelectorAll('#list a').length === 2")
        link = "[...document.querySelectorAll('#list a')].find((one) => one.textContent.includes('%s'))"
        for title in ("Budget", "Harvest"):
            await page.run(f"{link % title}.click()")
            await page.until(says("#name", title))
            await page.shows("location.hash", f"#session={slugs[title]}")
            await page.shows("document.title", f"{title} · Transcription gateway")
            await page.shows("document.querySelector('#slug-told').textContent", slugs[title])
        for step, title in ((-1, "Budget"), (1, "Harvest"), (-1, "Budget")):
            await page.go(step)
            await page.until(says("#name", title))
        await page.go(-1)
        await page.until("document.querySelector('#session').hidden")

        assert (await page.run(f"{link % 'Budget'}.href")).endswith(f"/s/{slugs['Budget']}")
        other = "[...document.querySelectorAll('nav a')].find((one) => one.textContent === 'Sessions')"
        x, y = await page.run(f"(({{left, top}}) => [left + 5, top + 5])({other}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="middle", clickCount=1)
        await as_new_tab(page, f"{gateway.http_url}/sessions")
        await page.until("document.querySelectorAll('#list a').length === 2")
        assert TOKEN not in await page.run("location.href")
        await page.open(f"{gateway.http_url}/audit")
        await page.until("document.querySelectorAll('#rows tbody tr').length === 2")
        await page.shows(
            "document.querySelector('#rows tbody td:nth-child(3)').textContent", "started the transcription"
        )


async def as_new_tab(page: Page, url: str) -> None:
    """Go on in the tab of that address, as soon as it is there."""
    for _ in range(600):
        targets = (await page.call("Target.getTargets"))["targetInfos"]
        found = [one for one in targets if one["url"] == url and one.get("browserContextId") == page.context]
        if found:
            attached = await page.call("Target.attachToTarget", targetId=found[0]["targetId"], flatten=True)
            page.session = attached["sessionId"]
            await page.call("Page.bringToFront")  # behind others it asks for nothing
            return
        await page.run("new Promise((later) => setTimeout(later, 50))")
    raise AssertionError(f"no tab was opened for {url}")


async def test_a_host_and_a_guest_from_the_invitation_to_the_minutes(settings: Settings, browse: OpenPage) -> None:
    quiet = replace(settings, livekit_url="ws://127.0.0.1:9", livekit_auto_start=False, join_starts="websocket")
    async with open_gateway(quiet) as gateway, browse() as host, browse() as guest:
        await host.open(f"{gateway.http_url}/#token={TOKEN}")
        await host.until("!document.querySelector('#begin').hidden")
        await click(host, "#begin [value=invite]")
        await host.until("document.querySelector('#link').value.includes('joinToken=')")
        await host.until("document.querySelector('#invite-box').open")
        await host.until(says("#quiet", "invite somebody"))
        title = "Meeting of "  # and the time, as nobody has given it a title
        await host.until(says("#name", title))
        await host.until("document.title.startsWith('Meeting of ')")
        await host.until(says("#list bdi", title))

        await guest.open(await host.run("document.querySelector('#link').value"))
        await guest.until(says("#greeting", title))
        assert "joinToken" not in await guest.run("location.href")
        await guest.reload()
        await guest.until(says("#greeting", title))
        await guest.run("who.value = 'Gus', document.querySelector('#enter button').click()")
        await guest.until(LIVE)
        await guest.until(says("#name", title))
        await guest.run("theme.value = 'dark', theme.dispatchEvent(new Event('change'))")
        await guest.shows("getComputedStyle(document.documentElement).colorScheme", "dark")
        await guest.until(says("#quiet", "Nobody has spoken yet. Words appear here as they are said"))
        assert await barriers(guest) == []

        await host.until(says("#people-title", "1 present"))
        await host.run("document.querySelector('#people-box').open = true")
        await guest.run("document.querySelector('#people-box').open = true")
        await guest.until("document.querySelector('#people [data-does=pause]:not([hidden])')")
        await click(guest, "#people [data-does=pause]")
        await host.until(says("#people .state", "not heard"))
        await host.until("document.querySelector('#people [data-does=resume]')")
        await click(host, "#people [data-does=resume]")
        await host.until(says("#finals", "whoever asked for it has to lift it"))
        await click(guest, "#people [data-does=resume]")
        await guest.until("document.querySelector('#people [data-does=pause]:not([hidden])')")
        await click(host, "#pause")
        await guest.until(says("#state", "paused"))
        await guest.until(says("#quiet", "Paused"))
        await host.until("pause.textContent === 'Resume' && !pause.disabled")
        await click(host, "#pause")
        await guest.until("document.querySelector('#state').textContent !== 'paused'")

        slug = await host.run("document.querySelector('#slug-told').textContent")
        body = {"identity": "anna", "name": "Anna"}
        await api(gateway, "POST", f"/api/sessions/{slug}/participants/join", body)
        appoint = "[...document.querySelectorAll('#people li')].find((row) => row.textContent.includes('%s')).lastChild"
        await host.until(f"{says('#people', 'Anna')} && !({appoint % 'Anna'}).hidden")
        await host.run(f"{appoint % 'Anna'}.click()")
        await guest.until(says("#host", "Host: Anna"))
        await click(guest, "#hand")
        await guest.until(says("#host", "Host: you"))
        await host.until(says("#host", "Host: Gus"))

        await click(host, "#stop")
        await host.run("document.querySelector('#confirm button').click()")
        assert (await api(gateway, "GET", f"/api/transcription/{slug}"))["state"] != "stopped", "nobody has said yes"
        await host.until("!document.querySelector('#stop').disabled")  # the page has heard the no
        await click(host, "#stop")
        await click(host, "#confirm-yes")
        await host.until(says("#finals", "You have stopped"))
        await guest.until(says("#finals", "The transcription is over"))
        await api(gateway, "POST", f"/api/sessions/{slug}/end")
        await guest.until(f"document.querySelector('#line a')?.href.endsWith('/s/{slug}')")
        await guest.shows("document.querySelector('#line').dataset.phase", "ended")
        await host.until("document.querySelector('#read').textContent === 'Read the minutes'")
        await host.until("document.querySelector('#start').hidden && document.querySelector('#speak').hidden")
        await guest.reload()
        await guest.until("document.querySelector('#ended') && !document.querySelector('#ended').hidden")
        await click(guest, "#minutes")
        await guest.until(f"location.pathname === '/s/{slug}' && {says('#title', title)}")
        await guest.until("!home.hasAttribute('href')", why="a guest has no other sessions to go to")
        await guest.go(-1)
        await host.run("document.querySelector('#invite-box').open = true")
        await host.run("minutes.click()")
        await host.until("!minutes.disabled && !minutes.checked")
        await guest.reload()
        await guest.until("document.querySelector('#refused')?.textContent === 'The session has ended.'")
        assert host.complaints == []


async def test_what_was_said_is_found_over_all_sessions_with_its_moment(gateway: Gateway, browse: OpenPage) -> None:
    for title in ("Budget", "Harvest"):
        slug = (await api(gateway, "POST", "/api/sessions", {"title": title}))["slug"]
        await held(gateway.database_url, slug, meeting(20 if title == "Budget" else 30))
    async with browse() as page:
        await page.open(f"{gateway.http_url}/sessions#token={TOKEN}")
        await page.until("document.querySelectorAll('#list a').length === 2")
        await page.run("document.activeElement.blur()")
        await press(page, "/")
        await page.shows("document.activeElement.id", "everywhere")
        await page.call("Input.insertText", text='"number 25"')
        await page.until(
            "document.querySelectorAll('#hits a').length === 1 && document.querySelector('#running').hidden"
        )
        hit = "document.querySelector('#hits a')"
        await page.shows(f"[...{hit}.querySelectorAll('mark')].map((one) => one.textContent)", ["number", "25"])
        await page.run(f"{hit}.click()")
        await page.until("document.querySelector('.is-chosen')?.textContent.includes('number 25')")
        await page.shows("location.pathname + location.hash", f"/s/{slug}#t=0:37")
        await page.open(f"{gateway.http_url}/sessions")
        await page.run("everywhere.value = 'nonsense', everywhere.dispatchEvent(new Event('input'))")
        await page.until(says("#found-told", "Nobody has said that"))


async def test_an_operator_in_an_outage_sees_what_runs(impatient: None, gateway: Gateway, browse: OpenPage) -> None:
    """The pages stand before the first answer, say what they wait for, and show what this gateway knows by itself."""
    slug = await running(gateway, "Harvest", source="rtmp")
    async with browse() as page:
        await page.open(f"{gateway.http_url}/operator#token={TOKEN}")
        await page.until("document.querySelector('#money').textContent === '$0.00' && replicas.querySelector('li')")
        await page.until(says("#sessions tbody", "Harvest"))
        blocker = await asyncpg.connect(gateway.database_url)
        async with blocker.transaction():
            await blocker.execute('LOCK TABLE "VideoSession", gateway.transcription')
            await page.until(says("#trouble", "The database does not answer: shown is what runs"))
            await page.shows("document.querySelectorAll('#sessions tbody tr').length", 1)
            assert await barriers(page) == []
            await page.open(f"{gateway.http_url}/sessions")
            await page.until("!document.querySelector('#console').hidden")
            await page.until("!document.querySelector('#waiting').hidden || document.querySelector('#list a')")
            await page.until(says("#trouble", "The database does not answer: shown is what runs"))
            await page.shows("document.querySelector('#list a').pathname", f"/s/{slug}")
        await blocker.close()
        await page.until(f"document.querySelector('#trouble').hidden && {says('#list bdi', 'Harvest')}")


async def test_a_developer_sends_a_request_from_the_document(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        await page.open(f"{gateway.http_url}/docs#token={TOKEN}")
        await page.until("document.querySelector('#postApiSessions .try')")
        fill = """(one, text) => { document.querySelector(`#${one} .try :is(textarea, input)`).value = text;
          document.querySelector(`#${one} .try button`).click(); }"""
        await page.run(f"({fill})('postApiSessions', '{{\"title\": ')")
        await page.until("document.querySelector('#postApiSessions .answer .refused')")
        await page.run(f"({fill})('postApiSessions', '{{\"title\": \"Harvest\"}}')")
        await page.until(says("#postApiSessions .answer", "201 Created"))
        await page.until(says("#postApiSessions .answer", "content-type: application/json"))
        slug = (await api(gateway, "GET", "/api/sessions"))["sessions"][0]["slug"]
        await page.run(f"({fill})('getApiSessionsSlug', '{slug}')")
        await page.until(says("#getApiSessionsSlug .answer", '"title": "Harvest"'))
        assert not await page.run("document.querySelector('#getApiRealtimeTranscribe .try')"), "a stream is no answer"
