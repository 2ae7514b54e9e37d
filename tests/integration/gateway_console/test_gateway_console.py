"""The console and the API document in a real browser, on a real gateway that is spoken to over RTMP."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import jwt
from support.browser import TOKEN, OpenPage, resize
from support.console import UNFILTERED, api, press, publishing, saved
from support.meetings import held, meeting
from support.ports import free_port
from support.waiting import until

from gateway.app.root import Gateway, open_gateway
from gateway.settings import Settings

NASTY = '<script>window.broken=1</script><img src=x onerror="window.broken=1">'


async def start(gateway: Gateway, **options: Any) -> tuple[str, str]:
    """A new session that listens to RTMP. Returns: slug, URL to publish to."""
    slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
    body = {"sessionSlug": slug, "source": "rtmp", **options}
    started = await api(gateway, "POST", "/api/transcription/start", body)
    return slug, started["ingest"]["rtmpUrl"]


def texts(where: str) -> str:
    """The expression for what a list of the page shows, as an array."""
    return f"[...document.querySelectorAll('#{where} .text')].map((text) => text.textContent)"


async def test_speech_appears_grey_and_settles(gateway: Gateway, browse: OpenPage, tmp_path: Path) -> None:
    """A partial stands in the page while it is spoken, the same line becomes the final; markup in a name is text."""
    async with browse() as page:
        slug, url = await start(gateway, participantIdentity="anna", participantName=NASTY, translateTo="fr")
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        assert TOKEN not in await page.run("location.href")
        async with publishing(tmp_path, "alpha bravo charlie delta echo foxtrot", url, pauses=(0, 0, 0.8)):
            text = "getComputedStyle(spoken.querySelector('.text')).color"
            await page.until(f"(window.spoken = document.querySelector('#partials .row')) && (window.grey = {text})")
            await page.until(f"{texts('finals')}.length === 2")
        await page.shows(texts("finals"), ["alpha bravo charlie", "delta echo foxtrot"])
        await page.shows(texts("partials"), [])
        await page.until("document.querySelector('#finals').contains(spoken)")
        await page.until(f"{text} !== grey")
        await page.until("!(spoken.querySelector('.unsure'))")
        await page.shows("document.querySelector('#finals .who').textContent", NASTY)
        await page.until("document.querySelectorAll('#finals .translation').length === 2")
        await page.shows("document.querySelector('.translation').textContent", "ALPHA BRAVO CHARLIE")
        assert re.fullmatch(r"0:0\d", await page.run("document.querySelector('#finals time').textContent"))
        await page.shows("document.querySelector('[role=log]').ariaBusy", "false")

        await page.until("document.querySelector('#cost').textContent === '$0.01'")
        await page.until("document.querySelector('#list .facts').textContent.includes('2\\u00a0lines')")
        await page.shows("document.querySelector('#engine').textContent", "gladia")

        await page.save_downloads(tmp_path)
        await page.run("document.querySelector('[data-format=json]').click()")
        file = await saved(tmp_path, f"{slug}.json")
        assert [final["text"] for final in json.loads(file)["finals"]] == ["alpha bravo charlie", "delta echo foxtrot"]

        await page.run("document.querySelector('#stop').click()")
        await page.run("document.querySelector('#confirm-yes').click()")
        await page.until("document.querySelector('#state').textContent === 'stopped'")
        await page.until("!document.querySelector('#start').hidden && document.querySelector('#stop').hidden")
        await page.until("!document.querySelector('#none').hidden")
        await page.shows("window.broken", None)
        assert page.complaints == []


async def test_the_page_comes_back_after_a_restart_and_says_nothing_twice(
    settings: Settings, browse: OpenPage, tmp_path: Path
) -> None:
    """When the gateway goes away the page says so, comes back by itself and resumes after its last final."""
    async with browse() as page:
        settings = replace(settings, http_port=free_port())
        async with open_gateway(settings) as gateway:
            slug, url = await start(gateway)
            await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
            async with publishing(tmp_path, "golf hotel", url):
                await page.until(f"{texts('finals')}.length === 1")
            await api(gateway, "POST", "/api/transcription/stop", {"sessionSlug": slug})
            await page.run("window.row = document.querySelector('#finals .row')")
        await page.until("document.querySelector('#line').textContent.startsWith('Coming back in')")
        await page.until("document.querySelector('#trouble').textContent.includes('does not answer')")
        async with open_gateway(settings):
            await page.until("document.querySelector('#line').dataset.phase === 'live'")
            await page.until("document.querySelector('#trouble').hidden")
            await page.shows(texts("finals"), ["golf hotel"])
            await page.until("document.querySelector('#finals').contains(row)", why="the line was written anew")
        assert "since=" not in page.sockets[0]
        assert page.sockets[-1].endswith(":1") or page.sockets[-1].endswith("%3A1")


async def test_a_wrong_token_is_refused_and_the_right_one_remembers_what_was_wanted(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        slug, _ = await start(gateway)
        await page.open(f"{gateway.http_url}/#token=wrong&session={slug}")
        await page.until("document.querySelector('#refused').textContent.includes('refused')")
        await page.until("!(sessionStorage.getItem('gateway.token'))")
        await page.run(f"document.querySelector('#token').value = '{TOKEN}'")
        await page.run("document.querySelector('#enter').requestSubmit()")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        await page.shows("document.querySelector('#slug-told').textContent", slug)
        await page.until("document.querySelector('#gate').hidden")


async def test_the_form_starts_a_transcription_and_says_where_audio_goes(gateway: Gateway, browse: OpenPage) -> None:
    async with browse(width=390, height=800) as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}")
        await page.until("!document.querySelector('#none').hidden")
        await page.run("document.querySelector('#speaker').value = 'Anna'")
        await page.run("document.querySelector('[value=rtmp]').checked = true")
        await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
        await page.until("!document.querySelector('#ingest').hidden")
        url = await page.run("document.querySelector('#rtmp-url').value")
        assert url == f"{gateway.rtmp_url}/live/" + await page.run("document.querySelector('#stream-key').value")
        assert (await page.run("document.querySelector('#ffmpeg').value")).endswith(f"-f flv '{url}'")
        await page.until("document.querySelectorAll('#list a').length === 1")
        await page.until("document.documentElement.scrollWidth <= innerWidth", why="wider than a phone")
        assert page.complaints == []


async def test_an_unknown_session_is_said_and_not_asked_for_again(gateway: Gateway, browse: OpenPage) -> None:
    """Close code 4504: the reason is shown and there is no second connection, also when the network comes back."""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.until("document.querySelector('#line').textContent.includes('There is no session “nowhere”')")
        await page.run("dispatchEvent(new Event('online'))")
        await page.shows("document.querySelector('#line').dataset.phase", "over")
        assert len(page.sockets) == 1


async def test_a_room_token_watches_but_does_not_steer(settings: Settings, gateway: Gateway, browse: OpenPage) -> None:
    """Whoever holds only a LiveKit token of the room sees its captions; list, figures and buttons are not there."""
    async with browse() as page:
        slug, _ = await start(gateway)
        claims = {"iss": "devkey", "sub": "anna", "exp": time.time() + 600, "video": {"room": slug, "roomJoin": True}}
        token = jwt.encode(claims, settings.livekit_api_secret or "", algorithm="HS256")
        await page.open(f"{gateway.http_url}/#token={token}&session={slug}")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        for name in ("running", "new", "stop", "start", "key", "figures"):
            await page.until(f"document.querySelector('#{name}').hidden", why=name)


async def test_the_transcript_is_bounded_and_follows_unless_the_reader_scrolls_up(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.run(
            """(async () => {
              window.captions = (await import(document.scripts[1].src.replace('console', 'session'))).captions;
              window.say = (seq) => captions.final(seq, {
                utteranceId: `u${seq}`, participantIdentity: 'anna', text: `line ${seq}`, startMs: seq * 1000,
                startedAt: '2026-01-05T10:00:00.000Z' });
              for (let seq = 1; seq <= 3000; seq++) say(seq);
            })()"""
        )
        at_end = "pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2"
        await page.until(at_end)
        await page.shows("finals.childElementCount", 500)
        await page.until("document.documentElement.scrollHeight <= innerHeight", why="the window scrolls as well")
        await page.shows("finals.firstElementChild.querySelector('.text').textContent", "line 2501")
        await page.until("!(earlier.hidden)")
        assert not await page.run("finals.firstElementChild.classList.contains('same')"), "the first line has no name"
        await page.shows("finals.lastElementChild.querySelector('time').textContent", "50:00")

        await page.run("pane.scrollTop -= 400")
        await page.until("!newest.hidden")
        await page.run("window.before = pane.scrollTop; say(3001); say(3002)")
        await page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert not await page.run(at_end), "the reader was pulled away"
        await page.shows("newest.textContent", "2 new ↓")
        await page.run("newest.click()")
        await page.until(f"{at_end} && newest.hidden")

        await page.run("captions.partial({utteranceId: 'p', participantIdentity: 'ben', text: 'er', startMs: 1})")
        await page.shows(texts("partials"), ["er"])
        await page.run("captions.partial({utteranceId: 'p', participantIdentity: 'ben', text: '', startMs: 1})")
        await page.shows(texts("partials"), [], why="an empty partial takes the line back")


async def test_a_late_comer_to_a_long_meeting_stands_at_its_end(gateway: Gateway, browse: OpenPage) -> None:
    """Lines leave at the top while others come: nobody has scrolled up."""
    async with browse() as page:
        slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
        await held(gateway.database_url, slug, meeting(800))
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("finals.checkVisibility() && finals.textContent.includes('line number 800 of')")
        await page.until("pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2")
        await page.shows("follow.textContent", "Following")


async def test_a_pane_that_grows_goes_on_following(gateway: Gateway, browse: OpenPage) -> None:
    """A panel above closes, or a phone is turned; the browser moves the few lines there are, then more come."""
    async with browse(width=390, height=800) as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.run(FIVE)
        await page.run(
            """(async () => {
              const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
              const frames = async () => { await frame(); await frame(); await frame(); };
              ingest.hidden = false;
              ingest.open = true;
              await frames();
              window.scrolled = pane.scrollTop;
              ingest.open = false;
              await frame();
              for (let seq = 6; seq <= 30; seq++) add(seq, 'anna', 'and so on');
              await frames();
            })()"""
        )
        await page.until("scrolled > 0", why="the lines fitted from the beginning")
        await page.shows("follow.textContent", "Following", why="nobody has scrolled")
        await page.until("pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2")


async def test_the_document_shows_every_operation_without_scrolling_sideways(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        document = await api(gateway, "GET", "/openapi.json")
        operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
        await page.open(f"{gateway.http_url}/docs")
        await page.until("document.querySelector('.operation')")
        shown = await page.run("[...document.querySelectorAll('.operation')].map((one) => one.id)")
        assert set(shown) == operations
        body = await page.run("document.querySelector('#postApiTranscriptionStart').textContent")
        assert "sessionSlug" in body
        await page.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        wide = "[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth)"
        for width in (1200, 390):
            await resize(page, width, 800)
            await page.shows(f"{wide}.map((one) => one.textContent)", [], why="it is read by scrolling sideways")
            await page.until("document.documentElement.scrollWidth <= innerWidth")
        assert page.complaints == []


# --- the microphone -----------------------------------------------------------------------------------------


async def test_this_browser_speaks_is_muted_and_stops(gateway: Gateway, recorded: OpenPage) -> None:
    """The button starts a transcription for it; the policy of the page allows the worklet; muted, nothing is sent."""
    async with recorded() as page:
        slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.run(UNFILTERED)
        await page.until("!document.querySelector('#speak').hidden")
        await page.run("document.querySelector('#speak').click()")
        await page.until("document.querySelector('#voice').dataset.state === 'live'")
        await page.until("document.querySelector('#level').value > 0.1")
        await page.until(f"{texts('finals')}.includes('alpha bravo charlie')")
        await page.shows("document.querySelector('#finals .who').textContent", "console")
        await page.until("document.querySelector('#host').textContent === 'Host: console'")
        await page.until("/^\\d+\\.\\d s$/.test(document.querySelector('#delay').textContent)")
        await press(page, "m")
        await page.until("document.querySelector('#voice').dataset.state === 'muted'")
        await page.until("document.querySelector('#mute').ariaPressed === 'true'")
        heard = await until_still(gateway, slug)
        await press(page, "m")

        async def goes_on() -> bool:
            return await heard_s(gateway, slug) > heard

        await until(goes_on)
        await page.run("document.querySelector('#speak').click()")
        await page.until("document.querySelector('#voice').hidden")

        async def is_silent() -> bool:
            return not (await api(gateway, "GET", f"/api/transcription/{slug}"))["tracks"]

        await until(is_silent)

        await page.run("document.querySelector('#speaker').value = 'Anna'")  # the form speaks at once, under this name
        await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
        await page.until(f"document.querySelector('#slug-told').textContent !== '{slug}'")
        await page.until("document.querySelector('#finals .who')?.textContent === 'Anna'")
        await press(page, "m")
        await page.until("document.querySelector('#voice').dataset.state === 'muted'")
        await page.run("device.selectedIndex = 1, device.dispatchEvent(new Event('change'))")
        await page.until("!device.hidden && device.value === sessionStorage.getItem('gateway.microphone')")
        await page.shows("[device.selectedIndex, voice.dataset.state]", [1, "muted"], why="another, as mute")
        assert page.complaints == []


async def heard_s(gateway: Gateway, slug: str) -> float:
    tracks = (await api(gateway, "GET", f"/api/transcription/{slug}"))["tracks"]
    return float(tracks[0]["secondsHeard"])


async def until_still(gateway: Gateway, slug: str) -> float:
    """Wait until no audio comes any more. Returns: seconds heard."""
    async with asyncio.timeout(60):
        before, now = -1.0, await heard_s(gateway, slug)
        while now != before:
            await asyncio.sleep(0.5)
            before, now = now, await heard_s(gateway, slug)
    return now


async def test_a_browser_without_a_microphone_says_so(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("!document.querySelector('#speak').hidden")
        await page.run("document.querySelector('#speak').click()")
        await page.until("document.querySelector('#voice-state').textContent.includes('microphone')")
        await page.until("document.querySelector('#speak').textContent === 'Speak'")


async def test_what_is_wrong_stands_in_the_list_and_in_the_session(
    impatient: None, settings: Settings, browse: OpenPage, tmp_path: Path
) -> None:
    """Somebody speaks and the provider cannot be reached: it is said, also to whoever comes later, and to guests."""
    broken = replace(
        settings, gladia_api_url=f"http://127.0.0.1:{free_port()}", drain_s=1.0,
        livekit_url="ws://127.0.0.1:9", livekit_auto_start=False,
    )  # fmt: skip
    async with open_gateway(broken) as gateway, browse() as page, browse() as guest:
        slug, url = await start(gateway)
        async with publishing(tmp_path, " ".join(["alpha bravo charlie delta"] * 60), url, to_the_end=False):
            await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
            await page.until("document.querySelector('#health').textContent.includes('provider')")
            await page.until("document.querySelector('#list .bad').textContent.includes('provider')")
            await page.until("!document.querySelector('#health').hidden")
            await guest.open(f"{gateway.http_url}/join#session={slug}")
            await guest.run("who.value = 'Gus', document.querySelector('#enter button').click()")
            await guest.until("document.querySelector('#health').textContent.startsWith('Words may be late')")
        blocker = await asyncpg.connect(gateway.database_url)
        async with blocker.transaction():
            await blocker.execute('LOCK TABLE "VideoSession", gateway.transcription')
            await page.until(
                "document.querySelector('#trouble').textContent.startsWith('The database does not answer')"
            )
            await page.until("document.querySelector('#list .slug, #list li') !== null", why="what runs is listed")
        await page.until("document.querySelector('#trouble').hidden")
        await blocker.close()


# --- reading ------------------------------------------------------------------------------------------------

FIVE = """(async () => {
  window.captions = (await import(document.scripts[1].src.replace('console', 'session'))).captions;
  const lines = [['anna', 'Good morning.'], ['ben', 'The budget, please.'], ['anna', 'The BUDGET is fine.'],
    ['carl', 'Good.'], ['budgie', 'Cheep.']];
  const startedAt = '2026-01-05T10:00:00.000Z';
  window.add = (seq, participantIdentity, text) =>
    captions.final(seq, { utteranceId: `u${seq}`, participantIdentity, text, startMs: seq * 1000, startedAt });
  lines.forEach((line, at) => add(at + 1, ...line));
  captions.translation({ utteranceId: 'u1', targetLanguage: 'fr', text: 'Bonjour, budget.' });
})()"""
SHOWN = "[...document.querySelectorAll('#finals .row:not([hidden]) .text')].map((text) => text.textContent)"


async def test_search_finds_text_translations_and_names_also_in_lines_that_come_later(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        slug, _ = await start(gateway)
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        await page.run(FIVE)
        await page.run("document.activeElement.blur()")
        await press(page, "/")
        await page.shows("document.activeElement.id", "search")
        await page.call("Input.insertText", text="Budg")
        found = ["Good morning.", "The budget, please.", "The BUDGET is fine.", "Cheep."]
        await page.shows(SHOWN, found)
        await page.shows("document.querySelector('#found').textContent", "4 lines")
        await page.shows("CSS.highlights.get('found').size", 4)
        await page.run("add(6, 'anna', 'not this'); add(7, 'anna', 'a budget again')")
        await page.shows(SHOWN, [*found, "a budget again"])
        await page.shows("document.querySelector('#found').textContent", "5 lines")
        await press(page, "Escape")
        await page.shows(f"{SHOWN}.length", 7)
        await page.shows("[search.value, CSS.highlights.get('found').size]", ["", 0])
        assert page.complaints == []


async def test_words_under_way_never_stand_below_the_name_of_another(gateway: Gateway, browse: OpenPage) -> None:
    """Two people speak at once: who says an unsettled line is said as soon as another's line comes between."""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.run(FIVE)
        await page.run(
            """window.begin = (utteranceId, participantIdentity) =>
                 captions.partial({ utteranceId, participantIdentity, text: 'er', startMs: 6000, startedAt: 0 })"""
        )
        names = """[...document.querySelectorAll('#partials .who')]
          .map((who) => (who.offsetWidth > 1 ? who.textContent : ''))"""
        await page.run("begin('a', 'budgie'), begin('b', 'budgie'), begin('c', 'carl')")
        await page.shows(names, ["", "", "carl"], why="who spoke last goes on")
        await page.run("add(6, 'ben', 'But.')")
        await page.shows(names, ["budgie", "", "carl"])
        await page.run("captions.note('Line 7 is missing')")
        await page.shows(names, ["budgie", "", "carl"])
        await page.run(
            "captions.final(8, { utteranceId: 'a', participantIdentity: 'budgie', text: 'Er.', startMs: 1 })"
        )
        await page.shows(names, ["", "carl"])


async def test_a_speaker_has_one_colour_on_all_pages(gateway: Gateway, browse: OpenPage) -> None:
    """It comes of the identity alone, not of who came before."""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.run(FIVE)
        await page.until("""import(document.scripts[1].src.replace('console', 'speakers')).then(({ colourOf }) =>
                 [...document.querySelectorAll('#finals .row')].every((row) => {
                   const { hue, isPale } = colourOf(row.dataset.who);
                   const told = Number(row.style.getPropertyValue('--hue'));
                   return told === hue && row.classList.contains('pale') === isPale;
                 }))""")


async def test_the_keyboard_is_enough(gateway: Gateway, browse: OpenPage) -> None:
    """Sessions, pausing and the list of keys, without a mouse; letters typed into a field are letters."""
    async with browse() as page:
        slugs = [(await start(gateway))[0] for _ in range(2)]
        await page.open(f"{gateway.http_url}/#token={TOKEN}")
        await page.until("!document.querySelector('#console').hidden && list.querySelectorAll('a').length === 2")
        await page.run("document.activeElement.blur()")
        shown = [""]
        for key in "jjk":
            await press(page, key)
            await page.until(f"document.querySelector('#slug-told').textContent !== '{shown[-1]}'")
            shown.append(await page.run("document.querySelector('#slug-told').textContent"))
        assert set(shown[1:3]) == set(slugs) and shown[3] == shown[1]
        await press(page, "f")
        await page.until("document.querySelector('#follow').textContent === 'Follow'")
        await page.run(FIVE)
        await page.until("document.querySelector('#newest').textContent === '5 new ↓'")
        await press(page, "f")
        await page.until("document.querySelector('#follow').textContent === 'Following' && newest.hidden")
        await press(page, "?")
        await page.until("document.querySelector('#help').open")
        await press(page, "f")
        await page.shows("document.querySelector('#follow').textContent", "Following", why="behind the list")
        await page.run("document.querySelector('#help button').click()")
        await press(page, "/")
        await press(page, "f")
        await page.shows("[search.value, follow.textContent]", ["f", "Following"])


async def test_the_transcript_is_saved_in_every_format(gateway: Gateway, browse: OpenPage, tmp_path: Path) -> None:
    async with browse() as page:
        slug, url = await start(gateway, participantName="Anna")
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        async with publishing(tmp_path, "golf hotel", url):
            await page.until(f"{texts('finals')}.length === 1")
        folder = tmp_path / "saved"
        folder.mkdir()
        await page.save_downloads(folder)
        beginnings = {"vtt": "WEBVTT", "srt": "1\n00:00:0", "txt": "", "json": "{"}
        for format, beginning in beginnings.items():
            await page.run(f"document.querySelector('[data-format={format}]').click()")
            text = await saved(folder, f"{slug}.{format}")
            assert text.startswith(beginning) and "golf hotel" in text, format
        assert page.complaints == []


async def test_a_phone_on_its_side_keeps_room_for_the_words(gateway: Gateway, browse: OpenPage) -> None:
    """Also below what is wrong, and below the open panel that says where to send audio; then the session scrolls, and
    never the window."""
    async with browse(width=844, height=390) as page:
        slug, _ = await start(gateway)
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("!document.querySelector('#key').hidden")
        await page.run(FIVE)
        await page.run(
            """(() => { const health = document.querySelector('#health');
              [health.textContent, health.hidden] = ['the connection to the speech provider is being restored', false];
            })()"""
        )
        await page.run("document.querySelector('#name').textContent = 'WWWWMMMMWWWW'")  # as wide as names come
        await page.until("pane.clientHeight >= 150", why=await page.run("pane.clientHeight"))
        await page.run("key.click()")
        await page.until("ingest.open && !ingest.hidden")
        await page.until("pane.clientHeight >= 100", why=await page.run("pane.clientHeight"))
        await page.until("document.documentElement.scrollHeight <= innerHeight")
        await page.run("ingest.open = false")
        await page.until("pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2 && pane.clientHeight >= 120")


async def test_the_page_asks_nobody_else_for_anything(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        slug, _ = await start(gateway)
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        origins = await page.run(
            "[...new Set(performance.getEntriesByType('resource').map(({ name }) => new URL(name).origin))]"
        )
        assert origins == [await page.run("location.origin")]
        assert all(urlsplit(socket).netloc == urlsplit(gateway.http_url).netloc for socket in page.sockets)
        assert all("beat=1" in socket for socket in page.sockets), "pages cannot see pings"


async def test_the_replicas_are_shown_with_what_they_carry(
    settings: Settings, gateway: Gateway, browse: OpenPage, tmp_path: Path
) -> None:
    """Two gateways: one full, one empty; a session of the other one is steered from this page."""
    other = replace(settings, data_dir=tmp_path / "other", max_tracks=1)
    async with open_gateway(other) as full, browse() as page:
        while len((await api(gateway, "GET", "/api/replicas"))["replicas"]) < 2:
            await asyncio.sleep(0.05)
        slug = (await api(full, "POST", "/api/sessions", {}))["slug"]
        await api(full, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "websocket"})
        await page.open(f"{gateway.http_url}/operator#token={TOKEN}")
        await page.until("document.querySelector('#replicas h2').textContent === '2 replicas'")
        await page.until(
            "[...document.querySelectorAll('#replicas .state')].map((one) => one.textContent).includes('full')"
        )
        await page.until("document.querySelector('#replicas ul').textContent.includes('1\u00a0session')")
        await page.until("document.querySelector('#sessions a').href.includes('#session=')")
        await page.run("document.querySelector('#sessions a').click()")
        await page.until("document.querySelector('#stop')?.hidden === false")
        await page.run("document.querySelector('#stop').click()")
        await page.run("document.querySelector('#confirm-yes').click()")
        await page.until("document.querySelector('#state').textContent === 'stopped'")
        await page.go(-1)
        await page.until("document.querySelector('#replicas ul')?.textContent.includes('0\u00a0sessions')")
        assert page.complaints == []
