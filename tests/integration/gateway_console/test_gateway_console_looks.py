"""What holds of every page in every state: it fits, can be touched, controls can be seen, words have the room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from looks.scenes import FULL, Scene
from looks.world import World, open_world
from support.browser import OpenPage, Page, resize

NAMES = (
    "gate",
    "console-begin",
    "console-new",
    "console-live",
    "console-people",
    "console-ingest",
    "console-stop",
    "join",
    "join-voice",
    "reader-gate",
    "reader-live",
    "reader-find",
    "reader-tools",
    "reader-details",
    "reader-minutes",
    "sessions-new",
    "sessions-over",
    "operator",
    "usage",
    "webhooks-one",
    "audit",
    "docs-open",
)
SIZES = ((390, 844, 44), (844, 390, 32), (320, 256, 24), (1280, 800, 24))
"""Width, height, how high a control must be: 44 for fingers, 24 at least. 320 by 256 is a laptop's window at 400 %."""
HOLDS = {
    "operator": "document.querySelector('#sessions tbody tr').lastChild.className === 'bad'",  # what is wrong is first
    "reader-details": "!/ingest|Url|publish/.test(document.querySelector('#facts').textContent)",
}
WORDS = {"console-live", "join-voice", "reader-live"}

WRONG = """((least) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const light = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const isClear = (colour) => /rgba\\(.*, 0\\)|transparent/.test(colour);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!isClear(colour)) return colour;
    }
    return 'white';
  };
  const wrong = [];
  const say = (one, what) => wrong.push(`${one.id || one.className || one.textContent.slice(0, 20)}: ${what}`);
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) say(document.body, `wider than the window: ${page.scrollWidth}`);
  const open = document.querySelector('dialog[open]') ?? document;
  for (const one of open.querySelectorAll('button, input, select, textarea, summary, a.button, .bar a')) {
    if (!one.checkVisibility() || one.closest('.unseen')) continue;
    const isTick = one.matches('[type=checkbox], [type=radio]');
    const { left, right, height, width } = (isTick ? one.closest('label') : one).getBoundingClientRect();
    const style = getComputedStyle(one);
    if (!one.closest('.wide, pre') && (left < -1 || right > innerWidth + 1)) say(one, `outside, ${left} to ${right}`);
    const isButton = one.matches('button, a.button');
    if (isButton && one.scrollWidth > one.clientWidth + 1) say(one, 'its words are cut off');
    if (height < least - 0.5) say(one, `${height} high`);
    if (isTick || !parseFloat(style.borderTopWidth) || one.matches(':disabled')) continue;
    const around = ground(one.parentElement);
    const best = Math.max(contrast(style.borderTopColor, around), contrast(style.backgroundColor, around));
    if (best < 3) say(one, `an edge of ${best.toFixed(2)} to 1`);
  }
  for (const row of document.querySelectorAll('.row:not(.same), .said')) {
    const [name, text] = ['.who', '.text'].map((part) => row.querySelector(part));
    const isRight = /^[\u0590-\u06ff]/.test(text.textContent);
    const side = isRight ? 'right' : 'left';
    const apart = Math.abs(name.getBoundingClientRect()[side] - text.getBoundingClientRect()[side]);
    if (apart > 40) say(row, `${name.textContent} stands ${apart} from the words`);
  }
  return wrong;
})"""


async def look_at(scene: Scene, world: World, page: Page) -> list[str]:
    found = []
    page.complaints.clear()
    await resize(page, *SIZES[0][:2])
    await page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    await scene.play(page, world.gateway.http_url, {**world.slugs, "webhook": world.webhook})
    for width, height, least in SIZES:
        await page.call("Emulation.setTouchEmulationEnabled", enabled=width < 1000)
        await resize(page, width, height)
        for scheme in ("dark", "light") if width == SIZES[0][0] else ("light",):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=features)
            wrong = await page.run(f"{WRONG}({least})")
            found += [f"{scene.name} at {width}, {scheme}: {one}" for one in wrong]
        if scene.name in WORDS and height > 300:
            share = await page.run("document.querySelector('#pane').clientHeight / innerHeight")
            found += [f"{scene.name} at {width}: {share:.0%} of it is words"] if share < 0.6 else []
    if not await page.run(HOLDS.get(scene.name, "true")):
        found.append(f"{scene.name}: {HOLDS[scene.name]}")
    return found + [f"{scene.name}: {one}" for one in page.complaints if "40" not in one]


@pytest.mark.timeout(900)
async def test_every_page_fits_can_be_touched_and_is_mostly_words(
    database_url: str, tmp_path: Path, browse: OpenPage
) -> None:
    async with open_world(database_url, tmp_path) as world:
        await world.fill(minutes=4)
        waiting = iter(scene for scene in FULL if scene.name in NAMES)

        async def some(scenes: Iterator[Scene]) -> list[str]:
            async with browse() as page:
                return [wrong for scene in scenes for wrong in await look_at(scene, world, page)]

        parts = await asyncio.gather(*(some(waiting) for _ in range(3)))
    found = [wrong for part in parts for wrong in part]
    assert found == [], json.dumps(found, indent=1, ensure_ascii=False)
