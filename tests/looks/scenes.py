"""Every page in every state that people meet, as what to open and what to do there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looks.world import SPEAKERS
from support.browser import TOKEN, Page

TOLD = Path(__file__).with_name("pretend.js").read_text()
BUSY = Path(__file__).with_name("busy.js").read_text()


@dataclass(frozen=True)
class Scene:
    """`path`: with `{review}` and the like for slugs. `steps`: expressions, each tried until it is true."""

    name: str
    path: str
    steps: tuple[str, ...] = ()
    token: str = TOKEN
    before: str = ""
    """What the page's scripts find when they begin."""
    scale: float = 1.0
    """How far it is zoomed in."""

    async def play(self, page: Page, url: str, slugs: Mapping[str, str]) -> None:
        """To be called again with the same page for another scene."""
        await page.run("location.origin !== 'null' && (localStorage.clear(), sessionStorage.clear())")
        await page.open("about:blank#")
        source = f"(() => {{{TOLD}{self.before}}})()"
        script = await page.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        path = self.path.format_map(slugs)
        token = f"{'&' if '#' in path else '#'}token={self.token}" if self.token else ""
        await page.open(f"{url}{path}{token}")
        for step in self.steps:
            await page.until(step.replace("{webhook}", slugs.get("webhook", "")))
        await page.call("Page.removeScriptToEvaluateOnNewDocument", **script)


def click(selector: str) -> str:
    return f"(document.querySelector('{selector}')?.click(), Boolean(document.querySelector('{selector}')))"


def there(selector: str) -> str:
    return f"document.querySelector('{selector}')?.checkVisibility()"


def opened(*details: str) -> str:
    return " && ".join(f"(document.querySelector('#{one}').open = true)" for one in details)


def _tell(kind: str, **data: Any) -> str:
    message = {"v": 1, "type": kind, "data": data}
    return f"(say({json.dumps(message)}), true)"


def _partial(who: str, text: str, stable: int, language: str) -> str:
    return _tell(
        "transcript.partial",
        utteranceId=f"now-{who}",
        text=text,
        stableChars=stable,
        language=language,
        isFinal=False,
        participantIdentity=who,
        participantName=SPEAKERS[who],
        startMs=7_201_000,
        endMs=7_204_000,
        startedAt="2026-01-05T12:00:01.000Z",
        endedAt="2026-01-05T12:00:04.000Z",
    )


def _usage(group: str) -> str:
    asked = {"from": "2026-01-01", "to": "2026-01-31", "by": group}
    filled = ", ".join(f"(document.querySelector('#{name}').value = '{value}')" for name, value in asked.items())
    return f"({filled}, document.querySelector('#ask .main').click(), true)"


RUNS = _tell("session.state", state="running")
SPOKEN = (
    RUNS,
    _partial("anna", "Good, that is all from my side, unless somebody has a question about the schedule of", 62, "en"),
    _partial("noa", "רגע, יש לי עוד שאלה אחת", 12, "he"),
)
READ = there(".line")
TITLED = "document.querySelector('#title').textContent !== 'Transcript'"
IN = there("#console")

OPENED_TOOLS = """(() => {
  if (document.querySelector('#more-open').checkVisibility()) document.querySelector('#more').showPopover();
  return true; })()"""
NO_MORE = "(window.WebSocket = class extends WebSocket { constructor() { super('ws://127.0.0.1:9'); } }, true)"
READER = (
    Scene("reader-live", "/s/{review}", (READ, TITLED, *SPOKEN)),
    Scene(
        "reader-beside",
        "/s/{review}",
        (READ, TITLED, *SPOKEN, there(".translation")),
        before="sessionStorage.setItem('gateway.reading', 'de beside');",
    ),
    Scene("reader-middle", "/s/{review}#t=42:10", (READ, TITLED, there(".is-chosen"))),
    Scene(
        "reader-find",
        "/s/{review}",
        (
            READ,
            TITLED,
            click("#find-open"),
            "search.value = 'release', search.dispatchEvent(new Event('input'))",
            "/^[0-9,]+ lines$/.test(found.textContent)",
            click("#find-next"),
        ),
    ),
    Scene(
        "reader-tools",
        "/s/{review}",
        (
            READ,
            TITLED,
            *SPOKEN,
            "document.querySelector('#translation').options.length > 1",
            OPENED_TOOLS,
        ),
    ),
    Scene(
        "reader-details",
        "/s/{review}",
        (READ, TITLED, click("#details-open"), "document.querySelector('#facts').childElementCount > 7"),
    ),
    Scene(
        "reader-paused", "/s/{review}", (READ, TITLED, RUNS, _tell("session.pause", everybody=True, participants=[]))
    ),
    Scene(
        "reader-cut",
        "/s/{review}",
        (READ, TITLED, RUNS, NO_MORE, "(lines.at(-1).close(), true)", "/Cut/.test(chip.textContent)"),
    ),
    Scene("reader-minutes", "/s/{over}", (TITLED, there(".shares"))),
    Scene("reader-empty", "/s/{spoken}", (TITLED, "chip.textContent === 'Starting'", RUNS)),
    Scene("reader-idle", "/s/{idle}", (TITLED, "chip.textContent === 'Not begun'")),
    Scene("reader-nothing", "/s/nowhere", (there("#refused"),)),
    Scene("reader-refused", "/s/{review}", (there("#refused"),), token="wrong"),
    Scene("reader-gate", "/s/{review}", (there("#token"),), token=""),
    Scene("reader-zoomed", "/s/{review}", (READ, TITLED, *SPOKEN), scale=4),
)

LIVE = "document.querySelector('#line').dataset.phase === 'live'"
HOSTED = _tell("host.changed", participantIdentity="anna", participantName="Anna Berg")
# In what the API answers, too: the page looks there every other second.
TROUBLED = """(answers[`api/transcription/${new URLSearchParams(location.hash.slice(1)).get('session')}`] = (body) => {
  body.health = { status: 'degraded', reasons: [
    'the connection to the speech provider is being restored (attempt 4)'] };
}, true)"""
CONSOLE = (
    Scene("gate", "/", (there("#token"),), token=""),
    Scene("gate-refused", "/", (there("#refused"),), token="wrong"),
    Scene(
        "gate-offer",
        "/#token=another",
        (there("#offer"),),
        token="",
        before=f"sessionStorage.setItem('gateway.token', '{TOKEN}');",
    ),
    Scene("console-begin", "/", (there("#begin"), there("#list a"))),
    Scene("console-new", "/", (there("#begin"), opened("new"))),
    Scene(
        "console-live",
        "/#session={review}",
        (LIVE, there("#finals .row"), there("#people-box"), *SPOKEN, HOSTED),
        before=BUSY,
    ),
    Scene(
        "console-people",
        "/#session={review}",
        (LIVE, there("#finals .row"), there("#people-box"), opened("people-box"), *SPOKEN, HOSTED),
    ),
    Scene("console-guests", "/#session={spoken}", (LIVE, there("#invite-box"), opened("invite-box"))),
    Scene(
        "console-details",
        "/#session={review}",
        (LIVE, there("#finals .row"), there("#people-box"), opened("details"), *SPOKEN),
        before=BUSY,
    ),
    Scene(
        "console-trouble",
        "/#session={review}",
        (
            LIVE,
            there("#finals .row"),
            there("#people-box"),
            *SPOKEN,
            TROUBLED,
            there("#health"),
        ),
    ),
    Scene("console-ingest", "/#session={other1}", (LIVE, there("#people-box"), click("#key"), there("#ingest"))),
    Scene("console-empty", "/#session={spoken}", (LIVE, there("#people-box"), RUNS)),
    Scene("console-idle", "/#session={idle}", (LIVE, there("#people-box"))),
    Scene("console-over", "/#session={over}", ("document.querySelector('#line').dataset.phase === 'ended'",)),
    Scene("console-stop", "/#session={review}", (LIVE, there("#stop"), click("#stop"), there("#confirm"))),
    Scene("console-keys", "/#session={spoken}", (LIVE, click("#keys"), there("#help"))),
    Scene("console-zoomed", "/#session={review}", (LIVE, there("#finals .row"), there("#people-box")), scale=4),
)

NAME = "((who.value = 'Gus Nakamura-Fitzgerald'), document.querySelector('#enter button').click(), true)"
JOIN = (
    Scene("join", "/join#session={spoken}", ("/“/.test(document.querySelector('#greeting').textContent)",), token=""),
    Scene("join-nothing", "/join", (there("#refused"),), token=""),
    Scene("join-in", "/join#session={spoken}", (NAME, LIVE, RUNS, HOSTED, *SPOKEN), token=""),
    Scene(
        "join-people",
        "/join#session={spoken}",
        (NAME, LIVE, RUNS, HOSTED, opened("people-box"), there("#people li")),
        token="",
    ),
    Scene("join-empty", "/join#session={spoken}", (NAME, LIVE, RUNS), token=""),
    Scene(
        "join-voice",
        "/join#session={spoken}",
        (
            NAME,
            LIVE,
            RUNS,
            HOSTED,
            *SPOKEN,
            """(() => {
        for (const id of ['voice', 'device', 'mute', 'level']) document.querySelector(`#${id}`).hidden = false;
        voice.dataset.state = 'live';
        document.querySelector('#voice-state').textContent = 'Speaking';
        device.replaceChildren(new Option('MacBook Pro Microphone (Built-in)'));
        level.value = 0.4;
        return true; })()""",
        ),
        token="",
    ),
)

REPORTS = (
    Scene("sessions", "/sessions", (there("#list a"),)),
    Scene(
        "sessions-found",
        "/sessions",
        (
            there("#list a"),
            "((everywhere.value = 'release'), everywhere.dispatchEvent(new Event('input')), true)",
            there("#hits a"),
        ),
    ),
    Scene("sessions-new", "/sessions", (there("#list a"), opened("new"))),
    Scene(
        "sessions-over",
        "/sessions#session={over}",
        (
            there("#session"),
            there("#finals .row"),
            "/done/.test(document.querySelector('#analysis-state').textContent)",
        ),
    ),
    Scene("sessions-live", "/sessions#session={review}", (there("#session"), there("#finals .row"))),
    Scene("sessions-delete", "/sessions#session={idle}", (there("#session"), click("#delete"), there("#confirm"))),
    Scene(
        "operator",
        "/operator",
        (there("#sessions"), there("#replicas"), "document.querySelector('#money').textContent !== '–'"),
        before=BUSY,
    ),
    Scene(
        "usage",
        "/usage",
        (
            IN,
            _usage("day"),
            "document.querySelectorAll('#chart rect').length > 20",
        ),
    ),
    Scene(
        "usage-session",
        "/usage",
        (
            IN,
            _usage("session"),
            "document.querySelectorAll('#chart rect').length === 20",
        ),
    ),
    Scene("webhooks", "/webhooks", (there("#list a"),)),
    Scene("webhooks-new", "/webhooks", (there("#list a"), opened("new"))),
    Scene("webhooks-one", "/webhooks#webhook={webhook}", (there("#session"), there("#deliveries tr"))),
    Scene("audit", "/audit", (there("#rows tbody tr"),)),
    Scene("docs", "/docs", (there(".operation"),)),
    Scene(
        "docs-open",
        "/docs",
        (
            there(".operation"),
            opened("postApiTranscriptionStart"),
            "(postApiTranscriptionStart.scrollIntoView(), true)",
        ),
    ),
)

EMPTY = (
    Scene("empty-console", "/", (there("#begin"), there("#none"))),
    Scene("empty-sessions", "/sessions", (there("#none"),)),
    Scene("empty-operator", "/operator", (there("#none"), "document.querySelector('#money').textContent !== '–'")),
    Scene("empty-usage", "/usage", ("document.querySelector('#chart p')",)),
    Scene("empty-webhooks", "/webhooks", (there("#none"),)),
    Scene("empty-audit", "/audit", (there("#none"),)),
)

OUTAGE = tuple(
    Scene(f"outage-{name}", path, (there("#trouble"),))
    for name, path in (("console", "/"), ("operator", "/operator"), ("sessions", "/sessions"), ("usage", "/usage"))
)
FULL = (*READER, *CONSOLE, *JOIN, *REPORTS)
