"""What a page costs its main thread, in CPU time by Chromium's own trace: what else runs does not count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.browser import Page

CATEGORIES = ["devtools.timeline", "disabled-by-default-devtools.timeline", "toplevel"]


@asynccontextmanager
async def traced(page: Page) -> AsyncIterator[list[dict[str, Any]]]:
    """Events of what the block does; they are in the list once it is left."""
    events: list[dict[str, Any]] = []
    page.trace = events
    await page.call("Tracing.start", traceConfig={"includedCategories": CATEGORIES})
    yield events
    page.trace_ended.clear()
    await page.call("Tracing.end")
    await page.trace_ended.wait()


def frames(events: list[dict[str, Any]]) -> list[float]:
    """CPU milliseconds of the main thread for each frame: scripts, style, layout and painting since the one before."""
    commits = sorted(event["ts"] for event in events if event["name"] == "Commit")
    thread = next((event["pid"], event["tid"]) for event in events if event["name"] == "Commit")
    spent = [0.0] * (len(commits) + 1)
    for event in events:
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) == thread:
            spent[bisect_left(commits, event["ts"])] += event.get("tdur", 0) / 1000
    return spent[1:-1]


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]
