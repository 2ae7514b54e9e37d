"""Where time goes."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.app.lag import watch_loop
from gateway.delays import Delays


def sums(delays: Delays) -> dict[frozenset[str], float]:
    found = {}
    for family in text_string_to_metric_families(generate_latest(delays.registry).decode()):
        for sample in family.samples:
            if sample.name.endswith("_sum"):
                found[frozenset(sample.labels.values())] = sample.value
    return found


def test_hops_and_requests_are_told_apart() -> None:
    delays = Delays()
    delays.final(0.5, 0.125, 0.25)
    delays.statement("final_append", 0.25)
    delays.statement("final_append", 0.5)
    delays.request("/api/sessions/{slug}", "GET", 200, 0.125)
    delays.request("/api/sessions/{slug}", "GET", 404, 0.125)
    found = sums(delays)
    assert found[frozenset({"final_heard"})] == 0.5
    assert found[frozenset({"final_shown"})] == 0.25
    assert found[frozenset({"final_append"})] == 0.75
    for status in ("200", "404"):
        assert found[frozenset({"/api/sessions/{slug}", "GET", status})] == 0.125


async def test_a_loop_that_is_held_up_shows() -> None:
    delays = Delays()
    watch = asyncio.create_task(watch_loop(delays))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 0.6)
    while delays.loop_lag_s < 0.3:
        await asyncio.sleep(0.01)
    watch.cancel()
