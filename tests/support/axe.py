"""axe-core in a page: what keeps people out who do not see, hear or point as its maker does."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

from support.browser import Page
from support.builds import CannotBuild, npm_packages
from support.tools import missing

CHECKERS: Final = Path(__file__).parents[1] / "integration" / "gateway_console" / "checkers"
"""The packages that look at pages, pinned."""

RUN = """axe.run(document, { resultTypes: ['violations'], %s }).then(({ violations, passes }) => [passes.length,
  violations.flatMap(({ id, help, nodes }) => nodes.map(({ target }) => `${id}: ${help}: ${target}`))])"""
COLOURS = "runOnly: ['color-contrast']"


def checkers() -> Path:
    """Their folder, fetched once. Skips loudly what cannot have them."""
    try:
        return npm_packages(CHECKERS)
    except CannotBuild as error:
        missing(str(error))


@cache
def _script() -> str:
    return (checkers() / "axe-core" / "axe.min.js").read_text()


async def barriers(page: Page, *, themes: tuple[str, ...] = ()) -> list[str]:
    """What axe finds in the page as it stands; in `themes`, the colours alone."""
    if not await page.run("Boolean(globalThis.axe)"):
        await page.run(f"{_script()}; 0")
    found = await _found(page, "")
    before = await page.run("document.documentElement.dataset.theme")
    for theme in themes:
        await page.run(f"document.documentElement.dataset.theme = {json.dumps(theme)}")
        found += [f"{theme}: {one}" for one in await _found(page, COLOURS)]
    await page.run(f"document.documentElement.dataset.theme = {json.dumps(before)}")
    return found


async def _found(page: Page, rules: str) -> list[str]:
    looked: tuple[int, list[str]] = await page.run(RUN % rules)
    passes, violations = looked
    assert passes, "axe has looked at nothing"
    return violations


def settled(selector: str) -> str:
    """A script: that element is there, and nothing fades or moves any more."""
    return (
        f"document.querySelector({json.dumps(selector)})?.checkVisibility()"
        " && document.getAnimations().every((one) => one.effect.getTiming().iterations === Infinity)"
    )
