"""Audio that ends every connection costs that piece and seconds; a line that breaks often costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from stt_gladia_clock import run
from stt_gladia_line import CHUNK, Line

from stt.gladia.client import Provider, ProviderOptions
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer

SOUND = "017f"
BEFORE, AFTER = "alpha bravo charlie", "delta echo foxtrot golf " * 6
MOST_S = 0.4  # that is given up beside the piece itself


async def _talk(faults: dict[str, Any], pcm: bytes) -> Line:
    options = LocalOptions(engine="scripted", faults={"every": faults}, record_limit_bytes=0)
    async with LocalServer(options) as server, Provider(ProviderOptions("key", server.url)) as provider:
        line = Line(server, provider)
        for at in range(0, len(pcm), CHUNK):
            await line.send(pcm[at : at + CHUNK], 0.1)
        await line.finish(60.0)
        return line


@pytest.mark.parametrize("unacknowledged", ["forget", "keep"])
@pytest.mark.parametrize("ack", ["before", "after"])
@pytest.mark.parametrize("code", [1007, 1011, None, 4408])
@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_what_ends_every_connection_is_found_and_left_out(
    seconds: float, code: int | None, ack: str, unacknowledged: str
) -> None:
    before, _ = speak(BEFORE, lead_s=0.1, tail_s=0.6)
    after, _ = speak(AFTER, lead_s=0.6, tail_s=0.6)
    sound = bytes.fromhex(SOUND) * round(16_000 * seconds)
    faults = {"poison": {"sound": SOUND, "ack": ack, "code": code}, "unacknowledged": unacknowledged}
    line = run(_talk(faults, before + sound + after))
    assert line.words == f"{BEFORE} {AFTER}".split()
    begin = len(before) / 32_000
    assert line.given_up and min(lost.start for lost in line.given_up) >= begin - MOST_S
    assert max(lost.end for lost in line.given_up) <= begin + seconds + MOST_S
    assert line.outcome is not None and not line.outcome.complete
    assert sum(live.connections for live in line.sessions) <= 24


@pytest.mark.parametrize("ack", ["before", "after"])
@pytest.mark.parametrize("every_s", [1.5, 2.5])
def test_a_line_that_breaks_all_the_time_loses_nothing_and_is_metered_once(every_s: float, ack: str) -> None:
    pcm, truth = speak(AFTER, lead_s=0.1, tail_s=0.6, pauses=[0.0, 0.4] * 12)
    cuts = [{"at_byte": round(n * every_s * 16_000) * 2, "ack": ack} for n in range(1, 60)]
    line = run(_talk({"cuts": cuts}, pcm))
    assert line.words == [text for text, _, _ in truth]
    assert not line.given_up
    heard_s = sum(live.session.duration for live in line.sessions)
    assert line.outcome is not None
    assert abs(line.outcome.sent_samples / 16_000 - heard_s) <= 1.0
    said_s = len(pcm) / 32_000
    assert abs(line.outcome.resent_samples / 16_000 - (heard_s - said_s)) <= 1.0
