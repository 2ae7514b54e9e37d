"""The console and the API document in a real browser, on a real gateway that is spoken to over RTMP."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from support.browser import TOKEN, OpenPage

from gateway.app import Gateway, open_gateway
from gateway.settings import Settings
from stt.local.scripted import RATE, speak

NASTY = '<script>window.broken=1</script><img src=x onerror="window.broken=1">'


async def api(gateway: Gateway, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        http.request(method, f"{gateway.http_url}{path}", json=body) as response,
    ):
        assert response.status < 300, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def start(gateway: Gateway, **options: Any) -> tuple[str, str]:
    """A new session that listens to RTMP. Returns: slug, URL to publish to."""
    slug = (await api(gateway, "POST", "/api/sessions", {}))["slug"]
    body = {"sessionSlug": slug, "source": "rtmp", **options}
    started = await api(gateway, "POST", "/api/transcription/start", body)
    return slug, started["ingest"]["rtmpUrl"]


@asynccontextmanager
async def publishing(folder: Path, words: str, url: str, **pauses: Any) -> AsyncIterator[None]:
    """Say `words` to the gateway while the block runs; leaving it waits for the end."""
    file = folder / "speech.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(speak(words, lead_s=0.3, tail_s=0.7, **pauses)[0])
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli.publish", str(file), url)
    try:
        yield
        assert await publisher.wait() == 0
    finally:
        if publisher.returncode is None:
            publisher.kill()
            await publisher.wait()


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
            await page.until("window.spoken = document.querySelector('#partials .row')")
            assert await page.run("getComputedStyle(spoken.querySelector('.text')).fontStyle") == "italic"
            await page.until(f"{texts('finals')}.length === 2")
        assert await page.run(texts("finals")) == ["alpha bravo charlie", "delta echo foxtrot"]
        assert await page.run(texts("partials")) == []
        assert await page.run("document.querySelector('#finals').contains(spoken)")
        assert await page.run("getComputedStyle(spoken.querySelector('.text')).fontStyle") == "normal"
        assert await page.run("document.querySelector('#finals .who').textContent") == NASTY
        await page.until("document.querySelectorAll('#finals .translation').length === 2")
        assert await page.run("document.querySelector('.translation').textContent") == "ALPHA BRAVO CHARLIE"
        assert re.fullmatch(r"0:0\d", await page.run("document.querySelector('#finals time').textContent"))
        assert await page.run("document.querySelector('[role=log]').ariaBusy") == "false"

        await page.until("document.querySelector('#cost').textContent === '$0.01'")
        await page.until("document.querySelector('#list .facts').textContent.includes('2\\u00a0finals')")
        assert await page.run("document.querySelector('#engine').textContent") == "gladia"

        await page.save_downloads(tmp_path)
        await page.run("document.querySelector('[data-format=json]').click()")
        file = await saved(tmp_path, f"{slug}.json")
        assert [final["text"] for final in json.loads(file)["finals"]] == ["alpha bravo charlie", "delta echo foxtrot"]

        await page.run("document.querySelector('#stop').click()")
        await page.until("document.querySelector('#state').textContent === 'stopped'")
        await page.until("!document.querySelector('#start').hidden && document.querySelector('#stop').hidden")
        await page.until("!document.querySelector('#none').hidden")
        assert await page.run("window.broken") is None
        assert page.complaints == []


async def saved(folder: Path, name: str) -> str:
    """The content of a file that the browser saves."""
    async with asyncio.timeout(10):
        while not (content := "".join(await asyncio.to_thread(_read, folder, name))):
            await asyncio.sleep(0.03)
    return content


def _read(folder: Path, name: str) -> list[str]:
    return [file.read_text() for file in folder.glob(name)]


async def test_the_page_comes_back_after_a_restart_and_says_nothing_twice(
    settings: Settings, browse: OpenPage, tmp_path: Path
) -> None:
    """When the gateway goes away the page says so, comes back by itself and resumes after its last final."""
    async with browse() as page:
        async with open_gateway(settings) as gateway:
            slug, url = await start(gateway)
            await page.open(f"{gateway.http_url}/#token={TOKEN}&session={slug}")
            async with publishing(tmp_path, "golf hotel", url):
                await page.until(f"{texts('finals')}.length === 1")
            await api(gateway, "POST", "/api/transcription/stop", {"sessionSlug": slug})
            await page.run("window.row = document.querySelector('#finals .row')")
            port = urlsplit(gateway.http_url).port
        assert port is not None
        await page.until("document.querySelector('#line').textContent.startsWith('Coming back in')")
        await page.until("document.querySelector('#trouble').textContent.includes('does not answer')")
        async with open_gateway(replace(settings, http_port=port)):
            await page.until("document.querySelector('#line').dataset.phase === 'live'")
            await page.until("document.querySelector('#trouble').hidden")
            assert await page.run(texts("finals")) == ["golf hotel"]
            assert await page.run("document.querySelector('#finals').contains(row)"), "the line was written anew"
        assert "since=" not in page.sockets[0]
        assert page.sockets[-1].endswith(":1") or page.sockets[-1].endswith("%3A1")


async def test_a_wrong_token_is_refused_and_the_right_one_remembers_what_was_wanted(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        slug, _ = await start(gateway)
        await page.open(f"{gateway.http_url}/#token=wrong&session={slug}")
        await page.until("document.querySelector('#refused').textContent.includes('refused')")
        assert not await page.run("sessionStorage.getItem('gateway.token')")
        await page.run(f"document.querySelector('#token').value = '{TOKEN}'")
        await page.run("document.querySelector('#enter').requestSubmit()")
        await page.until("document.querySelector('#line').dataset.phase === 'live'")
        assert await page.run("document.querySelector('#name').textContent") == slug
        assert await page.run("document.querySelector('#gate').hidden")


async def test_the_form_starts_a_transcription_and_says_where_audio_goes(gateway: Gateway, browse: OpenPage) -> None:
    async with browse(width=390, height=800) as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}")
        await page.until("!document.querySelector('#none').hidden")
        await page.run("document.querySelector('#speaker').value = 'Anna'")
        await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
        await page.until("!document.querySelector('#ingest').hidden")
        url = await page.run("document.querySelector('#rtmp-url').value")
        assert url == f"{gateway.rtmp_url}/live/" + await page.run("document.querySelector('#stream-key').value")
        assert (await page.run("document.querySelector('#ffmpeg').value")).endswith(f"-f flv '{url}'")
        await page.until("document.querySelectorAll('#list button').length === 1")
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "wider than a phone"
        assert page.complaints == []


async def test_an_unknown_session_is_said_and_not_asked_for_again(gateway: Gateway, browse: OpenPage) -> None:
    """Close code 4504: the reason is shown and there is no second connection, also when the network comes back."""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        assert "there is no session 'nowhere'" in await page.run("document.querySelector('#line').textContent")
        await page.run("dispatchEvent(new Event('online'))")
        assert await page.run("document.querySelector('#line').dataset.phase") == "over"
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
            assert await page.run(f"document.querySelector('#{name}').hidden"), name


async def test_the_transcript_is_bounded_and_follows_unless_the_reader_scrolls_up(
    gateway: Gateway, browse: OpenPage
) -> None:
    async with browse() as page:
        await page.open(f"{gateway.http_url}/#token={TOKEN}&session=nowhere")
        await page.until("document.querySelector('#line').dataset.phase === 'over'")
        await page.run(
            """(async () => {
              window.captions = (await import('/session.js')).captions;
              window.say = (seq) => captions.final(seq, {
                utteranceId: `u${seq}`, participantIdentity: 'anna', text: `line ${seq}`, startMs: seq * 1000,
                startedAt: '2026-01-05T10:00:00.000Z' });
              for (let seq = 1; seq <= 3000; seq++) say(seq);
            })()"""
        )
        at_end = "pane.scrollHeight - pane.scrollTop - pane.clientHeight < 2"
        await page.until(at_end)
        assert await page.run("finals.childElementCount") == 500
        assert await page.run("document.documentElement.scrollHeight <= innerHeight"), "the window scrolls as well"
        assert await page.run("finals.firstElementChild.querySelector('.text').textContent") == "line 2501"
        assert not await page.run("earlier.hidden")
        assert not await page.run("finals.firstElementChild.classList.contains('same')"), "the first line has no name"
        assert await page.run("finals.lastElementChild.querySelector('time').textContent") == "50:00"

        await page.run("pane.scrollTop -= 400")
        await page.until("!newest.hidden")
        await page.run("window.before = pane.scrollTop; say(3001); say(3002)")
        await page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert not await page.run(at_end), "the reader was pulled away"
        assert await page.run("newest.textContent") == "2 new ↓"
        await page.run("newest.click()")
        await page.until(f"{at_end} && newest.hidden")

        await page.run("captions.partial({utteranceId: 'p', participantIdentity: 'ben', text: 'er', startMs: 1})")
        assert await page.run(texts("partials")) == ["er"]
        await page.run("captions.partial({utteranceId: 'p', participantIdentity: 'ben', text: '', startMs: 1})")
        assert await page.run(texts("partials")) == [], "an empty partial takes the line back"


async def test_close_codes_decide_and_delays_spread(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        await page.open(f"{gateway.http_url}/")
        codes = [1000, 1001, 1006, 1011, 4000, 4008, 4029, 4499, 4500, 4501, 4504, 4510, 4999]
        kept = await page.run(f"import('/stream.js').then(({{comesBack}}) => {codes}.filter(comesBack))")
        assert kept == [code for code in codes if code < 4500]
        delays = await page.run(
            "import('/stream.js').then(({delayMs}) => [delayMs(0, 1006, 0), delayMs(0, 1006, 1), delayMs(3, 1006, 1),"
            " delayMs(99, 1006, 1), delayMs(0, 4029, 0)])"
        )
        assert delays == [250, 500, 4000, 15_000, 5250]


async def test_a_stream_tells_every_final_once_and_says_what_is_missing(gateway: Gateway, browse: OpenPage) -> None:
    """Repeats are dropped, holes become gaps, a new numbering begins at 1, a resume asks for what follows."""
    script = """(async () => {
      const { Stream } = await import('/stream.js');
      const opened = [];
      window.WebSocket = class { // the page's own copy: speaks what this test writes
        constructor(url, protocols) { opened.push({ socket: this, since: url.searchParams.get('since'),
          token: url.searchParams.get('token'), protocols: protocols.join() }); }
        close() {}
        say(type, epoch, seq, data = {}) { this.onmessage({ data: JSON.stringify({ type, epoch, seq, data }) }); }
      };
      const heard = [];
      const phases = [];
      const hear = ({ type, seq, data }) =>
        heard.push(type === 'gap' ? `gap ${data.fromSeq}-${data.toSeq}` : `${type} ${seq}`);
      const stream = new Stream('a', 'a/b=', hear, ({ phase }) => phases.push(phase));
      const { socket } = opened[0];
      socket.say('hello', '-', 0, { resumed: false });
      for (const seq of [1, 2, 2, 1, 4]) socket.say('transcript.final', 'k3f9', seq);
      socket.say('gap', 'k3f9', undefined, { fromSeq: 5, toSeq: 7 });
      socket.say('transcript.final', 'k3f9', 8);
      socket.onclose({ code: 4008, reason: 'too slow' });
      dispatchEvent(new Event('online'));
      opened[1].socket.say('hello', 'k3f9', 9, { resumed: true });
      socket.say('transcript.final', 'k3f9', 9); // a socket that is left says nothing any more
      opened[1].socket.say('transcript.final', 'k3f9', 9);
      opened[1].socket.say('hello', 'new', 1, { resumed: false });
      opened[1].socket.say('transcript.final', 'new', 1);
      stream.close();
      opened[1].socket.say('transcript.final', 'new', 2);
      const second = new Stream('b', 'plain', hear, () => {});
      second.close();
      return { heard, phases, asked: opened.map(({ since, token, protocols }) => [since, token, protocols]) };
    })()"""
    async with browse() as page:
        await page.open(f"{gateway.http_url}/")
        found = await page.run(script)
    assert found["heard"] == [
        "hello 0",
        *("transcript.final 1", "transcript.final 2", "gap 3-3", "transcript.final 4", "gap 5-7", "transcript.final 8"),
        *("hello 9", "transcript.final 9", "hello 1", "transcript.final 1"),
    ]
    assert found["phases"] == ["connecting", "live", "waiting", "connecting", "live", "live"]
    assert found["asked"] == [
        [None, "a/b=", "transcript.v1"],
        ["k3f9:8", "a/b=", "transcript.v1"],
        [None, None, "transcript.v1,bearer.plain"],
    ]


async def test_every_colour_of_text_is_legible(gateway: Gateway, browse: OpenPage) -> None:
    """Contrast of at least 4.5 (WCAG AA) in light and dark, for every voice and every grey."""
    script = """(() => {
      const context = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
        .getContext('2d', {willReadFrequently: true});
      const style = getComputedStyle(document.documentElement);
      const name = (one) => style.getPropertyValue(one).trim();
      const luminance = (colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
          .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      };
      const voices = Array.from({length: 72}, (_, n) => `oklch(${name('--voice-lightness')} .12 ${n * 5})`);
      const words = ['--ink', '--soft', '--faint', '--accent', '--good', '--wait', '--bad'].map(name);
      const pairs = [...voices.map((voice) => [voice, name('--paper')]),
        ...words.flatMap((word) => [[word, name('--paper')], [word, name('--ground')]]),
        [name('--bad'), name('--bad-wash')], [name('--on-accent'), name('--accent')], [name('--soft'), name('--wash')],
        [name('--good'), name('--wash')]];
      return pairs.filter(([one, other]) => contrast(one, other) < 4.5).map((pair) => [...pair, contrast(...pair)]);
    })()"""
    for scheme in ("light", "dark"):
        async with browse(scheme=scheme) as page:
            await page.open(f"{gateway.http_url}/")
            await page.until("document.styleSheets.length === 1")
            assert await page.run(script) == []


async def test_the_document_shows_every_operation(gateway: Gateway, browse: OpenPage) -> None:
    async with browse() as page:
        document = await api(gateway, "GET", "/openapi.json")
        operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
        await page.open(f"{gateway.http_url}/docs")
        await page.until("document.querySelector('.operation')")
        shown = await page.run("[...document.querySelectorAll('.operation')].map((one) => one.id)")
        assert set(shown) == operations
        body = await page.run("document.querySelector('#postApiTranscriptionStart').textContent")
        assert "sessionSlug" in body
        assert page.complaints == []
