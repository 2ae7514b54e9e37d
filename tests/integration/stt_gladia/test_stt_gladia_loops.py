"""The client on the event loop of production, where sockets and timers are other objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from stt_gladia_scenarios import Played, Scenario, complaint, play

from stt.backoff import Backoff
from stt.gladia.options import LinkOptions

QUICK = LinkOptions(
    stall_s=0.5, probe_s=0.1, resume_deadline_s=2.0, fetch_patience_s=1.0, full_s=0.05, backoff=Backoff(0.01, 2.0, 0.1)
)
PLANS: dict[str, dict[str, Any]] = {
    "cut": {"every": {"cuts": [{"at_byte": 9_000}, {"at_final": 1, "message_bytes": 5}, {"at_stop": True}]}},
    "deaf": {"sessions": {"1": {"stop_reading_at_byte": 8_000}}},
    "mute": {"sessions": {"1": {"acks": {"lose_after_byte": 8_000}}}},
    "lost": {"sessions": {"1": {"cuts": [{"at_byte": 9_000}], "upgrade": [{"status": 404, "after": 1}]}}},
    "codes": {"every": {"cuts": [{"at_byte": at, "code": 1011} for at in (3_000, 12_000, 20_000)]}},
}
BASE = Scenario(0, ("alpha", "bravo", "charlie"), (0.2, 0.2), {}, pace=0.001, flush_s=10.0, options=QUICK, orphans=True)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("name", PLANS)
def test_words_come_once_on_either_loop(name: str, run: Callable[[Coroutine[Any, Any, Played]], Played]) -> None:
    scenario = replace(BASE, plan=PLANS[name])
    assert complaint(scenario, run(play(scenario))) is None
