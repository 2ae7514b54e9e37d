"""The reader's page at /s/SLUG in a real browser: its address, the whole of a long meeting, words as they are said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.browser import TOKEN, OpenPage, Page, resize
from support.console import api, press, publishing, saved
from support.main_thread import frames, percentile, traced
from support.meetings import Said, held, meeting

from gateway.app.root import Gateway

SHOWN = """[...document.querySelectorAll('.line')].filter((line) => {
  const { top, bottom } = line.getBoundingClientRect();
  const room = pane.getBoundingClientRect();
  return bottom > room.top && top < room.bottom;
}).map((line) => line.textContent.trim())"""
CHOSEN = "document.querySelector('.is-chosen')?.textContent.trim()"
AT_END = "pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2"


def line(n: int) -> str:
    return f"This is line number {n} of the meeting."


async def told(gateway: Gateway, lines: int | list[Said], title: str = "Release review", **more: Any) -> str:
    slug: str = (await api(gateway, "POST", "/api/sessions", {"title": title}))["slug"]
    await held(gateway.database_url, slug, meeting(lines) if isinstance(lines, int) else lines, **more)
    return slug


async def is_read(page: Page) -> None:
    await page.until("document.querySelector('.line') && document.querySelector('#title').textContent !== 'Transcript'")


async def test_a_session_and_a_moment_of_it_have_an_address(gateway: Gateway, browse: OpenPage) -> None:
    """The token is in none of them; Back works; a link opened in a new tab is read without asking."""
    async with browse() as page:
        slug = await told(gateway, 60)
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}&t=0:30")
        await page.until(f"{CHOSEN} === '{line(20)}'")
        await page.shows("location.pathname + location.hash", f"/s/{slug}#t=0:30")
        await page.until("document.title === 'Release review' && title.textContent === 'Release review'")
        await page.run("[...document.querySelectorAll('a.when')].find((one) => one.textContent === '0:36').click()")
        await page.until(f"{CHOSEN} === '{line(24)}'")
        await page.shows("location.hash", "#t=0:36")
        await page.run(
            "[...document.querySelectorAll('.line')].find((one) => one.textContent.includes(' 25 ')).click()"
        )
        await page.shows(f"[location.hash, {CHOSEN}]", ["#t=0:37", line(25)])
        await page.shows("document.querySelector('#chosen-at').href", f"{gateway.http_url}/s/{slug}#t=0:37")
        for expected in (24, 20):
            await page.go(-1)
            await page.until(f"{CHOSEN} === '{line(expected)}'")
        async with browse(beside=page) as other:
            await other.open(f"{gateway.http_url}/s/{slug}#t=0:15")
            await other.until(f"{CHOSEN} === '{line(10)}'")
            assert other.complaints == []
        assert page.complaints == []
        assert TOKEN not in "".join(page.sockets)
    async with browse() as stranger:
        await stranger.open(f"{gateway.http_url}/s/{slug}#t=0:15")
        await stranger.until("!document.querySelector('#enter').hidden && document.querySelector('#bar').hidden")
        await stranger.run(f"token.value = '{TOKEN}', enter.requestSubmit()")
        await stranger.until(f"{CHOSEN} === '{line(10)}'")


async def test_a_long_meeting_is_read_and_searched_as_a_whole(gateway: Gateway, browse: OpenPage) -> None:
    """5,000 lines: the newest stand there first, the page holds what is near, and nothing is forgotten."""
    async with browse() as page:
        slug = await told(gateway, 5_000)
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await page.until(f"{SHOWN}.includes('{line(5_000)}')")
        await page.until(AT_END)
        assert "newest=60" in page.sockets[0] and "since=" not in page.sockets[0]
        await page.run("search.value = 'NUMBER 77 of', search.dispatchEvent(new Event('input'))")
        await page.until("found.textContent === '1 line'")
        await page.run("document.querySelector('#find-next').click()")
        await page.until(f"{CHOSEN} === '{line(77)}' && {SHOWN}.includes('{line(77)}')")
        await page.shows("found.textContent", "1 of 1")
        await page.shows("CSS.highlights.get('found-now').size", 1)
        await page.run("pane.scrollTop = 0")
        await page.until(f"{SHOWN}[0] === '{line(1)}'")
        # Down again, a window at a time: every line comes, in order, and none jumps away.
        seen = await page.run(
            """(async () => {
              const seen = [];
              const rest = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
              for (let step = 0; step < 12; step++) {
                for (const line of document.querySelectorAll('.line')) {
                  if (line.getBoundingClientRect().bottom > 60) seen.push(Number(line.dataset.seq));
                }
                pane.scrollTop += pane.clientHeight * 0.9;
                await rest();
                await rest();
              }
              return [...new Set(seen)];
            })()"""
        )
        assert seen == list(range(1, len(seen) + 1)) and len(seen) > 150
        assert await page.run("document.querySelectorAll('.line').length") < 500
        await page.run("document.querySelector('#newest').click()")
        await page.until(f"{AT_END} && {SHOWN}.includes('{line(5_000)}')")
        async with traced(page) as events:  # upwards, 3,600 pixels a second
            await page.run(
                """(async () => {
                  for (let frame = 0; frame < 90; frame++) {
                    pane.scrollTop -= 60;
                    await new Promise(requestAnimationFrame);
                  }
                })()"""
            )
        spent = frames(events)
        assert len(spent) > 60 and percentile(spent, 95) < 1_000 / 60, "less than 60 frames a second"
        await page.run("strip.focus()")
        await press(page, "Home")
        await page.until(f"{SHOWN}.includes('{line(1)}')")
        assert page.complaints == []


async def test_words_settle_where_they_stand_and_follow_the_reader(
    gateway: Gateway, browse: OpenPage, tmp_path: Path
) -> None:
    async with browse(height=300) as page:
        slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
        body = {"sessionSlug": slug, "source": "rtmp", "participantIdentity": "anna", "participantName": "Anna Berg"}
        url = (await api(gateway, "POST", "/api/transcription/start", body))["ingest"]["rtmpUrl"]
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await page.until("now.textContent.startsWith('It is just beginning. The words')")
        words = "alpha bravo charlie delta echo foxtrot"
        async with publishing(tmp_path, words, url, pauses=(0, 0, 0.8)):
            grey = "window.grey = getComputedStyle(spoken).color"
            await page.until(f"(window.spoken = document.querySelector('.line.underway')) && ({grey})")
            await page.shows("chip.textContent", "Live")
            await page.shows("spoken.closest('.said').querySelector('.who').textContent", "Anna Berg")
            await page.shows("spoken.closest('.said').querySelector('.face').textContent", "AB")
            await page.until("document.querySelectorAll('.line[data-seq]').length === 2")
        await page.until("spoken.isConnected && spoken.dataset.seq === '1'", why="the line was written anew")
        await page.until("getComputedStyle(spoken).color !== grey")
        await page.shows("spoken.closest('.said').querySelectorAll('.line').length", 2, why="one paragraph")
        await page.shows(
            "[...document.querySelectorAll('#spoken p')].map((one) => one.textContent)",
            [
                "Anna Berg: alpha bravo charlie",
                "Anna Berg: delta echo foxtrot",
            ],
        )
        await press(page, "f")
        await page.until("follow.textContent === 'Follow'")
        async with publishing(tmp_path, "golf hotel", url):
            await page.until("document.querySelector('#newest').textContent === '1 new ↓'")
        assert not await page.run(AT_END) or await page.run("pane.scrollHeight === pane.clientHeight")
        await page.run("document.querySelector('#newest').click()")
        await page.until(f"{AT_END} && document.querySelector('#newest').hidden")
        assert page.complaints == []


async def test_the_first_words_need_two_round_trips(gateway: Gateway, browse: OpenPage) -> None:
    """One for the page, in which everything stands that it needs first, and one for its stream, which is opened by the
    page itself, beside its scripts: also when these never come. What it has heard until then is not lost."""
    async with browse() as page:
        slug = await told(gateway, 10)
        await page.call("Network.setBlockedURLs", urls=["*/reader.whole.js"])
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        assert len(page.sockets) == 1
        await page.until("performance.getEntriesByType('paint').length && document.styleSheets.length === 2")
        asked = (
            f"performance.getEntriesByType('resource').filter(({{ name }}) => name.endsWith('/api/sessions/{slug}'))"
        )
        await page.until(f"{asked}.length", why="what the session is called needs no script of the page either")
        await page.call("Network.setBlockedURLs", urls=[])
        page.sockets.clear()
        await page.call("Page.navigate", url=f"{gateway.http_url}/s/{slug}?lang=xx#token={TOKEN}")
        await page.until(f"{SHOWN}.includes('{line(10)}')")
        assert "lang=xx" in page.sockets[0] and "lang" not in page.sockets[-1], "there is none: another one without"
        for _ in range(3):  # its scripts come from the browser's cache now, as fast as anything
            await page.open("about:blank#")
            page.sockets.clear()
            await page.open(f"{gateway.http_url}/s/{slug}")
            await page.until(f"{SHOWN}.includes('{line(10)}') && title.textContent === 'Release review'")
            assert len(page.sockets) == 1, f"the page has opened another one: {page.sockets}"
            await page.shows(f"{asked}.length", 1, why="the page has asked again")


async def test_the_words_wait_for_nothing_else(gateway: Gateway, browse: OpenPage) -> None:
    """The page stands before any answer, and the words need none but the stream's."""
    async with browse() as page:
        slug = await told(gateway, 10)
        await page.call("Network.setBlockedURLs", urls=["*/api/sessions/*"])
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await page.until(f"{SHOWN}.includes('{line(10)}')")
        await page.shows("title.textContent", "Meeting")
        asked = await page.run("performance.getEntriesByType('resource').map(({ name }) => name)")
        assert all(re.search(r"/assets/|/api/sessions/", name) for name in asked), "one origin, one address each"


async def test_a_small_screen_is_mostly_words(gateway: Gateway, browse: OpenPage) -> None:
    """Upright and on its side, and at a zoom of 400 %, as 1280 by 1024 is 320 by 256 then; nothing is wider than the
    screen. Who writes from right to left has name, initials and words on one side."""
    arabic = Said("omar", "عمر خالد", "صباح الخير.", 0, 900, "ar")
    slug = await told(gateway, [arabic, *meeting(30)], "A title that is longer than a phone is wide, by far")
    async with browse() as page:
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await is_read(page)
        for width, height in ((390, 844), (844, 390), (320, 256)):
            await resize(page, width, height)
            await page.until("document.querySelector('#strip').offsetHeight > 0")
            await page.until("pane.clientHeight / innerHeight >= 0.6")
            await page.until("document.documentElement.scrollWidth <= innerWidth")
            await page.until("pane.scrollWidth <= pane.clientWidth")
            outside = await page.run(
                """[...document.querySelectorAll('.bar button, .bar input, .bar a')].filter((one) => one.offsetParent)
                  .filter((one) => { const { left, right, height } = one.getBoundingClientRect();
                    return left < 0 || right > innerWidth || height < 24; }).map((one) => one.id)"""
            )
            assert outside == []
            await page.run("pane.scrollTop = 0")
            await page.until(f"{SHOWN}[0] === 'صباح الخير.'")
            edges = await page.run(
                """['.face', '.who', '.line'].map((name) =>
                  innerWidth - document.querySelector(name).getBoundingClientRect().right)"""
            )
            assert max(edges) < width / 3, "something stands on the other side"
            if width < 700:
                await press(page, "/")
                await page.until("document.activeElement.id === 'search'")
                await page.until("search.getBoundingClientRect().width > 100")
                await press(page, "Escape")
                await page.until("!bar.classList.contains('finding')")
        assert page.complaints == []


async def test_size_colours_and_language_are_the_readers_own_and_kept(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        slug = await told(gateway, 5, translations=["Dies ist die erste Zeile.", "Und die zweite."])
        await page.open(f"{gateway.http_url}/s/{slug}?lang=xx#token={TOKEN}&t=0:03")  # a language that there is not
        await is_read(page)
        await page.until(f"{CHOSEN} === '{line(2)}'")
        await page.shows("[location.search, location.hash]", ["", "#t=0:03"])
        size = "parseFloat(getComputedStyle(document.querySelector('.line')).fontSize)"
        before = await page.run(size)
        assert 20 <= before <= 22
        await page.run("larger.click(), theme.value = 'contrast', theme.dispatchEvent(new Event('change'))")
        await page.until(f"{size} > {before}")
        await page.until("document.querySelectorAll('#translation option').length === 3")
        choose = "translation.value = 'de {}', translation.dispatchEvent(new Event('change'))"
        await page.run(choose.format("beside"))
        shown = "document.querySelector('.translation:not([hidden])')?.textContent"
        await page.until(f"{shown} === 'Dies ist die erste Zeile. Und die zweite.'")
        await page.shows("document.querySelector('.line').textContent.trim()", line(1))
        await page.run(choose.format("instead"))
        await page.until("document.querySelector('.line').textContent.trim() === 'Dies ist die erste Zeile.'")
        await page.shows(
            "[document.querySelector('.line').lang, document.querySelector('.translation').hidden]", ["de", True]
        )
        await page.reload()
        await page.until("document.querySelector('.line')?.textContent.trim() === 'Dies ist die erste Zeile.'")
        await page.until(f"{size} > {before}")
        await page.shows("getComputedStyle(document.documentElement).backgroundColor", "rgb(0, 0, 0)")
        assert page.complaints == []


async def test_every_colour_of_the_page_is_legible(gateway: Gateway, browse: OpenPage) -> None:
    """Words at least 4.5 to 1, edges of controls 3 to 1, in light, dark and contrast, for every speaker's colour."""
    script = """(() => {
      const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
      const probe = document.body.appendChild(Object.assign(document.createElement('i'), { className: 'voiced' }));
      const light = (colour) => {
        probe.style.color = colour;
        pen.fillStyle = getComputedStyle(probe).color;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
          .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const bad = [];
      const check = (one, other, least) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < least) bad.push([document.documentElement.dataset.theme, one, other, contrast]);
      };
      for (const theme of ['light', 'dark', 'contrast']) {
        document.documentElement.dataset.theme = theme;
        for (const ground of ['var(--ground)', 'var(--paper)']) {
          const words = ['ink', 'soft', 'faint', 'accent', 'good', 'wait', 'bad'];
          for (const name of words) check(`var(--${name})`, ground, 4.5);
          check('var(--edge)', ground, 3);
        }
        check('var(--bad)', 'var(--bad-wash)', 4.5);
        check('var(--on-accent)', 'var(--accent)', 4.5);
        for (const under of ['wash', 'found']) check('var(--ink)', `var(--${under})`, 4.5);
        for (const over of ['soft', 'good']) check(`var(--${over})`, 'var(--wash)', 4.5);
        check('var(--on-found-now)', 'var(--found-now)', 4.5);
        for (let hue = 0; hue < 360; hue += 5) {
          probe.style.setProperty('--hue', hue);
          for (const tone of ['voiced', 'voiced pale']) {
            probe.className = tone;
            for (const ground of ['ground', 'paper']) check('var(--voice)', `var(--${ground})`, 4.5);
            check('var(--on-voice)', 'var(--voice)', 4.5);
          }
        }
      }
      return bad;
    })()"""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/s/nowhere")
        await page.until("document.styleSheets.length === 2")
        await page.shows(script, [])
        hues = await page.run(
            """import(document.querySelector('script[src]').src.replace('reader.whole.js', 'speakers.js'))
              .then(({ colourOf, initialsOf }) => [colourOf('anna'), colourOf('anna'),
                ['Anna Berg', 'ben', '山田 雪', '👩🏽‍💻 Zoë', ''].map(initialsOf)])"""
        )
    assert hues[0] == hues[1]
    assert hues[2] == ["AB", "B", "山雪", "👩🏽‍💻Z", "?"]


async def test_nothing_at_an_address_and_a_token_that_is_refused_are_said_in_words(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        await page.open(f"{gateway.http_url}/s/nowhere#token={TOKEN}")
        await page.until("refused.textContent.startsWith('There is nothing at this address.')")
        assert not await page.run("token.offsetParent"), "no other token would help"
    async with browse() as page:
        slug = await told(gateway, 1)
        await page.open(f"{gateway.http_url}/s/{slug}#token=wrong")
        await page.until("refused.textContent.startsWith('Your link has expired')")
        await page.until("Boolean(token.offsetParent) && document.activeElement.id === 'token'")
        await page.until("!/\\\\d{4}|refused|credential/.test(document.body.innerText)")


async def test_after_the_end_the_page_is_the_minutes(gateway: Gateway, browse: OpenPage, tmp_path: Path) -> None:
    slug = (await api(gateway, "POST", "/api/sessions", {"title": "Review"}))["slug"]
    await api(gateway, "POST", f"/api/sessions/{slug}/participants/join", {"identity": "anna"})
    lines = [
        Said("anna", "Anna", "The release is ready.", 0, 3_000),
        Said("ben", "Ben", "I will write the notes by Friday.", 4_000, 5_000),
    ]
    await held(gateway.database_url, slug, lines)
    await api(gateway, "POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
    async with browse() as reader, browse() as page:
        await reader.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await reader.until(f"{SHOWN}.length === 2")
        await api(gateway, "POST", f"/api/sessions/{slug}/end")
        never = await page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="const { fetch: real } = window; window.fetch = (path, ...more) => "
            "(String(path).endsWith('/analysis') ? new Promise(() => {}) : real(path, ...more));",
        )
        await page.open(f"{gateway.http_url}/s/{slug}#token={TOKEN}")
        await page.until("/ · 2.lines/.test(minutes.textContent)", why="when it was, before what came of it is known")
        await page.shows("document.querySelector('.files')", None)
        await page.call("Page.removeScriptToEvaluateOnNewDocument", **never)
        await page.reload()
        await page.until("document.querySelector('.findings')")
        await page.shows("pane.scrollTop", 0)
        await page.shows("chip.textContent", "Ended")
        await page.until(
            "document.querySelector('.findings').textContent.includes('I will write the notes by Friday.')"
        )
        shares = "[...document.querySelectorAll('.shares li')].map((one) => one.textContent)"
        await page.until(f"{shares}.length === 2")
        await page.shows(shares, ["Anna75 % · 0:03", "Ben25 % · 0:01"])
        await page.save_downloads(tmp_path)
        await page.run(
            "[...document.querySelectorAll('.files button')].find((one) => one.textContent === 'Text').click()"
        )
        assert "The release is ready." in await saved(tmp_path, f"{slug}.txt")
        await page.run("document.querySelector('.minutes .when').click()")
        await page.until(f"{CHOSEN}")
        await reader.until("chip.textContent === 'Ended' && !minutes.hidden")  # who was there sees it come
        assert page.complaints == reader.complaints == []
